//! The plan of a view as plain data: what the incremental engine runs, and what the catalog stores.
//!
//! A tree of five kinds of operators. Expressions are DataFusion's, over the schema of the operator's input. Ids are
//! given in preorder when the view is created and never change, because state and errors are kept under them.
//!
//! Does not know: how an operator runs, tables' contents, sessions.

use arrow::datatypes::DataType;
use datafusion::common::DFSchemaRef;
use datafusion::logical_expr::Expr;

use crate::catalog::ViewColumn;
use crate::error::Result;
use crate::types::RelationId;

/// A view's query. `columns` are the output columns of `root`, in its order.
#[derive(Debug, Clone, PartialEq)]
pub struct ViewPlan {
    pub root: Node,
    pub columns: Vec<ViewColumn>,
}

/// Stable within one view, in preorder from 0.
pub type OperatorId = u32;

#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    /// The rows of a table or materialized view; `columns` are positions among the relation's user columns.
    Source { id: OperatorId, relation: RelationId, relation_name: String, columns: Vec<usize>, schema: DFSchemaRef },
    /// Rows for which `predicate` is true.
    Filter { id: OperatorId, input: Box<Node>, predicate: Expr },
    /// One expression per output column.
    Project { id: OperatorId, input: Box<Node>, exprs: Vec<Expr>, schema: DFSchemaRef },
    /// Inner equi-join. `on` pairs an expression over the left input with one over the right; NULL matches nothing.
    /// `filter` is over the columns of left, then right.
    Join {
        id: OperatorId,
        left: Box<Node>,
        right: Box<Node>,
        on: Vec<(Expr, Expr)>,
        filter: Option<Expr>,
        schema: DFSchemaRef,
    },
    /// Output: the group's expressions, then the aggregates. Without `group`, one row over nothing.
    Aggregate {
        id: OperatorId,
        input: Box<Node>,
        group: Vec<Expr>,
        aggregates: Vec<AggregateCall>,
        schema: DFSchemaRef,
    },
}

#[derive(Debug, Clone, PartialEq)]
pub struct AggregateCall {
    pub function: AggregateFunction,
    pub args: Vec<Expr>,
    pub return_type: DataType,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AggregateFunction {
    CountAll,
    Count,
    Sum,
    Avg,
    Min,
    Max,
    First,
    Last,
    /// A sum that is not rounded yet, as bytes: what an aggregate below a join hands to the one above.
    PartialSum,
    /// Sum of counts.
    MergeCount,
    /// Sum of partial sums.
    MergeSum,
    /// Average from partial sums and the counts of their values.
    MergeAvg,
}

impl Node {
    pub fn id(&self) -> OperatorId {
        match self {
            Node::Source { id, .. }
            | Node::Filter { id, .. }
            | Node::Project { id, .. }
            | Node::Join { id, .. }
            | Node::Aggregate { id, .. } => *id,
        }
    }

    pub fn schema(&self) -> &DFSchemaRef {
        match self {
            Node::Filter { input, .. } => input.schema(),
            Node::Source { schema, .. }
            | Node::Project { schema, .. }
            | Node::Join { schema, .. }
            | Node::Aggregate { schema, .. } => schema,
        }
    }

    pub fn inputs(&self) -> Vec<&Node> {
        match self {
            Node::Source { .. } => vec![],
            Node::Filter { input, .. } | Node::Project { input, .. } | Node::Aggregate { input, .. } => vec![input],
            Node::Join { left, right, .. } => vec![left, right],
        }
    }

    /// The same operator over other inputs.
    pub fn map_inputs(mut self, map: &mut dyn FnMut(Node) -> Result<Node>) -> Result<Node> {
        let inputs = match &mut self {
            Node::Source { .. } => vec![],
            Node::Filter { input, .. } | Node::Project { input, .. } | Node::Aggregate { input, .. } => vec![input],
            Node::Join { left, right, .. } => vec![left, right],
        };
        for input in inputs {
            **input = map((**input).clone())?;
        }
        Ok(self)
    }
}
