//! A view's operators, the tree of its plan: one step through it, from the sources up, and what is asked of all of them.
//!
//! Each operator takes what those below it gave in the same step. What a plan reads twice runs at its first place, and is read again from
//! the step.
//!
//! Does not know: plans, what the view shows.

use arrow::datatypes::SchemaRef;
use datafusion::common::HashMap;

use super::errors::ErrorDelta;
use super::expression::batch;
use super::handle::OperatorStats;
use super::operators::{
    Aggregate, Counters, DistinctValues, Filter, Join, Late, LateRows, MatchJoin, Project, SetOperation, Temporal, Top,
    Union, Unnest, Window,
};
use super::state::StateRef;
use crate::delta::DeltaBatch;
use crate::error::{Error, Result};
use crate::plan::OperatorId;
use crate::types::RelationId;

/// What a step brings: for each relation its changes.
pub type StepInput = HashMap<RelationId, Vec<DeltaBatch>>;

/// A view's operators, the tree of its plan.
#[derive(Debug)]
pub enum Operator {
    /// What runs once and is read again by a repeat of `id`.
    Repeated {
        id: OperatorId,
        below: Box<Operator>,
    },
    /// Reads what the operator `of` gave in this step.
    Repeat {
        of: OperatorId,
        schema: SchemaRef,
    },
    Source {
        relation: RelationId,
        columns: Vec<usize>,
        schema: SchemaRef,
    },
    Filter(Box<Operator>, Filter),
    Temporal(Box<Operator>, Box<Temporal>),
    Late(Box<Operator>, Box<Late>),
    Project(Box<Operator>, Project),
    Join(Box<Operator>, Box<Operator>, Box<Join>),
    MatchJoin(Box<Operator>, Box<Operator>, Box<MatchJoin>),
    SetOperation(Box<Operator>, Box<Operator>, Box<SetOperation>),
    Top(Box<Operator>, Box<Top>),
    Window(Box<Operator>, Box<Window>),
    Union(Vec<Operator>, Union),
    DistinctValues(Box<Operator>, Box<DistinctValues>),
    Unnest(Box<Operator>, Unnest),
    Aggregate(Box<Operator>, Box<Aggregate>),
}

/// One step, while it runs.
pub struct Step<'a> {
    input: &'a StepInput,
    errors: &'a mut ErrorDelta,
    /// What operators gave that are read again.
    repeated: HashMap<OperatorId, Vec<DeltaBatch>>,
}

impl<'a> Step<'a> {
    pub fn new(input: &'a StepInput, errors: &'a mut ErrorDelta) -> Self {
        Step { input, errors, repeated: HashMap::new() }
    }
}

impl Operator {
    pub fn step(&mut self, step: &mut Step<'_>, emit: bool) -> Result<Vec<DeltaBatch>> {
        match self {
            Operator::Repeated { id, below } => {
                let output = below.step(step, true)?;
                step.repeated.insert(*id, output.clone());
                Ok(output)
            }
            Operator::Repeat { of, schema } => {
                let output = step.repeated.get(of).ok_or_else(|| Error::internal("a repeat of what did not run"))?;
                let renamed = |delta: &DeltaBatch| {
                    delta.with_rows(batch(schema, delta.rows().columns().to_vec(), delta.num_rows())?)
                };
                output.iter().map(renamed).collect()
            }
            Operator::Source { relation, columns, schema } => source(step.input, *relation, columns, schema),
            Operator::Filter(below, filter) => {
                let input = below.step(step, emit)?;
                filter.step(input, step.errors)
            }
            Operator::Temporal(below, temporal) => {
                let input = below.step(step, true)?;
                temporal.step(input, step.errors)
            }
            Operator::Late(below, late) => {
                let input = below.step(step, true)?;
                late.step(input, step.errors)
            }
            Operator::Project(below, project) => {
                let input = below.step(step, emit)?;
                project.step(input, step.errors)
            }
            Operator::Join(left, right, join) => {
                let left = left.step(step, true)?;
                let right = right.step(step, true)?;
                join.step(left, right, step.errors)
            }
            Operator::MatchJoin(left, right, join) => {
                let left = left.step(step, true)?;
                let right = right.step(step, true)?;
                join.step(left, right, step.errors)
            }
            Operator::SetOperation(left, right, set) => {
                let left = left.step(step, true)?;
                let right = right.step(step, true)?;
                set.step(left, right)
            }
            Operator::Top(below, top) => {
                let input = below.step(step, true)?;
                top.step(input, step.errors)
            }
            Operator::Window(below, window) => {
                let input = below.step(step, true)?;
                window.step(input, step.errors)
            }
            Operator::Union(below, union) => {
                let mut batches = Vec::new();
                for below in below {
                    batches.extend(below.step(step, true)?);
                }
                union.step(batches)
            }
            Operator::DistinctValues(below, distinct) => distinct.step(below.step(step, true)?),
            Operator::Unnest(below, unnest) => unnest.step(below.step(step, true)?),
            Operator::Aggregate(below, aggregate) => {
                let input = below.step(step, true)?;
                aggregate.step(input, emit, step.errors)
            }
        }
    }

    fn below(&self) -> Vec<&Operator> {
        match self {
            Operator::Source { .. } | Operator::Repeat { .. } => vec![],
            Operator::Repeated { below, .. } => vec![below],
            Operator::Filter(below, _)
            | Operator::Temporal(below, _)
            | Operator::Late(below, _)
            | Operator::Project(below, _)
            | Operator::Top(below, _)
            | Operator::Window(below, _)
            | Operator::DistinctValues(below, _)
            | Operator::Unnest(below, _)
            | Operator::Aggregate(below, _) => vec![below],
            Operator::Join(left, right, _)
            | Operator::MatchJoin(left, right, _)
            | Operator::SetOperation(left, right, _) => vec![left, right],
            Operator::Union(below, _) => below.iter().collect(),
        }
    }

    pub fn advance_to(&mut self, now_us: i64) -> Result<()> {
        if let Operator::Temporal(_, temporal) = self {
            temporal.advance_to(now_us)?;
        }
        self.below_mut().into_iter().try_for_each(|below| below.advance_to(now_us))
    }

    pub fn each_aggregate(&mut self, with: &mut dyn FnMut(&mut Aggregate) -> Result<()>) -> Result<()> {
        if let Operator::Aggregate(_, aggregate) = self {
            with(aggregate)?;
        }
        self.below_mut().into_iter().try_for_each(|below| below.each_aggregate(with))
    }

    pub fn close_to(&mut self, watermark_us: i64) -> Result<()> {
        match self {
            Operator::Aggregate(_, aggregate) => aggregate.close_to(watermark_us)?,
            Operator::DistinctValues(_, values) => values.close_to(watermark_us)?,
            _ => {}
        }
        self.below_mut().into_iter().try_for_each(|below| below.close_to(watermark_us))
    }

    pub fn late_rows(&self) -> Option<&LateRows> {
        match self {
            Operator::Late(_, late) => Some(late.late_rows()),
            other => other.below().into_iter().find_map(Operator::late_rows),
        }
    }

    fn below_mut(&mut self) -> Vec<&mut Operator> {
        match self {
            Operator::Source { .. } | Operator::Repeat { .. } => vec![],
            Operator::Repeated { below, .. } => vec![below],
            Operator::Filter(below, _)
            | Operator::Temporal(below, _)
            | Operator::Late(below, _)
            | Operator::Project(below, _)
            | Operator::Top(below, _)
            | Operator::Window(below, _)
            | Operator::DistinctValues(below, _)
            | Operator::Unnest(below, _)
            | Operator::Aggregate(below, _) => vec![below],
            Operator::Join(left, right, _)
            | Operator::MatchJoin(left, right, _)
            | Operator::SetOperation(left, right, _) => vec![left, right],
            Operator::Union(below, _) => below.iter_mut().collect(),
        }
    }

    /// Which columns each source reads, in preorder.
    pub fn add_columns_read<'a>(&'a mut self, read: &mut Vec<&'a mut Vec<usize>>) {
        match self {
            Operator::Source { columns, .. } => read.push(columns),
            other => other.below_mut().into_iter().for_each(|below| below.add_columns_read(read)),
        }
    }

    pub fn counters(&self) -> Counters {
        let mut counters = self.own_counters();
        self.below().iter().for_each(|below| counters.add(below.counters()));
        counters
    }

    /// What this operator and those below it keep and did, in preorder.
    pub fn add_stats(&self, ids: &mut impl Iterator<Item = OperatorId>, stats: &mut Vec<OperatorStats>) {
        if let Operator::Repeated { below, .. } = self {
            return below.add_stats(ids, stats);
        }
        let Some(operator) = ids.next() else { return };
        let Counters { rows_read, rows_emitted } = self.own_counters();
        stats.push(OperatorStats { operator, state_bytes: self.own_memory_bytes(), rows_read, rows_emitted });
        self.below().into_iter().for_each(|below| below.add_stats(ids, stats));
    }

    fn own_counters(&self) -> Counters {
        match self {
            Operator::Source { .. } | Operator::Repeated { .. } | Operator::Repeat { .. } => Counters::default(),
            Operator::Filter(_, filter) => filter.counters,
            Operator::Temporal(_, temporal) => temporal.counters,
            Operator::Late(_, late) => late.counters,
            Operator::Project(_, project) => project.counters,
            Operator::Join(_, _, join) => join.counters,
            Operator::MatchJoin(_, _, join) => join.counters,
            Operator::SetOperation(_, _, set) => set.counters,
            Operator::Top(_, top) => top.counters,
            Operator::Window(_, window) => window.counters,
            Operator::Union(_, union) => union.counters,
            Operator::DistinctValues(_, distinct) => distinct.counters,
            Operator::Unnest(_, unnest) => unnest.counters,
            Operator::Aggregate(_, aggregate) => aggregate.counters,
        }
    }

    pub fn add_states<'a>(&'a mut self, states: &mut Vec<StateRef<'a>>) {
        match self {
            Operator::Source { .. } | Operator::Repeat { .. } => {}
            Operator::Repeated { below, .. }
            | Operator::Filter(below, _)
            | Operator::Project(below, _)
            | Operator::Unnest(below, _) => below.add_states(states),
            Operator::Union(below, _) => below.iter_mut().for_each(|below| below.add_states(states)),
            Operator::Join(left, right, join) => {
                left.add_states(states);
                right.add_states(states);
                states.extend(join.states());
            }
            Operator::MatchJoin(left, right, join) => {
                left.add_states(states);
                right.add_states(states);
                states.extend(join.states());
            }
            Operator::SetOperation(left, right, set) => {
                left.add_states(states);
                right.add_states(states);
                states.extend(set.states());
            }
            Operator::Temporal(below, temporal) => {
                below.add_states(states);
                states.extend(temporal.states());
            }
            Operator::Late(below, late) => {
                below.add_states(states);
                states.extend(late.states());
            }
            Operator::Top(below, top) => {
                below.add_states(states);
                states.extend(top.states());
            }
            Operator::Window(below, window) => {
                below.add_states(states);
                states.extend(window.states());
            }
            Operator::DistinctValues(below, distinct) => {
                below.add_states(states);
                states.extend(distinct.states());
            }
            Operator::Aggregate(below, aggregate) => {
                below.add_states(states);
                states.extend(aggregate.states());
            }
        }
    }

    pub fn memory_bytes(&self) -> usize {
        self.own_memory_bytes() + self.below().iter().map(|below| below.memory_bytes()).sum::<usize>()
    }

    fn own_memory_bytes(&self) -> usize {
        match self {
            Operator::Source { .. }
            | Operator::Repeated { .. }
            | Operator::Repeat { .. }
            | Operator::Filter(..)
            | Operator::Project(..)
            | Operator::Union(..)
            | Operator::Unnest(..) => 0,
            Operator::Join(_, _, join) => join.memory_bytes(),
            Operator::MatchJoin(_, _, join) => join.memory_bytes(),
            Operator::SetOperation(_, _, set) => set.memory_bytes(),
            Operator::Temporal(_, temporal) => temporal.memory_bytes(),
            Operator::Late(_, late) => late.memory_bytes(),
            Operator::Top(_, top) => top.memory_bytes(),
            Operator::Window(_, window) => window.memory_bytes(),
            Operator::DistinctValues(_, distinct) => distinct.memory_bytes(),
            Operator::Aggregate(_, aggregate) => aggregate.memory_bytes(),
        }
    }

    pub fn top_aggregate(&self) -> Option<&Aggregate> {
        match self {
            Operator::Aggregate(_, aggregate) => Some(aggregate),
            Operator::Filter(below, _) | Operator::Project(below, _) => below.top_aggregate(),
            _ => None,
        }
    }

    pub fn top_aggregate_mut(&mut self) -> Option<&mut Aggregate> {
        match self {
            Operator::Aggregate(_, aggregate) => Some(aggregate),
            Operator::Filter(below, _) | Operator::Project(below, _) => below.top_aggregate_mut(),
            _ => None,
        }
    }
}

/// A relation's changes, with the columns that the plan reads; the row id of tables is behind them.
fn source(input: &StepInput, relation: RelationId, columns: &[usize], schema: &SchemaRef) -> Result<Vec<DeltaBatch>> {
    let deltas = input.get(&relation).map_or(&[][..], Vec::as_slice);
    let project = |delta: &DeltaBatch| {
        let projected = delta.rows().project(columns)?;
        delta.with_rows(batch(schema, projected.columns().to_vec(), delta.num_rows())?)
    };
    deltas.iter().filter(|delta| !delta.is_empty()).map(project).collect()
}
