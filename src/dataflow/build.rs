//! From a stored plan to operators with empty state.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::new_null_array;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, HashSet};
use datafusion::logical_expr::{Expr, Operator as BinaryOperator, col, lit};

use super::content::{Bag, Content, Place, Stage};
use super::cutoff::leave_out;
use super::errors::ErrorDelta;
use super::expression::{Expressions, arrow_schema, batch, window_calls, window_filters};
use super::handle::OperatorStats;
use super::operators::{
    self, Aggregate, AggregateInputs, Bound, COMMIT_TIME, Counters, DistinctValues, Filter, Join, Keeps, Late,
    LateRows, MatchInputs, MatchJoin, Project, SetOperation, Temporal, TimeBound, Top, Union, Unnest, Window,
    WindowInputs, commit_time_field,
};
use super::state::{LogState, Residence, StateRef};
use super::tree::{Operator, Pieces, Step, StepInput};
use crate::catalog::Cutoff;
use crate::delta::DeltaBatch;
use crate::error::{Error, Result};
use crate::functions::NOW;
use crate::io::{Inline, Parallel};
use crate::plan::{
    Closing, Expiring, MatchKind, Node, OperatorId, Reach, SortDirection, TABLE_WATERMARK, ViewPlan, come_at_once,
    only_improves,
};
use crate::types::{RelationId, WATERMARK};

/// A view, built.
#[derive(Debug)]
pub struct Dataflow {
    root: Operator,
    kept: Kept,
    /// Of the root's output.
    schema: SchemaRef,
    /// Of the operators, in preorder.
    ids: Vec<OperatorId>,
    /// What is not shown any more.
    cutoff: Option<Cutoff>,
}

/// What a view shows, besides the state of its operators.
#[derive(Debug)]
enum Kept {
    /// The aggregate's groups, through filters and projections that are applied when the view is read, from it up.
    Groups {
        above: Arc<Vec<Stage>>,
        /// For each key of the aggregate, the view's column that shows it, if all are shown.
        keys: Option<Arc<[usize]>>,
    },
    /// Rows that only ever come.
    Log(LogState),
    Bag(Bag),
}

impl Kept {
    fn states(&mut self) -> Vec<StateRef<'_>> {
        match self {
            Kept::Groups { .. } => Vec::new(),
            Kept::Log(log) => vec![StateRef::Log(log)],
            Kept::Bag(bag) => bag.states().into(),
        }
    }
}

/// What operators are built under.
struct Builder<'a> {
    settings: Arc<ConfigOptions>,
    append_only: &'a HashSet<RelationId>,
    parallel: Arc<dyn Parallel>,
    /// Operators that are read again.
    repeated: HashSet<OperatorId>,
    /// What each column of the view that is a time is to aggregates whose keys it follows from.
    expiring: Vec<(usize, Expiring)>,
}

/// What any join is made of: each side's keys and columns, the residual predicate, the output.
struct JoinParts {
    left: (Expressions, SchemaRef),
    right: (Expressions, SchemaRef),
    residual: Option<Expressions>,
    schema: SchemaRef,
}

impl Dataflow {
    /// `settings`: the session's that the view was created under. `append_only`: relations of the plan whose deltas never
    /// have a negative weight. `parallel`: the threads that steps may use.
    ///
    /// Errors: 0A000 for expressions and types that the engine does not do, by name.
    pub fn build(
        plan: &ViewPlan,
        settings: &BTreeMap<String, String>,
        append_only: &HashSet<RelationId>,
        parallel: Arc<dyn Parallel>,
    ) -> Result<Self> {
        let settings = Arc::new(config(settings));
        let builder = Builder { settings, append_only, parallel, repeated: plan.repeated(), expiring: expiring(plan) };
        let root = builder.operator(&plan.root)?;
        let schema = arrow_schema(plan.root.schema());
        let kept = match builder.stages_above_aggregate(&plan.root)? {
            Some(stages) => Kept::Groups { above: Arc::new(stages), keys: shown_keys(&plan.root).map(Arc::from) },
            None if builder.is_append_only(&plan.root) => Kept::Log(LogState::new(schema.clone())),
            None => Kept::Bag(Bag::new(schema.clone())?),
        };
        let mut ids = Vec::new();
        add_ids(&plan.root, &mut ids);
        Ok(Dataflow { root, kept, schema, ids, cutoff: None })
    }

    /// Whether a view of this plan can be built. Errors: those of [`Dataflow::build`].
    pub fn check(
        plan: &ViewPlan,
        settings: &BTreeMap<String, String>,
        append_only: &HashSet<RelationId>,
    ) -> Result<()> {
        Dataflow::build(plan, settings, append_only, Arc::new(Inline)).map(|_| ())
    }

    /// Of a view that has no rows yet, or only those that are left.
    pub fn begin_at(&mut self, cutoff: Option<Cutoff>) -> Result<()> {
        self.cutoff = cutoff;
        self.root.each_aggregate(&mut |aggregate| {
            aggregate.begin_at(cutoff);
            Ok(())
        })
    }

    /// Rows before the cutoff are not shown from here on, and changes of them are left out; nor is what was kept for them alone.
    pub fn expire(&mut self, cutoff: Cutoff, errors: &mut ErrorDelta) -> Result<()> {
        if self.cutoff.is_some_and(|former| former.before_us >= cutoff.before_us) {
            return Ok(());
        }
        self.cutoff = Some(cutoff);
        self.root.each_aggregate(&mut |aggregate| aggregate.expire(cutoff, errors))?;
        match &mut self.kept {
            Kept::Groups { .. } => Ok(()),
            Kept::Log(log) => log.retain(&|rows| leave_out(cutoff, rows)),
            Kept::Bag(bag) => bag.forget(cutoff),
        }
    }

    pub fn cutoff(&self) -> Option<Cutoff> {
        self.cutoff
    }

    /// One step. Its output is made only where `emit` asks for it, and is given on as it is made: mostly in one piece, and in more where
    /// it is much, between which state that is too much for `residence` leaves.
    pub fn step(
        &mut self,
        input: &StepInput,
        emit: bool,
        residence: &Residence,
        errors: &mut ErrorDelta,
        give: &mut dyn FnMut(Vec<DeltaBatch>) -> Result<()>,
    ) -> Result<()> {
        let mut step = Step::new(input, errors, residence);
        let (kept, cutoff, mut pieces) = (&mut self.kept, self.cutoff, Pieces::default());
        let emit_top = emit || !matches!(kept, Kept::Groups { .. });
        self.root.step(&mut step, emit_top, &mut |step, mut output| {
            step.between(&mut pieces, kept.states());
            if let Some(cutoff) = cutoff {
                output = output.into_iter().map(|delta| leave_out(cutoff, delta)).collect::<Result<_>>()?;
            }
            match kept {
                Kept::Groups { .. } => {}
                Kept::Log(log) => output.iter().try_for_each(|delta| log.push(delta))?,
                Kept::Bag(bag) => bag.apply(&output)?,
            }
            if emit { give(output) } else { Ok(()) }
        })
    }

    pub fn content(&self) -> Result<Content> {
        match &self.kept {
            Kept::Log(log) => Ok(Content::Log(log.clone())),
            Kept::Bag(bag) => Ok(Content::Bag(bag.clone())),
            Kept::Groups { above, keys } => match self.root.top_aggregate() {
                Some(aggregate) => {
                    let mut above = above.clone();
                    if let Some(cutoff) = self.cutoff {
                        Arc::make_mut(&mut above).push(Stage::Since(cutoff));
                    }
                    Ok(Content::Groups { scan: aggregate.scan(), above, keys: keys.clone() })
                }
                None => Err(Error::internal("a view without content")),
            },
        }
    }

    pub fn counters(&self) -> Counters {
        self.root.counters()
    }

    /// What each operator keeps and did, in preorder.
    pub fn operator_stats(&self) -> Vec<OperatorStats> {
        let mut stats = Vec::with_capacity(self.ids.len());
        self.root.add_stats(&mut self.ids.iter().copied(), &mut stats);
        stats
    }

    /// The time of the commit that the next steps end with, in microseconds; never less than before.
    pub fn advance_to(&mut self, now_us: i64) -> Result<()> {
        self.root.advance_to(now_us)
    }

    /// The next step shows the groups whose window the watermark of the view's table has passed.
    pub fn close_to(&mut self, watermark_us: i64) -> Result<()> {
        self.root.close_to(watermark_us)
    }

    /// Rows that came too late, where the view leaves some out.
    pub fn late_rows(&self) -> Option<&LateRows> {
        self.root.late_rows()
    }

    /// Reads its relations as `plan` says, which is the same but for where their columns stand.
    pub fn read_as(&mut self, plan: &ViewPlan) -> Result<()> {
        let wanted = plan.columns_read();
        let mut read = Vec::new();
        self.root.add_columns_read(&mut read);
        if read.len() != wanted.len() {
            return Err(Error::internal("a view was altered to another query"));
        }
        read.into_iter().zip(wanted).for_each(|(read, wanted)| read.clone_from(wanted));
        Ok(())
    }

    /// All state, always in the same order for the same plan: what checkpoints and eviction walk over.
    pub fn states(&mut self) -> Vec<StateRef<'_>> {
        let mut states = Vec::new();
        self.root.add_states(&mut states);
        states.extend(self.kept.states());
        states
    }

    pub fn memory_bytes(&self) -> usize {
        let kept = match &self.kept {
            Kept::Groups { .. } => 0,
            Kept::Log(log) => log.memory_bytes(),
            Kept::Bag(bag) => bag.memory_bytes(),
        };
        self.root.memory_bytes() + kept
    }

    /// Rows, before filters that are applied when the view is read.
    pub fn rows(&self) -> Result<u64> {
        match &self.kept {
            Kept::Log(log) => Ok(log.rows()),
            Kept::Bag(bag) => Ok(bag.rows()),
            Kept::Groups { .. } => self.root.top_aggregate().map_or(Ok(0), |aggregate| Ok(aggregate.rows() as u64)),
        }
    }

    /// For VERIFY's own test: one row too many, or one group too few.
    pub fn plant_wrong_row(&mut self) -> Result<()> {
        if let (Kept::Groups { .. }, Some(aggregate)) = (&self.kept, self.root.top_aggregate_mut()) {
            return aggregate.lose_a_group();
        }
        let rows = self.content()?.read(&mut Place::new(0, 1), 1)?.filter(|rows| !rows.is_empty());
        let wrong = match rows {
            Some(rows) => DeltaBatch::inserts(rows.rows().slice(0, 1)),
            None => {
                let null = |field: &FieldRef| new_null_array(field.data_type(), 1);
                DeltaBatch::inserts(batch(&self.schema, self.schema.fields().iter().map(null).collect(), 1)?)
            }
        };
        match &mut self.kept {
            Kept::Log(log) => log.push(&wrong),
            Kept::Bag(bag) => bag.apply(&[wrong]),
            Kept::Groups { .. } => Err(Error::internal("a view without content")),
        }
    }
}

impl Builder<'_> {
    fn operator(&self, node: &Node) -> Result<Operator> {
        let operator = self.own_operator(node)?;
        Ok(match self.repeated.contains(&node.id()) {
            true => Operator::Repeated { id: node.id(), below: Box::new(operator) },
            false => operator,
        })
    }

    fn own_operator(&self, node: &Node) -> Result<Operator> {
        Ok(match node {
            Node::Repeat { of, input, .. } => Operator::Repeat { of: *of, schema: arrow_schema(input.schema()) },
            Node::Source { relation, columns, schema, .. } => {
                Operator::Source { relation: *relation, columns: columns.clone(), schema: arrow_schema(schema) }
            }
            Node::Filter { input, .. } => Operator::Filter(
                Box::new(self.operator(input)?),
                Filter::new(self.predicate(node)?, self.parallel.clone()),
            ),
            Node::Temporal { input, .. } => {
                Operator::Temporal(Box::new(self.operator(input)?), Box::new(self.temporal(node)?))
            }
            Node::Late { input, window, passed, .. } => {
                let windows = self.compile(node, input, &[window.clone(), passed.clone()])?;
                Operator::Late(Box::new(self.operator(input)?), Box::new(Late::new(node.id(), windows)))
            }
            Node::Close { input, closing, .. } => match &**input {
                Node::Aggregate { input: below, .. } => {
                    let bound = || self.closing_bound(node, closing);
                    let aggregate = self.aggregate(input)?.closing_by(closing.key, bound()?);
                    let mut below = self.operator(below)?;
                    if let Operator::DistinctValues(rows, values) = below {
                        let values = values.closing_by(closing.key, bound()?)?;
                        below = Operator::DistinctValues(rows, Box::new(values));
                    }
                    Operator::Aggregate(Box::new(below), Box::new(aggregate))
                }
                _ => return Err(Error::internal("groups that are closed without an aggregate")),
            },
            Node::Project { input, schema, .. } => Operator::Project(
                Box::new(self.operator(input)?),
                Project::new(self.projection(node)?, arrow_schema(schema), self.parallel.clone()),
            ),
            Node::Join { left, right, .. } => Operator::Join(
                Box::new(self.operator(left)?),
                Box::new(self.operator(right)?),
                Box::new(self.join(node)?),
            ),
            Node::MatchJoin { left, right, .. } => Operator::MatchJoin(
                Box::new(self.operator(left)?),
                Box::new(self.operator(right)?),
                Box::new(self.match_join(node)?),
            ),
            Node::SetOperation { kind, left, right, schema, .. } => Operator::SetOperation(
                Box::new(self.operator(left)?),
                Box::new(self.operator(right)?),
                Box::new(SetOperation::new(*kind, arrow_schema(schema))?),
            ),
            Node::Top { input, .. } => Operator::Top(Box::new(self.operator(input)?), Box::new(self.top(node)?)),
            Node::Window { input, .. } => {
                Operator::Window(Box::new(self.operator(input)?), Box::new(self.window(node)?))
            }
            Node::Union { inputs, schema, .. } => Operator::Union(
                inputs.iter().map(|input| self.operator(input)).collect::<Result<_>>()?,
                Union::new(arrow_schema(schema)),
            ),
            Node::DistinctValues { input, keys, first_distinct, schema, .. } => Operator::DistinctValues(
                Box::new(self.operator(input)?),
                Box::new(DistinctValues::new(*keys, *first_distinct, arrow_schema(schema), self.parallel.clone())?),
            ),
            Node::Unnest { input, column, schema, .. } => Operator::Unnest(
                Box::new(self.operator(input)?),
                Unnest::new(*column, arrow_schema(schema), self.parallel.clone()),
            ),
            Node::Aggregate { input, .. } => {
                Operator::Aggregate(Box::new(self.operator(input)?), Box::new(self.aggregate(node)?))
            }
        })
    }

    fn compile(&self, node: &Node, input: &Node, expressions: &[Expr]) -> Result<Expressions> {
        Expressions::compile(node.id(), expressions, input.schema(), &self.settings)
    }

    fn predicate(&self, node: &Node) -> Result<Expressions> {
        match node {
            Node::Filter { input, predicate, .. } => self.compile(node, input, std::slice::from_ref(predicate)),
            _ => Err(Error::internal("not a filter")),
        }
    }

    fn temporal(&self, node: &Node) -> Result<Temporal> {
        let Node::Temporal { input, value, comparison, bound, .. } = node else {
            return Err(Error::internal("not a condition on the time"));
        };
        let bound = bound.clone().transform_up(|expr| match &expr {
            Expr::ScalarFunction(call) if call.name() == NOW => Ok(Transformed::yes(col(COMMIT_TIME))),
            _ => Ok(Transformed::no(expr)),
        })?;
        let time = DFSchema::try_from(Schema::new(vec![commit_time_field()]))?;
        let bound = Expressions::compile(node.id(), &[bound.data], &time, &self.settings)?;
        let value = self.compile(node, input, std::slice::from_ref(value))?;
        Temporal::new(value, *comparison, bound, arrow_schema(input.schema()))
    }

    fn closing_bound(&self, node: &Node, closing: &Closing) -> Result<TimeBound> {
        let time =
            watermark_type(node, closing.relation).ok_or_else(|| Error::internal("groups without a watermark"))?;
        let time = Field::new(TABLE_WATERMARK, time, true);
        let schema = DFSchema::try_from(Schema::new(vec![time.clone()]))?;
        let bound = Expressions::compile(node.id(), std::slice::from_ref(&closing.bound), &schema, &self.settings)?;
        let window = node.schema().field(closing.key).data_type().clone();
        Ok(TimeBound::new(bound.cast_to(&[window]), time))
    }

    fn projection(&self, node: &Node) -> Result<Expressions> {
        match node {
            Node::Project { input, exprs, schema, .. } => {
                let types: Vec<_> = schema.fields().iter().map(|field| field.data_type().clone()).collect();
                Ok(self.compile(node, input, exprs)?.cast_to(&types))
            }
            _ => Err(Error::internal("not a projection")),
        }
    }

    fn join(&self, node: &Node) -> Result<Join> {
        let JoinParts { left, right, residual, schema } = self.join_parts(node)?;
        Join::new((left.0, &left.1), (right.0, &right.1), residual, schema, self.parallel.clone())
    }

    fn match_join(&self, node: &Node) -> Result<MatchJoin> {
        let Node::MatchJoin { kind, null_aware, schema, .. } = node else {
            return Err(Error::internal("not a join that depends on matches"));
        };
        let JoinParts { left, right, residual, schema: pair_schema } = self.join_parts(node)?;
        let inputs = MatchInputs { left, right, residual, pair_schema };
        MatchJoin::new(*kind, *null_aware, inputs, arrow_schema(schema))
    }

    fn join_parts(&self, node: &Node) -> Result<JoinParts> {
        let (Node::Join { left, right, on, filter, schema, .. }
        | Node::MatchJoin { left, right, on, filter, schema, .. }) = node
        else {
            return Err(Error::internal("not a join"));
        };
        let (mut left_keys, mut right_keys): (Vec<Expr>, Vec<Expr>) = on.iter().cloned().unzip();
        if on.is_empty() {
            // Every row has the same key.
            left_keys.push(lit(true));
            right_keys.push(lit(true));
        }
        let pairs = match node {
            Node::MatchJoin { kind: MatchKind::Semi | MatchKind::Anti | MatchKind::Mark, .. } => {
                Arc::new(left.schema().join(right.schema())?)
            }
            _ => schema.clone(),
        };
        let compile =
            |filter: &Expr| Expressions::compile(node.id(), std::slice::from_ref(filter), &pairs, &self.settings);
        Ok(JoinParts {
            left: (self.compile(node, left, &left_keys)?, arrow_schema(left.schema())),
            right: (self.compile(node, right, &right_keys)?, arrow_schema(right.schema())),
            residual: filter.as_ref().map(compile).transpose()?,
            schema: arrow_schema(&pairs),
        })
    }

    fn top(&self, node: &Node) -> Result<Top> {
        let Node::Top { input, partition, order, kind, skip, fetch, shows_rank, schema, .. } = node else {
            return Err(Error::internal("not the first rows of an order"));
        };
        let keys: Vec<Expr> = partition.iter().cloned().chain(order.iter().map(|key| key.expr.clone())).collect();
        let directions: Vec<SortDirection> = order.iter().map(|key| key.direction).collect();
        let bound = Bound { kind: *kind, skip: *skip, fetch: *fetch, shows_rank: *shows_rank };
        let keys = self.compile(node, input, &keys)?;
        let keeps = match (come_at_once(node), self.is_append_only(input)) {
            (true, _) => Keeps::Nothing,
            (false, true) => Keeps::First,
            (false, false) if only_improves(node, &|relation| self.append_only.contains(&relation)) => Keeps::Best,
            (false, false) => Keeps::All,
        };
        Top::new(keys, &directions, bound, keeps, arrow_schema(input.schema()), arrow_schema(schema))
    }

    fn window(&self, node: &Node) -> Result<Window> {
        let Node::Window { input, calls, schema, .. } = node else {
            return Err(Error::internal("not a window"));
        };
        let Some(Expr::WindowFunction(first)) = calls.first() else {
            return Err(Error::internal("a window without functions"));
        };
        let order = first.params.order_by.iter();
        let directions: Vec<SortDirection> =
            order.clone().map(|key| SortDirection { descending: !key.asc, nulls_first: key.nulls_first }).collect();
        let partition = &first.params.partition_by;
        let keys: Vec<Expr> = partition.iter().cloned().chain(order.map(|key| key.expr.clone())).collect();
        let keys = self.compile(node, input, &keys)?;
        let names = partition.iter().zip(keys.types());
        let names = names.map(|(expr, data_type)| Field::new(expr.schema_name().to_string(), data_type, true));
        let inputs = WindowInputs {
            partition_schema: Arc::new(Schema::new(names.collect::<Vec<_>>())),
            keys,
            directions: &directions,
            calls: window_calls(calls, input.schema(), &self.settings)?,
            filters: window_filters(calls, input.schema(), &self.settings)?,
            reach: Reach::of(calls, input.schema(), cannot_fail),
            keeps_nothing: come_at_once(node),
            input: arrow_schema(input.schema()),
        };
        Window::new(node.id(), inputs, arrow_schema(schema))
    }

    fn aggregate(&self, node: &Node) -> Result<Aggregate> {
        let Node::Aggregate { input, group, aggregates, schema, .. } = node else {
            return Err(Error::internal("not an aggregate"));
        };
        let mut expressions = group.clone();
        let mut calls = Vec::with_capacity(aggregates.len());
        for call in aggregates {
            let place = |arg: &Expr| {
                let args = &expressions[group.len()..];
                let found = args.iter().position(|known| known == arg).map(|found| group.len() + found);
                found.unwrap_or_else(|| {
                    expressions.push(arg.clone());
                    expressions.len() - 1
                })
            };
            calls.push((call, call.args.iter().map(place).collect()));
        }
        let inputs = AggregateInputs {
            expressions: self.compile(node, input, &expressions)?,
            group_count: group.len(),
            calls,
            append_only: self.is_append_only(input),
        };
        let keys: Vec<_> = schema.iter().take(group.len()).map(|(of, field)| (of.cloned(), field.clone())).collect();
        let keys = DFSchema::new_with_metadata(keys, Default::default())?;
        let expiring = self.expiring.iter().filter(|(_, expiring)| expiring.operator == node.id());
        let expiring = expiring.map(|(column, Expiring { value, .. })| {
            let value = Expressions::compile(node.id(), std::slice::from_ref(value), &keys, &self.settings)?;
            Ok(operators::Expiring { column: *column, value, keys: arrow_schema(&keys) })
        });
        let aggregate = Aggregate::new(node.id(), inputs, arrow_schema(schema), self.parallel.clone())?;
        Ok(aggregate.expiring_by(expiring.collect::<Result<_>>()?))
    }

    fn is_append_only(&self, node: &Node) -> bool {
        node.is_append_only(&|relation| self.append_only.contains(&relation))
    }

    /// The filters and projections above an aggregate at the top, if none of them can fail.
    fn stages_above_aggregate(&self, node: &Node) -> Result<Option<Vec<Stage>>> {
        let (input, stage) = match node {
            Node::Aggregate { .. } => return Ok(Some(Vec::new())),
            Node::Filter { input, predicate, .. } if cannot_fail(predicate) => {
                (input, Stage::Filter(self.predicate(node)?))
            }
            Node::Project { input, exprs, schema, .. } if exprs.iter().all(cannot_fail) => {
                (input, Stage::Project(self.projection(node)?, arrow_schema(schema)))
            }
            _ => return Ok(None),
        };
        let Some(mut stages) = self.stages_above_aggregate(input)? else { return Ok(None) };
        stages.push(stage);
        Ok(Some(stages))
    }
}

fn expiring(plan: &ViewPlan) -> Vec<(usize, Expiring)> {
    let columns = plan.columns.iter().enumerate().filter(|(_, column)| column.sql_type.tells_time());
    columns.flat_map(|(at, _)| plan.expiring(at).into_iter().map(move |expiring| (at, expiring))).collect()
}

/// One for each operator that [`Builder::operator`] makes, in preorder.
fn add_ids(node: &Node, ids: &mut Vec<OperatorId>) {
    ids.push(node.id());
    match node {
        // One operator.
        Node::Close { input, .. } => input.inputs().into_iter().for_each(|below| add_ids(below, ids)),
        Node::Repeat { .. } => {}
        _ => node.inputs().into_iter().for_each(|below| add_ids(below, ids)),
    }
}

/// The type of a table's times, from what its rows are marked with.
fn watermark_type(node: &Node, table: RelationId) -> Option<DataType> {
    match node {
        Node::Source { relation, schema, .. } if *relation == table => {
            let mark = schema.fields().iter().find(|field| field.name() == WATERMARK)?;
            Some(mark.data_type().clone())
        }
        _ => node.inputs().into_iter().find_map(|input| watermark_type(input, table)),
    }
}

/// For each key of the aggregate at the top the column of `node` that is it; `None` where one is not shown.
fn shown_keys(node: &Node) -> Option<Vec<usize>> {
    match node {
        Node::Aggregate { group, .. } => Some((0..group.len()).collect()),
        Node::Filter { input, .. } => shown_keys(input),
        Node::Project { input, exprs, .. } => {
            let shows = |expr: &Expr, key: usize| match expr {
                Expr::Column(column) => input.schema().index_of_column(column).is_ok_and(|index| index == key),
                _ => false,
            };
            shown_keys(input)?.into_iter().map(|key| exprs.iter().position(|expr| shows(expr, key))).collect()
        }
        _ => None,
    }
}

/// Expressions that have a value for every row: columns, literals, comparisons and logic.
fn cannot_fail(expression: &Expr) -> bool {
    match expression {
        Expr::Column(_) | Expr::Literal(..) => true,
        Expr::Alias(alias) => cannot_fail(&alias.expr),
        Expr::Not(inner)
        | Expr::IsNull(inner)
        | Expr::IsNotNull(inner)
        | Expr::IsTrue(inner)
        | Expr::IsFalse(inner)
        | Expr::IsNotTrue(inner)
        | Expr::IsNotFalse(inner) => cannot_fail(inner),
        Expr::BinaryExpr(binary) => is_total(binary.op) && cannot_fail(&binary.left) && cannot_fail(&binary.right),
        Expr::ScalarFunction(call) => {
            call.name() == crate::functions::floats::CANONICAL_FLOAT && call.args.iter().all(cannot_fail)
        }
        _ => false,
    }
}

fn is_total(operator: BinaryOperator) -> bool {
    use BinaryOperator::{And, Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq, Or};
    matches!(operator, And | Or | Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom)
}

/// The part of a session's settings that expressions depend on.
fn config(settings: &BTreeMap<String, String>) -> ConfigOptions {
    let mut config = ConfigOptions::new();
    if let Some((_, zone)) = settings.iter().find(|(name, _)| name.eq_ignore_ascii_case("TimeZone")) {
        config.execution.time_zone = Some(zone.clone());
    }
    config
}

#[cfg(test)]
mod tests;
