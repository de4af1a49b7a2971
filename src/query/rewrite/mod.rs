//! What PostgreSQL's clients write and DataFusion does not take, as what it does take.
//!
//! Works on the syntax tree, before any name is resolved, so that it can be applied to every query, the user's own
//! included: each rewrite keeps the meaning that PostgreSQL gives the original.
//!
//! | written | becomes | in |
//! |---|---|---|
//! | `pg_catalog.lower(x)`, `x OPERATOR(pg_catalog.~) y`, `x COLLATE "C"` | `lower(x)`, `x ~ y`, `x` | names |
//! | `x::pg_catalog.text`, `x::name`, `x::oid` | `x::TEXT`, `x::TEXT`, `x::BIGINT` | types |
//! | `'readings'::regclass`, `c.oid::regclass` | the oid, the name | types |
//! | `x = ANY ('{1,2}')`, `x <> ALL (ARRAY[1, 2])` | `x IN (1, 2)`, `x NOT IN (1, 2)` | arrays |
//! | `ARRAY(SELECT x FROM ...)` | `(SELECT array_agg(x) FROM ...)`, empty instead of NULL | arrays |
//! | `interval '1 day 02:03'`, `interval '5' minute` | the same in months, days and seconds | types |
//! | `generate_subscripts(array, 1)`, `x LIKE p ESCAPE '/'` | `unnest(...)`, `x LIKE` the pattern with backslashes | clients |
//! | `time AT TIME ZONE zone` | `timezone(zone, time)` | names |
//! | `mod(a, b)`, `current_schema`, `FETCH FIRST 2 ROWS ONLY`, `SELECT generate_series(1, 3)` | `a % b`, `current_schema()`, `LIMIT 2`, `unnest(...)` | spellings |
//! | `jsonb_agg(x)`, `SELECT jsonb_array_elements(x)` | `jsonb_of_array(array_agg(x))`, `unnest(jsonb_elements(x))` | jsonb |
//! | `@ x`, `|/ x`, `~ x`, `+ x` | `abs(x)`, `sqrt(x)`, `-1 - x`, `unary_plus(x)` | operators |
//! | `GROUP BY a::date, a` | `GROUP BY named(a::date, 'a::date'), a` | groups |
//! | `c.tableoid` | the table's oid | names |
//! | `FROM t, jsonb_array_elements(t.j) AS e` | `FROM t, LATERAL (SELECT unnest(...))` | rows_in_from |
//! | `(a, b) IN (SELECT x, y ...)` in WHERE | `EXISTS (SELECT 1 FROM (SELECT x, y ...) WHERE x = a AND y = b)` | row_in |
//! | `FROM TUMBLE(...)`, `FROM HOP(...)` | a subquery | windows |
//! | `OVER (w ORDER BY n)` | `OVER (PARTITION BY ... ORDER BY n)`, as the WINDOW clause says | named_windows |
//!
//! Subqueries that DataFusion cannot decorrelate are rewritten later, in the plan (`query::decorrelate`).

mod arrays;
mod clients;
mod groups;
mod jsonb;
mod named_windows;
mod names;
mod operators;
mod ordered_sets;
mod over;
mod row_in;
mod rows_in_from;
mod select_list;
mod spellings;
mod types;
mod windows;

use std::collections::HashMap;
use std::ops::ControlFlow;

use sqlparser::ast::{Expr, ObjectName, Query, Select, TableFactor, VisitMut, VisitorMut};

pub use clients::escaped_by_backslash;
pub use names::folded;
pub use windows::{rewrite_window, window_input};

use crate::error::{Error, Result};
use crate::plan::name_output;

/// What the rewrites must know about names.
pub struct RewriteNames<'a> {
    /// System relations (by their name in pg_catalog) that never hold a row. A subquery in the select list of a query
    /// over one is never evaluated.
    pub never_filled: &'a dyn Fn(&str) -> bool,
}

impl Default for RewriteNames<'_> {
    fn default() -> Self {
        RewriteNames { never_filled: &|_| false }
    }
}

/// Rewrites a query in place.
pub fn rewrite(query: &mut Query, names: &RewriteNames<'_>) -> Result<()> {
    // Columns are named by what was written, so before it is written anew.
    name_output(query);
    select_list::show_registered_names(query);
    let mut rewriter = Rewriter { names, scopes: Vec::new() };
    match VisitMut::visit(query, &mut rewriter) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

/// Rewrites an expression that stands outside of a query: a DEFAULT, an UPDATE's value, a WHERE of DELETE.
pub fn rewrite_expr(expr: &mut Expr, names: &RewriteNames<'_>) -> Result<()> {
    let mut rewriter = Rewriter { names, scopes: Vec::new() };
    match VisitMut::visit(expr, &mut rewriter) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

struct Rewriter<'a> {
    names: &'a RewriteNames<'a>,
    /// For each SELECT around the current place, its tables by alias.
    scopes: Vec<HashMap<String, ObjectName>>,
}

impl VisitorMut for Rewriter<'_> {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        if let Err(error) = rows_in_from::rewrite_rows_in_from(query) {
            return ControlFlow::Break(error);
        }
        spellings::rewrite_fetch(query);
        spellings::rewrite_series(query);
        jsonb::rewrite_rows(query);
        groups::name_casts(query);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        match select_list::refuse_hidden_order(query) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Error> {
        let checked = named_windows::write_out(select).and_then(|()| over::check_select(select));
        if let Err(error) = checked.and_then(|()| row_in::rewrite_rows_in(select)) {
            return ControlFlow::Break(error);
        }
        self.scopes.push(names::tables_by_alias(select));
        if names::reads_only_nothing(select, self.names.never_filled) {
            select_list::drop_subqueries(select);
        }
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, _: &mut Select) -> ControlFlow<Error> {
        self.scopes.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Error> {
        names::unqualify_table_function(factor);
        spellings::name_series(factor);
        match windows::rewrite_window(factor) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        let checked = ordered_sets::check_ordered_set(expr).and_then(|()| over::check_call(expr));
        if let Err(error) = checked.and_then(|()| row_in::refuse_rows_in(expr)) {
            return ControlFlow::Break(error);
        }
        // Before their parts: an ANY over a text is decided by the text, a chain of casts from outside.
        types::rewrite_cast_chain(expr);
        arrays::rewrite_quantified(expr);
        arrays::rewrite_array_over_unnest(expr);
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        names::rewrite_tableoid(expr, &self.scopes);
        names::unqualify(expr);
        if let Err(error) = types::rewrite_cast(expr) {
            return ControlFlow::Break(error);
        }
        spellings::rewrite_function(expr);
        spellings::rewrite_word(expr);
        operators::rewrite_prefix(expr);
        names::rewrite_at_time_zone(expr);
        types::rewrite_interval(expr);
        clients::rewrite_subscripts(expr);
        clients::rewrite_escape(expr);
        arrays::rewrite_array_subquery(expr);
        arrays::rewrite_array_of_columns(expr);
        jsonb::rewrite_aggregate(expr);
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests;
