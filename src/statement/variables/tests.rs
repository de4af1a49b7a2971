use super::*;

#[test]
fn sets_checks_and_reports() {
    let mut variables = Variables::default();
    assert!(variables.take_changes().iter().any(|(name, value)| name == "TimeZone" && value == "UTC"));
    variables.set("TimeZone", Some("europe/berlin")).unwrap();
    assert_eq!(variables.take_changes(), [("TimeZone".to_owned(), "Europe/Berlin".to_owned())]);
    variables.set("statement_timeout", Some("2min")).unwrap();
    assert_eq!(variables.statement_timeout(), Some(Duration::from_secs(120)));
    variables.set("statement_timeout", None).unwrap();
    assert_eq!(variables.statement_timeout(), None);
    let error = variables.set("client_encoding", Some("LATIN1")).unwrap_err();
    assert_eq!(error.state(), SqlState::INVALID_PARAMETER);
    assert_eq!(variables.set("no_such", Some("1")).unwrap_err().state(), SqlState::UNDEFINED_OBJECT);
}
