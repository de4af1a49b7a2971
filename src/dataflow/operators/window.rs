//! Window functions over one PARTITION BY and ORDER BY: the rows of each partition are kept in their order, and a step
//! computes what it changes of them, before it and after it, and emits the rows whose values differ.
//!
//! How far the calls look says what that is ([`Reach`]): the rows around the changes ([`span`]), those from the first change on
//! ([`running`]), or the whole partition.
//!
//! Input in several pieces is computed when all of it has come.
//!
//! The functions and their frames are evaluated by DataFusion, as ad hoc, on the rows as one batch; those that go on from a mark by its
//! accumulators. Where one of them raises, the partition is an error and has no rows.

mod running;
mod span;

use std::borrow::Cow;
use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::row::{RowConverter, Rows, SortField};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::window::WindowExpr;

use self::running::{Base, Ordered, RunningCalls, name_of};
use self::span::{Partition, Span, after_all_with, count_of};
use super::ordered_rows::{OrderedRows, repeated};
use super::{Counters, Output};
use crate::dataflow::errors::ErrorDelta;
use crate::dataflow::expression::{Expressions, batch};
use crate::dataflow::state::{OrderedState, OrderedUpdates, StateRef};
use crate::delta::DeltaBatch;
use crate::error::{Error, Result, SqlState};
use crate::functions::GatherBudget;
use crate::plan::{Frames, OperatorId, Reach, SortDirection};

/// Fewer partitions are not worth putting in order before the step's end.
const TOUCHED_MIN: usize = 1024;
/// A smaller partition is computed as a whole where a call can raise.
const SOUND_ROWS_MIN: usize = 32;

#[derive(Debug)]
pub struct Window {
    operator: OperatorId,
    rows: OrderedRows,
    calls: Vec<Arc<dyn WindowExpr>>,
    /// `None`: a change concerns its whole partition.
    reach: Option<Reach>,
    running: Option<RunningCalls>,
    /// Marks of the calls that run; without such calls, where one can raise, the partitions in which none does.
    marks: OrderedState,
    keeps_nothing: bool,
    /// Of the calls' results.
    types: Vec<DataType>,
    values: RowConverter,
    /// To name a partition in an error.
    partition_schema: SchemaRef,
    schema: SchemaRef,
    pub counters: Counters,
}

/// What a window is made of.
pub struct WindowInputs<'a> {
    /// The partition's expressions, then one per direction.
    pub keys: Expressions,
    pub directions: &'a [SortDirection],
    /// Over the input's columns. None of them is empty.
    pub calls: Vec<Arc<dyn WindowExpr>>,
    /// Of each call.
    pub filters: Vec<Option<Arc<dyn PhysicalExpr>>>,
    /// `None` where a change concerns its whole partition.
    pub reach: Option<Reach>,
    /// All rows of a partition come in one step, and none afterwards.
    pub keeps_nothing: bool,
    pub partition_schema: SchemaRef,
    pub input: SchemaRef,
}

/// A step while its input comes.
pub struct WindowStep {
    before: OrderedState,
    after: OrderedState,
    touched: Vec<Touched>,
    /// So many of them are in order, each partition once.
    in_order: usize,
}

/// A partition that a step changes, and the first and the last entry of what it changes.
struct Touched {
    partition: Box<[u8]>,
    first: Box<[u8]>,
    last: Box<[u8]>,
}

impl WindowStep {
    pub fn states(&mut self) -> [StateRef<'_>; 1] {
        [StateRef::Ordered(&mut self.after)]
    }

    fn put_in_order(&mut self) {
        self.touched.sort_by(|left, right| left.partition.cmp(&right.partition));
        self.touched.dedup_by(|next, kept| {
            let is_same = next.partition == kept.partition;
            if is_same {
                kept.first = std::mem::take(&mut kept.first).min(std::mem::take(&mut next.first));
                kept.last = std::mem::take(&mut kept.last).max(std::mem::take(&mut next.last));
            }
            is_same
        });
        self.in_order = self.touched.len();
    }
}

/// What a step computes of a partition.
struct Task<'a> {
    partition: &'a [u8],
    span: Span<'a>,
    /// What is before the rows that are read, and the mark that says so.
    base: Base,
    mark: Option<&'a [u8]>,
    is_whole: bool,
}

impl<'a> Task<'a> {
    fn whole(partition: &'a [u8]) -> Self {
        Task { partition, span: Span::whole(partition), base: Base::default(), mark: None, is_whole: true }
    }
}

/// Rows of a partition in order.
struct Read<'a> {
    /// Each with how often it is there.
    entries: Vec<&'a [u8]>,
    counts: Vec<usize>,
    /// What each entry begins with, where a call asks which rows its order tells apart.
    names: Option<Rows>,
    rows: RecordBatch,
    /// At which of the rows the names change, where there are any.
    peers: Vec<usize>,
    /// The entries of these places are named so.
    named: Vec<usize>,
    /// Rows before those that a change concerns, and these.
    skipped: usize,
    concerned: usize,
}

/// A partition's rows with the calls' values, as pairs of entry and values that can be compared.
struct Computed<'a> {
    entries: Vec<&'a [u8]>,
    values: Rows,
    /// Places in `entries`, in the order of entry and values.
    order: Vec<u32>,
}

impl Computed<'_> {
    fn pair(&self, place: u32) -> (&[u8], &[u8]) {
        (self.entries[place as usize], self.values.row(place as usize).data())
    }
}

impl Window {
    /// `schema`: the input's columns, then one per call.
    pub fn new(operator: OperatorId, inputs: WindowInputs<'_>, schema: SchemaRef) -> Result<Self> {
        let WindowInputs { keys, directions, calls, filters, reach, keeps_nothing, partition_schema, input } = inputs;
        let types: Vec<DataType> =
            schema.fields().iter().skip(input.fields().len()).map(|field| field.data_type().clone()).collect();
        if types.len() != calls.len() {
            return Err(Error::internal("window functions that do not match their columns"));
        }
        let running = match &reach {
            Some(Reach::Frames(frames)) if frames.runs() && !keeps_nothing => {
                Some(RunningCalls::new(&calls, &frames.running, filters)?)
            }
            _ => None,
        };
        Ok(Window {
            operator,
            rows: OrderedRows::new(keys, directions, input)?,
            values: RowConverter::new(types.iter().cloned().map(SortField::new).collect())?,
            calls,
            reach: reach.filter(|_| !keeps_nothing),
            running,
            marks: OrderedState::default(),
            keeps_nothing,
            types,
            partition_schema,
            schema,
            counters: Counters::default(),
        })
    }

    pub fn memory_bytes(&self) -> usize {
        self.rows.state.memory_bytes() + self.marks.memory_bytes()
    }

    pub fn states(&mut self) -> [StateRef<'_>; 2] {
        [StateRef::Ordered(&mut self.rows.state), StateRef::Ordered(&mut self.marks)]
    }

    /// Before the input of a step comes.
    pub fn begin(&self) -> WindowStep {
        WindowStep { before: self.rows.state.clone(), after: self.rows.state.clone(), touched: Vec::new(), in_order: 0 }
    }

    /// A piece of the step's input.
    pub fn take(&self, step: &mut WindowStep, input: Vec<DeltaBatch>, errors: &mut ErrorDelta) -> Result<()> {
        let change = self.rows.change(input, None, errors)?;
        step.after.apply(&change.updates())?;
        for (partition, first, last) in change.partitions() {
            let [partition, first, last] = [partition, first, last].map(Box::from);
            step.touched.push(Touched { partition, first, last });
        }
        if step.touched.len() >= 2 * step.in_order.max(TOUCHED_MIN) {
            step.put_in_order();
        }
        Ok(())
    }

    /// When all of it has come. Errors: 53200 where the calls put more than `gather_bytes_max` together for one partition.
    pub fn finish(
        &mut self,
        mut step: WindowStep,
        gather_bytes_max: Option<usize>,
        errors: &mut ErrorDelta,
        output: &mut Output<'_>,
    ) -> Result<()> {
        step.put_in_order();
        let WindowStep { before, after, touched, .. } = step;
        let mut marks = OrderedUpdates::default();
        for touched in &touched {
            let mut rows_read = 0;
            let mut task = self.task((&before, &after), touched, &mut rows_read)?;
            let (old, new) = loop {
                let old = self.read(&before, &task, &mut rows_read)?;
                let new = self.read(&after, &task, &mut rows_read)?;
                let (computed, made) =
                    (self.computed(&old, &task, gather_bytes_max)?, self.computed(&new, &task, gather_bytes_max)?);
                if (computed.is_err() || made.is_err()) && !task.is_whole {
                    task = Task::whole(&touched.partition);
                    continue;
                }
                rows_read += self.mark(&after, (&task, &new), made.is_ok(), &mut marks)?;
                break (computed, made);
            };
            self.counters.rows_read += rows_read as u64;
            let old = self.unless_failed(old, touched, -1, errors)?;
            let new = self.unless_failed(new, touched, 1, errors)?;
            self.difference(&old, &new, output)?;
        }
        self.marks.apply(&marks)?;
        if !self.keeps_nothing {
            self.rows.state = after;
        }
        self.counters.rows_emitted += output.rows;
        Ok(())
    }

    /// What a step computes of a partition that it changes.
    fn task<'a>(
        &'a self,
        (before, after): (&'a OrderedState, &'a OrderedState),
        touched: &'a Touched,
        rows_read: &mut usize,
    ) -> Result<Task<'a>> {
        let Touched { partition, first, last } = touched;
        let of = |state| Partition { rows: &self.rows, state, key: partition, rows_read: 0 };
        let whole = Task::whole(partition);
        if let Some(Reach::Frames(frames)) = &self.reach
            && let Some(distance) = frames.value_distance()
            && (of(before).is_near_the_limits(distance)? || of(after).is_near_the_limits(distance)?)
        {
            return Ok(whole);
        }
        let mut state = of(after);
        let task = match &self.reach {
            None => whole,
            Some(Reach::Sessions { gap_us }) => {
                Task { span: state.sessions((first, last), *gap_us)?, is_whole: false, ..whole }
            }
            Some(Reach::Frames(frames)) if frames.runs() => {
                self.since_mark(&mut state, first, frames)?.unwrap_or(whole)
            }
            Some(Reach::Frames(frames)) if frames.can_fail && !self.is_sound(partition)? => whole,
            Some(Reach::Frames(frames)) => {
                Task { span: state.around((first, last), frames.back, frames.ahead)?, is_whole: false, ..whole }
            }
        };
        *rows_read += state.rows_read;
        Ok(task)
    }

    /// From the last mark on that is before all that changes from `first` on need; `None` where there is none.
    fn since_mark<'a>(
        &'a self,
        state: &mut Partition<'a>,
        first: &'a [u8],
        frames: &Frames,
    ) -> Result<Option<Task<'a>>> {
        let Some(running) = &self.running else { return Ok(None) };
        let (concerned, needed) = state.before(first, frames.back, frames.ahead)?;
        let Some(behind) = after_all_with(needed.prefix(&self.rows)?) else { return Ok(None) };
        let Some((mark, _)) = self.marks.before(state.key, &behind, 1)?.pop() else { return Ok(None) };
        let from = Cow::Borrowed(name_of(mark)?);
        let span = Span { from, to: None, concerned_from: concerned.bytes, concerned_to: None };
        Ok(Some(Task { partition: state.key, span, base: running.base(mark)?, mark: Some(mark), is_whole: false }))
    }

    /// Whether no call raises in a partition, where that is known.
    fn is_sound(&self, partition: &[u8]) -> Result<bool> {
        Ok(self.marks.first_with_prefix(partition)?.is_some())
    }

    fn read<'a>(&self, state: &'a OrderedState, task: &Task<'_>, rows_read: &mut usize) -> Result<Read<'a>> {
        let span = &task.span;
        let (mut entries, mut counts) = (Vec::new(), Vec::new());
        let (mut skipped, mut concerned) = (0, 0);
        state.each_from(task.partition, &span.from, |entry, weight| {
            if span.to.as_ref().is_some_and(|to| entry > &**to) {
                return Ok(false);
            }
            let count = count_of(weight);
            entries.push(entry);
            counts.push(count);
            if entry < &*span.concerned_from {
                skipped += count;
            } else if span.concerned_to.as_ref().is_none_or(|to| entry <= &**to) {
                concerned += count;
            }
            Ok(true)
        })?;
        let (keys, columns) = self.rows.keys_and_columns(&entries)?;
        let read = counts.iter().sum();
        *rows_read += read;
        let rows = batch(&self.rows.schema, repeated(&columns, &counts)?, read)?;
        let (mut peers, mut named) = (Vec::new(), Vec::new());
        let names = match &self.running {
            Some(_) => self.rows.peer_prefixes(&keys)?,
            None => None,
        };
        let name = |entry: usize| names.as_ref().map(|names| names.row(entry).data());
        let mut place = 0;
        for (entry, count) in counts.iter().enumerate() {
            if entry == 0 || name(entry) != name(entry - 1) {
                peers.push(place);
                named.push(entry);
            }
            place += count;
        }
        Ok(Read { entries, counts, names, rows, peers, named, skipped, concerned })
    }

    /// The rows that a step concerns, with their values; the error of a call that raises. Errors: those that no view has rows behind.
    fn computed<'a>(
        &self,
        read: &Read<'a>,
        task: &Task<'_>,
        gather_bytes_max: Option<usize>,
    ) -> Result<Result<Computed<'a>>> {
        let called = match gather_bytes_max {
            Some(bytes_max) => GatherBudget::Bytes(bytes_max).bound(|| self.call(read, &task.base)).0,
            None => self.call(read, &task.base),
        };
        let values = match called {
            Err(error) if error.state() == SqlState::OUT_OF_MEMORY => return Err(error),
            Err(error) => return Ok(Err(error)),
            Ok(values) => values,
        };
        let entries = read.entries.iter().zip(&read.counts);
        let entries = entries.flat_map(|(entry, count)| std::iter::repeat_n(*entry, *count));
        let entries = entries.skip(read.skipped).take(read.concerned).collect();
        let values: Vec<ArrayRef> = values.iter().map(|values| values.slice(read.skipped, read.concerned)).collect();
        Ok(Ok(Computed::of(entries, self.values.convert_columns(&values)?)?))
    }

    fn call(&self, read: &Read<'_>, base: &Base) -> Result<Vec<ArrayRef>> {
        let of = Ordered { rows: &read.rows, peers: &read.peers };
        let call = |(place, (call, data_type)): (usize, (&Arc<dyn WindowExpr>, &DataType))| -> Result<ArrayRef> {
            if read.rows.num_rows() == 0 {
                return Ok(arrow::array::new_empty_array(data_type));
            }
            let running = match &self.running {
                Some(running) => running.evaluate(place, &of, base)?,
                None => None,
            };
            let values = match running {
                Some(values) => values,
                None => call.evaluate(&read.rows)?,
            };
            Ok(if values.data_type() == data_type { values } else { cast(&values, data_type)? })
        };
        self.calls.iter().zip(&self.types).enumerate().map(call).collect()
    }

    /// Sets marks among the rows that were computed, in the place of those that were there; a partition in which a call raises has none.
    /// Returns how many were looked at.
    fn mark(
        &self,
        after: &OrderedState,
        (task, read): (&Task<'_>, &Read<'_>),
        is_sound: bool,
        marks: &mut OrderedUpdates,
    ) -> Result<usize> {
        let Some(Reach::Frames(frames)) = &self.reach else { return Ok(0) };
        if !frames.runs() && !frames.can_fail {
            return Ok(0);
        }
        let Some(running) = &self.running else {
            let is_known = self.is_sound(task.partition)?;
            let is_large = match task.is_whole {
                true => read.rows.num_rows() >= SOUND_ROWS_MIN,
                false => after.first_with_prefix(task.partition)?.is_some(),
            };
            let stays = is_sound && is_large;
            match (is_known, stays) {
                (false, true) => marks.push(&[task.partition], 1),
                (true, false) => marks.push(&[task.partition], -1),
                _ => {}
            }
            return Ok(1);
        };
        let mut looked_at = 0;
        self.marks.each_from(task.partition, task.mark.unwrap_or(task.partition), |mark, weight| {
            looked_at += 1;
            if Some(mark) != task.mark {
                marks.push(&[mark], -weight);
            }
            Ok(true)
        })?;
        if let (true, Some(names)) = (is_sound, &read.names) {
            let of = Ordered { rows: &read.rows, peers: &read.peers };
            let names = read.named.iter().map(|entry| names.row(*entry).data());
            for mark in running.marks(&of, &task.base, names)? {
                marks.push(&[&mark], 1);
            }
        }
        Ok(looked_at)
    }

    /// No rows, and an error of this weight, where a call raised.
    fn unless_failed<'a>(
        &self,
        computed: Result<Computed<'a>>,
        touched: &Touched,
        weight: i64,
        errors: &mut ErrorDelta,
    ) -> Result<Computed<'a>> {
        match computed {
            Ok(computed) => Ok(computed),
            Err(error) => {
                let columns = self.rows.partition_columns(&[&touched.first])?;
                let key = DeltaBatch::inserts(batch(&self.partition_schema, columns, 1)?);
                errors.push(self.operator, &error, &key, 0, weight)?;
                Computed::of(Vec::new(), self.values.empty_rows(0, 0))
            }
        }
    }

    /// What is in `new` and not in `old`, and the reverse with weight -1.
    fn difference(&self, old: &Computed<'_>, new: &Computed<'_>, output: &mut Output<'_>) -> Result<()> {
        let (mut gone, mut come): (Vec<u32>, Vec<u32>) = (Vec::new(), Vec::new());
        let (mut left, mut right) = (old.order.iter().peekable(), new.order.iter().peekable());
        loop {
            let order = match (left.peek(), right.peek()) {
                (None, None) => break,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(left), Some(right)) => old.pair(**left).cmp(&new.pair(**right)),
            };
            match order {
                Ordering::Less => gone.extend(left.next()),
                Ordering::Greater => come.extend(right.next()),
                Ordering::Equal => drop((left.next(), right.next())),
            }
        }
        for (computed, places, weight) in [(old, gone, -1), (new, come, 1)] {
            if places.is_empty() {
                continue;
            }
            let entries: Vec<&[u8]> = places.iter().map(|place| computed.entries[*place as usize]).collect();
            let values = places.iter().map(|place| computed.values.row(*place as usize));
            let columns = [self.rows.columns(&entries)?, self.values.convert_rows(values)?].concat();
            let rows = batch(&self.schema, columns, places.len())?;
            output.put(DeltaBatch::new(rows, vec![weight; places.len()].into())?)?;
        }
        Ok(())
    }
}

impl<'a> Computed<'a> {
    fn of(entries: Vec<&'a [u8]>, values: Rows) -> Result<Self> {
        let mut computed = Computed { order: (0..entries.len() as u32).collect(), entries, values };
        let mut order = std::mem::take(&mut computed.order);
        order.sort_unstable_by(|left, right| computed.pair(*left).cmp(&computed.pair(*right)));
        computed.order = order;
        Ok(computed)
    }
}
