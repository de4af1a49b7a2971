//! Errors as gRPC knows them: a code, a message with detail and hint, and the SQLSTATE beside it as metadata.

use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

use crate::error::{Error, SqlState};

/// Name of the metadata entry that holds the SQLSTATE.
pub(super) const SQLSTATE: &str = "sqlstate";

/// The message has lines as psql shows them, the first one `SQLSTATE: message`.
pub(super) fn status(error: &Error) -> Status {
    let mut text = format!("{}: {}", error.state(), error.message());
    let position = error.position().map(|position| position.to_string());
    let lines = [
        ("DETAIL", error.detail()),
        ("HINT", error.hint()),
        ("CONTEXT", error.context()),
        ("POSITION", position.as_deref()),
    ];
    for (name, value) in lines {
        if let Some(value) = value {
            text.push_str(&format!("\n{name}:  {value}"));
        }
    }
    let code = if error.is_statement_timeout() { Code::DeadlineExceeded } else { code(error.state()) };
    let mut status = Status::new(code, text);
    status.metadata_mut().insert(SQLSTATE, MetadataValue::from_static(error.state().0));
    status
}

/// By SQLSTATE, and else by its class.
fn code(state: SqlState) -> Code {
    match state {
        SqlState::FEATURE_NOT_SUPPORTED => Code::Unimplemented,
        SqlState::QUERY_CANCELED => Code::Cancelled,
        SqlState::UNDEFINED_TABLE
        | SqlState::UNDEFINED_OBJECT
        | SqlState::INVALID_STATEMENT_NAME
        | SqlState::INVALID_CURSOR_NAME
        | SqlState::INVALID_CATALOG_NAME
        | SqlState::INVALID_SCHEMA_NAME => Code::NotFound,
        SqlState::UNIQUE_VIOLATION => Code::AlreadyExists,
        SqlState::DATA_CORRUPTED => Code::DataLoss,
        SqlState(other) => match other.get(..2).unwrap_or_default() {
            "21" | "22" | "42" | "08" => Code::InvalidArgument,
            "28" => Code::Unauthenticated,
            "40" => Code::Aborted,
            "53" | "54" => Code::ResourceExhausted,
            "57" => Code::Unavailable,
            "XX" | "58" => Code::Internal,
            _ => Code::FailedPrecondition,
        },
    }
}

#[cfg(test)]
mod tests;
