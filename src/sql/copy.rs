//! COPY: the modern form with options in parentheses, and the older one (`COPY t FROM STDIN WITH CSV HEADER NULL 'NA'`)
//! that psql's `\copy` users still type.

use sqlparser::keywords::Keyword;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;

use super::create::{identifier, relation_name};
use super::parse::{Input, is_word, optional};
use super::statement::{CopyDirection, CopyOptionValue, CopyStatement, CopyTarget, Statement};
use super::subscribe::subscribe;
use crate::error::{Error, Result};

pub(super) fn parse_copy(input: Input<'_>) -> Result<Statement> {
    let mut parser = input.parser();
    parser.next_token();
    let target = if parser.consume_token(&Token::LParen) {
        let target = match is_word(&parser.peek_token().token, "SUBSCRIBE") {
            true => CopyTarget::Subscribe(subscribe(&input, &mut parser)?),
            false => CopyTarget::Query(input.check(parser.parse_query())?),
        };
        input.check(parser.expect_token(&Token::RParen))?;
        target
    } else {
        let name = relation_name(&input.check(parser.parse_object_name(false))?)?;
        let columns = if parser.consume_token(&Token::LParen) {
            let columns = input.check(parser.parse_comma_separated(Parser::parse_identifier))?;
            input.check(parser.expect_token(&Token::RParen))?;
            columns.iter().map(identifier).collect()
        } else {
            Vec::new()
        };
        CopyTarget::Table { name, columns }
    };
    let direction = direction(&input, &mut parser)?;
    optional(&mut parser, Keyword::WITH);
    let options = if parser.consume_token(&Token::LParen) {
        let options = modern_options(&input, &mut parser)?;
        input.check(parser.expect_token(&Token::RParen))?;
        options
    } else {
        legacy_options(&input, &mut parser)?
    };
    if parser.parse_keyword(Keyword::WHERE) {
        return Err(Error::not_built("COPY ... WHERE").with_hint("Filter the file, or DELETE the rows afterwards."));
    }
    input.expect_end(&mut parser)?;
    Ok(Statement::Copy(CopyStatement { target, direction, options }))
}

fn direction(input: &Input<'_>, parser: &mut Parser<'_>) -> Result<CopyDirection> {
    let from = parser.parse_keyword(Keyword::FROM);
    if !from && !parser.parse_keyword(Keyword::TO) {
        return Err(input.unexpected_at(&parser.peek_token()));
    }
    let (words, direction) =
        if from { ("STDIN", CopyDirection::FromStdin) } else { ("STDOUT", CopyDirection::ToStdout) };
    let token = parser.next_token();
    match &token.token {
        Token::Word(word) if word.value.eq_ignore_ascii_case(words) => Ok(direction),
        Token::SingleQuotedString(_) => Err(Error::not_built("COPY with a file on the server")
            .with_hint(format!("Use COPY ... {words}, or psql's \\copy, with a file on the client."))),
        Token::Word(word) if word.value.eq_ignore_ascii_case("PROGRAM") => {
            Err(Error::not_built("COPY ... PROGRAM").with_hint(format!("Use COPY ... {words}.")))
        }
        _ => Err(input.unexpected_at(&token)),
    }
}

fn modern_options(input: &Input<'_>, parser: &mut Parser<'_>) -> Result<Vec<(String, CopyOptionValue)>> {
    let mut options = Vec::new();
    loop {
        let name = word(input, parser)?.to_ascii_lowercase();
        let value = match parser.peek_token().token {
            Token::Comma | Token::RParen => CopyOptionValue::Absent,
            Token::LParen | Token::Mul => columns(input, parser)?,
            _ => CopyOptionValue::Word(word(input, parser)?),
        };
        options.push((name, value));
        if !parser.consume_token(&Token::Comma) {
            return Ok(options);
        }
    }
}

fn legacy_options(input: &Input<'_>, parser: &mut Parser<'_>) -> Result<Vec<(String, CopyOptionValue)>> {
    let mut options = Vec::new();
    let ends = |token: &Token| *token == Token::EOF || is_word(token, "WHERE");
    while !ends(&parser.peek_token().token) {
        let name = word(input, parser)?.to_ascii_lowercase();
        let option = match name.as_str() {
            "csv" | "binary" => ("format".to_owned(), CopyOptionValue::Word(name)),
            "header" | "freeze" => (name, CopyOptionValue::Absent),
            "delimiter" | "null" | "quote" | "escape" | "encoding" => {
                optional(parser, Keyword::AS);
                (name, CopyOptionValue::Word(word(input, parser)?))
            }
            "force" => {
                let name = if parser.parse_keywords(&[Keyword::NOT, Keyword::NULL]) {
                    "force_not_null"
                } else if parser.parse_keyword(Keyword::NULL) {
                    "force_null"
                } else {
                    word(input, parser)?;
                    "force_quote"
                };
                (name.to_owned(), columns(input, parser)?)
            }
            _ => {
                parser.prev_token();
                return Err(input.unexpected_at(&parser.peek_token()));
            }
        };
        options.push(option);
    }
    Ok(options)
}

fn columns(input: &Input<'_>, parser: &mut Parser<'_>) -> Result<CopyOptionValue> {
    if parser.consume_token(&Token::Mul) {
        return Ok(CopyOptionValue::Columns(vec!["*".to_owned()]));
    }
    let parenthesized = parser.consume_token(&Token::LParen);
    let names = input.check(parser.parse_comma_separated(Parser::parse_identifier))?;
    if parenthesized {
        input.check(parser.expect_token(&Token::RParen))?;
    }
    Ok(CopyOptionValue::Columns(names.iter().map(identifier).collect()))
}

fn word(input: &Input<'_>, parser: &mut Parser<'_>) -> Result<String> {
    let token = parser.next_token();
    match token.token {
        Token::Word(word) => Ok(word.value),
        Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text) => Ok(text),
        Token::Number(number, _) => Ok(number),
        _ => Err(input.unexpected_at(&token)),
    }
}
