//! Which groups of a view's aggregates can be forgotten once the view shows no rows from before a time.
//!
//! ```text
//! Project: device, hour + INTERVAL '1 hour' AS until, n        until < cutoff: not shown
//!   Aggregate by device, hour                                  hour + INTERVAL '1 hour' < cutoff: not needed
//!     Aggregate by device, time                                time_bucket('1 hour', time) + INTERVAL '1 hour' < cutoff
//! ```
//!
//! The view's column is followed down as an expression of each operator's output. Where it depends on nothing but an aggregate's
//! keys, all that a group ever becomes is before the cutoff if the group's expression is. Followed through operators that make
//! each row of one row alone; what others make of a row depends on rows that are still shown. Not followed to what is read again
//! elsewhere, where another column may matter.

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, HashSet};
use datafusion::logical_expr::Expr;

use super::view_plan::{Node, OperatorId, ViewPlan};

/// An aggregate of a view.
#[derive(Debug, Clone, PartialEq)]
pub struct Expiring {
    pub operator: OperatorId,
    /// What the column becomes of a group, from the keys among the aggregate's output.
    pub value: Expr,
}

impl ViewPlan {
    /// The aggregates on whose keys alone the view's column depends.
    pub fn expiring(&self, column: usize) -> Vec<Expiring> {
        let mut found = Vec::new();
        if let Some(column) = column_at(self.root.schema(), column) {
            follow(&self.root, column, &self.repeated(), &mut found);
        }
        found
    }

    /// Whether there may be groups to forget with the column of which the view never shows a row.
    pub fn hides_groups(&self, column: usize) -> bool {
        fn is_aggregate(node: &Node) -> bool {
            match node {
                Node::Project { input, .. } => is_aggregate(input),
                other => matches!(other, Node::Aggregate { .. }),
            }
        }
        match self.expiring(column).len() {
            0 => false,
            1 => !is_aggregate(&self.root),
            _ => true,
        }
    }
}

fn follow(node: &Node, value: Expr, repeated: &HashSet<OperatorId>, found: &mut Vec<Expiring>) {
    match node {
        node if repeated.contains(&node.id()) => {}
        Node::Filter { input, .. }
        | Node::Temporal { input, .. }
        | Node::Late { input, .. }
        | Node::Close { input, .. } => follow(input, value, repeated, found),
        Node::Project { input, exprs, schema, .. } => {
            if let Some(value) = replaced(&value, schema, |at| exprs.get(at).cloned()) {
                follow(input, value, repeated, found);
            }
        }
        Node::Union { inputs, schema, .. } => {
            for input in inputs {
                if let Some(value) = replaced(&value, schema, |at| column_at(input.schema(), at)) {
                    follow(input, value, repeated, found);
                }
            }
        }
        Node::DistinctValues { input, keys, schema, .. } => {
            let key = |at: usize| column_at(input.schema(), at).filter(|_| at < *keys);
            if let Some(value) = replaced(&value, schema, key) {
                follow(input, value, repeated, found);
            }
        }
        Node::Aggregate { id, input, group, schema, .. } => {
            if let Some(below) = replaced(&value, schema, |at| group.get(at).cloned()) {
                found.push(Expiring { operator: *id, value });
                follow(input, below, repeated, found);
            }
        }
        _ => {}
    }
}

fn column_at(schema: &DFSchema, at: usize) -> Option<Expr> {
    (at < schema.fields().len()).then(|| Expr::Column(Column::from(schema.qualified_field(at))))
}

/// The expression with each column, which is one of `schema`, as `below` has it; `None` where that has none, or where there is
/// no column: then the value tells nothing of the row.
fn replaced(value: &Expr, schema: &DFSchema, below: impl Fn(usize) -> Option<Expr>) -> Option<Expr> {
    let (mut columns, mut is_complete) = (0, true);
    let replaced = value.clone().transform_down(|expr| {
        let Expr::Column(column) = &expr else { return Ok(Transformed::no(expr)) };
        columns += 1;
        match schema.maybe_index_of_column(column).and_then(&below) {
            // What comes in its place is in other columns.
            Some(below) => Ok(Transformed::new(below.unalias(), true, TreeNodeRecursion::Jump)),
            None => {
                is_complete = false;
                Ok(Transformed::no(expr))
            }
        }
    });
    replaced.ok().filter(|_| is_complete && columns > 0).map(|replaced| replaced.data)
}
