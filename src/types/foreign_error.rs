//! Arrow's and DataFusion's errors as ours.
//!
//! Our own errors travel through DataFusion as `DataFusionError::External` and come out unchanged.

use std::io;

use arrow::error::ArrowError;
use datafusion::common::DataFusionError;
use parquet::errors::ParquetError;

use crate::error::{Error, SqlState};

impl From<ArrowError> for Error {
    fn from(error: ArrowError) -> Self {
        match error {
            ArrowError::DivideByZero => Error::new(SqlState::DIVISION_BY_ZERO, "division by zero"),
            ArrowError::ArithmeticOverflow(detail) => {
                Error::new(SqlState::NUMERIC_OUT_OF_RANGE, "value out of range").with_detail(detail)
            }
            ArrowError::ParquetError(message) => Error::corrupted("a file cannot be read").with_detail(message),
            ArrowError::ParseError(message) => Error::new(SqlState::INVALID_TEXT_REPRESENTATION, message),
            ArrowError::CastError(message) => cast_error(message),
            ArrowError::ComputeError(message) => Error::new(SqlState::INVALID_PARAMETER, message),
            ArrowError::InvalidArgumentError(message) => match decimal_overflow(&message) {
                Some(error) => error,
                None => Error::new(SqlState::INVALID_PARAMETER, message),
            },
            ArrowError::ExternalError(source) if storage(&*source).is_some() => {
                storage(&*source).unwrap_or_else(|| Error::internal(source))
            }
            ArrowError::ExternalError(source) => match source.downcast::<Error>() {
                Ok(ours) => *ours,
                Err(source) => match source.downcast::<DataFusionError>() {
                    Ok(theirs) => from_datafusion(*theirs),
                    Err(source) => Error::internal(source),
                },
            },
            other => storage(&other).unwrap_or_else(|| Error::internal(&other).with_source(other)),
        }
    }
}

impl From<DataFusionError> for Error {
    fn from(error: DataFusionError) -> Self {
        from_datafusion(error)
    }
}

/// What DataFusion raised, with the SQLSTATE a PostgreSQL client expects.
///
/// Schema errors (unknown columns and tables) are given their position and suggestion by `plan`, which has the text.
pub fn from_datafusion(error: DataFusionError) -> Error {
    if let Some(error) = storage(&error) {
        return error;
    }
    match error {
        DataFusionError::External(source) => match source.downcast::<Error>() {
            Ok(ours) => *ours,
            Err(source) => match source.downcast::<ArrowError>() {
                Ok(arrow) => Error::from(*arrow),
                Err(source) => Error::internal(source),
            },
        },
        DataFusionError::ArrowError(arrow, _) => Error::from(*arrow),
        DataFusionError::Context(_, inner) => from_datafusion(*inner),
        DataFusionError::Diagnostic(_, inner) => from_datafusion(*inner),
        DataFusionError::Shared(inner) => match std::sync::Arc::try_unwrap(inner) {
            Ok(inner) => from_datafusion(inner),
            Err(shared) => from_shared(&shared),
        },
        DataFusionError::Collection(mut errors) if !errors.is_empty() => from_datafusion(errors.remove(0)),
        DataFusionError::ResourcesExhausted(detail) => {
            Error::new(SqlState::OUT_OF_MEMORY, "the query needs more memory than it may use")
                .with_detail(detail)
                .with_hint("Select fewer columns or rows, or raise query.memory_bytes.")
        }
        DataFusionError::NotImplemented(what)
            if [" Exists(", "OuterReferenceColumn(", " InSubquery("].iter().any(|part| what.contains(part)) =>
        {
            Error::not_built("a subquery in this place, or one that reads the outer row in this way,")
                .with_hint("Join its tables, or put it into a WHERE clause.")
        }
        DataFusionError::Plan(what) if what.contains("Correlated scalar subquery must be aggregated") => {
            Error::not_built("a scalar subquery in this place that may give more than one row")
                .with_hint("Aggregate its rows, end it with LIMIT 1, or join its tables.")
        }
        DataFusionError::NotImplemented(what) if what.contains("JOIN operator AsOf") => Error::not_built("ASOF JOIN")
            .with_hint("Ad hoc, a scalar subquery with ORDER BY and LIMIT 1 finds the nearest row."),
        DataFusionError::NotImplemented(what) if what.contains("can not be used as a sliding accumulator") => {
            let call = what.rsplit_once("not implemented: ").map_or("", |(_, call)| call);
            let name = call.split('(').next().unwrap_or_default();
            Error::not_built(format!("{name} over a window frame whose start moves"))
                .with_hint("Begin the frame with UNBOUNDED PRECEDING.")
        }
        DataFusionError::NotImplemented(what) => Error::new(SqlState::FEATURE_NOT_SUPPORTED, what)
            .with_hint("This expression or clause is not supported by the query engine yet."),
        DataFusionError::SQL(parse, _) => Error::new(SqlState::SYNTAX_ERROR, parse.to_string()),
        DataFusionError::Plan(message) if message.contains("non-boolean predicate") => {
            Error::new(SqlState::DATATYPE_MISMATCH, "argument of WHERE must be type boolean").with_detail(message)
        }
        DataFusionError::Plan(message) if message.starts_with("LIMIT must be >=") => {
            Error::new(SqlState::INVALID_ROW_COUNT_IN_LIMIT, "LIMIT must not be negative")
        }
        DataFusionError::Plan(message) if message.starts_with("OFFSET must be >=") => {
            Error::new(SqlState::INVALID_ROW_COUNT_IN_OFFSET, "OFFSET must not be negative")
        }
        DataFusionError::Plan(message) if message.contains("does not satisfy order requirements") => {
            Error::not_built("a query whose window functions stand over others in several orders,")
                .with_hint("Create it as a materialized view, which needs no order of its rows, and select from that.")
        }
        DataFusionError::Plan(message) => Error::new(plan_state(&message), message),
        DataFusionError::Execution(message) if message.starts_with("NTILE requires a positive integer") => {
            Error::new(SqlState::INVALID_ARGUMENT_FOR_NTILE, "argument of ntile must be greater than zero")
        }
        DataFusionError::Execution(message) => Error::new(execution_state(&message), message),
        other => Error::internal(&other),
    }
}

/// What a file raised, if that is behind it: an error of ours about damage, the store's, or that of a query's own file.
fn storage(error: &(dyn std::error::Error + 'static)) -> Option<Error> {
    let mut store = None;
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<object_store::Error>() {
            store.get_or_insert(error);
        }
        if let Some(parquet) = error.downcast_ref::<ParquetError>()
            && !matches!(parquet, ParquetError::External(_))
        {
            return Some(Error::corrupted("a file cannot be read").with_detail(parquet.to_string()));
        }
        if let (Some(io), None) = (error.downcast_ref::<io::Error>(), store) {
            return Some(spill_error(io));
        }
        if let (Some(ours), Some(_)) = (error.downcast_ref::<Error>(), store) {
            return Some(ours.clone());
        }
        cause = error.source();
    }
    let store = store?;
    Some(
        Error::new(SqlState::IO_ERROR, "the object store failed")
            .with_detail(store.to_string())
            .with_hint("Reading goes on once the object store answers."),
    )
}

/// What a query keeps on disk while it runs could not be written or read.
fn spill_error(error: &io::Error) -> Error {
    // Some writers wrap the error, and keep no more of its kind than the text.
    let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
        || error.to_string().contains("(os error 28)");
    let state = if full { SqlState::DISK_FULL } else { SqlState::IO_ERROR };
    Error::new(state, format!("a query could not use the disk: {error}"))
        .with_hint("What a query sorts or groups goes to disk where it needs more than query.memory_bytes.")
}

fn from_shared(error: &DataFusionError) -> Error {
    match error {
        DataFusionError::External(source) => match source.downcast_ref::<Error>() {
            Some(ours) => ours.clone(),
            None => Error::internal(source),
        },
        DataFusionError::ArrowError(arrow, _) => match arrow.as_ref() {
            ArrowError::DivideByZero => Error::from(ArrowError::DivideByZero),
            ArrowError::ArithmeticOverflow(detail) => Error::from(ArrowError::ArithmeticOverflow(detail.clone())),
            other => Error::new(SqlState::INVALID_PARAMETER, other.to_string()),
        },
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => from_shared(inner),
        DataFusionError::Shared(inner) => from_shared(inner),
        DataFusionError::ResourcesExhausted(detail) => {
            from_datafusion(DataFusionError::ResourcesExhausted(detail.clone()))
        }
        DataFusionError::NotImplemented(what) => from_datafusion(DataFusionError::NotImplemented(what.clone())),
        DataFusionError::Execution(message) => from_datafusion(DataFusionError::Execution(message.clone())),
        other => Error::internal(other),
    }
}

/// Arrow says that a value does not fit its target in words alone.
fn cast_error(message: String) -> Error {
    let name = [("Int16", "smallint"), ("Int32", "integer"), ("Int64", "bigint")];
    let target = name.iter().find(|(arrow, _)| message.ends_with(&format!("to type {arrow}")));
    match target {
        Some((_, name)) => Error::new(SqlState::NUMERIC_OUT_OF_RANGE, format!("{name} out of range")),
        None => match decimal_overflow(&message) {
            Some(error) => error,
            None => Error::new(SqlState::INVALID_TEXT_REPRESENTATION, message),
        },
    }
}

/// `10000.00 is too large to store in a Decimal128 of precision 6. Max is 9999.99`
fn decimal_overflow(message: &str) -> Option<Error> {
    let (_, rest) = message.split_once("to store in a Decimal128 of precision ")?;
    let (precision, bound) = rest.split_once(". M")?;
    let precision: usize = precision.parse().ok()?;
    let scale = bound.rsplit_once('.').map_or(0, |(_, digits)| digits.trim().len());
    Some(Error::new(SqlState::NUMERIC_OUT_OF_RANGE, "numeric field overflow").with_detail(format!(
        "A field with precision {precision}, scale {scale} must round to an absolute value less than 10^{}.",
        precision.saturating_sub(scale)
    )))
}

fn plan_state(message: &str) -> SqlState {
    if message.contains("Invalid function") || message.contains("does not support") {
        SqlState::UNDEFINED_FUNCTION
    } else if message.contains("GROUP BY") {
        SqlState::GROUPING_ERROR
    } else if message.contains("coerce") || message.contains("Cannot cast") {
        SqlState::DATATYPE_MISMATCH
    } else {
        SqlState::SYNTAX_ERROR
    }
}

fn execution_state(message: &str) -> SqlState {
    if message.contains("Divide by zero") {
        SqlState::DIVISION_BY_ZERO
    } else if message.contains("overflow") {
        SqlState::NUMERIC_OUT_OF_RANGE
    } else {
        SqlState::INVALID_PARAMETER
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What builds a join's hash table is shared by all that probe it, and so is its error.
    #[test]
    fn a_query_beyond_memory_says_so_also_where_its_error_is_shared() {
        let exhausted = || DataFusionError::ResourcesExhausted("HashJoinInput".into());
        let shared = std::sync::Arc::new(exhausted());
        let twice = DataFusionError::Shared(shared.clone());
        for error in [Error::from(exhausted()), Error::from(twice), Error::from(DataFusionError::Shared(shared))] {
            assert_eq!(error.state(), SqlState::OUT_OF_MEMORY, "{error:?}");
            assert!(error.hint().is_some_and(|hint| hint.contains("query.memory_bytes")));
        }
    }

    #[test]
    fn a_query_that_spills_onto_a_full_disk_says_so() {
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let arrow = || ArrowError::IoError("IO error".into(), full());
        let wrapped = || DataFusionError::ArrowError(Box::new(arrow()), None);
        for error in [
            Error::from(arrow()),
            Error::from(wrapped()),
            Error::from(DataFusionError::IoError(full())),
            Error::from(DataFusionError::IoError(io::Error::other(io::Error::from_raw_os_error(28).to_string()))),
            Error::from(DataFusionError::Shared(wrapped().into())),
            Error::from(DataFusionError::Context("sorting".into(), Box::new(wrapped()))),
        ] {
            assert_eq!(error.state(), SqlState::DISK_FULL, "{error:?}");
        }
        assert_eq!(Error::from(DataFusionError::IoError(io::ErrorKind::NotFound.into())).state(), SqlState::IO_ERROR);
    }
}
