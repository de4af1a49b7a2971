//! `WATERMARK FOR time AS time - INTERVAL '5 seconds'` among the columns of CREATE TABLE and CREATE SOURCE, and `EMIT ON WINDOW CLOSE`
//! behind a view's query: RisingWave's words, which sqlparser does not read.
//!
//! Does not know: which tables may have one, what it is good for.

use std::collections::BTreeMap;

use sqlparser::ast::{self, BinaryOperator, Expr};
use sqlparser::tokenizer::Token;

use super::create::identifier;
use super::parse::{Input, is_word};
use crate::catalog::Watermark;
use crate::error::{Error, Result, SqlState};
use crate::types::calendar::DAY_US;
use crate::types::parse::parse_interval;

/// The option that says after how long without a row the watermark follows the clock.
pub(super) const IDLE: &str = "watermark_idle";

/// Takes the clause out of the tokens.
///
/// Errors: 42601 for anything but a column and how far the watermark stays behind it, 22023 for how far.
pub(super) fn take_watermark(input: &mut Input<'_>) -> Result<Option<Watermark>> {
    let Some(start) = start_of_clause(input) else { return Ok(None) };
    let end = end_of_clause(input, start);
    let clause = Input { sql: input.sql, tokens: input.tokens[start..end].to_vec() };
    // With one of the commas that it stands between.
    let (first, last) = match (input.tokens.get(start - 1), input.tokens.get(end)) {
        (Some(before), _) if before.token == Token::Comma => (start - 1, end),
        (_, Some(after)) if after.token == Token::Comma => (start, end + 1),
        _ => (start, end),
    };
    input.tokens.drain(first..last);
    if start_of_clause(input).is_some() {
        return Err(Error::new(SqlState::INVALID_TABLE_DEFINITION, "a table has one WATERMARK"));
    }
    clause.watermark().map(Some)
}

/// Where `WATERMARK FOR` begins an entry of the column list.
fn start_of_clause(input: &Input<'_>) -> Option<usize> {
    let mut depth = 0_i32;
    for (index, token) in input.tokens.iter().enumerate() {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth -= 1,
            _ => {}
        }
        let begins = index > 0 && matches!(input.tokens[index - 1].token, Token::LParen | Token::Comma);
        let follows = input.tokens.get(index + 1).is_some_and(|next| is_word(&next.token, "FOR"));
        if depth == 1 && begins && follows && is_word(&token.token, "WATERMARK") {
            return Some(index);
        }
    }
    None
}

fn end_of_clause(input: &Input<'_>, start: usize) -> usize {
    let mut depth = 0_i32;
    for (index, token) in input.tokens.iter().enumerate().skip(start) {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen if depth == 0 => return index,
            Token::RParen => depth -= 1,
            Token::Comma if depth == 0 => return index,
            _ => {}
        }
    }
    input.tokens.len()
}

impl Input<'_> {
    /// The tokens are those of the clause.
    fn watermark(&self) -> Result<Watermark> {
        let mut parser = self.parser();
        (0..2).for_each(|_| drop(parser.next_token()));
        let column = identifier(&self.check(parser.parse_identifier())?);
        if !is_word(&parser.peek_token().token, "AS") {
            return Err(self.unexpected_at(&parser.peek_token()));
        }
        parser.next_token();
        let value = self.check(parser.parse_expr())?;
        self.expect_end(&mut parser)?;
        let is_column = |expr: &Expr| matches!(expr, Expr::Identifier(name) if identifier(name) == column);
        let delay_us = match &value {
            expr if is_column(expr) => Some(0),
            Expr::BinaryOp { left, op: BinaryOperator::Minus, right } if is_column(left) => match &**right {
                Expr::Interval(interval) => Some(delay_us(interval)?),
                _ => None,
            },
            _ => None,
        };
        let delay_us = delay_us.ok_or_else(|| {
            Error::new(SqlState::SYNTAX_ERROR, "a watermark is its column less an interval")
                .with_hint(format!("Write WATERMARK FOR {column} AS {column} - INTERVAL '5 seconds'."))
        })?;
        Ok(Watermark { column, delay_us, idle_us: None })
    }
}

fn delay_us(interval: &ast::Interval) -> Result<i64> {
    let text = match (&*interval.value, &interval.leading_field) {
        (Expr::Value(value), unit) => match (&value.value, unit) {
            (ast::Value::SingleQuotedString(text), None) => text.clone(),
            (ast::Value::SingleQuotedString(text), Some(unit)) => format!("{text} {unit}"),
            _ => interval.to_string(),
        },
        _ => interval.to_string(),
    };
    fixed_us(&text).ok_or_else(|| {
        Error::new(SqlState::INVALID_PARAMETER, format!("invalid delay of a watermark: \"{text}\""))
            .with_hint("Write an interval that is not negative, of days and less, such as '5 seconds'.")
    })
}

/// An interval without months that is not negative, in microseconds.
fn fixed_us(text: &str) -> Option<i64> {
    let interval = parse_interval(text).ok().filter(|interval| interval.months == 0)?;
    let us = i64::from(interval.days).checked_mul(DAY_US)?.checked_add(interval.nanoseconds / 1000)?;
    (us >= 0).then_some(us)
}

/// Takes `watermark_idle` out of the options. Errors: 22023 where it is no interval, or there is no watermark.
pub(super) fn take_idle(options: &mut BTreeMap<String, String>, watermark: &mut Option<Watermark>) -> Result<()> {
    let Some(text) = options.remove(IDLE) else { return Ok(()) };
    let Some(watermark) = watermark else {
        return Err(Error::new(SqlState::INVALID_PARAMETER, format!("{IDLE} needs a WATERMARK"))
            .with_hint("Write WATERMARK FOR time AS time - INTERVAL '5 seconds' among the columns."));
    };
    match fixed_us(&text) {
        Some(idle_us) if idle_us > 0 => {
            watermark.idle_us = Some(idle_us);
            Ok(())
        }
        _ => Err(Error::new(SqlState::INVALID_PARAMETER, format!("invalid value for {IDLE}: \"{text}\""))
            .with_hint("Write an interval of days and less, such as '1 minute'.")),
    }
}

/// Takes `EMIT ON WINDOW CLOSE` from the end of the tokens. Errors: 42601 where something else follows EMIT.
pub(super) fn take_emit(input: &mut Input<'_>) -> Result<bool> {
    const WORDS: [&str; 4] = ["EMIT", "ON", "WINDOW", "CLOSE"];
    let Some(start) = input.find_words(&WORDS[..2]) else { return Ok(false) };
    match input.find_words(&WORDS) {
        Some(found) if found == start && input.tokens.len() == start + WORDS.len() => {
            input.tokens.truncate(start);
            Ok(true)
        }
        _ => Err(Error::new(SqlState::SYNTAX_ERROR, "EMIT ON WINDOW CLOSE stands at the end of the statement")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::{Statement, parse_statements};

    fn watermark(clause: &str) -> Result<Option<Watermark>> {
        let sql = format!("CREATE TABLE t (time timestamptz, {clause}, n int) APPEND ONLY");
        match parse_statements(&sql)?.remove(0).statement {
            Statement::CreateTable(create) => Ok(create.watermark),
            _ => panic!("not a table"),
        }
    }

    #[test]
    fn a_watermark_is_a_column_less_an_interval() {
        let found = watermark("WATERMARK FOR Time AS time - INTERVAL '1 day 5 seconds'").unwrap().unwrap();
        assert_eq!((found.column.as_str(), found.delay_us), ("time", DAY_US + 5_000_000));
        assert_eq!(watermark("WATERMARK FOR time AS time - INTERVAL '5' SECOND").unwrap().unwrap().delay_us, 5_000_000);
        assert_eq!(watermark("WATERMARK FOR time AS time").unwrap().unwrap().delay_us, 0);
        assert_eq!(watermark("watermark int").unwrap(), None);
        for wrong in [
            "WATERMARK FOR time AS n - INTERVAL '5 seconds'",
            "WATERMARK FOR time AS time + INTERVAL '5 seconds'",
            "WATERMARK FOR time AS time - INTERVAL '1 month'",
            "WATERMARK FOR time AS time - INTERVAL '-1 s'",
            "WATERMARK FOR time time",
            "WATERMARK FOR time AS time, WATERMARK FOR time AS time",
        ] {
            assert!(watermark(wrong).is_err(), "{wrong}");
        }
    }
}
