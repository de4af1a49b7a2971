//! DECLARE, FETCH, MOVE and CLOSE, as PostgreSQL reads them, and FETCH's own `WITH (timeout = '1s')`.

use std::time::Duration;

use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;

use super::create::identifier;
use super::parse::{Input, is_word, take_word};
use super::statement::{CursorQuery, DeclareCursor, Fetch, Statement};
use super::subscribe::subscribe;
use crate::error::{Error, Result, SqlState};
use crate::types::parse::parse_interval;

/// `DECLARE name [NO SCROLL] CURSOR [WITHOUT HOLD] FOR query`.
pub(super) fn parse_declare(input: &Input<'_>) -> Result<Statement> {
    let mut parser = input.parser();
    parser.next_token();
    let name = identifier(&input.check(parser.parse_identifier())?);
    loop {
        if take_word(&mut parser, "CURSOR") {
            break;
        } else if take_word(&mut parser, "NO") {
            expect_word(input, &mut parser, "SCROLL")?;
        } else if take_word(&mut parser, "SCROLL") {
            return Err(Error::not_built("a SCROLL cursor").with_hint("Cursors go forward; leave SCROLL out."));
        } else if take_word(&mut parser, "BINARY") {
            return Err(Error::not_built("a BINARY cursor")
                .with_hint("Ask for binary results through the extended query protocol."));
        } else if !take_word(&mut parser, "ASENSITIVE") && !take_word(&mut parser, "INSENSITIVE") {
            // A cursor reads one snapshot, which is what both words ask for.
            return Err(input.unexpected_at(&parser.peek_token()));
        }
    }
    if take_word(&mut parser, "WITH") {
        expect_word(input, &mut parser, "HOLD")?;
        return Err(Error::not_built("a cursor WITH HOLD").with_hint("Read the cursor within its transaction."));
    }
    if take_word(&mut parser, "WITHOUT") {
        expect_word(input, &mut parser, "HOLD")?;
    }
    expect_word(input, &mut parser, "FOR")?;
    let query = if is_word(&parser.peek_token().token, "SUBSCRIBE") {
        CursorQuery::Subscribe(subscribe(input, &mut parser)?)
    } else {
        CursorQuery::Query(input.check(parser.parse_query())?)
    };
    input.expect_end(&mut parser)?;
    Ok(Statement::DeclareCursor(DeclareCursor { name, query }))
}

/// `FETCH [NEXT | n | ALL | FORWARD [n | ALL]] [FROM | IN] name [WITH (timeout = '1s')]`, and MOVE alike.
pub(super) fn parse_fetch(input: &Input<'_>, moves: bool) -> Result<Statement> {
    let mut parser = input.parser();
    parser.next_token();
    let rows_max = direction(input, &mut parser)?;
    let _between = take_word(&mut parser, "FROM") || take_word(&mut parser, "IN");
    let cursor = identifier(&input.check(parser.parse_identifier())?);
    let timeout = if take_word(&mut parser, "WITH") { Some(fetch_options(input, &mut parser)?) } else { None };
    input.expect_end(&mut parser)?;
    Ok(Statement::Fetch(Fetch { cursor, rows_max, timeout, moves }))
}

/// `CLOSE name | ALL`.
pub(super) fn parse_close(input: &Input<'_>) -> Result<Statement> {
    let mut parser = input.parser();
    parser.next_token();
    let name = input.check(parser.parse_identifier())?;
    input.expect_end(&mut parser)?;
    let all = name.quote_style.is_none() && name.value.eq_ignore_ascii_case("all");
    Ok(Statement::CloseCursor((!all).then(|| identifier(&name))))
}

/// How many rows; `None`: all.
fn direction(input: &Input<'_>, parser: &mut Parser<'_>) -> Result<Option<u64>> {
    if let Some(count) = count(input, parser)? {
        return Ok(count);
    }
    // A cursor may have a direction's name; then nothing that a direction is followed by comes behind it.
    if matches!(parser.peek_nth_token(1).token, Token::EOF) || is_word(&parser.peek_nth_token(1).token, "WITH") {
        return Ok(Some(1));
    }
    if take_word(parser, "NEXT") {
        return Ok(Some(1));
    }
    if take_word(parser, "FORWARD") {
        return Ok(count(input, parser)?.unwrap_or(Some(1)));
    }
    if take_word(parser, "PRIOR") || take_word(parser, "BACKWARD") {
        return Err(forward_only());
    }
    for word in ["FIRST", "LAST", "ABSOLUTE", "RELATIVE"] {
        if take_word(parser, word) {
            return Err(
                Error::not_built(format!("FETCH {word}")).with_hint("Cursors go forward: FETCH n, or FETCH ALL.")
            );
        }
    }
    Ok(Some(1))
}

/// `n` or ALL, if one of them comes.
fn count(input: &Input<'_>, parser: &mut Parser<'_>) -> Result<Option<Option<u64>>> {
    if take_word(parser, "ALL") {
        return Ok(Some(None));
    }
    let negative = parser.consume_token(&Token::Minus);
    let token = parser.peek_token();
    let Token::Number(number, _) = &token.token else {
        return if negative { Err(input.unexpected_at(&token)) } else { Ok(None) };
    };
    if negative {
        return Err(forward_only());
    }
    let count = number.parse().map_err(|_| input.unexpected_at(&token))?;
    if count == 0 {
        return Err(Error::not_built("FETCH 0").with_hint("Cursors go forward: FETCH n, or FETCH ALL."));
    }
    parser.next_token();
    Ok(Some(Some(count)))
}

fn forward_only() -> Error {
    Error::new(SqlState::OBJECT_NOT_IN_STATE, "cursor can only scan forward")
        .with_hint("Declare the cursor again to read from the start.")
}

fn fetch_options(input: &Input<'_>, parser: &mut Parser<'_>) -> Result<Duration> {
    input.check(parser.expect_token(&Token::LParen))?;
    let name = identifier(&input.check(parser.parse_identifier())?);
    if name != "timeout" {
        return Err(Error::new(SqlState::SYNTAX_ERROR, format!("FETCH option \"{name}\" not recognized"))
            .with_hint("The option is timeout."));
    }
    let _sign = parser.consume_token(&Token::Eq);
    let token = parser.next_token();
    let timeout = match &token.token {
        Token::SingleQuotedString(text) | Token::Number(text, _) => duration(text)?,
        _ => return Err(input.unexpected_at(&token)),
    };
    input.check(parser.expect_token(&Token::RParen))?;
    Ok(timeout)
}

/// An interval that is not negative; months have 30 days, as where PostgreSQL compares them.
pub(super) fn duration(text: &str) -> Result<Duration> {
    let interval = parse_interval(text)?;
    let days = i128::from(interval.months) * 30 + i128::from(interval.days);
    let nanoseconds = days * 86_400_000_000_000 + i128::from(interval.nanoseconds);
    u64::try_from(nanoseconds).map(Duration::from_nanos).map_err(|_| {
        Error::new(SqlState::INVALID_PARAMETER, format!("\"{text}\" is not a length of time to wait"))
            .with_hint("Write for example '100ms', '5s' or '1 hour'.")
    })
}

fn expect_word(input: &Input<'_>, parser: &mut Parser<'_>, word: &str) -> Result<()> {
    if take_word(parser, word) { Ok(()) } else { Err(input.unexpected_at(&parser.peek_token())) }
}
