//! Eager aggregation: `GROUP BY` over a join becomes an aggregate below the join and one above it.
//!
//! ```text
//! Aggregate by d.site [count(*), sum(r.x)]          Aggregate by d.site [merge_count(n), merge_sum(s)]
//!   Join r.device = d.id                       ->     Join r.device = d.id
//!     Source r                                          Aggregate by r.device [count(*) n, partial_sum(r.x) s]
//!     Source d                                            Source r
//!                                                       Source d
//! ```
//!
//! The join then keeps a row per key instead of all history, and a change of the registry costs its key's groups alone.
//! A row of the join counts as often as its weights say, products included, so that the sums above come out the same
//! (Yan and Larson, Eager Aggregation and Lazy Aggregation, VLDB 1995).
//!
//! Only what cannot raise is evaluated below the join: there it sees rows that the join drops, and the view would have
//! errors that its query does not have. Partial sums are exact, so that nothing is rounded twice.
//!
//! An aggregate over hopping windows is split likewise (`panes`).

mod below;
mod panes;

use std::sync::Arc;

use datafusion::common::DFSchemaRef;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::logical_expr::Expr;

use self::below::{Below, has_partial, is_bucket, is_column, is_over, names_a_few};
use super::view_plan::{AggregateCall, Node};
use crate::error::Result;

/// The plan with every aggregate that allows it split in two.
pub fn aggregate_eagerly(node: Node) -> Result<Node> {
    let node = node.map_inputs(&mut aggregate_eagerly)?;
    match node {
        Node::Aggregate { .. } => panes::split(split(node)?),
        other => Ok(other),
    }
}

/// An aggregate over a join, taken apart.
struct Parts {
    group: Vec<Expr>,
    aggregates: Vec<AggregateCall>,
    schema: DFSchemaRef,
    left: Node,
    right: Node,
    on: Vec<(Expr, Expr)>,
}

fn split(aggregate: Node) -> Result<Node> {
    let Some(parts) = take_apart(&aggregate)? else { return Ok(aggregate) };
    let Some(is_left) = side_to_aggregate(&parts) else { return Ok(aggregate) };
    let own = if is_left { &parts.left } else { &parts.right };
    let mut below = Below::new(own.schema());
    let keys = parts.on.iter().map(|(left, right)| if is_left { left } else { right });
    for key in keys {
        below.group_by(key)?;
    }
    let mut group = Vec::with_capacity(parts.group.len());
    for expr in &parts.group {
        group.push(if is_over(expr, own.schema()) { below.group_by(expr)? } else { expr.clone() });
    }
    let mut aggregates = Vec::with_capacity(parts.aggregates.len());
    for call in &parts.aggregates {
        aggregates.push(below.aggregate(call)?);
    }
    let Parts { schema, left, right, on, .. } = parts;
    let (left, right) = match is_left {
        true => (panes::split(below.over(left)?)?, right),
        false => (left, panes::split(below.over(right)?)?),
    };
    let joined = Arc::new(left.schema().join(right.schema())?);
    let join = Node::Join { id: 0, left: Box::new(left), right: Box::new(right), on, filter: None, schema: joined };
    Ok(Node::Aggregate { id: 0, input: Box::new(join), group, aggregates, schema })
}

/// `None` unless it is an aggregate over a join, with nothing between but projections of columns.
fn take_apart(node: &Node) -> Result<Option<Parts>> {
    let Node::Aggregate { input, group, aggregates, schema, .. } = node else { return Ok(None) };
    let (mut group, mut aggregates) = (group.clone(), aggregates.clone());
    let mut input = &**input;
    while let Node::Project { input: below, exprs, schema, .. } = input {
        if !exprs.iter().all(|expr| matches!(expr, Expr::Column(_))) {
            return Ok(None);
        }
        let below_projection = |expr: &mut Expr| through(expr, exprs, schema);
        group.iter_mut().try_for_each(below_projection)?;
        aggregates.iter_mut().flat_map(|call| &mut call.args).try_for_each(below_projection)?;
        input = below;
    }
    let Node::Join { left, right, on, filter: None, .. } = input else { return Ok(None) };
    // Without a key, an aggregate below would have a row even where the join has none.
    if on.is_empty() {
        return Ok(None);
    }
    Ok(Some(Parts {
        group,
        aggregates,
        schema: Arc::clone(schema),
        left: (**left).clone(),
        right: (**right).clone(),
        on: on.clone(),
    }))
}

/// The expression over a projection's input.
pub(super) fn through(expr: &mut Expr, projection: &[Expr], schema: &DFSchemaRef) -> Result<()> {
    *expr = std::mem::take(expr)
        .transform_up(|expr| match &expr {
            Expr::Column(column) => {
                let below = projection[schema.index_of_column(column)?].clone();
                Ok(Transformed::yes(below.unalias_nested().data))
            }
            _ => Ok(Transformed::no(expr)),
        })?
        .data;
    Ok(())
}

/// Whether the left side is to be aggregated below the join, or the right one; `None` if it cannot be.
fn side_to_aggregate(parts: &Parts) -> Option<bool> {
    let own = |is_left: bool| if is_left { parts.left.schema() } else { parts.right.schema() };
    let grouped_by = |is_left: bool| parts.group.iter().filter(|expr| is_over(expr, own(is_left))).count();
    let mut args = parts.aggregates.iter().flat_map(|call| &call.args);
    let is_left = match args.next() {
        Some(arg) => is_over(arg, own(true)),
        // There are only counts: of the many rows, not of the registry that the groups are named by.
        None => grouped_by(true) <= grouped_by(false),
    };
    can_aggregate(parts, is_left).then_some(is_left)
}

fn can_aggregate(parts: &Parts, is_left: bool) -> bool {
    let (own, other) = if is_left { (&parts.left, &parts.right) } else { (&parts.right, &parts.left) };
    let (own, other) = (own.schema(), other.schema());
    let keys = parts.on.iter().map(|(left, right)| if is_left { left } else { right });
    let is_group = |expr: &Expr| {
        let groups_rows = is_over(expr, own) && (is_bucket(expr) || is_column(expr) && names_a_few(expr, own));
        groups_rows || is_over(expr, other)
    };
    keys.into_iter().all(is_column)
        && parts.group.iter().all(is_group)
        && parts
            .aggregates
            .iter()
            .all(|call| call.args.iter().all(|arg| is_column(arg) && is_over(arg, own)) && has_partial(call, own))
}
