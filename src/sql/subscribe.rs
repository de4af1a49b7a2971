//! SUBSCRIBE: `SUBSCRIBE [TO] object [WITH (SNAPSHOT = false, PROGRESS = true)] [AS OF COMMIT n]`, and the same within
//! COPY and DECLARE.

use sqlparser::ast::{self, SetExpr, TableFactor};
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;

use super::as_of::Moment;
use super::create::{identifier, relation_name};
use super::parse::{Input, take_word};
use super::statement::{Statement, Subscribe};
use crate::error::{Error, Result, SqlState};
use crate::types::CommitNumber;

/// A whole statement.
pub(super) fn parse_subscribe(input: &Input<'_>) -> Result<Statement> {
    let mut parser = input.parser();
    let subscribe = subscribe(input, &mut parser)?;
    input.expect_end(&mut parser)?;
    Ok(Statement::Subscribe(subscribe))
}

/// From the word SUBSCRIBE to the end of its clauses.
pub(super) fn subscribe(input: &Input<'_>, parser: &mut Parser<'_>) -> Result<Subscribe> {
    parser.next_token();
    take_word(parser, "TO");
    let name = object(input, parser)?;
    let mut subscribe = Subscribe { name, snapshot: true, progress: false, as_of: None };
    let mut snapshot = None;
    loop {
        if take_word(parser, "WITH") {
            options(input, parser, &mut subscribe, &mut snapshot)?;
        } else if take_word(parser, "AS") {
            if !take_word(parser, "OF") {
                return Err(input.unexpected_at(&parser.peek_token()));
            }
            subscribe.as_of = Some(as_of(input, parser)?);
        } else if take_word(parser, "UP") {
            return Err(Error::not_built("UP TO of a subscription").with_hint("Stop reading, or cancel the statement."));
        } else if take_word(parser, "ENVELOPE") {
            return Err(Error::not_built("ENVELOPE of a subscription")
                .with_hint("Leave it out; tidemark_weight says what comes (+1) and what goes (-1)."));
        } else {
            if subscribe.as_of.is_some() && snapshot == Some(true) {
                return Err(Error::not_built("a snapshot AS OF COMMIT").with_hint(
                    "AS OF COMMIT gives the changes after that commit; leave it out for a snapshot of the present.",
                ));
            }
            subscribe.snapshot = snapshot.unwrap_or(subscribe.as_of.is_none());
            return Ok(subscribe);
        }
    }
}

/// A name, or a query in parentheses that is nothing but one.
fn object(input: &Input<'_>, parser: &mut Parser<'_>) -> Result<String> {
    if !parser.consume_token(&Token::LParen) {
        return relation_name(&input.check(parser.parse_object_name(false))?);
    }
    let query = input.check(parser.parse_query())?;
    input.check(parser.expect_token(&Token::RParen))?;
    match whole_relation(&query) {
        Some(name) => relation_name(name),
        None => Err(Error::not_built("SUBSCRIBE to a query")
            .with_hint("CREATE MATERIALIZED VIEW with the query, and SUBSCRIBE to the view.")),
    }
}

/// The relation of `SELECT * FROM relation`.
fn whole_relation(query: &ast::Query) -> Option<&ast::ObjectName> {
    let SetExpr::Select(select) = query.body.as_ref() else { return None };
    let [from] = select.from.as_slice() else { return None };
    let TableFactor::Table { name, .. } = &from.relation else { return None };
    // Whatever else the query said would be in its text.
    (query.to_string() == format!("SELECT * FROM {name}")).then_some(name)
}

fn options(
    input: &Input<'_>,
    parser: &mut Parser<'_>,
    subscribe: &mut Subscribe,
    snapshot: &mut Option<bool>,
) -> Result<()> {
    input.check(parser.expect_token(&Token::LParen))?;
    loop {
        let name = identifier(&input.check(parser.parse_identifier())?);
        let value = option_value(input, parser)?;
        match name.as_str() {
            "snapshot" => *snapshot = Some(value),
            "progress" => subscribe.progress = value,
            other => {
                return Err(Error::new(
                    SqlState::SYNTAX_ERROR,
                    format!("subscription option \"{other}\" not recognized"),
                )
                .with_hint("The options are SNAPSHOT and PROGRESS."));
            }
        }
        if !parser.consume_token(&Token::Comma) {
            input.check(parser.expect_token(&Token::RParen))?;
            return Ok(());
        }
    }
}

/// `= true`, `false` without the sign, or nothing, which is true.
fn option_value(input: &Input<'_>, parser: &mut Parser<'_>) -> Result<bool> {
    let explicit = parser.consume_token(&Token::Eq);
    let token = parser.peek_token();
    let value = match &token.token {
        Token::Word(word) => word.value.as_str(),
        Token::SingleQuotedString(text) => text.as_str(),
        Token::Comma | Token::RParen if !explicit => return Ok(true),
        _ => return Err(input.unexpected_at(&token)),
    };
    let value = match value.to_ascii_lowercase().as_str() {
        "true" | "on" => true,
        "false" | "off" => false,
        _ => return Err(input.unexpected_at(&token)),
    };
    parser.next_token();
    Ok(value)
}

fn as_of(input: &Input<'_>, parser: &mut Parser<'_>) -> Result<CommitNumber> {
    match Moment::of(&input.check(parser.parse_expr())?)? {
        Moment::Commit(commit) => Ok(commit),
        Moment::Time(_) => Err(Error::not_built("a subscription AS OF a time")
            .with_hint("Write AS OF COMMIT with a number of the column tidemark_commit.")),
    }
}
