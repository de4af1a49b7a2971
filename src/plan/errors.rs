//! DataFusion's planning errors in PostgreSQL's words, with the position that clients draw their caret from.

use datafusion::common::{Column, DataFusionError, SchemaError, Span, TableReference};

use crate::error::{Error, SqlState};
use crate::functions::SetFunction;
use crate::types::from_datafusion;

/// What planning `sql_text` raised.
pub fn plan_error(error: DataFusionError, sql_text: &str) -> Error {
    let span = error.diagnostic().and_then(|diagnostic| diagnostic.span);
    let error = translate(error);
    match span.and_then(|span| character_position(sql_text, span)).or_else(|| named_position(sql_text, &error)) {
        Some(position) if error.position().is_none() => error.with_position(position),
        _ => error,
    }
}

/// An error about a text that its type cannot read, with the place of that text where it is written out once.
pub fn at_literal(error: Error, sql_text: &str) -> Error {
    let about_texts = [
        SqlState::INVALID_TEXT_REPRESENTATION,
        SqlState::INVALID_DATETIME,
        SqlState::DATETIME_OVERFLOW,
        SqlState::NUMERIC_OUT_OF_RANGE,
    ];
    let message = error.message();
    let quoted = message.find('"').zip(message.rfind('"')).and_then(|(first, last)| message.get(first + 1..last));
    let Some(text) = quoted.filter(|_| error.position().is_none() && about_texts.contains(&error.state())) else {
        return error;
    };
    let literal = format!("'{}'", text.replace('\'', "''"));
    let mut places = sql_text.match_indices(&literal);
    match (places.next(), places.next()) {
        (Some((at, _)), None) => error.with_position(sql_text[..at].chars().count() + 1),
        _ => error,
    }
}

fn translate(error: DataFusionError) -> Error {
    match error {
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => translate(*inner),
        DataFusionError::Collection(mut errors) if !errors.is_empty() => translate(errors.swap_remove(0)),
        DataFusionError::SchemaError(error, _) => schema_error(*error),
        DataFusionError::Plan(message) => plan_message(message),
        other => from_datafusion(other),
    }
}

fn schema_error(error: SchemaError) -> Error {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => no_such_column(&field, &valid_fields),
        SchemaError::AmbiguousReference { field } => {
            Error::new(SqlState::AMBIGUOUS_COLUMN, format!("column reference \"{}\" is ambiguous", field.name))
        }
        SchemaError::DuplicateQualifiedField { qualifier, .. } => Error::new(
            SqlState::DUPLICATE_COLUMN,
            format!("table name \"{}\" specified more than once", qualifier.table()),
        ),
        SchemaError::DuplicateUnqualifiedField { name } => {
            Error::new(SqlState::DUPLICATE_COLUMN, format!("column \"{name}\" specified more than once"))
        }
    }
}

fn no_such_column(field: &Column, valid_fields: &[Column]) -> Error {
    let named = |table: &TableReference| {
        valid_fields.iter().any(|valid| valid.relation.as_ref().is_some_and(|found| found.table() == table.table()))
    };
    let (error, candidates) = match &field.relation {
        Some(table) if !named(table) => {
            let message = format!("missing FROM-clause entry for table \"{}\"", table.table());
            return Error::new(SqlState::UNDEFINED_TABLE, message);
        }
        Some(table) => {
            let message = format!("column {}.{} does not exist", table.table(), field.name);
            let of_table =
                |valid: &&Column| valid.relation.as_ref().is_some_and(|found| found.table() == table.table());
            (message, valid_fields.iter().filter(of_table).map(|valid| valid.name.as_str()).collect::<Vec<_>>())
        }
        None => {
            let message = format!("column \"{}\" does not exist", field.name);
            (message, valid_fields.iter().map(|valid| valid.name.as_str()).collect())
        }
    };
    suggesting(Error::new(SqlState::UNDEFINED_COLUMN, error), &field.name, &candidates)
}

/// 42P01 for a name in FROM.
pub fn no_such_relation(name: &TableReference, candidates: &[String]) -> Error {
    let error = Error::new(SqlState::UNDEFINED_TABLE, format!("relation \"{name}\" does not exist"));
    suggesting(error, name.table(), &candidates.iter().map(String::as_str).collect::<Vec<_>>())
}

fn plan_message(message: String) -> Error {
    if let Some(name) = message.strip_prefix("Invalid function '").and_then(|rest| rest.split('\'').next()) {
        return Error::new(SqlState::UNDEFINED_FUNCTION, format!("function {name} does not exist"))
            .with_hint("No function of this name exists. Check its spelling, or add explicit type casts.");
    }
    if let Some(call) = message.split("the given name and argument types '").nth(1) {
        return no_such_call(call.split("'.").next().unwrap_or(call));
    }
    if let Some(place) =
        message.strip_prefix("Cannot find column with position ").and_then(|rest| rest.split(' ').next())
    {
        return no_such_position("GROUP BY", place);
    }
    if let Some(place) =
        message.strip_prefix("Order by column out of bounds, specified: ").and_then(|rest| rest.split(',').next())
    {
        return no_such_position("ORDER BY", place);
    }
    if let Some(error) = said_otherwise(&message) {
        return error;
    }
    if message.contains("must appear in the GROUP BY clause") {
        return not_grouped(&message);
    }
    if let Some(types) = message.strip_prefix("Cannot coerce arithmetic expression ") {
        return Error::new(SqlState::UNDEFINED_FUNCTION, format!("operator does not exist: {}", postgres_types(types)));
    }
    from_datafusion(DataFusionError::Plan(message))
}

/// What PostgreSQL says in words of its own.
fn said_otherwise(message: &str) -> Option<Error> {
    let (state, words) = match message {
        _ if message.starts_with("Aggregate functions are not allowed in the WHERE clause") => {
            (SqlState::GROUPING_ERROR, "aggregate functions are not allowed in WHERE")
        }
        _ if message.starts_with("Aggregate function calls cannot be nested") => {
            (SqlState::GROUPING_ERROR, "aggregate function calls cannot be nested")
        }
        _ if message.starts_with("Too many columns! The subquery should only return one column") => {
            (SqlState::SYNTAX_ERROR, "subquery must return only one column")
        }
        _ if message.starts_with("For SELECT DISTINCT, ORDER BY expressions") => {
            (SqlState::INVALID_COLUMN_REFERENCE, "for SELECT DISTINCT, ORDER BY expressions must appear in select list")
        }
        _ if message.contains("queries have different number of columns") => {
            (SqlState::SYNTAX_ERROR, "each query of a set operation must have the same number of columns")
        }
        _ if message.starts_with("Aggregate function calls cannot contain window function calls") => {
            (SqlState::GROUPING_ERROR, "aggregate function calls cannot contain window function calls")
        }
        _ if message.starts_with("WITHIN GROUP is only supported for ordered-set aggregate functions") => {
            (SqlState::WRONG_OBJECT_TYPE, "only ordered-set aggregates can have WITHIN GROUP")
        }
        _ if message.starts_with("RANGE requires exactly one ORDER BY column") => {
            (SqlState::WINDOWING_ERROR, "RANGE with offset PRECEDING/FOLLOWING requires exactly one ORDER BY column")
        }
        _ if message.starts_with("Invalid window frame: start bound") => {
            (SqlState::FEATURE_NOT_SUPPORTED, "a window frame that ends before it begins is not supported yet")
        }
        _ if message.starts_with("Invalid window frame: frame offsets for ROWS / GROUPS") => {
            (SqlState::INVALID_FRAME_OFFSET, "frame offset must be an integer that is not negative")
        }
        _ => return None,
    };
    Some(Error::new(state, words))
}

fn no_such_position(clause: &str, place: &str) -> Error {
    let message = format!("{clause} position {place} is not in select list");
    Error::new(SqlState::INVALID_COLUMN_REFERENCE, message)
}

/// `sum(Utf8, Int64)` -> function sum(text, bigint) does not exist.
fn no_such_call(call: &str) -> Error {
    let (name, types) = call.strip_suffix(')').unwrap_or(call).split_once('(').unwrap_or((call, ""));
    let mut types: Vec<String> = separate(types).into_iter().map(postgres_type).collect();
    // What is ordered WITHIN GROUP stands behind the other arguments.
    if SetFunction::named(name).is_some_and(SetFunction::is_within_group) && !types.is_empty() {
        types.rotate_left(1);
    }
    Error::new(SqlState::UNDEFINED_FUNCTION, format!("function {name}({}) does not exist", types.join(", ")))
        .with_hint("No function matches the given name and argument types. You might need to add explicit type casts.")
}

/// `... column "t.b" must appear in the GROUP BY clause ...`
fn not_grouped(message: &str) -> Error {
    let name = message.split('"').nth(1).unwrap_or_default();
    Error::new(
        SqlState::GROUPING_ERROR,
        format!("column \"{name}\" must appear in the GROUP BY clause or be used in an aggregate function"),
    )
}

/// At commas that are in no parentheses.
fn separate(types: &str) -> Vec<&str> {
    let mut depth = 0_usize;
    let at_comma = |c: char| {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    };
    types.split(at_comma).map(str::trim).filter(|part| !part.is_empty()).collect()
}

fn postgres_type(shown: &str) -> String {
    let inside = |name: &str| shown.strip_prefix(name)?.strip_prefix('(')?.strip_suffix(')');
    if let Some(element) = inside("List") {
        return format!("{}[]", postgres_type(element));
    }
    match shown.split('(').next().unwrap_or(shown) {
        "Decimal128" => "numeric".to_owned(),
        "Timestamp" if shown.contains('"') => "timestamp with time zone".to_owned(),
        "Timestamp" => "timestamp without time zone".to_owned(),
        "Interval" | "Duration" => "interval".to_owned(),
        "FixedSizeBinary" => "uuid".to_owned(),
        "LargeUtf8" => "jsonb".to_owned(),
        "Null" => "unknown".to_owned(),
        _ => postgres_types(shown),
    }
}

/// `Utf8 + Int64 to valid types` -> `text + bigint`.
fn postgres_types(types: &str) -> String {
    let word = |word: &str| {
        match word {
            "Boolean" => "boolean",
            "Int16" => "smallint",
            "Int32" => "integer",
            "Int64" => "bigint",
            "Float32" => "real",
            "Float64" => "double precision",
            "Utf8" => "text",
            "Date32" => "date",
            "Binary" => "bytea",
            _ => "",
        }
        .to_string()
    };
    let types = types.trim_end_matches(" to valid types");
    let translated = types.split(' ').map(|part| match word(part) {
        known if !known.is_empty() => known,
        _ => part.to_string(),
    });
    translated.collect::<Vec<_>>().join(" ")
}

fn suggesting(error: Error, name: &str, candidates: &[&str]) -> Error {
    match nearest(name, candidates) {
        Some(candidate) => error.with_hint(format!("Perhaps you meant \"{candidate}\".")),
        None => error,
    }
}

/// The candidate with the fewest edits, if it is near; an abbreviation of a candidate counts as near.
fn nearest<'a>(name: &str, candidates: &[&'a str]) -> Option<&'a str> {
    let limit = name.chars().count().div_ceil(3).max(1);
    let near = candidates.iter().filter_map(|candidate| {
        let edits = edit_distance(name, candidate);
        let abbreviates = name.len() >= 3 && candidate.starts_with(name);
        (edits <= limit || abbreviates).then_some((edits, *candidate))
    });
    near.min().map(|(_, candidate)| candidate)
}

/// Levenshtein's distance, in characters.
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, to) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row.last().copied().unwrap_or_default()
}

/// 1-based characters from the text's beginning, from a 1-based line and column.
fn character_position(sql_text: &str, span: Span) -> Option<usize> {
    let line = usize::try_from(span.start.line).ok()?.checked_sub(1)?;
    let column = usize::try_from(span.start.column).ok()?;
    let before: usize = sql_text.split('\n').take(line).map(|line| line.chars().count() + 1).sum();
    (column > 0 && line < sql_text.split('\n').count()).then_some(before + column)
}

/// DataFusion does not keep the place of every name: the first occurrence of the quoted name as a whole word.
fn named_position(sql_text: &str, error: &Error) -> Option<usize> {
    let located = [SqlState::UNDEFINED_COLUMN, SqlState::UNDEFINED_TABLE, SqlState::AMBIGUOUS_COLUMN];
    if !located.contains(&error.state()) && error.state() != SqlState::GROUPING_ERROR {
        return None;
    }
    let name = match error.message().split('"').nth(1) {
        Some(quoted) => quoted,
        None => error.message().strip_prefix("column ")?.split(' ').next()?,
    };
    let name = name.rsplit('.').next().unwrap_or(name);
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let lowered = sql_text.to_ascii_lowercase();
    let found = lowered.match_indices(&name.to_ascii_lowercase()).find(|(at, found)| {
        let before = lowered[..*at].chars().next_back();
        let after = lowered[*at + found.len()..].chars().next();
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    });
    found.map(|(at, _)| sql_text[..at].chars().count() + 1)
}

#[cfg(test)]
mod tests;
