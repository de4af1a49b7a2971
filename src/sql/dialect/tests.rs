use std::ops::ControlFlow;

use sqlparser::ast::{Expr, visit_expressions_mut};

use crate::error::SqlState;
use crate::sql::{parse_expression, parse_query};

/// Every operator in parentheses, and no others.
fn read(sql: &str) -> String {
    let mut expr = parse_expression(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    let _ = visit_expressions_mut(&mut expr, |expr| {
        let inner = std::mem::replace(expr, Expr::value(sqlparser::ast::Value::Null));
        *expr = match inner {
            Expr::Nested(inner) => *inner,
            plain @ (Expr::Identifier(_) | Expr::Value(_) | Expr::Case { .. } | Expr::Exists { .. }) => plain,
            operator => Expr::Nested(Box::new(operator)),
        };
        ControlFlow::<()>::Continue(())
    });
    expr.to_string()
}

#[test]
fn what_is_printed_reads_the_same() {
    for (written, printed) in [
        ("@ -5", "@(-5)"),
        ("- -a", "-(-a)"),
        ("@ -a + b", "@(-a + b)"),
        ("- (-a)", "-(-a)"),
        ("a - -b", "a - -b"),
        ("|/ @ a", "|/(@a)"),
    ] {
        let expr = parse_expression(written).unwrap();
        assert_eq!(expr.to_string(), printed, "{written}");
        assert_eq!(read(printed), read(written), "{written}");
    }
}

/// The right column is what PostgreSQL 15 makes of a view whose select list holds the left one (pg_get_viewdef).
#[test]
fn operators_bind_as_in_postgresql() {
    for (written, expected) in [
        ("a IS NOT DISTINCT FROM b AND p", "((a IS NOT DISTINCT FROM b) AND p)"),
        ("a IS DISTINCT FROM b OR p", "((a IS DISTINCT FROM b) OR p)"),
        ("NOT a IS DISTINCT FROM b", "(NOT (a IS DISTINCT FROM b))"),
        ("p IS DISTINCT FROM a = b", "(p IS DISTINCT FROM (a = b))"),
        ("-a ^ 2", "((-a) ^ 2)"),
        ("a ^ -b", "(a ^ (-b))"),
        ("- a % b", "((-a) % b)"),
        ("-a * b + c", "(((-a) * b) + c)"),
        ("- -a", "(-(-a))"),
        ("+a * -b", "((+a) * (-b))"),
        ("a - -b", "(a - (-b))"),
        ("a ^ b ^ c", "((a ^ b) ^ c)"),
        ("a - b - c", "((a - b) - c)"),
        ("a / b * c", "((a / b) * c)"),
        ("a + b * c", "(a + (b * c))"),
        ("a * b ^ c", "(a * (b ^ c))"),
        ("~ a + b", "(~(a + b))"),
        ("@ a + b", "(@(a + b))"),
        ("~ a # b", "((~a) # b)"),
        ("|/ a + b", "(|/(a + b))"),
        ("a + b || t", "((a + b) || t)"),
        ("t || a + b", "(t || (a + b))"),
        ("t || u = v", "((t || u) = v)"),
        ("t ~ u = p", "((t ~ u) = p)"),
        ("t ~ u || v", "((t ~ u) || v)"),
        ("t !~~ u IS NULL", "((t !~~ u) IS NULL)"),
        ("t OPERATOR(pg_catalog.~) u = p", "((t OPERATOR(pg_catalog.~) u) = p)"),
        ("a OPERATOR(pg_catalog.*) b + c", "(a OPERATOR(pg_catalog.*) (b + c))"),
        ("a | b & c", "((a | b) & c)"),
        ("a & b | c", "((a & b) | c)"),
        ("a # b & c", "((a # b) & c)"),
        ("a << b + c", "(a << (b + c))"),
        ("a << b << c", "((a << b) << c)"),
        ("a | b = c", "((a | b) = c)"),
        ("a + b < c * d", "((a + b) < (c * d))"),
        ("a < b AND p OR q", "(((a < b) AND p) OR q)"),
        ("p OR q AND r", "(p OR (q AND r))"),
        ("NOT p AND q", "((NOT p) AND q)"),
        ("NOT p = q", "(NOT (p = q))"),
        ("NOT a < b OR p", "((NOT (a < b)) OR p)"),
        ("NOT p IS NULL", "(NOT (p IS NULL))"),
        ("a = b IS NULL", "((a = b) IS NULL)"),
        ("a < b IS TRUE", "((a < b) IS TRUE)"),
        ("p AND q IS NULL", "(p AND (q IS NULL))"),
        ("a ISNULL AND p", "((a IS NULL) AND p)"),
        ("a = b ISNULL", "((a = b) IS NULL)"),
        ("a + b NOTNULL", "((a + b) IS NOT NULL)"),
        ("t LIKE u || v", "(t LIKE (u || v))"),
        ("NOT t LIKE u", "(NOT (t LIKE u))"),
        ("t NOT LIKE u OR p", "((t NOT LIKE u) OR p)"),
        ("p = t LIKE u", "(p = (t LIKE u))"),
        ("t LIKE u = p", "((t LIKE u) = p)"),
        ("a BETWEEN b AND c AND p", "((a BETWEEN b AND c) AND p)"),
        ("a BETWEEN b AND c = p", "((a BETWEEN b AND c) = p)"),
        ("a BETWEEN b + 1 AND c * 2 OR p", "((a BETWEEN (b + 1) AND (c * 2)) OR p)"),
        ("NOT a BETWEEN b AND c", "(NOT (a BETWEEN b AND c))"),
        ("a + 1 IN (b, c)", "((a + 1) IN (b, c))"),
        ("a IN (b, c) = p", "((a IN (b, c)) = p)"),
        ("p = a IN (b, c)", "(p = (a IN (b, c)))"),
        ("z AT TIME ZONE t || u", "((z AT TIME ZONE t) || u)"),
        ("z AT TIME ZONE t - i", "((z AT TIME ZONE t) - i)"),
        ("- a::bigint * 2", "((-(a::BIGINT)) * 2)"),
        ("a + b::bigint", "(a + (b::BIGINT))"),
        ("t COLLATE \"C\" || u", "((t COLLATE \"C\") || u)"),
        ("a IS NULL = p", "((a IS NULL) = p)"),
        ("a + b = ANY (x)", "((a + b) = ANY(x))"),
        ("CASE WHEN p THEN a ELSE b END + c", "(CASE WHEN p THEN a ELSE b END + c)"),
    ] {
        assert_eq!(read(written), expected, "{written}");
    }
}

#[test]
fn comparisons_do_not_follow_one_another() {
    for sql in ["a < b < c", "a = b = p", "a <> b >= c", "p = q <> r"] {
        let error = parse_expression(sql).unwrap_err();
        assert_eq!(
            (error.state(), error.position()),
            (SqlState::SYNTAX_ERROR, Some(7 + usize::from(sql.contains("<>") && sql.starts_with('a')))),
            "{sql}"
        );
    }
    assert_eq!(read("(a < b) = (b < c)"), "((a < b) = (b < c))");
}

#[test]
fn reserved_words_are_no_columns() {
    for (sql, position) in [
        ("SELECT 1 + FROM t", 12),
        ("SELECT a, FROM t", 11),
        ("SELECT a FROM t WHERE ORDER BY a", 23),
        ("SELECT * name FROM t", 10),
    ] {
        let error = parse_query(sql).unwrap_err();
        assert_eq!((error.state(), error.position()), (SqlState::SYNTAX_ERROR, Some(position)), "{sql}: {error:?}");
    }
    assert_eq!(read("a + \"from\""), "(a + \"from\")");
}

#[test]
fn joins_nest_without_parentheses() {
    for (written, expected) in [
        ("a JOIN b JOIN c ON p ON q", "a JOIN (b JOIN c ON p) ON q"),
        ("a LEFT JOIN b JOIN c ON p ON q JOIN d ON r", "a LEFT JOIN (b JOIN c ON p) ON q JOIN d ON r"),
        ("a JOIN b ON p JOIN c ON q", "a JOIN b ON p JOIN c ON q"),
        ("a JOIN b JOIN c JOIN d ON p ON q ON r", "a JOIN (b JOIN (c JOIN d ON p) ON q) ON r"),
        ("a CROSS JOIN b JOIN c ON p", "a CROSS JOIN b JOIN c ON p"),
        ("a NATURAL JOIN b JOIN c ON p", "a NATURAL JOIN b JOIN c ON p"),
    ] {
        let query = parse_query(&format!("SELECT 1 FROM {written}")).unwrap();
        assert_eq!(query.to_string(), format!("SELECT 1 FROM {expected}"), "{written}");
    }
}
