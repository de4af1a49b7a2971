//! Window functions over one PARTITION BY and ORDER BY: the rows of each partition are kept in their order, and a step
//! computes the partitions that it changes, before it and after it, and emits the rows whose values differ.
//!
//! ```text
//! partition   . . . . . . [ context | ahead | changed ... changed | back | context ] . . . . .
//!                                    `---- rows whose values a change concerns ---'
//! ```
//!
//! Input in several pieces is computed when all of it has come.
//!
//! Where the calls look only so many rows back and ahead, or at sessions ([`Reach`]), a step reads the rows around its changes alone.
//!
//! The functions and their frames are evaluated by DataFusion, as ad hoc, on the partition's rows as one batch. Where one
//! of them raises, the partition is an error and has no rows.

use std::cmp::Ordering;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, SchemaRef, TimestampMicrosecondType};
use arrow::row::{RowConverter, Rows, SortField};
use datafusion::physical_expr::window::WindowExpr;

use super::ordered_rows::{OrderedRows, repeated};
use super::{Counters, Output};
use crate::dataflow::errors::ErrorDelta;
use crate::dataflow::expression::{Expressions, batch};
use crate::dataflow::state::{OrderedState, StateRef};
use crate::delta::DeltaBatch;
use crate::error::{Error, Result, SqlState};
use crate::functions::GatherBudget;
use crate::plan::{OperatorId, Reach, SortDirection};

/// Fewer partitions are not worth putting in order before the step's end.
const TOUCHED_MIN: usize = 1024;
/// A session is looked for among so many rows at first.
const SESSION_ROWS: usize = 32;

#[derive(Debug)]
pub struct Window {
    operator: OperatorId,
    rows: OrderedRows,
    calls: Vec<Arc<dyn WindowExpr>>,
    /// `None`: a change concerns its whole partition.
    reach: Option<Reach>,
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

/// Rows of a partition, in order, among them those that a change concerns.
struct Around<'a> {
    /// Each with how often it is there.
    entries: Vec<(&'a [u8], usize)>,
    /// Of the rows.
    concerned: Range<usize>,
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
        let WindowInputs { keys, directions, calls, reach, keeps_nothing, partition_schema, input } = inputs;
        let types: Vec<DataType> =
            schema.fields().iter().skip(input.fields().len()).map(|field| field.data_type().clone()).collect();
        if types.len() != calls.len() {
            return Err(Error::internal("window functions that do not match their columns"));
        }
        Ok(Window {
            operator,
            rows: OrderedRows::new(keys, directions, input)?,
            values: RowConverter::new(types.iter().cloned().map(SortField::new).collect())?,
            calls,
            reach,
            keeps_nothing,
            types,
            partition_schema,
            schema,
            counters: Counters::default(),
        })
    }

    pub fn memory_bytes(&self) -> usize {
        self.rows.state.memory_bytes()
    }

    pub fn states(&mut self) -> [StateRef<'_>; 1] {
        [StateRef::Ordered(&mut self.rows.state)]
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
        for Touched { partition, first, last } in &touched {
            let mut computed =
                |state, weight| self.computed(state, partition, (first, last), (weight, gather_bytes_max), errors);
            let (old, read_before) = computed(&before, -1)?;
            let (new, read_after) = computed(&after, 1)?;
            self.counters.rows_read += (read_before + read_after) as u64;
            self.difference(&old, &new, output)?;
        }
        if !self.keeps_nothing {
            self.rows.state = after;
        }
        self.counters.rows_emitted += output.rows;
        Ok(())
    }

    /// The rows that a change between two entries concerns, with their values, and how many were read; none, and an error of this
    /// weight, where a call raises.
    fn computed<'a>(
        &self,
        state: &'a OrderedState,
        partition: &'a [u8],
        (first, last): (&[u8], &[u8]),
        (weight, gather_bytes_max): (i64, Option<usize>),
        errors: &mut ErrorDelta,
    ) -> Result<(Computed<'a>, usize)> {
        let Around { entries, concerned } = match self.reach {
            Some(Reach::Rows { back, ahead }) => around(state, partition, (first, last), (back, ahead))?,
            Some(Reach::Sessions { gap_us }) => self.sessions(state, partition, (first, last), gap_us)?,
            None => whole(state, partition)?,
        };
        let (distinct, counts): (Vec<&[u8]>, Vec<usize>) = entries.into_iter().unzip();
        let columns = repeated(&self.rows.columns(&distinct)?, &counts)?;
        let read = counts.iter().sum();
        let rows = batch(&self.rows.schema, columns, read)?;
        let called = match gather_bytes_max {
            Some(bytes_max) => GatherBudget::Bytes(bytes_max).bound(|| self.call(&rows)).0,
            None => self.call(&rows),
        };
        match called {
            Ok(values) => {
                let entries = distinct.iter().zip(&counts);
                let entries = entries.flat_map(|(entry, count)| std::iter::repeat_n(*entry, *count));
                let entries = entries.skip(concerned.start).take(concerned.len()).collect();
                let values: Vec<ArrayRef> =
                    values.iter().map(|values| values.slice(concerned.start, concerned.len())).collect();
                Ok((Computed::of(entries, self.values.convert_columns(&values)?)?, read))
            }
            Err(error) if error.state() == SqlState::OUT_OF_MEMORY => Err(error),
            Err(error) => {
                let columns = self.rows.partition_columns(&[first])?;
                let key = DeltaBatch::inserts(batch(&self.partition_schema, columns, 1)?);
                errors.push(self.operator, &error, &key, 0, weight)?;
                Ok((Computed::of(Vec::new(), self.values.empty_rows(0, 0))?, read))
            }
        }
    }

    /// The rows between two changed entries, and the sessions of the rows next to them on both sides, which are the same before and
    /// after the change.
    fn sessions<'a>(
        &self,
        state: &'a OrderedState,
        partition: &[u8],
        (first, last): (&[u8], &[u8]),
        gap_us: i64,
    ) -> Result<Around<'a>> {
        let mut wanted = SESSION_ROWS;
        let mut entries = loop {
            let before = state.before(partition, first, wanted as i64)?;
            let session = self.session(&before, gap_us)?;
            let is_all = before.iter().map(|(_, weight)| count_of(*weight)).sum::<usize>() < wanted;
            if is_all || session < before.len() {
                break before[..session].to_vec();
            }
            wanted *= 4;
        };
        entries.reverse();
        let mut wanted = SESSION_ROWS;
        let behind = loop {
            let (mut between, mut behind) = (Vec::new(), Vec::new());
            state.each_from(partition, first, |entry, weight| {
                let side = if entry <= last { &mut between } else { &mut behind };
                side.push((entry, weight));
                Ok(entry <= last || behind.len() < wanted)
            })?;
            let session = self.session(&behind, gap_us)?;
            if behind.len() < wanted || session < behind.len() {
                between.extend(&behind[..session]);
                break between;
            }
            wanted *= 4;
        };
        entries.extend(behind);
        let entries: Vec<_> = entries.into_iter().map(|(entry, weight)| (entry, count_of(weight))).collect();
        let rows = entries.iter().map(|(_, count)| count).sum();
        Ok(Around { entries, concerned: 0..rows })
    }

    /// How many of these entries, which follow one another in either direction, are of the session of the first.
    fn session(&self, entries: &[(&[u8], i64)], gap_us: i64) -> Result<usize> {
        let entries: Vec<&[u8]> = entries.iter().map(|(entry, _)| *entry).collect();
        let times = self.rows.order_column(&entries)?;
        let times = times.as_primitive_opt::<TimestampMicrosecondType>();
        let times = times.ok_or_else(|| Error::internal("sessions of something that is no time"))?;
        let is_of_it = |row: &usize| {
            let near = |row: usize| times.value(row).abs_diff(times.value(row - 1)) <= gap_us.unsigned_abs();
            times.is_valid(*row) && (*row == 0 || near(*row))
        };
        Ok((0..times.len()).take_while(is_of_it).count())
    }

    fn call(&self, rows: &RecordBatch) -> Result<Vec<ArrayRef>> {
        let call = |(call, data_type): (&Arc<dyn WindowExpr>, &DataType)| -> Result<ArrayRef> {
            if rows.num_rows() == 0 {
                return Ok(arrow::array::new_empty_array(data_type));
            }
            let values = call.evaluate(rows)?;
            Ok(if values.data_type() == data_type { values } else { cast(&values, data_type)? })
        };
        self.calls.iter().zip(&self.types).map(call).collect()
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

fn whole<'a>(state: &'a OrderedState, partition: &'a [u8]) -> Result<Around<'a>> {
    let entries: Vec<_> = state.with_prefix(partition)?.map(|(entry, weight)| (entry, count_of(weight))).collect();
    let rows = entries.iter().map(|(_, count)| count).sum();
    Ok(Around { entries, concerned: 0..rows })
}

/// The rows between two changed entries, those on both sides whose values look at them, and beyond these what they look at. Before
/// and behind the changed ones the partition is the same before and after the change.
fn around<'a>(
    state: &'a OrderedState,
    partition: &[u8],
    (first, last): (&[u8], &[u8]),
    (back, ahead): (usize, usize),
) -> Result<Around<'a>> {
    let beyond = back + ahead;
    let mut entries = state.before(partition, first, beyond as i64)?;
    entries.reverse();
    let before: usize = entries.iter().map(|(_, weight)| count_of(*weight)).sum();
    let (mut between, mut behind) = (0, 0);
    state.each_from(partition, first, |entry, weight| {
        entries.push((entry, weight));
        let side = if entry <= last { &mut between } else { &mut behind };
        *side += count_of(weight);
        Ok(entry <= last || behind < beyond)
    })?;
    let concerned = before.saturating_sub(ahead)..before + between + behind.min(back);
    let entries = entries.into_iter().map(|(entry, weight)| (entry, count_of(weight))).collect();
    Ok(Around { entries, concerned })
}

fn count_of(weight: i64) -> usize {
    usize::try_from(weight).unwrap_or(0)
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
