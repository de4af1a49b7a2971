//! Each rewrite as SQL in, SQL out.

use sqlparser::ast::Statement;
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

use super::*;

fn rewritten(sql: &str) -> String {
    let mut statements = Parser::parse_sql(&PostgreSqlDialect {}, sql).unwrap();
    let Some(Statement::Query(mut query)) = statements.pop() else { panic!("not a query: {sql}") };
    rewrite(&mut query, &RewriteNames { never_filled: &|name| name == "pg_policy" }).unwrap();
    query.to_string()
}

fn check(sql: &str, expected: &str) {
    assert_eq!(rewritten(sql), expected, "{sql}");
}

#[test]
fn names() {
    check(
        "SELECT pg_catalog.lower(a) AS x FROM t WHERE a OPERATOR(pg_catalog.~) '^b' COLLATE pg_catalog.default",
        "SELECT lower(a) AS x FROM t WHERE a ~ '^b'",
    );
    check(
        "SELECT c.tableoid FROM pg_catalog.pg_class c",
        "SELECT regclass_oid('pg_catalog.pg_class') FROM pg_catalog.pg_class c",
    );
}

#[test]
fn jsonb() {
    check(
        "SELECT jsonb_agg(a ORDER BY b) FILTER (WHERE a > 1) AS x FROM t",
        "SELECT jsonb_of_array(array_agg(a ORDER BY b) FILTER (WHERE a > 1)) AS x FROM t",
    );
    check(
        "SELECT jsonb_object_agg(a, b) AS x FROM t",
        "SELECT jsonb_of_pairs(array_agg(jsonb_pair(a, b))) AS x FROM t",
    );
    check("SELECT jsonb_object_keys(a) AS k FROM t", "SELECT unnest(jsonb_keys(a)) AS k FROM t");
}

#[test]
fn casts_in_groups() {
    check(
        "SELECT a::date AS d, count(*) AS n FROM t GROUP BY a::date, a",
        "SELECT named(a::DATE, 'a::DATE') AS d, count(*) AS n FROM t GROUP BY named(a::DATE, 'a::DATE'), a",
    );
    check(
        "SELECT a::date AS d, a AS b FROM t GROUP BY 1, 2",
        "SELECT named(a::DATE, 'a::DATE') AS d, a AS b FROM t GROUP BY 1, 2",
    );
    check("SELECT a::date AS d FROM t GROUP BY a::date", "SELECT a::DATE AS d FROM t GROUP BY a::DATE");
}

#[test]
fn types() {
    check("SELECT a::pg_catalog.text FROM t", "SELECT a::TEXT AS \"a\" FROM t");
    check("SELECT a FROM t WHERE b = '1'::oid", "SELECT a FROM t WHERE b = '1'::BIGINT");
    check("SELECT a FROM t WHERE b = 'r'::regclass", "SELECT a FROM t WHERE b = regclass_oid('r')");
    check("SELECT b::regclass AS n FROM t", "SELECT regclass_name(b) AS n FROM t");
    check("SELECT b::regclass::text AS n FROM t", "SELECT regclass_name(b) AS n FROM t");
    check("SELECT 'r'::regclass::oid AS n", "SELECT regclass_oid('r') AS n");
    check("SELECT 'r'::regclass", "SELECT regclass_name(regclass_oid('r')) AS \"regclass\"");
}

#[test]
fn arrays() {
    check("SELECT a FROM t WHERE a = ANY ('{1,\"b c\",NULL}')", "SELECT a FROM t WHERE a IN ('1', 'b c', NULL)");
    check("SELECT a FROM t WHERE a <> ALL (ARRAY[1, 2])", "SELECT a FROM t WHERE a NOT IN (1, 2)");
    check("SELECT a FROM t WHERE a = ANY ('{}')", "SELECT a FROM t WHERE false");
    check("SELECT a FROM t WHERE a = ANY (b)", "SELECT a FROM t WHERE a = ANY(b)");
    check(
        "SELECT ARRAY(SELECT a FROM t ORDER BY 1) AS x",
        "SELECT array_or_empty((SELECT array_agg(a ORDER BY a) AS array FROM t)) AS x",
    );
    check(
        "SELECT ARRAY(SELECT 'toast.' || x FROM pg_catalog.unnest(o) x) AS y FROM t",
        "SELECT array_transform(o, x -> 'toast.' || x) AS y FROM t",
    );
}

#[test]
fn subqueries_over_nothing() {
    check(
        "SELECT polname, (SELECT 1 FROM pg_class c WHERE c.oid = polrelid) AS x FROM pg_catalog.pg_policy",
        "SELECT polname, NULL AS x FROM pg_catalog.pg_policy",
    );
    let kept = "SELECT (SELECT 1) AS x FROM t LEFT JOIN pg_policy ON true";
    check(kept, kept);
}
