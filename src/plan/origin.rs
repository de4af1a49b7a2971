//! Where the columns of a plan's node come from: whether two parts of a query read the same rows, though each has other columns of
//! them.
//!
//! ```text
//! Project x * 2 AS y              rows     relation 7
//!   Filter x > 1            ->    met      #0 > 1
//!     Source 7 [x]                columns  #0 * 2
//! ```
//!
//! Does not know: what is made of it.

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema};
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::utils::split_conjunction;

use super::repeated::canonical;
use super::view_plan::{Node, TimeComparison};
use crate::error::Result;
use crate::types::RelationId;

/// A node's rows, and its columns over them. Names are of no matter.
#[derive(Debug)]
pub struct Origin {
    rows: Rows,
    /// Those that are left out.
    conditions: Vec<Condition>,
    columns: Vec<Expr>,
}

/// What columns are computed from.
#[derive(Debug, PartialEq)]
enum Rows {
    /// `#i` is the relation's column i.
    Relation(RelationId),
    /// `#i` is the group's expression i, and an aggregate is named by what it computes.
    Groups { of: Box<Rows>, conditions: Vec<Condition>, group: Vec<Expr> },
    /// A row for each element of a list, which is `element`; what else is read is the row's.
    Elements { of: Box<Rows>, conditions: Vec<Condition>, list: Expr },
    /// `#i` is the node's column i.
    Other(Box<Node>),
}

#[derive(Debug, Clone, PartialEq)]
enum Condition {
    True(Expr),
    Time(Expr, TimeComparison, Expr),
}

impl Origin {
    pub fn of(node: &Node) -> Result<Origin> {
        match node {
            Node::Source { relation, columns, .. } => Ok(Origin {
                rows: Rows::Relation(*relation),
                conditions: Vec::new(),
                columns: columns.iter().map(|column| place(*column)).collect(),
            }),
            Node::Filter { input, predicate, .. } => {
                let mut origin = Origin::of(input)?;
                for part in split_conjunction(predicate) {
                    origin.conditions.push(Condition::True(origin.trace(part, input.schema())?));
                }
                Ok(origin)
            }
            Node::Temporal { input, value, comparison, bound, .. } => {
                let mut origin = Origin::of(input)?;
                let value = origin.trace(value, input.schema())?;
                origin.conditions.push(Condition::Time(value, *comparison, bound.clone()));
                Ok(origin)
            }
            Node::Project { input, exprs, .. } => {
                let mut origin = Origin::of(input)?;
                origin.columns = exprs.iter().map(|expr| origin.trace(expr, input.schema())).collect::<Result<_>>()?;
                Ok(origin)
            }
            Node::Aggregate { input, group, aggregates, .. } => {
                let below = Origin::of(input)?;
                let trace = |expr: &Expr| below.trace(expr, input.schema());
                let group = group.iter().map(trace).collect::<Result<Vec<_>>>()?;
                let mut columns: Vec<Expr> = (0..group.len()).map(place).collect();
                for call in aggregates {
                    let mut call = call.clone();
                    call.args = call.args.iter().map(trace).collect::<Result<_>>()?;
                    columns.push(Expr::Column(Column::new_unqualified(format!("{call:?}"))));
                }
                let rows = Rows::Groups { of: Box::new(below.rows), conditions: below.conditions, group };
                Ok(Origin { rows, conditions: Vec::new(), columns })
            }
            Node::Unnest { input, column, .. } => {
                let Origin { rows, conditions, mut columns } = Origin::of(input)?;
                let element = Expr::Column(Column::new_unqualified("element"));
                let list = std::mem::replace(&mut columns[*column], element);
                // The elements of lists of lists would have one name.
                if matches!(rows, Rows::Elements { .. }) {
                    return Origin::of_other(node);
                }
                let rows = Rows::Elements { of: Box::new(rows), conditions, list };
                Ok(Origin { rows, conditions: Vec::new(), columns })
            }
            other => Origin::of_other(other),
        }
    }

    fn of_other(node: &Node) -> Result<Origin> {
        let columns = (0..node.schema().fields().len()).map(place).collect();
        Ok(Origin { rows: Rows::Other(Box::new(canonical(node)?)), conditions: Vec::new(), columns })
    }

    /// An expression over the node's columns, which `schema` names, over what they come from.
    pub fn trace(&self, expr: &Expr, schema: &DFSchema) -> Result<Expr> {
        let traced = expr.clone().unalias_nested().data.transform_up(|expr| match &expr {
            Expr::Column(column) => Ok(Transformed::yes(self.columns[schema.index_of_column(column)?].clone())),
            _ => Ok(Transformed::no(expr)),
        })?;
        Ok(traced.data)
    }

    /// Whether both nodes have the same rows of the same origin, each as often.
    pub fn has_rows_of(&self, other: &Origin) -> bool {
        let within = |one: &[Condition], other: &[Condition]| one.iter().all(|condition| other.contains(condition));
        self.rows == other.rows
            && within(&self.conditions, &other.conditions)
            && within(&other.conditions, &self.conditions)
    }
}

fn place(column: usize) -> Expr {
    Expr::Column(Column::new_unqualified(format!("#{column}")))
}
