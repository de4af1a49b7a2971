//! PostgreSQL's grammar of expressions and joins, where sqlparser's own PostgreSQL dialect reads it otherwise.
//!
//! | written | sqlparser's dialect | here, as PostgreSQL |
//! |---|---|---|
//! | `a IS NOT DISTINCT FROM b AND c` | `a IS NOT DISTINCT FROM (b AND c)` | `(a IS NOT DISTINCT FROM b) AND c` |
//! | `-2 ^ 2` | `-(2 ^ 2)` | `(-2) ^ 2` |
//! | `~ 1 + 2`, `@ -5 + 2` | `(~ 1) + 2` | `~ (1 + 2)` |
//! | `a ~ b = c`, `a OPERATOR(pg_catalog.~) b = c` | `a ~ (b = c)` | `(a ~ b) = c` |
//! | `a < b < c` | `(a < b) < c` | a syntax error |
//! | `a ISNULL` | an alias, or an error | `a IS NULL` |
//! | `SELECT 1 + FROM t`, `SELECT * name FROM t` | a column `from`, an alias that nobody reads | syntax errors |
//! | `a JOIN b JOIN c ON p ON q` | an error | `a JOIN (b JOIN c ON p) ON q` |
//!
//! And `AS OF COMMIT 17`, which PostgreSQL does not have, is read as an expression with a prefix (`as_of`).
//!
//! Everything else is asked of sqlparser's dialect.

use std::any::TypeId;

use sqlparser::ast::{BinaryOperator, Expr, Ident, UnaryOperator};
use sqlparser::dialect::{Dialect, PostgreSqlDialect, Precedence};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Token;

use super::as_of::COMMIT;

const BASE: PostgreSqlDialect = PostgreSqlDialect {};

/// Of the signs before an operand: above `COLLATE`, below `[ ]` and `::`.
const SIGN_PRECEDENCE: u8 = 125;
/// Of operators that have no place of their own, before and between operands.
const OTHER_PRECEDENCE: u8 = 70;

/// The dialect of every statement.
#[derive(Debug)]
pub struct Postgres {
    /// Whether a join may stand within a join without parentheses. Where a statement says NATURAL it may not: such a
    /// join needs no condition, and what follows it would be read as its right side.
    nests_joins: bool,
    /// Whether the statement says AS OF. Elsewhere `at`, `before` and `changes` are aliases of tables like any other.
    says_as_of: bool,
}

/// For a statement of these tokens.
pub fn dialect<'a>(tokens: impl Iterator<Item = &'a Token>) -> &'static Postgres {
    let (mut is_natural, mut says_as_of, mut last) = (false, false, Keyword::NoKeyword);
    for token in tokens {
        let keyword = match token {
            Token::Word(word) => word.keyword,
            _ => Keyword::NoKeyword,
        };
        is_natural |= keyword == Keyword::NATURAL;
        says_as_of |= keyword == Keyword::OF && last == Keyword::AS;
        last = keyword;
    }
    match (is_natural, says_as_of) {
        (false, false) => &Postgres { nests_joins: true, says_as_of: false },
        (false, true) => &Postgres { nests_joins: true, says_as_of: true },
        (true, false) => &Postgres { nests_joins: false, says_as_of: false },
        (true, true) => &Postgres { nests_joins: false, says_as_of: true },
    }
}

fn is_comparison(operator: &BinaryOperator) -> bool {
    use BinaryOperator::{Eq, Gt, GtEq, Lt, LtEq, NotEq};
    matches!(operator, Eq | NotEq | Lt | LtEq | Gt | GtEq)
}

/// Words that PostgreSQL reserves and that no expression begins with; sqlparser takes some of them for columns.
fn begins_no_expression(keyword: Keyword) -> bool {
    use Keyword::{
        AND, AS, ELSE, END, EXCEPT, FETCH, FROM, GROUP, HAVING, INTERSECT, INTO, LIMIT, OFFSET, ON, OR, ORDER, THEN,
        UNION, USING, WHEN, WHERE, WINDOW,
    };
    matches!(
        keyword,
        AND | AS
            | ELSE
            | END
            | EXCEPT
            | FETCH
            | FROM
            | GROUP
            | HAVING
            | INTERSECT
            | INTO
            | LIMIT
            | OFFSET
            | ON
            | OR
            | ORDER
            | THEN
            | UNION
            | USING
            | WHEN
            | WHERE
            | WINDOW
    )
}

/// `COMMIT 17`, at its first word and behind AS OF.
fn commit_number(parser: &mut Parser) -> Option<Result<Expr, ParserError>> {
    let is = |token: &Token, keyword| matches!(token, Token::Word(word) if word.keyword == keyword);
    if !is(&parser.peek_token_ref().token, Keyword::COMMIT) || !is(&parser.get_current_token().token, Keyword::OF) {
        return None;
    }
    parser.next_token();
    let number = parser.peek_token();
    if !matches!(number.token, Token::Number(..) | Token::Placeholder(_)) {
        return Some(parser.expected("the number of a commit", number));
    }
    let value = parser.parse_value().map(|value| Box::new(Expr::Value(value)));
    Some(value.map(|value| Expr::Prefixed { prefix: Ident::new(COMMIT), value }))
}

/// In parentheses where it begins with an operator: printed behind another one it would be read as part of that, or `--` as
/// a comment.
fn apart(operand: Expr) -> Expr {
    match operand.to_string().starts_with(['+', '-', '~', '@', '|', '!', '#', '&']) {
        true => Expr::Nested(Box::new(operand)),
        false => operand,
    }
}

fn is_is_null(token: &Token) -> bool {
    matches!(token, Token::Word(word) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case("ISNULL"))
}

fn is_pattern_operator(token: &Token) -> bool {
    matches!(
        token,
        Token::Tilde
            | Token::TildeAsterisk
            | Token::ExclamationMarkTilde
            | Token::ExclamationMarkTildeAsterisk
            | Token::DoubleTilde
            | Token::DoubleTildeAsterisk
            | Token::ExclamationMarkDoubleTilde
            | Token::ExclamationMarkDoubleTildeAsterisk
    )
}

/// Methods that sqlparser's dialect answers.
macro_rules! as_base {
    ($($method:ident($($argument:ident: $type:ty),*) -> $result:ty;)*) => {
        $(fn $method(&self, $($argument: $type),*) -> $result {
            BASE.$method($($argument),*)
        })*
    };
}

impl Dialect for Postgres {
    fn dialect(&self) -> TypeId {
        BASE.dialect()
    }

    fn get_next_precedence(&self, parser: &Parser) -> Option<Result<u8, ParserError>> {
        match &parser.peek_token_ref().token {
            token if is_pattern_operator(token) => Some(Ok(OTHER_PRECEDENCE)),
            Token::Word(word) if word.keyword == Keyword::OPERATOR => Some(Ok(OTHER_PRECEDENCE)),
            token if is_is_null(token) => Some(Ok(self.prec_value(Precedence::Is))),
            _ => BASE.get_next_precedence(parser),
        }
    }

    fn parse_prefix(&self, parser: &mut Parser) -> Option<Result<Expr, ParserError>> {
        let token = parser.peek_token();
        if matches!(&token.token, Token::Word(word) if word.quote_style.is_none() && begins_no_expression(word.keyword))
        {
            return Some(parser.expected("an expression", token));
        }
        if self.says_as_of
            && let Some(commit) = commit_number(parser)
        {
            return Some(commit);
        }
        let (op, precedence) = match parser.peek_token_ref().token {
            Token::Minus => (UnaryOperator::Minus, SIGN_PRECEDENCE),
            Token::Plus => (UnaryOperator::Plus, SIGN_PRECEDENCE),
            Token::Tilde => (UnaryOperator::BitwiseNot, OTHER_PRECEDENCE),
            Token::AtSign => (UnaryOperator::PGAbs, OTHER_PRECEDENCE),
            Token::PGSquareRoot => (UnaryOperator::PGSquareRoot, OTHER_PRECEDENCE),
            Token::PGCubeRoot => (UnaryOperator::PGCubeRoot, OTHER_PRECEDENCE),
            _ => return None,
        };
        parser.next_token();
        Some(parser.parse_subexpr(precedence).map(|operand| Expr::UnaryOp { op, expr: Box::new(apart(operand)) }))
    }

    fn parse_infix(&self, parser: &mut Parser, left: &Expr, _: u8) -> Option<Result<Expr, ParserError>> {
        let token = parser.peek_token();
        match &token.token {
            token if is_is_null(token) => {
                parser.next_token();
                Some(Ok(Expr::IsNull(Box::new(left.clone()))))
            }
            Token::Word(word) if word.keyword == Keyword::IS => {
                let distinct = parser.parse_keywords(&[Keyword::IS, Keyword::DISTINCT, Keyword::FROM]);
                let same =
                    !distinct && parser.parse_keywords(&[Keyword::IS, Keyword::NOT, Keyword::DISTINCT, Keyword::FROM]);
                let form = match (distinct, same) {
                    (true, _) => Expr::IsDistinctFrom,
                    (_, true) => Expr::IsNotDistinctFrom,
                    _ => return None,
                };
                let right = parser.parse_subexpr(self.prec_value(Precedence::Is));
                Some(right.map(|right| form(Box::new(left.clone()), Box::new(right))))
            }
            Token::Eq | Token::Neq | Token::Lt | Token::LtEq | Token::Gt | Token::GtEq if matches!(left, Expr::BinaryOp { op, .. } if is_comparison(op)) => {
                Some(parser.expected("an operator that may follow a comparison", token))
            }
            _ => None,
        }
    }

    fn supports_table_versioning(&self) -> bool {
        self.says_as_of
    }

    fn supports_select_wildcard_with_alias(&self) -> bool {
        false
    }

    fn supports_left_associative_joins_without_parens(&self) -> bool {
        !self.nests_joins
    }

    as_base! {
        identifier_quote_style(identifier: &str) -> Option<char>;
        is_delimited_identifier_start(ch: char) -> bool;
        is_identifier_start(ch: char) -> bool;
        is_identifier_part(ch: char) -> bool;
        supports_unicode_string_literal() -> bool;
        is_reserved_for_identifier(keyword: Keyword) -> bool;
        is_custom_operator_part(ch: char) -> bool;
        supports_filter_during_aggregation() -> bool;
        supports_group_by_expr() -> bool;
        prec_value(precedence: Precedence) -> u8;
        allow_extract_custom() -> bool;
        allow_extract_single_quotes() -> bool;
        supports_create_index_with_clause() -> bool;
        supports_explain_with_utility_options() -> bool;
        supports_listen_notify() -> bool;
        supports_factorial_operator() -> bool;
        supports_bitwise_shift_operators() -> bool;
        supports_comment_on() -> bool;
        supports_load_extension() -> bool;
        supports_named_fn_args_with_colon_operator() -> bool;
        supports_named_fn_args_with_expr_name() -> bool;
        supports_empty_projections() -> bool;
        supports_nested_comments() -> bool;
        supports_string_escape_constant() -> bool;
        supports_numeric_literal_underscores() -> bool;
        supports_array_typedef_with_brackets() -> bool;
        supports_geometric_types() -> bool;
        supports_set_names() -> bool;
        supports_alter_column_type_using() -> bool;
        supports_notnull_operator() -> bool;
        supports_interval_options() -> bool;
        supports_insert_table_alias() -> bool;
        supports_create_table_like_parenthesized() -> bool;
        supports_comma_separated_trim() -> bool;
        supports_xml_expressions() -> bool;
        supports_comment_optimizer_hint() -> bool;
    }
}

#[cfg(test)]
mod tests;
