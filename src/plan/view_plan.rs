//! The plan of a view as plain data: what the incremental engine runs, and what the catalog stores.
//!
//! A tree of operators. Expressions are DataFusion's, over the schema of the operator's input. Ids are
//! given in preorder when the view is created and never change, because state and errors are kept under them.
//!
//! Does not know: how an operator runs, tables' contents, sessions.

use arrow::datatypes::DataType;
use datafusion::common::DFSchemaRef;
use datafusion::logical_expr::Expr;
use serde::{Deserialize, Serialize};

use super::closing::{Closing, come_at_once};
use crate::catalog::ViewColumn;
use crate::error::Result;
use crate::functions::{BitOperation, Regression, SetFunction};
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
    /// Rows for which `value comparison bound` is true; `bound` reads no column and rises with the commit's time, which
    /// now() is in it. `value` is never NULL, and has the type of `bound`.
    Temporal { id: OperatorId, input: Box<Node>, value: Expr, comparison: TimeComparison, bound: Expr },
    /// Rows whose `window` is not before `passed`, which is NULL where everything is on time. Those that come too late, or without
    /// a window, are kept apart. Both have one type.
    Late { id: OperatorId, input: Box<Node>, window: Expr, passed: Expr },
    /// Groups of an aggregate over rows that only come, once each, when the watermark of a table has passed their window.
    Close { id: OperatorId, input: Box<Node>, closing: Closing },
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
    /// A join that depends on which rows match: `on` as in [`Node::Join`], and `filter` decides which pairs match.
    MatchJoin {
        id: OperatorId,
        kind: MatchKind,
        left: Box<Node>,
        right: Box<Node>,
        on: Vec<(Expr, Expr)>,
        filter: Option<Expr>,
        /// `NOT IN`: whether a row matches is unknown for a NULL key, and for every key while there is one on the right.
        null_aware: bool,
        schema: DFSchemaRef,
    },
    /// Rows of left by how often they are on the right. Columns by position; both inputs have the types of `schema`.
    SetOperation { id: OperatorId, kind: SetKind, left: Box<Node>, right: Box<Node>, schema: DFSchemaRef },
    /// Of each partition the rows whose rank in `order` is above `skip` and at most `skip` + `fetch`. Rows that `order`
    /// does not tell apart are in the order of the whole row. With `shows_rank`, the rank is the last column.
    Top {
        id: OperatorId,
        input: Box<Node>,
        partition: Vec<Expr>,
        order: Vec<SortKey>,
        kind: RankKind,
        skip: u64,
        fetch: u64,
        shows_rank: bool,
        schema: DFSchemaRef,
    },
    /// Window functions, one output column each behind the input's. All have one PARTITION BY and one ORDER BY.
    Window { id: OperatorId, input: Box<Node>, calls: Vec<Expr>, schema: DFSchemaRef },
    /// The rows of all inputs. Columns by position; each input has the types of `schema`.
    Union { id: OperatorId, inputs: Vec<Node>, schema: DFSchemaRef },
    /// For DISTINCT aggregates. Input and output: `keys` columns of group keys, plain columns, and from `first_distinct` on
    /// columns of which each group shall see each value once. Each input row comes out with NULL in those; beside it, for
    /// each such column, each key and value once, with NULL in all others.
    DistinctValues { id: OperatorId, input: Box<Node>, keys: usize, first_distinct: usize, schema: DFSchemaRef },
    /// One row for each element of the list in column `column`, which becomes the element. None where the list is NULL.
    Unnest { id: OperatorId, input: Box<Node>, column: usize, schema: DFSchemaRef },
    /// The rows of the operator `of`, which runs before it, in preorder, and does what `input` says. `input` does not run.
    Repeat { id: OperatorId, of: OperatorId, input: Box<Node> },
    /// Output: the group's expressions, then the aggregates. Without `group`, one row over nothing.
    Aggregate {
        id: OperatorId,
        input: Box<Node>,
        group: Vec<Expr>,
        aggregates: Vec<AggregateCall>,
        schema: DFSchemaRef,
    },
}

impl ViewPlan {
    /// Whether its rows change with time alone.
    pub fn follows_time(&self) -> bool {
        fn follows(node: &Node) -> bool {
            matches!(node, Node::Temporal { .. }) || node.inputs().into_iter().any(follows)
        }
        follows(&self.root)
    }

    /// The table whose watermark closes its groups.
    pub fn closes_by(&self) -> Option<RelationId> {
        fn closes(node: &Node) -> Option<RelationId> {
            match node {
                Node::Close { closing, .. } => Some(closing.relation),
                _ => node.inputs().into_iter().find_map(closes),
            }
        }
        closes(&self.root)
    }

    /// For each source that runs, in preorder, the positions of the columns that it reads.
    pub fn columns_read(&self) -> Vec<&Vec<usize>> {
        fn add<'a>(node: &'a Node, read: &mut Vec<&'a Vec<usize>>) {
            match node {
                Node::Source { columns, .. } => read.push(columns),
                Node::Repeat { .. } => {}
                _ => node.inputs().into_iter().for_each(|input| add(input, read)),
            }
        }
        let mut read = Vec::new();
        add(&self.root, &mut read);
        read
    }

    /// The same plan over a relation that has another name, and its columns elsewhere: `moved` has for each of its former
    /// positions the present one. `None` where it reads a column that is gone.
    pub fn over_altered(mut self, altered: RelationId, name: &str, moved: &[Option<usize>]) -> Option<ViewPlan> {
        fn alter(node: &mut Node, altered: RelationId, name: &str, moved: &[Option<usize>]) -> Option<()> {
            if let Node::Source { relation, relation_name, columns, .. } = node
                && *relation == altered
            {
                name.clone_into(relation_name);
                *columns = columns.iter().map(|column| *moved.get(*column)?).collect::<Option<_>>()?;
            }
            node.parts_mut().1.into_iter().try_for_each(|input| alter(input, altered, name, moved))
        }
        alter(&mut self.root, altered, name, moved)?;
        Some(self)
    }
}

/// How a row's value stands to a bound that rises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeComparison {
    Above,
    AtLeast,
    Below,
    AtMost,
}

impl TimeComparison {
    /// Whether rows go when the bound reaches them; otherwise they come.
    pub fn expires(self) -> bool {
        matches!(self, TimeComparison::Above | TimeComparison::AtLeast)
    }

    /// Whether a row is past the border as soon as the bound has its value, and not only when the bound is above it.
    pub fn crosses_when_equal(self) -> bool {
        matches!(self, TimeComparison::Above | TimeComparison::AtMost)
    }
}

/// What a [`Node::MatchJoin`] makes of matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MatchKind {
    /// Pairs that match; left rows without a match once, with NULL for the right columns.
    Left,
    /// As left, and right rows without a match likewise.
    Full,
    /// Left rows that match.
    Semi,
    /// Left rows that do not.
    Anti,
    /// Left rows, and whether they match.
    Mark,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SetKind {
    Intersect,
    IntersectAll,
    Except,
    ExceptAll,
}

impl SetKind {
    /// How often a row is in the result that is so often on the left and on the right.
    pub fn weight(self, left: i64, right: i64) -> i64 {
        match self {
            SetKind::Intersect => i64::from(left > 0 && right > 0),
            SetKind::IntersectAll => left.min(right).max(0),
            SetKind::Except => i64::from(left > 0 && right <= 0),
            SetKind::ExceptAll => (left - right.max(0)).max(0),
        }
    }
}

/// How rows are counted in an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RankKind {
    RowNumber,
    Rank,
    DenseRank,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SortDirection {
    pub descending: bool,
    pub nulls_first: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub struct SortKey {
    pub expr: Expr,
    pub direction: SortDirection,
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
    /// Value, separator, directions, keys: [`crate::functions::Gathered`].
    StringAgg,
    /// Value, whether the row is taken, directions, keys.
    ArrayAgg {
        distinct: bool,
    },
    /// The value of the one row; 21000 for more rows than one.
    SingleValue,
    Bits(BitOperation),
    /// Of y and x.
    Regression(Regression),
    /// Of a value, and the literals that [`SetFunction`]'s calls have.
    Set(SetFunction),
    /// Over rows that only come.
    ApproxCountDistinct,
}

impl Node {
    pub fn id(&self) -> OperatorId {
        match self {
            Node::Source { id, .. }
            | Node::Filter { id, .. }
            | Node::Temporal { id, .. }
            | Node::Late { id, .. }
            | Node::Close { id, .. }
            | Node::Project { id, .. }
            | Node::Join { id, .. }
            | Node::MatchJoin { id, .. }
            | Node::SetOperation { id, .. }
            | Node::Top { id, .. }
            | Node::Window { id, .. }
            | Node::Union { id, .. }
            | Node::DistinctValues { id, .. }
            | Node::Unnest { id, .. }
            | Node::Repeat { id, .. }
            | Node::Aggregate { id, .. } => *id,
        }
    }

    pub fn schema(&self) -> &DFSchemaRef {
        match self {
            Node::Filter { input, .. }
            | Node::Temporal { input, .. }
            | Node::Late { input, .. }
            | Node::Close { input, .. }
            | Node::Repeat { input, .. } => input.schema(),
            Node::Source { schema, .. }
            | Node::Project { schema, .. }
            | Node::Join { schema, .. }
            | Node::MatchJoin { schema, .. }
            | Node::SetOperation { schema, .. }
            | Node::Top { schema, .. }
            | Node::Window { schema, .. }
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
            | Node::Temporal { input, .. }
            | Node::Late { input, .. }
            | Node::Close { input, .. }
            | Node::Project { input, .. }
            | Node::Top { input, .. }
            | Node::Window { input, .. }
            | Node::DistinctValues { input, .. }
            | Node::Unnest { input, .. }
            | Node::Repeat { input, .. }
            | Node::Aggregate { input, .. } => vec![input],
            Node::Join { left, right, .. }
            | Node::MatchJoin { left, right, .. }
            | Node::SetOperation { left, right, .. } => vec![left, right],
            Node::Union { inputs, .. } => inputs.iter().collect(),
        }
    }

    /// The operator's id and its inputs, to be changed.
    pub fn parts_mut(&mut self) -> (&mut OperatorId, Vec<&mut Node>) {
        match self {
            Node::Source { id, .. } => (id, vec![]),
            Node::Filter { id, input, .. }
            | Node::Temporal { id, input, .. }
            | Node::Late { id, input, .. }
            | Node::Close { id, input, .. }
            | Node::Project { id, input, .. }
            | Node::Top { id, input, .. }
            | Node::Window { id, input, .. }
            | Node::DistinctValues { id, input, .. }
            | Node::Unnest { id, input, .. }
            | Node::Repeat { id, input, .. }
            | Node::Aggregate { id, input, .. } => (id, vec![&mut **input]),
            Node::Join { id, left, right, .. }
            | Node::MatchJoin { id, left, right, .. }
            | Node::SetOperation { id, left, right, .. } => (id, vec![&mut **left, &mut **right]),
            Node::Union { id, inputs, .. } => (id, inputs.iter_mut().collect()),
        }
    }

    /// What it computes from the columns of its input; of joins nothing, which have two.
    pub(super) fn exprs_mut(&mut self) -> Vec<&mut Expr> {
        match self {
            Node::Filter { predicate, .. } => vec![predicate],
            Node::Temporal { value, .. } => vec![value],
            Node::Late { window, passed, .. } => vec![window, passed],
            Node::Project { exprs, .. } => exprs.iter_mut().collect(),
            Node::Top { partition, order, .. } => {
                partition.iter_mut().chain(order.iter_mut().map(|key| &mut key.expr)).collect()
            }
            Node::Window { calls, .. } => calls.iter_mut().collect(),
            Node::Aggregate { group, aggregates, .. } => {
                group.iter_mut().chain(aggregates.iter_mut().flat_map(|call| &mut call.args)).collect()
            }
            Node::Source { .. }
            | Node::Close { .. }
            | Node::Join { .. }
            | Node::MatchJoin { .. }
            | Node::SetOperation { .. }
            | Node::Union { .. }
            | Node::DistinctValues { .. }
            | Node::Unnest { .. }
            | Node::Repeat { .. } => vec![],
        }
    }

    /// Its own schema, where it is not that of its input.
    pub(super) fn schema_mut(&mut self) -> Option<&mut DFSchemaRef> {
        match self {
            Node::Filter { .. }
            | Node::Temporal { .. }
            | Node::Late { .. }
            | Node::Close { .. }
            | Node::Repeat { .. } => None,
            Node::Source { schema, .. }
            | Node::Project { schema, .. }
            | Node::Join { schema, .. }
            | Node::MatchJoin { schema, .. }
            | Node::SetOperation { schema, .. }
            | Node::Top { schema, .. }
            | Node::Window { schema, .. }
            | Node::Union { schema, .. }
            | Node::DistinctValues { schema, .. }
            | Node::Unnest { schema, .. }
            | Node::Aggregate { schema, .. } => Some(schema),
        }
    }

    /// Whether the output never has a negative weight, where these relations have none.
    pub fn is_append_only(&self, append_only: &dyn Fn(RelationId) -> bool) -> bool {
        match self {
            Node::Source { relation, .. } => append_only(*relation),
            // A closed group has its one row.
            Node::Close { .. } => true,
            Node::Top { .. } | Node::Window { .. } if come_at_once(self) => true,
            // A group's row is replaced when it changes, and a padded one when it finds a match.
            Node::Aggregate { .. } | Node::Top { .. } | Node::Window { .. } => false,
            // A row that matches, or is on both sides, goes on doing so.
            Node::MatchJoin { kind, .. } if *kind != MatchKind::Semi => false,
            Node::SetOperation { kind: SetKind::Except | SetKind::ExceptAll, .. } => false,
            Node::Temporal { comparison, .. } if comparison.expires() => false,
            _ => self.inputs().iter().all(|input| input.is_append_only(append_only)),
        }
    }

    /// The same operator over other inputs.
    pub fn map_inputs(mut self, map: &mut dyn FnMut(Node) -> Result<Node>) -> Result<Node> {
        for input in self.parts_mut().1 {
            *input = map(input.clone())?;
        }
        Ok(self)
    }
}
