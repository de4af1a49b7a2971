//! The plan of a view as plain data: what the incremental engine runs, and what the catalog stores.
//!
//! A tree of operators. Expressions are DataFusion's, over the schema of the operator's input. Ids are
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
    /// Left outer equi-join: as [`Node::Join`], and each left row without a match once, with NULL for the right columns.
    /// `filter` decides which pairs match.
    LeftJoin {
        id: OperatorId,
        left: Box<Node>,
        right: Box<Node>,
        on: Vec<(Expr, Expr)>,
        filter: Option<Expr>,
        schema: DFSchemaRef,
    },
    /// The rows of all inputs. Columns by position; each input has the types of `schema`.
    Union { id: OperatorId, inputs: Vec<Node>, schema: DFSchemaRef },
    /// For DISTINCT aggregates. Input and output: `keys` columns of group keys, plain columns, and from `first_distinct` on
    /// columns of which each group shall see each value once. Each input row comes out with NULL in those; beside it, for
    /// each such column, each key and value once, with NULL in all others.
    DistinctValues { id: OperatorId, input: Box<Node>, keys: usize, first_distinct: usize, schema: DFSchemaRef },
    /// One row for each element of the list in column `column`, which becomes the element. None where the list is NULL.
    Unnest { id: OperatorId, input: Box<Node>, column: usize, schema: DFSchemaRef },
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
    VarSamp,
    VarPop,
    StddevSamp,
    StddevPop,
    /// Value, separator, directions, keys: [`crate::functions::OrderedText`].
    StringAgg,
}

impl Node {
    pub fn id(&self) -> OperatorId {
        match self {
            Node::Source { id, .. }
            | Node::Filter { id, .. }
            | Node::Project { id, .. }
            | Node::Join { id, .. }
            | Node::LeftJoin { id, .. }
            | Node::Union { id, .. }
            | Node::DistinctValues { id, .. }
            | Node::Unnest { id, .. }
            | Node::Aggregate { id, .. } => *id,
        }
    }

    pub fn schema(&self) -> &DFSchemaRef {
        match self {
            Node::Filter { input, .. } => input.schema(),
            Node::Source { schema, .. }
            | Node::Project { schema, .. }
            | Node::Join { schema, .. }
            | Node::LeftJoin { schema, .. }
            | Node::Union { schema, .. }
            | Node::DistinctValues { schema, .. }
            | Node::Unnest { schema, .. }
            | Node::Aggregate { schema, .. } => schema,
        }
    }

    pub fn inputs(&self) -> Vec<&Node> {
        match self {
            Node::Source { .. } => vec![],
            Node::Filter { input, .. }
            | Node::Project { input, .. }
            | Node::DistinctValues { input, .. }
            | Node::Unnest { input, .. }
            | Node::Aggregate { input, .. } => vec![input],
            Node::Join { left, right, .. } | Node::LeftJoin { left, right, .. } => vec![left, right],
            Node::Union { inputs, .. } => inputs.iter().collect(),
        }
    }

    /// The same operator over other inputs.
    pub fn map_inputs(mut self, map: &mut dyn FnMut(Node) -> Result<Node>) -> Result<Node> {
        let inputs = match &mut self {
            Node::Source { .. } => vec![],
            Node::Filter { input, .. }
            | Node::Project { input, .. }
            | Node::DistinctValues { input, .. }
            | Node::Unnest { input, .. }
            | Node::Aggregate { input, .. } => vec![&mut **input],
            Node::Join { left, right, .. } | Node::LeftJoin { left, right, .. } => vec![&mut **left, &mut **right],
            Node::Union { inputs, .. } => inputs.iter_mut().collect(),
        };
        for input in inputs {
            *input = map(input.clone())?;
        }
        Ok(self)
    }
}
