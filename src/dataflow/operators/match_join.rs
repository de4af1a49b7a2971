//! Joins that must know of a row whether it matches: outer, semi, anti and mark joins, by equal keys and a residual
//! predicate.
//!
//! ```text
//! outer   pairs  +  each row of an outer side that matches nothing, padded with NULL
//! semi    each left row that matches        anti  each left row that does not
//! mark    each left row, and whether it matches
//! ```
//!
//! Pairs are bilinear, as in [`super::Join`]. For the rest, a step must know which rows matched before it and which do
//! after it:
//!
//! * without a residual all rows of a key match or none does: a key matches if the other side's arrangement has an entry
//!   of it. Rows of a key are looked at only when the key begins or ceases to match.
//! * with one, each side whose rows depend on it keeps for each row how many rows it matches; the pairs that a step makes
//!   tell how these numbers change.
//!
//! A row with a NULL key matches nothing. A null-aware join (NOT IN) has a third answer, unknown: for a NULL key unless
//! the other side is empty, and for any key without a match while the other side holds a NULL. When the other side ceases
//! to be empty, or gets its first NULL or loses its last, all left rows are looked at.
//!
//! A pair whose residual cannot be computed is an error and no match.

mod sides;

use arrow::array::{ArrayRef, AsArray, BooleanArray, new_null_array};
use arrow::datatypes::SchemaRef;

use self::sides::{Changes, Pairs, Side, pairs};
use super::{Counters, Output};
use crate::dataflow::errors::ErrorDelta;
use crate::dataflow::expression::{Expressions, batch};
use crate::dataflow::state::{OrderedState, OrderedUpdates, StateRef};
use crate::delta::DeltaBatch;
use crate::error::{Error, Result};
use crate::plan::MatchKind;

/// So many matches are counted together.
const MATCHES: usize = 1 << 16;

#[derive(Debug)]
pub struct MatchJoin {
    kind: MatchKind,
    null_aware: bool,
    left: Side,
    right: Side,
    residual: Option<Expressions>,
    /// With a residual: each entry's number of matches, where it has any. The right one only for full joins.
    left_matches: OrderedState,
    right_matches: OrderedState,
    /// Of left, then right: what the residual reads.
    pair_schema: SchemaRef,
    schema: SchemaRef,
    pub counters: Counters,
}

/// What a match join is made of.
pub struct MatchInputs {
    /// Each side's keys and columns.
    pub left: (Expressions, SchemaRef),
    pub right: (Expressions, SchemaRef),
    /// Over the columns of left, then right.
    pub residual: Option<Expressions>,
    pub pair_schema: SchemaRef,
}

/// Whether a row matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Matched,
    Unmatched,
    Unknown,
}

/// What a null-aware join must know of its right side besides the keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Whole {
    is_empty: bool,
    has_null: bool,
}

/// A row of one side that is part of the output by itself: entry, weight, status.
type Single<'a> = (&'a [u8], i64, Status);

impl MatchJoin {
    /// `schema` is the output's. Errors: key columns of different types.
    pub fn new(kind: MatchKind, null_aware: bool, inputs: MatchInputs, schema: SchemaRef) -> Result<Self> {
        let MatchInputs { left, right, residual, pair_schema } = inputs;
        if left.0.types() != right.0.types() {
            return Err(Error::internal("the two sides of a join key have different types"));
        }
        if null_aware && (residual.is_some() || left.0.types().len() != 1) {
            return Err(Error::internal("a null-aware join of more than one key"));
        }
        Ok(MatchJoin {
            kind,
            null_aware,
            left: Side::new(left.0, left.1, null_aware)?,
            right: Side::new(right.0, right.1, null_aware)?,
            residual,
            left_matches: OrderedState::default(),
            right_matches: OrderedState::default(),
            pair_schema,
            schema,
            counters: Counters::default(),
        })
    }

    pub fn memory_bytes(&self) -> usize {
        let states = [&self.left.state, &self.right.state, &self.left_matches, &self.right_matches];
        states.iter().map(|state| state.memory_bytes()).sum()
    }

    pub fn states(&mut self) -> [StateRef<'_>; 4] {
        [&mut self.left.state, &mut self.right.state, &mut self.left_matches, &mut self.right_matches]
            .map(StateRef::Ordered)
    }

    pub fn step(
        &mut self,
        left: Vec<DeltaBatch>,
        right: Vec<DeltaBatch>,
        errors: &mut ErrorDelta,
        output: &mut Output<'_>,
    ) -> Result<()> {
        let (left, right) = (self.left.changes(left, errors)?, self.right.changes(right, errors)?);
        self.single_rows(true, &left.without_key, Status::Unmatched, output)?;
        if self.kind == MatchKind::Full {
            self.single_rows(false, &right.without_key, Status::Unmatched, output)?;
        }
        match self.residual.clone() {
            None => self.step_by_key(&left, &right, output)?,
            Some(residual) => self.step_by_row(&left, &right, &residual, errors, output)?,
        }
        self.counters.rows_emitted += output.rows;
        Ok(())
    }

    fn emits_pairs(&self) -> bool {
        matches!(self.kind, MatchKind::Left | MatchKind::Full)
    }

    /// Without a residual.
    fn step_by_key(&mut self, left: &Changes, right: &Changes, output: &mut Output<'_>) -> Result<()> {
        let emits_pairs = self.emits_pairs();
        let mut read = 0;
        let batch_rows = output.batch_rows();
        let mut keep = |_: &Pairs<'_>, pairs: DeltaBatch| output.put(pairs);
        if emits_pairs {
            read += self.pairs_of_left(left, batch_rows, &mut keep)?;
        }
        let (left_before, right_before) = (self.left.state.clone(), self.right.state.clone());
        let whole_before = self.whole()?;
        self.left.state.apply(&left.updates())?;
        if emits_pairs {
            read += self.pairs_of_right(right, batch_rows, &mut keep)?;
        }
        self.right.state.apply(&right.updates())?;
        self.counters.rows_read += read;

        let mut singles: Vec<Single<'_>> = Vec::new();
        let status = |key: &[u8], right: &OrderedState, whole: Whole| self.status(key, right, whole);
        let whole_after = self.whole()?;
        let mut looked_at = 0;
        if whole_before == whole_after {
            for (key, _) in right.by_key() {
                let (before, after) =
                    (status(key, &right_before, whole_before)?, status(key, &self.right.state, whole_after)?);
                if before != after {
                    for (entry, weight) in left_before.with_prefix(key)? {
                        looked_at += 1;
                        singles.extend([(entry, -weight, before), (entry, weight, after)]);
                    }
                }
            }
        } else {
            for (entry, weight) in left_before.iter()? {
                looked_at += 1;
                let key = self.left.key_of(entry)?;
                let (before, after) =
                    (status(key, &right_before, whole_before)?, status(key, &self.right.state, whole_after)?);
                if before != after {
                    singles.extend([(entry, -weight, before), (entry, weight, after)]);
                }
            }
        }
        for (key, changes) in left.by_key() {
            looked_at += 1;
            let after = status(key, &self.right.state, whole_after)?;
            singles.extend(changes.iter().map(|change| (left.entry(change), change.1, after)));
        }
        self.singles(true, &singles, output)?;
        if self.kind == MatchKind::Full {
            let mut singles: Vec<Single<'_>> = Vec::new();
            let matched = |key: &[u8], left: &OrderedState| has_key(left, key).map(status_of);
            for (key, _) in left.by_key() {
                let (before, after) = (matched(key, &left_before)?, matched(key, &self.left.state)?);
                if before != after {
                    for (entry, weight) in right_before.with_prefix(key)? {
                        looked_at += 1;
                        singles.extend([(entry, -weight, before), (entry, weight, after)]);
                    }
                }
            }
            for (key, changes) in right.by_key() {
                looked_at += 1;
                let after = matched(key, &self.left.state)?;
                singles.extend(changes.iter().map(|change| (right.entry(change), change.1, after)));
            }
            self.singles(false, &singles, output)?;
        }
        self.counters.rows_read += looked_at;
        Ok(())
    }

    fn whole(&self) -> Result<Whole> {
        let has_null = self.null_aware && has_key(&self.right.state, &self.right.null_key)?;
        Ok(Whole { is_empty: self.null_aware && self.right.state.is_empty(), has_null })
    }

    /// Whether left rows with this key match what is on the right.
    fn status(&self, key: &[u8], right: &OrderedState, whole: Whole) -> Result<Status> {
        let is_null = self.null_aware && key == self.left.null_key;
        if !is_null && has_key(right, key)? {
            return Ok(Status::Matched);
        }
        Ok(match self.null_aware && !whole.is_empty && (is_null || whole.has_null) {
            true => Status::Unknown,
            false => Status::Unmatched,
        })
    }

    /// With a residual.
    fn step_by_row(
        &mut self,
        left: &Changes,
        right: &Changes,
        residual: &Expressions,
        errors: &mut ErrorDelta,
        output: &mut Output<'_>,
    ) -> Result<()> {
        let (emits_pairs, is_full) = (self.emits_pairs(), self.kind == MatchKind::Full);
        // Matches that the step makes or takes, by left and by right entry: of its left rows with what was on the right,
        // and of all left rows with its right ones.
        let (mut left_with_old, mut left_with_new) = (Matches::default(), Matches::default());
        let (mut right_with_old, mut right_with_new) = (Matches::default(), Matches::default());
        let batch_rows = output.batch_rows();
        let mut read = self.pairs_of_left(left, batch_rows, &mut |pairs, delta| {
            let matching = matching(residual, &delta, errors)?;
            for pair in (0..delta.num_rows()).filter(|pair| matching.value(*pair)) {
                left_with_old.add(left.entry(&pairs.changes[pair]), pairs.weights[pair])?;
                if is_full {
                    right_with_old.add(pairs.entries[pair], pairs.changes[pair].1)?;
                }
            }
            if emits_pairs {
                output.put(delta.filter(&matching)?)?;
            }
            Ok(())
        })?;
        self.left.state.apply(&left.updates())?;
        read += self.pairs_of_right(right, batch_rows, &mut |pairs, delta| {
            let matching = matching(residual, &delta, errors)?;
            for pair in (0..delta.num_rows()).filter(|pair| matching.value(*pair)) {
                left_with_new.add(pairs.entries[pair], pairs.changes[pair].1)?;
                if is_full {
                    right_with_new.add(right.entry(&pairs.changes[pair]), pairs.weights[pair])?;
                }
            }
            if emits_pairs {
                output.put(delta.filter(&matching)?)?;
            }
            Ok(())
        })?;
        self.right.state.apply(&right.updates())?;
        self.counters.rows_read += read;

        // A new left row meets the old right side and the step's right rows; one that was there only the latter. A new
        // right row meets the whole left side; one that was there the step's left rows.
        let (old, new) = (left_with_old.counted()?, left_with_new.counted()?);
        let mut singles: Vec<Single<'_>> = Vec::new();
        let matches = &mut self.left_matches;
        self.counters.rows_read +=
            singles_by_matches(left, &self.left.state, matches, (&[&old, &new], &new), &mut singles)?;
        self.singles(true, &singles, output)?;
        if is_full {
            let (old, new) = (right_with_old.counted()?, right_with_new.counted()?);
            let mut singles: Vec<Single<'_>> = Vec::new();
            let matches = &mut self.right_matches;
            self.counters.rows_read +=
                singles_by_matches(right, &self.right.state, matches, (&[&new], &old), &mut singles)?;
            self.singles(false, &singles, output)?;
        }
        Ok(())
    }

    /// The left side's changes with all that the right side has; returns how many entries were read.
    fn pairs_of_left(
        &self,
        changes: &Changes,
        batch_rows: usize,
        each: &mut dyn FnMut(&Pairs<'_>, DeltaBatch) -> Result<()>,
    ) -> Result<u64> {
        pairs(changes, &self.right.state, batch_rows, &mut |pairs| {
            let columns = [pairs.own_columns(changes)?, self.right.columns(&pairs.entries)?].concat();
            each(pairs, pairs.rows(columns, &self.pair_schema)?)
        })
    }

    /// The right side's changes with all that the left side has.
    fn pairs_of_right(
        &self,
        changes: &Changes,
        batch_rows: usize,
        each: &mut dyn FnMut(&Pairs<'_>, DeltaBatch) -> Result<()>,
    ) -> Result<u64> {
        pairs(changes, &self.left.state, batch_rows, &mut |pairs| {
            let columns = [self.left.columns(&pairs.entries)?, pairs.own_columns(changes)?].concat();
            each(pairs, pairs.rows(columns, &self.pair_schema)?)
        })
    }

    /// Output rows of single entries of one side; of those whose status says so.
    fn singles(&self, is_left: bool, singles: &[Single<'_>], output: &mut Output<'_>) -> Result<()> {
        let side = if is_left { &self.left } else { &self.right };
        for status in [Status::Matched, Status::Unmatched, Status::Unknown] {
            let own: Vec<(&[u8], i64)> = singles
                .iter()
                .filter(|single| single.2 == status)
                .map(|(entry, weight, _)| (*entry, *weight))
                .collect();
            if !self.shows(status) {
                continue;
            }
            for part in own.chunks(output.batch_rows()) {
                let (entries, weights): (Vec<&[u8]>, Vec<i64>) = part.iter().copied().unzip();
                let rows = batch(&side.schema, side.columns(&entries)?, entries.len())?;
                self.single_rows(is_left, &DeltaBatch::new(rows, weights.into())?, status, output)?;
            }
        }
        Ok(())
    }

    /// Whether a row of this status is part of the output by itself.
    fn shows(&self, status: Status) -> bool {
        match self.kind {
            MatchKind::Left | MatchKind::Full | MatchKind::Anti => status == Status::Unmatched,
            MatchKind::Semi => status == Status::Matched,
            MatchKind::Mark => true,
        }
    }

    /// Rows of one side as rows of the output.
    fn single_rows(&self, is_left: bool, rows: &DeltaBatch, status: Status, output: &mut Output<'_>) -> Result<()> {
        if rows.is_empty() || !self.shows(status) {
            return Ok(());
        }
        let count = rows.num_rows();
        let own = rows.rows().columns().iter().cloned();
        let nulls = |side: &Side| {
            side.schema.fields().iter().map(|field| new_null_array(field.data_type(), count)).collect::<Vec<_>>()
        };
        let columns: Vec<ArrayRef> = match (self.kind, is_left) {
            (MatchKind::Semi | MatchKind::Anti, _) => own.collect(),
            (MatchKind::Mark, _) => {
                let mark = match status {
                    Status::Matched => Some(true),
                    Status::Unmatched => Some(false),
                    Status::Unknown => None,
                };
                own.chain([std::sync::Arc::new(BooleanArray::from(vec![mark; count])) as ArrayRef]).collect()
            }
            (_, true) => own.chain(nulls(&self.right)).collect(),
            (_, false) => nulls(&self.left).into_iter().chain(own).collect(),
        };
        output.put(rows.with_rows(batch(&self.schema, columns, count)?)?)
    }
}

fn has_key(state: &OrderedState, key: &[u8]) -> Result<bool> {
    Ok(state.first_with_prefix(key)?.is_some())
}

fn status_of(matched: bool) -> Status {
    if matched { Status::Matched } else { Status::Unmatched }
}

/// Of how many rows entries are matches, while a step looks for them.
#[derive(Default)]
struct Matches {
    counted: OrderedState,
    latest: OrderedUpdates,
}

impl Matches {
    fn add(&mut self, entry: &[u8], matches: i64) -> Result<()> {
        self.latest.push(&[entry], matches);
        if self.latest.len() < MATCHES { Ok(()) } else { self.counted.apply(&std::mem::take(&mut self.latest)) }
    }

    fn counted(mut self) -> Result<OrderedState> {
        self.counted.apply(&self.latest)?;
        Ok(self.counted)
    }
}

/// The rows of one side whose weight or number of matches a step changes, before it and after it; returns how many rows
/// were looked at.
///
/// `totals`: what a new row's matches add up from; `change`: by how much those of a row that was there change.
fn singles_by_matches<'a>(
    changes: &'a Changes,
    state: &OrderedState,
    matches: &mut OrderedState,
    (totals, change): (&[&OrderedState], &'a OrderedState),
    singles: &mut Vec<Single<'a>>,
) -> Result<u64> {
    let mut touched: Vec<(&[u8], i64)> =
        changes.distinct.iter().map(|change| (changes.entry(change), change.1)).collect();
    let untouched = |entry: &&[u8]| touched.binary_search_by_key(entry, |(entry, _)| *entry).is_err();
    let only_matches: Vec<&[u8]> = change.iter()?.map(|(entry, _)| entry).filter(untouched).collect();
    touched.extend(only_matches.into_iter().map(|entry| (entry, 0)));
    let mut updates = OrderedUpdates::default();
    for (entry, own_change) in &touched {
        let weight = state.weight(entry)?;
        let weight_before = weight - own_change;
        let before = if weight_before == 0 { 0 } else { matches.weight(entry)? };
        let after = match (weight_before == 0, weight == 0) {
            (_, true) => 0,
            (true, false) => totals.iter().map(|total| total.weight(entry)).sum::<Result<i64>>()?,
            (false, false) => before + change.weight(entry)?,
        };
        updates.push(&[entry], after - before);
        let (status_before, status_after) = (status_of(before != 0), status_of(after != 0));
        if status_before == status_after {
            singles.push((entry, weight - weight_before, status_after));
        } else {
            singles.extend([(*entry, -weight_before, status_before), (*entry, weight, status_after)]);
        }
    }
    singles.retain(|(_, weight, _)| *weight != 0);
    matches.apply(&updates)?;
    Ok(touched.len() as u64)
}

/// For which pairs the residual is true; a pair for which it cannot be computed is an error and no match.
fn matching(residual: &Expressions, pairs: &DeltaBatch, errors: &mut ErrorDelta) -> Result<BooleanArray> {
    // Which pairs err is seen only one by one, so their errors are told then.
    let (evaluated, values) = residual.evaluate(pairs.clone(), &mut ErrorDelta::default())?;
    if evaluated.num_rows() == pairs.num_rows() {
        return is_true(&values);
    }
    let one = |pair: usize| {
        let (evaluated, values) = residual.evaluate(pairs.slice(pair, 1), errors)?;
        Ok(!evaluated.is_empty() && is_true(&values)?.value(0))
    };
    (0..pairs.num_rows()).map(one).collect::<Result<Vec<bool>>>().map(BooleanArray::from)
}

fn is_true(values: &[ArrayRef]) -> Result<BooleanArray> {
    use arrow::array::Array;
    let values = values.first().and_then(|values| values.as_boolean_opt());
    let Some(values) = values else { return Err(Error::internal("a predicate that is not boolean")) };
    Ok((0..values.len()).map(|row| Some(values.is_valid(row) && values.value(row))).collect())
}

#[cfg(test)]
mod tests;
