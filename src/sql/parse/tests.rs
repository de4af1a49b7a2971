use super::*;
use crate::catalog::TableKind;
use crate::types::SqlType;

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
    assert!(matches!(one("SET TIME ZONE 'Europe/Berlin'"), Statement::Set { name, value: Some(value) }
        if name == "timezone" && value == "Europe/Berlin"));
    assert!(matches!(one("set extra_float_digits = -1"), Statement::Set { value: Some(value), .. } if value == "-1"));
    assert!(matches!(one("SET x TO DEFAULT"), Statement::Set { value: None, .. }));
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
    fails("SELECT * FORM t", SqlState::SYNTAX_ERROR, "syntax error at or near \"t\"", Some(15));
    fails("SELECT (1", SqlState::SYNTAX_ERROR, "syntax error at end of input", Some(10));
    fails("SELECT 1;\nSELECT 'x", SqlState::SYNTAX_ERROR, "unterminated quoted string", Some(18));
    fails("CREATE TABLE t (a foo)", SqlState::UNDEFINED_OBJECT, "type \"foo\" does not exist", None);
    fails("CREATE TABLE t (a jsonb)", SqlState::FEATURE_NOT_SUPPORTED, "type jsonb is not supported yet", None);
    fails("SUBSCRIBE v", SqlState::FEATURE_NOT_SUPPORTED, "SUBSCRIBE is not supported yet", None);
}
