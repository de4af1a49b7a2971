//! `(a, b) IN (SELECT x, y ...)` in WHERE, as EXISTS over the rows of the subquery.
//!
//! There a condition that is unknown lets no row through, as one that is false, so that EXISTS says the same; NOT IN is true where no row
//! is equal, nor perhaps equal because of a NULL.

use std::ops::ControlFlow;

use sqlparser::ast::{BinaryOperator, Expr, Query, Select, SelectItem, SetExpr, TableFactor, UnaryOperator};
use sqlparser::ast::{VisitMut, VisitorMut};

use super::names::fill_placeholder;
use crate::error::{Error, Result, SqlState};
use crate::sql::parse_query;

/// Of the select's own WHERE.
pub fn rewrite_rows_in(select: &mut Select) -> Result<()> {
    select.selection.as_mut().map_or(Ok(()), |condition| rewrite(condition, false))
}

/// Those that [`rewrite_rows_in`] does not reach.
pub fn refuse_rows_in(expr: &Expr) -> Result<()> {
    match expr {
        Expr::InSubquery { expr, .. } if is_row(expr) => Err(Error::not_built("a row IN (SELECT ...) in this place")
            .with_hint("It works as a condition of WHERE, alone or with AND and OR; elsewhere, use EXISTS.")),
        _ => Ok(()),
    }
}

fn rewrite(condition: &mut Expr, is_negated: bool) -> Result<()> {
    match condition {
        Expr::Nested(inner) => rewrite(inner, is_negated),
        Expr::BinaryOp { left, op: BinaryOperator::And | BinaryOperator::Or, right } if !is_negated => {
            rewrite(left, false)?;
            rewrite(right, false)
        }
        Expr::UnaryOp { op: UnaryOperator::Not, expr } => match strip(expr) {
            Expr::InSubquery { expr: row, .. } if !is_negated && is_row(row) => {
                let mut inner = strip(expr).clone();
                rewrite(&mut inner, true)?;
                *condition = inner;
                Ok(())
            }
            _ => Ok(()),
        },
        Expr::InSubquery { expr, subquery, negated } if is_row(expr) => {
            let Expr::Tuple(values) = strip(expr) else { return Ok(()) };
            *condition = exists(values.clone(), subquery, *negated != is_negated)?;
            Ok(())
        }
        _ => Ok(()),
    }
}

fn is_row(expr: &Expr) -> bool {
    matches!(strip(expr), Expr::Tuple(_))
}

fn strip(expr: &Expr) -> &Expr {
    match expr {
        Expr::Nested(inner) => strip(inner),
        other => other,
    }
}

fn exists(values: Vec<Expr>, rows: &Query, is_negated: bool) -> Result<Expr> {
    if let Some(columns) = columns_of(rows)
        && columns != values.len()
    {
        let much = if columns < values.len() { "few" } else { "many" };
        return Err(Error::new(SqlState::SYNTAX_ERROR, format!("subquery has too {much} columns")));
    }
    let names: Vec<String> = (0..values.len()).map(|place| format!("column_of_row_{place}")).collect();
    let equal = names.iter().zip(1..).map(|(name, value)| format!("rows_in.{name} = ${value}"));
    let equal = equal.collect::<Vec<_>>().join(" AND ");
    let condition = if is_negated { format!("({equal}) IS NOT FALSE") } else { equal };
    let mut subquery =
        parse_query(&format!("SELECT 1 FROM (SELECT 1) AS rows_in ({}) WHERE {condition}", names.join(", ")))?;
    let _ = VisitMut::visit(&mut subquery, &mut Fill { values });
    if let SetExpr::Select(select) = subquery.body.as_mut()
        && let Some(TableFactor::Derived { subquery, .. }) = select.from.first_mut().map(|from| &mut from.relation)
    {
        **subquery = rows.clone();
    }
    Ok(Expr::Exists { subquery, negated: is_negated })
}

/// How many columns it has, where that is written.
fn columns_of(query: &Query) -> Option<usize> {
    let SetExpr::Select(select) = query.body.as_ref() else { return None };
    let is_one = |item: &SelectItem| matches!(item, SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. });
    select.projection.iter().all(is_one).then_some(select.projection.len())
}

struct Fill {
    values: Vec<Expr>,
}

impl VisitorMut for Fill {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        fill_placeholder(expr, &self.values);
        ControlFlow::Continue(())
    }
}
