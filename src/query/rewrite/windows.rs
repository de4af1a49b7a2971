//! `TUMBLE(t, time, size)`, `HOP(t, time, slide, size)` and `SESSION(t, time, gap, key ...)` in FROM, as the queries that they stand for.
//!
//! | written | becomes |
//! |---|---|
//! | `TUMBLE(t, time, s)` | `(SELECT *, tumble_start(time, s) AS window_start, window_end(...) AS window_end FROM t)` |
//! | `HOP(t, time, d, s)` | `(SELECT *, window_end(window_start, s) AS window_end FROM (SELECT *, unnest(hop_starts(time, d, s)) AS window_start FROM t))` |
//! | `SESSION(t, time, g, k)` | `(SELECT *, session_start(time, g) OVER (PARTITION BY k ORDER BY time) AS window_start, session_end(...) ... FROM t)` |

use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, Ident, ObjectName, Query, TableAlias, TableFactor, VisitMut, VisitorMut,
    WindowType,
};

use super::names::{fill_placeholder, parts};
use crate::error::{Error, Result, SqlState};
use crate::sql::parse_query;

/// The place of the table in the templates; those of the other arguments are `$1`, `$2`, ...
const TABLE: &str = "input";

const TUMBLE: &str =
    "SELECT *, tumble_start($1, $2) AS window_start, window_end(tumble_start($1, $2), $2) AS window_end FROM input";

const HOP: &str = "SELECT *, window_end(window_start, $3) AS window_end \
     FROM (SELECT *, unnest(hop_starts($1, $2, $3)) AS window_start FROM input) AS windows";

const SESSION: &str = "SELECT *, session_start($1, $2) OVER (ORDER BY $1) AS window_start, \
     session_end($1, $2) OVER (ORDER BY $1) AS window_end FROM input";

/// The table that a TUMBLE, HOP or SESSION reads.
pub fn window_input(factor: &TableFactor) -> Option<ObjectName> {
    let (_, arguments) = window_call(factor)?;
    match arguments.first() {
        Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(table))) => table_name(table),
        _ => None,
    }
}

/// Rewrites a TUMBLE, HOP or SESSION; leaves everything else as it is.
pub fn rewrite_window(factor: &mut TableFactor) -> Result<()> {
    let Some((name, arguments)) = window_call(factor) else { return Ok(()) };
    let name = name.to_uppercase();
    let (template, wanted, counts) = match name.as_str() {
        "TUMBLE" => (TUMBLE, "a table, a column and a size", 3..=3),
        "HOP" => (HOP, "a table, a column, a slide and a size", 4..=4),
        _ => (SESSION, "a table, a column, a gap, and the columns that tell sessions apart", 3..=usize::MAX),
    };
    let expressions: Option<Vec<Expr>> = arguments
        .iter()
        .map(|argument| match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
            _ => None,
        })
        .collect();
    let Some(expressions) = expressions.filter(|expressions| counts.contains(&expressions.len())) else {
        return Err(refused(&name, wanted));
    };
    let Some(table) = table_name(&expressions[0]) else {
        return Err(refused(&name, wanted).with_detail("The first argument is not the name of a table or view."));
    };
    if table_name(&expressions[1]).is_none() {
        return Err(refused(&name, wanted).with_detail("The second argument is not the name of a column."));
    }
    let TableFactor::Table { alias, with_ordinality, .. } = factor else { return Ok(()) };
    if *with_ordinality {
        return Err(Error::not_built(format!("{name} WITH ORDINALITY")));
    }
    let alias = alias.take().unwrap_or_else(|| TableAlias {
        explicit: true,
        name: Ident::new(name.to_lowercase()),
        columns: Vec::new(),
        at: None,
    });
    let subquery = filled(template, table, &expressions[1..])?;
    *factor = TableFactor::Derived { lateral: false, subquery, alias: Some(alias), sample: None };
    Ok(())
}

fn window_call(factor: &TableFactor) -> Option<(&'static str, &[FunctionArg])> {
    let TableFactor::Table { name, args: Some(arguments), .. } = factor else { return None };
    let name = match parts(name).as_slice() {
        [name] if name == "tumble" => "tumble",
        [name] if name == "hop" => "hop",
        [name] if name == "session" => "session",
        _ => return None,
    };
    Some((name, &arguments.args))
}

fn table_name(expr: &Expr) -> Option<ObjectName> {
    match expr {
        Expr::Identifier(name) => Some(ObjectName::from(vec![name.clone()])),
        Expr::CompoundIdentifier(names) => Some(ObjectName::from(names.clone())),
        _ => None,
    }
}

fn refused(name: &str, wanted: &str) -> Error {
    let example = match name {
        "TUMBLE" => "TUMBLE(readings, time, INTERVAL '1 minute')",
        "HOP" => "HOP(readings, time, INTERVAL '1 minute', INTERVAL '5 minutes')",
        _ => "SESSION(readings, time, INTERVAL '5 minutes', device)",
    };
    Error::new(SqlState::SYNTAX_ERROR, format!("{name} takes {wanted}")).with_hint(format!("For example {example}."))
}

fn filled(template: &str, table: ObjectName, arguments: &[Expr]) -> Result<Box<Query>> {
    let mut query = parse_query(template)?;
    let keys = if template == SESSION { arguments.get(2..).unwrap_or_default() } else { &[] };
    let _ = VisitMut::visit(&mut query, &mut Fill { table, arguments, keys });
    Ok(query)
}

struct Fill<'a> {
    table: ObjectName,
    arguments: &'a [Expr],
    /// What windows are partitioned by.
    keys: &'a [Expr],
}

impl VisitorMut for Fill<'_> {
    type Break = ();

    fn post_visit_relation(&mut self, relation: &mut ObjectName) -> ControlFlow<()> {
        if parts(relation) == [TABLE] {
            *relation = self.table.clone();
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        fill_placeholder(expr, self.arguments);
        if let Expr::Function(function) = expr
            && let Some(WindowType::WindowSpec(window)) = &mut function.over
        {
            window.partition_by.extend_from_slice(self.keys);
        }
        ControlFlow::Continue(())
    }
}
