use super::*;
use crate::catalog::TableKind;
use crate::sql::{CopyTarget, CursorQuery, Fetch, Subscribe};
use crate::types::{CommitNumber, SqlType};

fn one(sql: &str) -> Statement {
    let mut statements = parse_statements(sql).unwrap();
    assert_eq!(statements.len(), 1, "{sql}");
    statements.remove(0).statement
}

fn fails(sql: &str, state: SqlState, message: &str, position: Option<usize>) {
    let error = parse_statements(sql).unwrap_err();
    assert_eq!((error.state(), error.message(), error.position()), (state, message, position), "{sql}: {error:?}");
}

#[test]
fn splits_and_keeps_each_text() {
    let statements = parse_statements(";; select 1 ; select 'a;b' -- end;\n;").unwrap();
    let texts: Vec<&str> = statements.iter().map(ParsedStatement::sql).collect();
    assert_eq!(texts, ["select 1", "select 'a;b'"]);
}

#[test]
fn an_operator_ends_with_a_sign_only_as_in_postgresql() {
    for (written, printed) in [("a->>-1", "a ->> -1"), ("a->-1", "a -> -1"), ("a<>-1", "a <> -1"), ("a=-1", "a = -1")] {
        assert_eq!(parse_expression(written).unwrap().to_string(), printed, "{written}");
    }
    fails("SELECT a->>-;", SqlState::SYNTAX_ERROR, "syntax error at end of input", Some(14));
}

#[test]
fn the_three_kinds_of_table() {
    let Statement::CreateTable(plain) = one("create table public.Readings (Device int not null, v numeric(10,2))")
    else {
        panic!()
    };
    assert_eq!((plain.name.as_str(), &plain.kind), ("readings", &TableKind::Plain));
    assert_eq!(plain.columns[0].name, "device");
    assert!(plain.columns[0].not_null);
    assert_eq!(plain.columns[1].sql_type, SqlType::Numeric { precision: 10, scale: 2 });
    let Statement::CreateTable(log) = one("CREATE TABLE log (ts timestamptz, t text) APPEND ONLY") else { panic!() };
    assert_eq!(log.kind, TableKind::AppendOnly);
    let Statement::CreateTable(keyed) =
        one("CREATE TABLE d (a int, b text, PRIMARY KEY (b, a)) WITH (on_conflict = 'update')")
    else {
        panic!()
    };
    assert_eq!(keyed.kind, TableKind::PrimaryKey { columns: vec![1, 0] });
    assert!(keyed.upsert && keyed.columns.iter().all(|column| column.not_null));
}

#[test]
fn sources_and_copy() {
    let Statement::CreateSource(source) =
        one("CREATE SOURCE r (ts timestamptz) WITH (connector = 'fleet', trucks = 100)")
    else {
        panic!()
    };
    assert_eq!((source.connector.as_str(), source.options["trucks"].as_str()), ("fleet", "100"));
    for sql in [
        "COPY r (a, b) FROM STDIN WITH (FORMAT csv, HEADER, NULL 'NA')",
        "copy r(a,b) from stdin csv header null 'NA'",
        "COPY r (a, b) FROM STDIN WITH CSV HEADER NULL AS 'NA'",
    ] {
        let Statement::Copy(copy) = one(sql) else { panic!() };
        let names: Vec<&str> = copy.options.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["format", "header", "null"], "{sql}");
    }
}

#[test]
fn settings_explain_and_verify() {
    assert!(matches!(one("SET TIME ZONE 'Europe/Berlin'"), Statement::Set { name, value: Some(value), .. }
        if name == "timezone" && value == "Europe/Berlin"));
    assert!(matches!(one("set extra_float_digits = -1"), Statement::Set { value: Some(value), .. } if value == "-1"));
    assert!(matches!(one("SET x TO DEFAULT"), Statement::Set { value: None, is_local: false, .. }));
    assert!(matches!(one("SET LOCAL x = 1"), Statement::Set { is_local: true, .. }));
    assert!(matches!(one("SHOW TRANSACTION ISOLATION LEVEL"), Statement::Show(name)
        if name == "transaction isolation level"));
    assert!(matches!(one("VERIFY MATERIALIZED VIEW v"), Statement::Verify(name) if name == "v"));
    let Statement::Explain(explain) = one("EXPLAIN (ANALYZE, VERBOSE off) SELECT 1") else { panic!() };
    assert!(explain.analyze && !explain.verbose);
    assert!(matches!(one("EXPLAIN (SELECT 1)"), Statement::Explain(_)));
}

#[test]
fn errors_name_the_place() {
    fails("SELEC 1", SqlState::SYNTAX_ERROR, "syntax error at or near \"SELEC\"", Some(1));
    fails("SELECT * FORM t", SqlState::SYNTAX_ERROR, "syntax error at or near \"FORM\"", Some(10));
    fails("SELECT (1", SqlState::SYNTAX_ERROR, "syntax error at end of input", Some(10));
    fails("SELECT 1;\nSELECT 'x", SqlState::SYNTAX_ERROR, "unterminated quoted string", Some(18));
    fails("CREATE TABLE t (a foo)", SqlState::UNDEFINED_OBJECT, "type \"foo\" does not exist", None);
    fails("CREATE TABLE t (a json)", SqlState::FEATURE_NOT_SUPPORTED, "type json is not supported yet", None);
    fails("TRUNCATE v", SqlState::FEATURE_NOT_SUPPORTED, "TRUNCATE is not supported yet", None);
}

#[test]
fn subscriptions() {
    let plain = Subscribe { name: "v".to_owned(), snapshot: true, progress: false, as_of: None };
    for sql in ["SUBSCRIBE v", "subscribe to public.V", "SUBSCRIBE (SELECT * FROM v)", "SUBSCRIBE TO (select * from V)"]
    {
        assert!(matches!(one(sql), Statement::Subscribe(subscribe) if subscribe == plain), "{sql}");
    }
    let all = Subscribe { snapshot: false, progress: true, as_of: Some(CommitNumber(7)), ..plain };
    for sql in [
        "SUBSCRIBE v WITH (SNAPSHOT = false, PROGRESS) AS OF COMMIT 7",
        "SUBSCRIBE TO v AS OF COMMIT 7 WITH (progress true, snapshot = off)",
    ] {
        assert!(matches!(one(sql), Statement::Subscribe(subscribe) if subscribe == all), "{sql}");
    }
    let Statement::Copy(copy) = one("COPY (SUBSCRIBE v WITH (SNAPSHOT = false)) TO STDOUT (FORMAT csv)") else {
        panic!()
    };
    assert!(matches!(copy.target, CopyTarget::Subscribe(subscribe) if !subscribe.snapshot));
    for sql in ["SUBSCRIBE (SELECT a FROM v)", "SUBSCRIBE (SELECT * FROM v, w)", "SUBSCRIBE (SELECT * FROM v LIMIT 1)"]
    {
        fails(sql, SqlState::FEATURE_NOT_SUPPORTED, "SUBSCRIBE to a query is not supported yet", None);
    }
    fails(
        "SUBSCRIBE v UP TO COMMIT 3",
        SqlState::FEATURE_NOT_SUPPORTED,
        "UP TO of a subscription is not supported yet",
        None,
    );
    fails("SUBSCRIBE v WITH (SNAPSHOT = 3)", SqlState::SYNTAX_ERROR, "syntax error at or near \"3\"", Some(30));
    fails("SUBSCRIBE v WITH (x)", SqlState::SYNTAX_ERROR, "subscription option \"x\" not recognized", None);
    fails("SUBSCRIBE v AS OF COMMIT x", SqlState::SYNTAX_ERROR, "syntax error at or near \"x\"", Some(26));
}

#[test]
fn cursors() {
    let Statement::DeclareCursor(declare) = one("DECLARE \"C\" NO SCROLL CURSOR WITHOUT HOLD FOR SELECT 1") else {
        panic!()
    };
    assert_eq!(declare.name, "C");
    assert!(matches!(declare.query, CursorQuery::Query(_)));
    let Statement::DeclareCursor(declare) = one("declare c cursor for subscribe v") else { panic!() };
    assert!(matches!(declare.query, CursorQuery::Subscribe(_)));
    for (sql, rows_max, timeout_ms) in [
        ("FETCH c", Some(1), None),
        ("FETCH NEXT FROM c", Some(1), None),
        ("FETCH FORWARD c", Some(1), None),
        ("FETCH 5 IN c", Some(5), None),
        ("FETCH ALL c WITH (timeout = '100 ms')", None, Some(100)),
        ("FETCH FORWARD ALL FROM \"c\" WITH (timeout '1.5s')", None, Some(1500)),
        ("FETCH FORWARD 3 c WITH (TIMEOUT = 0)", Some(3), Some(0)),
    ] {
        let Statement::Fetch(fetch) = one(sql) else { panic!("{sql}") };
        let timeout = timeout_ms.map(std::time::Duration::from_millis);
        assert_eq!(fetch, Fetch { cursor: "c".to_owned(), rows_max, timeout, moves: false }, "{sql}");
    }
    assert!(matches!(one("FETCH next"), Statement::Fetch(fetch) if fetch.cursor == "next"));
    assert!(matches!(one("MOVE 2 c"), Statement::Fetch(fetch) if fetch.moves && fetch.rows_max == Some(2)));
    assert!(matches!(one("CLOSE c"), Statement::CloseCursor(Some(name)) if name == "c"));
    assert!(matches!(one("CLOSE ALL"), Statement::CloseCursor(None)));
    let (not_built, state) = (SqlState::FEATURE_NOT_SUPPORTED, SqlState::OBJECT_NOT_IN_STATE);
    fails("DECLARE c SCROLL CURSOR FOR SELECT 1", not_built, "a SCROLL cursor is not supported yet", None);
    fails("DECLARE c CURSOR WITH HOLD FOR SELECT 1", not_built, "a cursor WITH HOLD is not supported yet", None);
    fails("FETCH ABSOLUTE 3 c", not_built, "FETCH ABSOLUTE is not supported yet", None);
    fails("FETCH BACKWARD c", state, "cursor can only scan forward", None);
    fails("FETCH -1 c", state, "cursor can only scan forward", None);
    fails(
        "FETCH c WITH (timeout = '-1s')",
        SqlState::INVALID_PARAMETER,
        "\"-1s\" is not a length of time to wait",
        None,
    );
    fails("DECLARE c CURSOR SELECT 1", SqlState::SYNTAX_ERROR, "syntax error at or near \"SELECT\"", Some(18));
}
