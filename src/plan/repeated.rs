//! Parts of a view's query that stand in it more than once, as a WITH that is read twice does: they run once.
//!
//! Two operators are the same where they compute the same from the same columns of the same relations, whatever these are called. The
//! second becomes a [`Node::Repeat`] of the first. What keeps nothing costs less than keeping its output would, and stays. Columns that nobody
//! reads are gone by then: two readers of one WITH that take other aggregates of it do not have the same.
//!
//! Does not know: how an operator runs.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, DFSchemaRef, HashSet};
use datafusion::logical_expr::Expr;

use super::view_plan::{MatchKind, Node, OperatorId, ViewPlan};
use crate::error::Result;

impl ViewPlan {
    /// Operators that are read more than once.
    pub fn repeated(&self) -> HashSet<OperatorId> {
        fn add(node: &Node, repeated: &mut HashSet<OperatorId>) {
            match node {
                Node::Repeat { of, .. } => {
                    repeated.insert(*of);
                }
                _ => node.inputs().into_iter().for_each(|input| add(input, repeated)),
            }
        }
        let mut repeated = HashSet::new();
        add(&self.root, &mut repeated);
        repeated
    }
}

/// `root` with repeats. Its operators must be numbered.
pub(super) fn share_repeated(root: Node) -> Result<Node> {
    share(root, &mut Vec::new(), false)
}

/// `before`: operators that have run when this one does, with their canonical form. `bound`: it is one with the operator above it.
fn share(node: Node, before: &mut Vec<(Node, OperatorId)>, bound: bool) -> Result<Node> {
    let mut found = None;
    if !bound && works(&node) {
        let form = canonical(&node)?;
        match before.iter().find(|(known, _)| *known == form) {
            Some((_, of)) => return Ok(Node::Repeat { id: node.id(), of: *of, input: Box::new(node) }),
            None => found = Some((form, node.id())),
        }
    }
    let binds = matches!(node, Node::Close { .. });
    let node = node.map_inputs(&mut |input| share(input, before, binds))?;
    before.extend(found);
    Ok(node)
}

/// Whether it does more than pass rows of relations on.
fn works(node: &Node) -> bool {
    match node {
        Node::Source { .. } => false,
        Node::Filter { .. } | Node::Project { .. } | Node::Union { .. } => node.inputs().into_iter().any(works),
        _ => reads(node),
    }
}

/// Whether it reads a relation; what is written out comes once, and is small.
fn reads(node: &Node) -> bool {
    matches!(node, Node::Source { .. }) || node.inputs().into_iter().any(reads)
}

/// The operator without its number and without the names of relations and columns: equal for operators that do the same.
pub(super) fn canonical(node: &Node) -> Result<Node> {
    let inputs: Vec<DFSchemaRef> = node.inputs().iter().map(|input| input.schema().clone()).collect();
    let mut node = node.clone().map_inputs(&mut |input| canonical(&input))?;
    *node.parts_mut().0 = 0;
    match (&mut node, inputs.as_slice()) {
        (Node::Source { relation_name, .. }, _) => relation_name.clear(),
        (Node::Join { on, filter, schema, .. }, [left, right]) => {
            let pairs = schema.clone();
            join_to_positions(on, filter, (left, right), &pairs)?;
        }
        (Node::MatchJoin { kind, on, filter, schema, .. }, [left, right]) => {
            // What does not show the right side's columns has them in its filter all the same.
            let pairs = match kind {
                MatchKind::Left | MatchKind::Full => schema.clone(),
                MatchKind::Semi | MatchKind::Anti | MatchKind::Mark => Arc::new(left.join(right)?),
            };
            join_to_positions(on, filter, (left, right), &pairs)?;
        }
        (other, [input]) => other.exprs_mut().into_iter().try_for_each(|expr| to_positions(expr, input))?,
        _ => {}
    }
    if let Some(schema) = node.schema_mut() {
        *schema = Arc::new(without_names(schema)?);
    }
    Ok(node)
}

fn join_to_positions(
    on: &mut [(Expr, Expr)],
    filter: &mut Option<Expr>,
    (left, right): (&DFSchema, &DFSchema),
    pairs: &DFSchema,
) -> Result<()> {
    for (left_key, right_key) in on {
        to_positions(left_key, left)?;
        to_positions(right_key, right)?;
    }
    filter.as_mut().map_or(Ok(()), |filter| to_positions(filter, pairs))
}

fn to_positions(expr: &mut Expr, schema: &DFSchema) -> Result<()> {
    let named = std::mem::take(expr);
    let placed = named.transform_up(|expr| match &expr {
        Expr::Column(column) => {
            Ok(Transformed::yes(Expr::Column(Column::new_unqualified(name_of(schema.index_of_column(column)?)))))
        }
        _ => Ok(Transformed::no(expr)),
    })?;
    *expr = placed.data;
    Ok(())
}

fn without_names(schema: &DFSchema) -> Result<DFSchema> {
    let fields =
        schema.fields().iter().enumerate().map(|(place, field)| field.as_ref().clone().with_name(name_of(place)));
    Ok(DFSchema::from_unqualified_fields(fields.collect(), Default::default())?)
}

fn name_of(place: usize) -> String {
    format!("#{place}")
}

#[cfg(test)]
mod tests;
