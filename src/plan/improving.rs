//! Rows that are replaced, but never by one that stands behind them in an order: counts of rows that only come, and their maxima.
//!
//! Of the first rows of such an order nothing has to be kept but these: what is behind them comes before them only when it changes.
//!
//! ```text
//! Aggregate by auction, window [count(*)]        each row has its key for ever, and its count rises
//! ```

use datafusion::common::DFSchema;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::utils::split_conjunction;

use super::view_plan::{AggregateFunction, Node, RankKind, SortDirection, SortKey};
use crate::functions::floats::CANONICAL_FLOAT;
use crate::types::RelationId;

/// Which relations have no deletes.
type AppendOnly<'a> = &'a dyn Fn(RelationId) -> bool;

/// Whether a row behind the first ones stays there as long as it is not changed itself. `node`: first rows.
pub fn only_improves(node: &Node, append_only: AppendOnly<'_>) -> bool {
    // Distinct values become fewer when two become one, and what decides between peers may change to anything.
    let Node::Top { input, partition, order, kind: RankKind::Rank, .. } = node else { return false };
    let [key] = order.as_slice() else { return false };
    is_lasting(input, append_only)
        && partition.iter().all(|expr| is_fixed(expr, input, append_only))
        && improves(key, input, append_only)
}

/// Whether no row goes but for one in its place that has the same fixed columns.
fn is_lasting(node: &Node, append_only: AppendOnly<'_>) -> bool {
    match node {
        _ if node.is_append_only(append_only) => true,
        Node::Filter { input, predicate, .. } => {
            let lets_through = |part: &Expr| match part {
                Expr::IsNotNull(value) => keeps_a_value(value, input, append_only),
                part => is_fixed(part, input, append_only),
            };
            is_lasting(input, append_only) && split_conjunction(predicate).into_iter().all(lets_through)
        }
        Node::Project { input, .. } | Node::Repeat { input, .. } | Node::Unnest { input, .. } => {
            let elements_are_fixed = match node {
                Node::Unnest { input, column, .. } => is_column_fixed(input, *column, append_only),
                _ => true,
            };
            elements_are_fixed && is_lasting(input, append_only)
        }
        Node::Aggregate { input, group, .. } => {
            is_lasting(input, append_only) && group.iter().all(|expr| is_fixed(expr, input, append_only))
        }
        _ => false,
    }
}

/// Whether the value is the same for every row that comes in another's place.
fn is_fixed(expr: &Expr, input: &Node, append_only: AppendOnly<'_>) -> bool {
    expr.column_refs().into_iter().all(|column| {
        input.schema().maybe_index_of_column(column).is_some_and(|place| is_column_fixed(input, place, append_only))
    })
}

fn is_column_fixed(node: &Node, column: usize, append_only: AppendOnly<'_>) -> bool {
    match node {
        _ if node.is_append_only(append_only) => true,
        Node::Filter { input, .. } | Node::Repeat { input, .. } | Node::Unnest { input, .. } => {
            is_column_fixed(input, column, append_only)
        }
        Node::Project { input, exprs, .. } => exprs.get(column).is_some_and(|expr| is_fixed(expr, input, append_only)),
        Node::Aggregate { group, .. } => column < group.len(),
        _ => false,
    }
}

/// Whether the value, once it is there, is always there.
fn keeps_a_value(expr: &Expr, input: &Node, append_only: AppendOnly<'_>) -> bool {
    let ascending = SortDirection { descending: false, nulls_first: false };
    let descending = SortDirection { descending: true, ..ascending };
    let improves_in = |direction| improves(&SortKey { expr: expr.clone(), direction }, input, append_only);
    is_fixed(expr, input, append_only) || improves_in(ascending) || improves_in(descending)
}

/// Whether a row that comes in another's place is not behind it in this order.
fn improves(key: &SortKey, input: &Node, append_only: AppendOnly<'_>) -> bool {
    let column = column_of(&key.expr, input.schema());
    column.is_some_and(|column| column_improves(input, column, key.direction, append_only))
}

fn column_improves(node: &Node, column: usize, direction: SortDirection, append_only: AppendOnly<'_>) -> bool {
    use AggregateFunction as F;
    match node {
        _ if node.is_append_only(append_only) => true,
        Node::Filter { input, .. } | Node::Repeat { input, .. } => {
            column_improves(input, column, direction, append_only)
        }
        Node::Unnest { input, column: list, .. } => {
            *list != column && column_improves(input, column, direction, append_only)
        }
        Node::Project { input, exprs, .. } => exprs
            .get(column)
            .and_then(|expr| column_of(expr, input.schema()))
            .is_some_and(|column| column_improves(input, column, direction, append_only)),
        Node::Aggregate { input, group, aggregates, .. } => {
            let Some(call) = column.checked_sub(group.len()).and_then(|place| aggregates.get(place)) else {
                return column < group.len();
            };
            let of_improving = || match call.args.as_slice() {
                [value] => column_of(value, input.schema())
                    .is_some_and(|column| column_improves(input, column, direction, append_only)),
                _ => false,
            };
            let of_rows_that_come = input.is_append_only(append_only);
            // A value comes where there was none.
            let nulls_are_last = !direction.nulls_first;
            match call.function {
                F::CountAll => direction.descending,
                F::Count => direction.descending && of_rows_that_come,
                F::MergeCount => direction.descending && (of_rows_that_come || of_improving()),
                F::Max => direction.descending && nulls_are_last && (of_rows_that_come || of_improving()),
                F::Min => !direction.descending && nulls_are_last && (of_rows_that_come || of_improving()),
                _ => false,
            }
        }
        _ => false,
    }
}

/// The column that an expression is, floats that are equal made one value.
fn column_of(expr: &Expr, schema: &DFSchema) -> Option<usize> {
    match expr {
        Expr::Column(column) => schema.maybe_index_of_column(column),
        Expr::Alias(alias) => column_of(&alias.expr, schema),
        Expr::ScalarFunction(call) if call.name() == CANONICAL_FLOAT => column_of(call.args.first()?, schema),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
