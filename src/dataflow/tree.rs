//! A view's operators, the tree of its plan: one step through it, from the sources up, and what is asked of all of them.
//!
//! Each operator takes what those below it give in the same step, piece by piece. What a plan reads twice runs at its first place, and is
//! read again from the step.
//!
//! Does not know: plans, what the view shows.

use arrow::datatypes::SchemaRef;
use datafusion::common::HashMap;

use super::errors::ErrorDelta;
use super::expression::batch;
use super::handle::OperatorStats;
use super::operators::{
    Aggregate, Counters, DistinctValues, Filter, Gathered, Join, Late, LateRows, MatchJoin, Output, Project,
    SetOperation, Temporal, Top, Union, Unnest, Window,
};
use super::state::{Residence, StateRef};
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
    residence: &'a Residence,
    /// What operators gave that are read again.
    repeated: HashMap<OperatorId, Vec<DeltaBatch>>,
}

/// Takes what an operator gives in a step.
pub type Give<'g, 'a> = dyn FnMut(&mut Step<'a>, Vec<DeltaBatch>) -> Result<()> + 'g;

/// What an operator does that has two inputs.
type OfBoth<'g> = dyn FnMut([Vec<DeltaBatch>; 2], &mut ErrorDelta, &mut Output<'_>) -> Result<()> + 'g;

/// Which piece of an operator's input comes.
#[derive(Default)]
pub struct Pieces {
    is_later: bool,
}

impl<'a> Step<'a> {
    pub fn new(input: &'a StepInput, errors: &'a mut ErrorDelta, residence: &'a Residence) -> Self {
        Step { input, errors, residence, repeated: HashMap::new() }
    }

    fn gathered(&self) -> Gathered {
        Gathered::new(self.residence.piece_bytes_max())
    }

    /// Runs an operator that may give its output in pieces; what it gave last stays in `gathered`.
    fn run(
        &mut self,
        gathered: &mut Gathered,
        give: &mut Give<'_, 'a>,
        run: impl FnOnce(&mut ErrorDelta, &mut Output<'_>) -> Result<()>,
    ) -> Result<()> {
        let mut errors = ErrorDelta::default();
        let ran = run(&mut errors, &mut Output::new(gathered, &mut |output| give(self, output)));
        self.errors.append(errors);
        ran
    }

    /// Between the pieces of a step an operator's state may leave memory, as all of it may between steps. Where the disk does not take
    /// it, it stays.
    pub fn between<'s>(&self, pieces: &mut Pieces, states: impl IntoIterator<Item = StateRef<'s>>) {
        let is_first = !std::mem::replace(&mut pieces.is_later, true);
        if is_first || !self.residence.is_full() {
            return;
        }
        let left = states.into_iter().try_for_each(|mut state| state.make_room(self.residence));
        if let Err(error) = left {
            tracing::debug!(%error, "state stays in memory");
        }
    }
}

impl Operator {
    /// Gives the output in one piece, or in several where a join makes much: each is a change of its own to those above, who take it as
    /// if it were a step. In the order of the pieces no row goes before it is there. There is always one, which may be empty: it brings
    /// the time.
    pub fn step<'a>(&mut self, step: &mut Step<'a>, emit: bool, give: &mut Give<'_, 'a>) -> Result<()> {
        let mut pieces = Pieces::default();
        match self {
            Operator::Repeated { id, below } => below.step(step, true, &mut |step, output| {
                step.repeated.entry(*id).or_default().extend(output.iter().cloned());
                give(step, output)
            }),
            Operator::Repeat { of, schema } => {
                let output = step.repeated.get(of).ok_or_else(|| Error::internal("a repeat of what did not run"))?;
                let renamed = |delta: &DeltaBatch| {
                    delta.with_rows(batch(schema, delta.rows().columns().to_vec(), delta.num_rows())?)
                };
                let output = output.iter().map(renamed).collect::<Result<_>>()?;
                give(step, output)
            }
            Operator::Source { relation, columns, schema } => {
                let input = source(step.input, *relation, columns, schema)?;
                give(step, input)
            }
            Operator::Filter(below, filter) => below.step(step, emit, &mut |step, input| {
                let output = filter.step(input, step.errors)?;
                give(step, output)
            }),
            Operator::Temporal(below, temporal) => below.step(step, true, &mut |step, input| {
                step.between(&mut pieces, temporal.states());
                let output = temporal.step(input, step.errors)?;
                give(step, output)
            }),
            Operator::Late(below, late) => below.step(step, true, &mut |step, input| {
                let output = late.step(input, step.errors)?;
                give(step, output)
            }),
            Operator::Project(below, project) => below.step(step, emit, &mut |step, input| {
                let output = project.step(input, step.errors)?;
                give(step, output)
            }),
            Operator::Join(left, right, join) => {
                both([left, right], step, give, &mut |[left, right], errors, output| {
                    join.step(left, right, errors, output)
                })
            }
            Operator::MatchJoin(left, right, join) => {
                both([left, right], step, give, &mut |[left, right], errors, output| {
                    join.step(left, right, errors, output)
                })
            }
            Operator::SetOperation(left, right, set) => {
                both([left, right], step, give, &mut |[left, right], _, output| set.step(left, right, output))
            }
            Operator::Top(below, top) => below.step(step, true, &mut |step, input| {
                step.between(&mut pieces, top.states());
                let output = top.step(input, step.errors)?;
                give(step, output)
            }),
            Operator::Window(below, window) => {
                let mut rows = window.begin();
                below.step(step, true, &mut |step, input| {
                    step.between(&mut pieces, rows.states());
                    window.take(&mut rows, input, step.errors)
                })?;
                let (mut gathered, gather_bytes_max) = (step.gathered(), step.residence.gather_bytes_max());
                step.run(&mut gathered, give, |errors, output| window.finish(rows, gather_bytes_max, errors, output))?;
                give(step, gathered.take())
            }
            Operator::Union(inputs, union) => {
                let mut gathered = step.gathered();
                for below in inputs {
                    below.step(step, true, &mut |step, input| {
                        union.step(input, &mut Output::new(&mut gathered, &mut |output| give(step, output)))
                    })?;
                }
                give(step, gathered.take())
            }
            Operator::DistinctValues(below, distinct) => below.step(step, true, &mut |step, input| {
                step.between(&mut pieces, distinct.states());
                let output = distinct.step(input)?;
                give(step, output)
            }),
            Operator::Unnest(below, unnest) => below.step(step, true, &mut |step, input| {
                let output = unnest.step(input)?;
                give(step, output)
            }),
            Operator::Aggregate(below, aggregate) => {
                let mut gathered = step.gathered();
                below.step(step, true, &mut |step, input| {
                    step.between(&mut pieces, aggregate.states());
                    let what = (emit, step.residence.gather_bytes_max());
                    step.run(&mut gathered, give, |errors, output| aggregate.step(input, what, errors, output))
                })?;
                give(step, gathered.take())
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

/// Steps an operator with two inputs: the last piece of the left one, which is mostly the only one, together with the first of the right.
fn both<'a>(
    [left, right]: [&mut Operator; 2],
    step: &mut Step<'a>,
    give: &mut Give<'_, 'a>,
    run: &mut OfBoth<'_>,
) -> Result<()> {
    let mut gathered = step.gathered();
    let mut run = |step: &mut Step<'a>, inputs: [Vec<DeltaBatch>; 2]| {
        step.run(&mut gathered, give, |errors, output| run(inputs, errors, output))
    };
    let mut held: Option<Vec<DeltaBatch>> = None;
    left.step(step, true, &mut |step, input| match held.replace(input) {
        Some(earlier) => run(step, [earlier, Vec::new()]),
        None => Ok(()),
    })?;
    right.step(step, true, &mut |step, input| run(step, [held.take().unwrap_or_default(), input]))?;
    give(step, gathered.take())
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
