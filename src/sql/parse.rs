//! Text to statements: tokens once, split at semicolons, then each statement by its first words.

use std::sync::Arc;

use sqlparser::ast;
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan, Tokenizer};

use super::alter::parse_alter;
use super::copy::parse_copy;
use super::create::{self, relation_name};
use super::cursor::{parse_close, parse_declare, parse_fetch};
use super::dialect::dialect;
use super::position::{char_position, offset_of_location};
use super::statement::{DropKind, Explain, Statement, TransactionMode};
use super::subscribe::parse_subscribe;
use crate::error::{Error, Result, SqlState};

/// Deepest nesting of expressions and subqueries, so that hostile text cannot exhaust the stack.
const NESTING_MAX: usize = 64;

/// One statement of a query string.
#[derive(Debug, Clone)]
pub struct ParsedStatement {
    pub statement: Statement,
    /// The whole query string, which error positions refer to.
    pub text: Arc<str>,
    /// Byte range of this statement in `text`.
    pub range: std::ops::Range<usize>,
}

impl ParsedStatement {
    /// The statement's own text.
    pub fn sql(&self) -> &str {
        &self.text[self.range.clone()]
    }
}

/// All statements of a query string; empty ones (`;;`) are left out.
///
/// Errors: 42601 with the position of the offending token; 0A000 by name for what is not built.
pub fn parse_statements(sql: &str) -> Result<Vec<ParsedStatement>> {
    let text: Arc<str> = sql.into();
    let mut statements = Vec::new();
    for tokens in split(tokenize(sql)?) {
        let (Some(first), Some(last)) = (tokens.first(), tokens.last()) else { continue };
        let range = offset_of_location(sql, first.span.start)..offset_of_location(sql, last.span.end);
        let statement = Input { sql, tokens }.statement()?;
        statements.push(ParsedStatement { statement, text: text.clone(), range });
    }
    Ok(statements)
}

/// A query alone, as a view's stored text holds it.
pub fn parse_query(sql: &str) -> Result<Box<ast::Query>> {
    match parse_statements(sql)?.as_slice() {
        [ParsedStatement { statement: Statement::Query(query), .. }] => Ok(query.clone()),
        _ => Err(Error::new(SqlState::SYNTAX_ERROR, "not a query")),
    }
}

/// An expression alone, as a column's stored DEFAULT holds it.
pub fn parse_expression(sql: &str) -> Result<ast::Expr> {
    let input = Input { sql, tokens: tokenize(sql)? };
    let mut parser = input.parser();
    let expression = input.check(parser.parse_expr())?;
    input.expect_end(&mut parser)?;
    Ok(expression)
}

fn tokenize(sql: &str) -> Result<Vec<TokenWithSpan>> {
    let tokens = Tokenizer::new(dialect(std::iter::empty()), sql).tokenize_with_location().map_err(|error| {
        let message = match error.message.as_str() {
            "Unterminated string literal" => "unterminated quoted string".to_owned(),
            other => lower_first(other),
        };
        let mut result = Error::new(SqlState::SYNTAX_ERROR, message);
        if let Some(position) = char_position(sql, error.location) {
            result = result.with_position(position);
        }
        result
    })?;
    Ok(tokens.into_iter().flat_map(sign_apart).collect())
}

/// `->>-` is `->>` and `-`: an operator ends with a sign only where it has one of the characters that no other token has
/// (PostgreSQL, Lexical Structure, Operators).
fn sign_apart(token: TokenWithSpan) -> Vec<TokenWithSpan> {
    let Token::CustomBinaryOperator(operator) = &token.token else { return vec![token] };
    let (rest, sign) = match operator.strip_suffix('-') {
        Some(rest) => (rest, Token::Minus),
        None => (operator.strip_suffix('+').unwrap_or_default(), Token::Plus),
    };
    if rest.is_empty() || rest.contains(['~', '!', '@', '#', '%', '^', '&', '|', '`', '?']) {
        return vec![token];
    }
    let Ok(mut tokens) = Tokenizer::new(dialect(std::iter::empty()), rest).tokenize() else { return vec![token] };
    tokens.push(sign);
    let mut start = token.span.start;
    let place = |token: Token| {
        let end = Location::new(start.line, start.column + token.to_string().len() as u64);
        let span = Span::new(std::mem::replace(&mut start, end), end);
        TokenWithSpan::new(token, span)
    };
    tokens.into_iter().map(place).collect()
}

/// Tokens of each statement without white space, comments and the semicolons between.
fn split(tokens: Vec<TokenWithSpan>) -> Vec<Vec<TokenWithSpan>> {
    let mut statements = vec![Vec::new()];
    for token in tokens {
        match token.token {
            Token::SemiColon => statements.push(Vec::new()),
            Token::Whitespace(_) | Token::EOF => {}
            _ => statements.last_mut().expect("never empty").push(token),
        }
    }
    statements.retain(|tokens| !tokens.is_empty());
    statements
}

/// The tokens of one statement, with the text that they come from.
pub(super) struct Input<'a> {
    pub sql: &'a str,
    pub tokens: Vec<TokenWithSpan>,
}

impl Input<'_> {
    pub fn parser(&self) -> Parser<'static> {
        Parser::new(dialect(self.tokens.iter().map(|token| &token.token)))
            .with_recursion_limit(NESTING_MAX)
            .with_tokens_with_locations(self.tokens.clone())
    }

    /// Do the first tokens read so? Case does not matter.
    fn starts_with(&self, words: &[&str]) -> bool {
        words.len() <= self.tokens.len()
            && words.iter().zip(&self.tokens).all(|(word, token)| is_word(&token.token, word))
    }

    /// Index of the first run of unquoted words outside parentheses that reads so.
    pub fn find_words(&self, words: &[&str]) -> Option<usize> {
        let mut depth = 0_i32;
        for index in 0..self.tokens.len() {
            match self.tokens[index].token {
                Token::LParen => depth += 1,
                Token::RParen => depth -= 1,
                _ => {}
            }
            let rest = &self.tokens[index..];
            if depth == 0
                && rest.len() >= words.len()
                && words.iter().zip(rest).all(|(word, token)| is_word(&token.token, word))
            {
                return Some(index);
            }
        }
        None
    }

    fn statement(self) -> Result<Statement> {
        let first = match self.tokens.first().map(|token| &token.token) {
            Some(Token::Word(word)) if word.quote_style.is_none() => word.value.to_ascii_uppercase(),
            Some(Token::LParen) => "SELECT".to_owned(),
            _ => return Err(self.unexpected(0)),
        };
        match first.as_str() {
            "CREATE" => create::parse_create(self),
            "ALTER" => parse_alter(self),
            "COPY" => parse_copy(self),
            "DROP" => self.drop_statement(),
            "SET" => self.set_statement(),
            "RESET" => self.reset_statement(),
            "SHOW" => self.show_statement(),
            "FLUSH" => self.flush_statement(),
            "EXPIRE" => self.expire_statement(),
            "BACKUP" => self.backup_statement(),
            "VERIFY" => self.verify_statement(),
            "EXPLAIN" => self.explain_statement(),
            "DISCARD" => self.exactly(&["DISCARD", "ALL"], Statement::Discard),
            "ABORT" => Ok(Statement::Rollback),
            "BEGIN" | "START" => self.begin_statement(),
            "SUBSCRIBE" => parse_subscribe(&self),
            "DECLARE" => parse_declare(&self),
            "FETCH" => parse_fetch(&self, false),
            "MOVE" => parse_fetch(&self, true),
            "CLOSE" => parse_close(&self),
            "TRUNCATE" | "MERGE" | "GRANT" | "REVOKE" | "LISTEN" | "NOTIFY" | "UNLISTEN" | "LOCK" | "VACUUM"
            | "ANALYZE" | "COMMENT" | "REINDEX" | "CLUSTER" | "PREPARE" | "EXECUTE" | "CALL" | "DO" | "REFRESH" => {
                Err(not_built(&first))
            }
            "TABLE" => self.table_statement(),
            _ => self.sqlparser_statement(),
        }
    }

    /// `TABLE name` is `SELECT * FROM name`.
    fn table_statement(mut self) -> Result<Statement> {
        let first = self.tokens[0].span;
        let words = [Token::make_keyword("SELECT"), Token::Mul, Token::make_keyword("FROM")];
        self.tokens.splice(0..1, words.map(|token| TokenWithSpan { token, span: first }));
        self.sqlparser_statement()
    }

    /// What sqlparser reads whole: queries, DML, COMMIT, ROLLBACK, DEALLOCATE.
    fn sqlparser_statement(self) -> Result<Statement> {
        let mut parser = self.parser();
        let statement = self.check(parser.parse_statement())?;
        self.expect_end(&mut parser)?;
        match statement {
            ast::Statement::Query(query) => Ok(Statement::Query(query)),
            ast::Statement::Insert(insert) => Ok(Statement::Insert(Box::new(insert))),
            ast::Statement::Update(update) => Ok(Statement::Update(Box::new(update))),
            ast::Statement::Delete(delete) => Ok(Statement::Delete(Box::new(delete))),
            ast::Statement::Commit { chain: false, .. } => Ok(Statement::Commit),
            ast::Statement::Rollback { chain: false, savepoint: None } => Ok(Statement::Rollback),
            ast::Statement::Rollback { chain: false, savepoint: Some(name) } => {
                Ok(Statement::RollbackTo(create::identifier(&name)))
            }
            ast::Statement::Savepoint { name } => Ok(Statement::Savepoint(create::identifier(&name))),
            ast::Statement::ReleaseSavepoint { name } => Ok(Statement::Release(create::identifier(&name))),
            ast::Statement::Commit { .. } | ast::Statement::Rollback { .. } => Err(Error::not_built("AND CHAIN")),
            ast::Statement::Deallocate { name, .. } => {
                let all = name.value.eq_ignore_ascii_case("all") && name.quote_style.is_none();
                Ok(Statement::Deallocate((!all).then(|| create::identifier(&name))))
            }
            other => {
                let words = other.to_string();
                Err(not_built(words.split_whitespace().next().unwrap_or("this statement")))
            }
        }
    }

    fn drop_statement(self) -> Result<Statement> {
        let mut parser = self.parser();
        parser.next_token();
        let kind = match keyword_text(&parser.next_token().token).as_deref() {
            Some("TABLE") => DropKind::Table,
            Some("SOURCE") => DropKind::Source,
            Some("VIEW") => DropKind::View,
            Some("MATERIALIZED") if parser.parse_keyword(Keyword::VIEW) => DropKind::MaterializedView,
            Some(other) => return Err(not_built(&format!("DROP {other}"))),
            None => return Err(self.unexpected(1)),
        };
        let if_exists = parser.parse_keywords(&[Keyword::IF, Keyword::EXISTS]);
        let names = self.check(parser.parse_comma_separated(|parser| parser.parse_object_name(false)))?;
        let names = names.iter().map(relation_name).collect::<Result<Vec<_>>>()?;
        let cascade = parser.parse_keyword(Keyword::CASCADE);
        if !cascade {
            optional(&mut parser, Keyword::RESTRICT);
        }
        self.expect_end(&mut parser)?;
        Ok(Statement::Drop { kind, names, if_exists, cascade })
    }

    fn set_statement(self) -> Result<Statement> {
        let mut parser = self.parser();
        parser.next_token();
        if parser.parse_keywords(&[Keyword::SESSION, Keyword::CHARACTERISTICS, Keyword::AS, Keyword::TRANSACTION])
            || parser.parse_keyword(Keyword::TRANSACTION)
        {
            return Ok(Statement::SetTransaction(self.transaction_mode(&mut parser)?));
        }
        let is_local = parser.parse_keyword(Keyword::LOCAL);
        if !is_local {
            optional(&mut parser, Keyword::SESSION);
        }
        let name = if parser.parse_keywords(&[Keyword::TIME, Keyword::ZONE]) {
            "timezone".to_owned()
        } else {
            let name = self.check(parser.parse_object_name(false))?;
            if !parser.consume_token(&Token::Eq) && !parser.parse_keyword(Keyword::TO) {
                return Err(self.unexpected_at(&parser.peek_token()));
            }
            name.to_string().to_ascii_lowercase()
        };
        let mut values = Vec::new();
        loop {
            let token = parser.next_token();
            let negative = token.token == Token::Minus;
            let token = if negative { parser.next_token() } else { token };
            match setting_text(&token.token) {
                Some(value) => values.push(if negative { format!("-{value}") } else { value }),
                None => return Err(self.unexpected_at(&token)),
            }
            if !parser.consume_token(&Token::Comma) {
                break;
            }
        }
        self.expect_end(&mut parser)?;
        let is_default = matches!(values.as_slice(), [word] if word.eq_ignore_ascii_case("default"));
        Ok(Statement::Set { name, value: (!is_default).then(|| values.join(", ")), is_local })
    }

    fn reset_statement(self) -> Result<Statement> {
        let mut parser = self.parser();
        parser.next_token();
        if parser.parse_keyword(Keyword::ALL) {
            self.expect_end(&mut parser)?;
            return Ok(Statement::Reset(None));
        }
        let name = if parser.parse_keywords(&[Keyword::TIME, Keyword::ZONE]) {
            "timezone".to_owned()
        } else {
            self.check(parser.parse_object_name(false))?.to_string().to_ascii_lowercase()
        };
        self.expect_end(&mut parser)?;
        Ok(Statement::Reset(Some(name)))
    }

    /// `SHOW a b c` keeps its words: `tables`, `materialized views`, `transaction isolation level`, a setting's name.
    fn show_statement(self) -> Result<Statement> {
        let words: Option<Vec<String>> = self.tokens[1..]
            .iter()
            .map(|token| match &token.token {
                Token::Period => Some(".".to_owned()),
                token => setting_text(token).map(|word| word.to_ascii_lowercase()),
            })
            .collect();
        match words {
            Some(words) if words == ["watermarks"] => {
                Ok(Statement::Query(parse_query("SELECT * FROM tidemark.watermarks ORDER BY name")?))
            }
            Some(words) if !words.is_empty() => Ok(Statement::Show(words.join(" ").replace(" . ", "."))),
            _ => Err(self.unexpected(1)),
        }
    }

    fn flush_statement(self) -> Result<Statement> {
        let mut parser = self.parser();
        parser.next_token();
        if matches!(parser.peek_token().token, Token::EOF) {
            return Ok(Statement::Flush(None));
        }
        optional(&mut parser, Keyword::TABLE);
        let name = relation_name(&self.check(parser.parse_object_name(false))?)?;
        self.expect_end(&mut parser)?;
        Ok(Statement::Flush(Some(name)))
    }

    fn expire_statement(self) -> Result<Statement> {
        let mut parser = self.parser();
        parser.next_token();
        optional(&mut parser, Keyword::TABLE);
        let name = relation_name(&self.check(parser.parse_object_name(false))?)?;
        self.expect_end(&mut parser)?;
        Ok(Statement::Expire(name))
    }

    fn backup_statement(self) -> Result<Statement> {
        let mut parser = self.parser();
        parser.next_token();
        if !parser.parse_keyword(Keyword::TO) {
            return Err(self.unexpected_at(&parser.peek_token()));
        }
        let url = self.check(parser.parse_literal_string())?;
        self.expect_end(&mut parser)?;
        Ok(Statement::Backup(url))
    }

    fn verify_statement(self) -> Result<Statement> {
        let mut parser = self.parser();
        parser.next_token();
        if !parser.parse_keywords(&[Keyword::MATERIALIZED, Keyword::VIEW]) {
            return Err(self.unexpected_at(&parser.peek_token()));
        }
        let name = relation_name(&self.check(parser.parse_object_name(false))?)?;
        self.expect_end(&mut parser)?;
        Ok(Statement::Verify(name))
    }

    fn explain_statement(self) -> Result<Statement> {
        if self.starts_with(&["EXPLAIN", "MATERIALIZED", "VIEW"]) {
            let mut parser = self.parser();
            (0..3).for_each(|_| drop(parser.next_token()));
            let name = relation_name(&self.check(parser.parse_object_name(false))?)?;
            self.expect_end(&mut parser)?;
            return Ok(Statement::ExplainView(name));
        }
        let (mut analyze, mut verbose, mut state) = (false, false, false);
        let mut next = 1;
        if self.tokens.get(1).is_some_and(|token| token.token == Token::LParen)
            && self.tokens.get(2).is_some_and(|token| is_explain_option(&token.token))
        {
            let close = self.tokens.iter().position(|token| token.token == Token::RParen);
            let close = close.ok_or_else(|| self.unexpected(2))?;
            for option in self.tokens[2..close].split(|token| token.token == Token::Comma) {
                let on =
                    !option.get(1).is_some_and(|value| is_word(&value.token, "OFF") || is_word(&value.token, "FALSE"));
                match option.first().map(|token| keyword_text(&token.token).unwrap_or_default()).as_deref() {
                    Some("ANALYZE") => analyze = on,
                    Some("VERBOSE") => verbose = on,
                    Some("STATE") => state = on,
                    Some("COSTS" | "TIMING" | "SUMMARY" | "BUFFERS") if !on => {}
                    Some(other) => return Err(Error::not_built(format!("EXPLAIN ({other})"))),
                    None => return Err(self.unexpected(2)),
                }
            }
            next = close + 1;
        } else {
            while let Some(token) = self.tokens.get(next) {
                match keyword_text(&token.token).as_deref() {
                    Some("ANALYZE") => analyze = true,
                    Some("VERBOSE") => verbose = true,
                    _ => break,
                }
                next += 1;
            }
        }
        if next >= self.tokens.len() {
            return Err(self.unexpected(next));
        }
        let inner = Input { sql: self.sql, tokens: self.tokens[next..].to_vec() }.statement()?;
        if state && (analyze || verbose) {
            let other = if analyze { "ANALYZE" } else { "VERBOSE" };
            return Err(Error::not_built(format!("EXPLAIN (STATE, {other})")).with_hint("Ask for one of them."));
        }
        Ok(Statement::Explain(Explain { analyze, verbose, state, statement: Box::new(inner) }))
    }

    fn begin_statement(self) -> Result<Statement> {
        let mut parser = self.parser();
        let started = is_word(&parser.next_token().token, "START");
        if !parser.parse_keyword(Keyword::TRANSACTION) {
            if started {
                return Err(self.unexpected_at(&parser.peek_token()));
            }
            optional(&mut parser, Keyword::WORK);
        }
        Ok(Statement::Begin(self.transaction_mode(&mut parser)?))
    }

    fn transaction_mode(&self, parser: &mut Parser<'_>) -> Result<TransactionMode> {
        let mut mode = TransactionMode::default();
        loop {
            if parser.parse_keywords(&[Keyword::READ, Keyword::ONLY]) {
                mode.read_only = Some(true);
            } else if parser.parse_keywords(&[Keyword::READ, Keyword::WRITE]) {
                mode.read_only = Some(false);
            } else if parser.parse_keywords(&[Keyword::ISOLATION, Keyword::LEVEL]) {
                let known = parser.parse_keyword(Keyword::SERIALIZABLE)
                    || parser.parse_keywords(&[Keyword::REPEATABLE, Keyword::READ])
                    || parser.parse_keywords(&[Keyword::READ, Keyword::COMMITTED])
                    || parser.parse_keywords(&[Keyword::READ, Keyword::UNCOMMITTED]);
                if !known {
                    return Err(self.unexpected_at(&parser.peek_token()));
                }
            } else if parser.parse_keywords(&[Keyword::NOT, Keyword::DEFERRABLE])
                || parser.parse_keyword(Keyword::DEFERRABLE)
            {
                // Only delays the start of a serializable read-only transaction in PostgreSQL; ours never waits.
            } else {
                break;
            }
            let _between = parser.consume_token(&Token::Comma);
        }
        self.expect_end(parser)?;
        Ok(mode)
    }

    fn exactly(&self, words: &[&str], statement: Statement) -> Result<Statement> {
        if self.starts_with(words) && self.tokens.len() == words.len() {
            Ok(statement)
        } else {
            Err(self.unexpected(1))
        }
    }

    pub fn expect_end(&self, parser: &mut Parser<'_>) -> Result<()> {
        let token = parser.peek_token();
        if token.token == Token::EOF { Ok(()) } else { Err(self.unexpected_at(&token)) }
    }

    /// sqlparser's result, its error in PostgreSQL's form.
    pub fn check<T>(&self, result: Result<T, ParserError>) -> Result<T> {
        result.map_err(|error| match error {
            ParserError::RecursionLimitExceeded => {
                Error::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "the statement is nested too deeply")
                    .with_detail(format!("At most {NESTING_MAX} levels are read."))
            }
            ParserError::TokenizerError(message) | ParserError::ParserError(message) => self.syntax_error(&message),
        })
    }

    /// From "Expected: X, found: Y at Line: 1, Column: 8".
    fn syntax_error(&self, message: &str) -> Error {
        let (text, location) = split_location(message);
        let token = location.and_then(|location| self.tokens.iter().find(|token| token.span.start == location));
        match token {
            Some(token) => {
                let error = self.unexpected_at(token);
                match text.split_once(", found").map(|(expected, _)| expected) {
                    Some(expected) => error.with_detail(format!("{expected}.")),
                    None => error.with_detail(format!("{text}.")),
                }
            }
            None if text.ends_with("found: EOF") => self.unexpected(self.tokens.len()),
            None => Error::new(SqlState::SYNTAX_ERROR, lower_first(text)),
        }
    }

    fn unexpected(&self, index: usize) -> Error {
        match self.tokens.get(index) {
            Some(token) => self.unexpected_at(token),
            None => Error::new(SqlState::SYNTAX_ERROR, "syntax error at end of input")
                .with_position(self.sql.trim_end().chars().count() + 1),
        }
    }

    pub fn unexpected_at(&self, token: &TokenWithSpan) -> Error {
        match char_position(self.sql, token.span.start) {
            Some(position) if token.token != Token::EOF => {
                Error::new(SqlState::SYNTAX_ERROR, format!("syntax error at or near \"{}\"", token.token))
                    .with_position(position)
            }
            _ => self.unexpected(self.tokens.len()),
        }
    }
}

fn not_built(words: &str) -> Error {
    let words = words.to_ascii_uppercase();
    let hint = match words.as_str() {
        "TRUNCATE" => "Use DELETE FROM.",
        "ALTER" => "Create a new table and INSERT INTO it SELECT from the old one.",
        "REFRESH" => "A materialized view is always up to date; there is nothing to refresh.",
        "PREPARE" | "EXECUTE" => "Use your client's prepared statements (the extended query protocol).",
        "SAVEPOINT" | "RELEASE" => "Use separate transactions.",
        "VACUUM" | "ANALYZE" | "REINDEX" | "CLUSTER" => "Nothing needs it: storage looks after itself.",
        _ => "See the README for the statements that work.",
    };
    Error::not_built(words).with_hint(hint)
}

fn is_explain_option(token: &Token) -> bool {
    [
        "ANALYZE",
        "VERBOSE",
        "COSTS",
        "TIMING",
        "SUMMARY",
        "BUFFERS",
        "FORMAT",
        "SETTINGS",
        "WAL",
        "GENERIC_PLAN",
        "STATE",
    ]
    .iter()
    .any(|word| is_word(token, word))
}

/// Skips a word that may be left out.
pub(super) fn optional(parser: &mut Parser<'_>, keyword: Keyword) {
    let _present = parser.parse_keyword(keyword);
}

/// Skips this word, if it comes next.
pub(super) fn take_word(parser: &mut Parser<'_>, text: &str) -> bool {
    let comes = is_word(&parser.peek_token().token, text);
    if comes {
        parser.next_token();
    }
    comes
}

pub(super) fn is_word(token: &Token, text: &str) -> bool {
    matches!(token, Token::Word(word) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(text))
}

fn keyword_text(token: &Token) -> Option<String> {
    match token {
        Token::Word(word) if word.quote_style.is_none() => Some(word.value.to_ascii_uppercase()),
        _ => None,
    }
}

fn setting_text(token: &Token) -> Option<String> {
    match token {
        Token::Word(word) => Some(word.value.clone()),
        Token::Number(number, _) => Some(number.clone()),
        Token::SingleQuotedString(text) => Some(text.clone()),
        _ => None,
    }
}

fn split_location(message: &str) -> (&str, Option<Location>) {
    let Some((text, location)) = message.rsplit_once(" at Line: ") else { return (message, None) };
    let numbers = location.split_once(", Column: ").and_then(|(line, column)| {
        Some(Location { line: line.trim().parse().ok()?, column: column.trim().parse().ok()? })
    });
    (text, numbers)
}

fn lower_first(message: &str) -> String {
    let mut chars = message.chars();
    match chars.next() {
        Some(first) => first.to_lowercase().chain(chars).collect(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests;
