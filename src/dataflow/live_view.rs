//! One view that is kept up to date: its operators, their state, and the rows that cannot be computed.
//!
//! Does not know: the queue, other views, who reads or subscribes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::HashSet;
use xxhash_rust::xxh3::Xxh3Default;

use super::build::Dataflow;
use super::checkpoint::ViewImage;
use super::content::in_schema;
use super::errors::{ErrorDelta, ErrorSet};
use super::handle::{ViewStats, ViewStatus};
use super::operators::LateRows;
use super::readers::Readers;
use super::state::{PageStore, Residence, StateReader, StateRef};
use super::tree::StepInput;
use super::view::ViewSnapshot;
use crate::catalog::{Cutoff, MaterializedView};
use crate::delta::DeltaBatch;
use crate::error::{Error, Result};
use crate::io::Parallel;
use crate::plan::{Node, ViewPlan};
use crate::types::{CommitNumber, RelationId};

/// Raised whenever an operator keeps other state than before for the same plan: older checkpoints are then of no use.
const STATE_FORMAT: u32 = 3;

/// A view with its operators and their state.
pub struct LiveView {
    dataflow: Dataflow,
    /// Tells what its state is the state of.
    pub plan: u128,
    append_only: HashSet<RelationId>,
    schema: SchemaRef,
    pub sources: HashSet<RelationId>,
    errors: ErrorSet,
    /// Its rows change with time alone.
    pub follows_time: bool,
    /// The table whose watermark closes its groups.
    closes_by: Option<RelationId>,
    pub failed: Option<Error>,
    /// Rows that its operators touched and gave, those of the last steps counting the most.
    pub cost: u64,
}

impl LiveView {
    pub fn build(
        view: &MaterializedView,
        plan: &ViewPlan,
        append_only: HashSet<RelationId>,
        parallel: Arc<dyn Parallel>,
        residence: &Arc<Residence>,
    ) -> Result<Self> {
        let mut built = LiveView {
            dataflow: Dataflow::build(plan, &view.settings, &append_only, parallel)?,
            plan: digest_of_plan(view),
            append_only,
            schema: view.schema(),
            sources: source_relations(&plan.root).into_iter().collect(),
            errors: ErrorSet::default(),
            follows_time: plan.follows_time(),
            closes_by: plan.closes_by(),
            failed: None,
            cost: 0,
        };
        built.states().iter().for_each(|state| state.attach(residence, view.id));
        Ok(built)
    }

    /// Does not show what is before the cutoff, of which its state has nothing.
    pub fn with_cutoff(mut self, cutoff: Option<Cutoff>) -> Result<LiveView> {
        self.dataflow.begin_at(cutoff)?;
        Ok(self)
    }

    /// Rows before the cutoff expire; nobody hears of it.
    pub fn expire(&mut self, cutoff: Cutoff) {
        let mut errors = ErrorDelta::default();
        let expired = self.dataflow.expire(cutoff, &mut errors).and_then(|()| self.errors.apply(&errors));
        if let Err(error) = expired {
            tracing::error!(%error, "a materialized view failed");
            self.failed.get_or_insert(error);
        }
    }

    /// Takes on another definition of the same rows.
    pub fn alter(&mut self, view: &MaterializedView, plan: &ViewPlan) -> Result<()> {
        self.dataflow.read_as(plan)?;
        self.plan = digest_of_plan(view);
        Ok(())
    }

    /// All of its state, always in the same order.
    fn states(&mut self) -> Vec<StateRef<'_>> {
        let mut states = self.dataflow.states();
        states.extend(self.errors.states());
        states
    }

    pub fn image(&mut self, id: RelationId) -> ViewImage {
        let mut append_only: Vec<RelationId> = self.append_only.iter().copied().collect();
        append_only.sort();
        let states = self.states().iter().map(StateRef::image).collect();
        ViewImage { view: id, plan: self.plan, append_only, cutoff: self.dataflow.cutoff(), states }
    }

    pub fn restore(&mut self, store: &Arc<dyn PageStore>, saved: &[u8]) -> Result<()> {
        let mut reader = StateReader::new(store.clone(), saved);
        self.states().iter_mut().try_for_each(|state| state.restore(&mut reader))?;
        reader.finish()
    }

    pub fn make_room(&mut self, residence: &Residence) -> Result<()> {
        self.states().iter_mut().try_for_each(|state| state.make_room(residence))
    }

    pub fn advance_to(&mut self, now_us: i64) -> Result<()> {
        if self.follows_time { self.dataflow.advance_to(now_us) } else { Ok(()) }
    }

    /// A step while the view is being made.
    pub fn dataflow_step(&mut self, input: &StepInput, residence: &Residence) -> Result<()> {
        self.try_step(input, false, residence, &mut |_| {})
    }

    fn try_step(
        &mut self,
        input: &StepInput,
        emit: bool,
        residence: &Residence,
        give: &mut dyn FnMut(Vec<DeltaBatch>),
    ) -> Result<()> {
        let mut errors = ErrorDelta::default();
        let mut in_schema = |output: Vec<DeltaBatch>| {
            give(output.iter().map(|delta| in_schema(delta, &self.schema)).collect::<Result<_>>()?);
            Ok(())
        };
        self.dataflow.step(input, emit, residence, &mut errors, &mut in_schema)?;
        self.errors.apply(&errors)
    }

    /// Shows the groups that are closed by the watermark of its table, while the view is being made.
    pub fn close_to(&mut self, table: RelationId, watermark_us: i64, residence: &Residence) -> Result<()> {
        if self.closes_by == Some(table) {
            self.dataflow.close_to(watermark_us)?;
            self.dataflow_step(&StepInput::default(), residence)?;
        }
        Ok(())
    }

    /// A live step; `watermarks` are those that have moved, where it is the last of its commits. Where `emit` asks for the output, it is
    /// given on as it is made.
    pub fn step(
        &mut self,
        input: &StepInput,
        watermarks: &BTreeMap<RelationId, i64>,
        emit: bool,
        now_us: i64,
        residence: &Residence,
        give: &mut dyn FnMut(Vec<DeltaBatch>),
    ) {
        let watermark = self.closes_by.and_then(|table| watermarks.get(&table).copied());
        let changes =
            self.follows_time || watermark.is_some() || self.sources.iter().any(|source| input.contains_key(source));
        if self.failed.is_some() || !changes {
            return;
        }
        let before = self.dataflow.counters();
        let closed = watermark.map_or(Ok(()), |watermark_us| self.dataflow.close_to(watermark_us));
        let advanced = closed.and_then(|()| self.advance_to(now_us));
        if let Err(error) = advanced.and_then(|()| self.try_step(input, emit, residence, give)) {
            tracing::error!(%error, "a materialized view failed");
            self.failed = Some(error);
        }
        let after = self.dataflow.counters();
        let rows = (after.rows_read - before.rows_read) + (after.rows_emitted - before.rows_emitted);
        self.cost = self.cost / 2 + rows;
    }

    /// Test switch, for VERIFY's own test.
    pub fn plant_wrong_row(&mut self) -> Result<()> {
        self.dataflow.plant_wrong_row()
    }

    pub fn snapshot(&self, commit: CommitNumber, readers: &mut Readers) -> Result<ViewSnapshot> {
        match &self.failed {
            Some(error) => Err(error.clone()),
            None => {
                let content = self.dataflow.content()?;
                let late = self.dataflow.late_rows().cloned();
                Ok(ViewSnapshot::new(self.schema.clone(), commit, content, self.errors.clone(), late, readers))
            }
        }
    }

    pub fn status(&self) -> ViewStatus {
        self.failed.as_ref().map_or(ViewStatus::Live, |error| ViewStatus::Failed(error.to_string()))
    }

    pub fn stats(&self, id: RelationId, commit: CommitNumber, status: ViewStatus) -> ViewStats {
        let counters = self.dataflow.counters();
        ViewStats {
            view: id,
            commit,
            rows: self.dataflow.rows().unwrap_or_default(),
            state_bytes: self.dataflow.memory_bytes() + self.errors.memory_bytes(),
            errors: self.errors.rows(),
            accepted_rows: self.dataflow.late_rows().map_or(0, LateRows::accepted),
            late_rows: self.dataflow.late_rows().map_or(0, |late| late.rows().rows()),
            rows_read: counters.rows_read,
            rows_emitted: counters.rows_emitted,
            operators: self.dataflow.operator_stats(),
            status,
        }
    }
}

impl Drop for LiveView {
    /// What readers still hold of it, they hold alone.
    fn drop(&mut self) {
        self.states().iter().for_each(StateRef::leave);
    }
}

/// Each relation that the plan reads, once.
pub fn source_relations(node: &Node) -> BTreeSet<RelationId> {
    match node {
        Node::Source { relation, .. } => BTreeSet::from([*relation]),
        _ => node.inputs().into_iter().flat_map(source_relations).collect(),
    }
}

/// Of all that a view's operators are built from.
fn digest_of_plan(view: &MaterializedView) -> u128 {
    let mut digest = Xxh3Default::new();
    digest.update(&STATE_FORMAT.to_le_bytes());
    digest.update(&view.plan);
    for (name, value) in &view.settings {
        [name, value].into_iter().for_each(|text| {
            digest.update(&(text.len() as u64).to_le_bytes());
            digest.update(text.as_bytes());
        });
    }
    digest.digest128()
}
