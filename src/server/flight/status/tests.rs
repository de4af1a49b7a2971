//! What a client sees of an error.

use super::*;

#[test]
fn an_error_keeps_its_sqlstate_detail_and_hint() {
    let error = Error::new(SqlState::UNDEFINED_COLUMN, "column \"temp\" does not exist")
        .with_hint("Perhaps you meant \"temperature\".")
        .with_position(8);
    let status = status(&error);
    assert_eq!(status.code(), Code::InvalidArgument);
    let text = "42703: column \"temp\" does not exist\nHINT:  Perhaps you meant \"temperature\".\nPOSITION:  8";
    assert_eq!(status.message(), text);
    assert_eq!(status.metadata().get(SQLSTATE).unwrap(), "42703");
}

/// A client of its own accord is CANCELLED, which pyarrow takes for the user's Ctrl-C.
#[test]
fn a_statement_timeout_is_a_deadline() {
    let timed_out = Error::statement_timeout();
    assert_eq!(status(&timed_out).code(), Code::DeadlineExceeded);
    assert_eq!(status(&timed_out).metadata().get(SQLSTATE).unwrap(), "57014");
    let canceled = Error::new(SqlState::QUERY_CANCELED, "canceling statement due to user request");
    assert_eq!(status(&canceled).code(), Code::Cancelled);
}

#[test]
fn every_sqlstate_has_a_code_that_fits() {
    let code_of = |state: &str| {
        let (state, _) = SqlState::ALL.iter().find(|(known, _)| known.0 == state).unwrap();
        code(*state)
    };
    let expected = [
        ("0A000", Code::Unimplemented),
        ("28P01", Code::Unauthenticated),
        ("42601", Code::InvalidArgument),
        ("22012", Code::InvalidArgument),
        ("42P01", Code::NotFound),
        ("34000", Code::NotFound),
        ("53200", Code::ResourceExhausted),
        ("57014", Code::Cancelled),
        ("57P01", Code::Unavailable),
        ("40001", Code::Aborted),
        ("55000", Code::FailedPrecondition),
        ("XX000", Code::Internal),
        ("XX001", Code::DataLoss),
    ];
    for (state, expected) in expected {
        assert_eq!(code_of(state), expected, "{state}");
    }
    assert!(SqlState::ALL.iter().all(|(state, _)| !matches!(code(*state), Code::Ok | Code::Unknown)));
}
