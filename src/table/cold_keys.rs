//! Rows of a PRIMARY KEY table's files, found by key.
//!
//! A file is sorted by key. The first time that a key may be in one, its key columns are read, and this is kept of them:
//!
//! ```text
//! fences         the key of every 256th row: which rows may have a given key
//! fingerprints   4 bytes of each key's hash, in the order of the rows: which of these have it, but for one in 16 million.
//!                Left out where memory is short; then all rows between the fences are looked at
//! pages          where the file's pages are
//! ```
//!
//! So looking a key up reads the pages of the rows that have it, and nothing of a file that does not have it. Files whose bounds
//! leave the key out are not even opened: of a key with a time in it, those are nearly all. Nothing of this is
//! written down; it is made again from the files.
//!
//! Does not know: rows in memory.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, Datum, RecordBatch, UInt32Array};
use arrow::compute::kernels::cmp::{gt_eq, lt_eq};
use arrow::compute::{and, concat_batches, take, take_record_batch};
use arrow::row::{Row, Rows};
use futures::TryStreamExt;
use hashbrown::HashTable;
use parking_lot::Mutex;

use super::key_form::{KeyForm, canonical, hash_of};
use super::projection::Projection;
use super::segment::row_ids;
use super::version::Version;
use crate::error::Result;
use crate::tier::{ColumnBounds, DataFile, OpenFile, StoredForm, Tier};
use crate::types::CommitNumber;

/// Rows from one fence to the next.
const FENCE_ROWS: usize = 256;
const BATCH_ROWS: usize = 1 << 16;

/// What is kept of a table's files to find keys in them.
pub(super) struct ColdKeys {
    form: Arc<KeyForm>,
    /// By path.
    files: Mutex<HashMap<String, Arc<FileKeys>>>,
}

/// Of one file.
#[derive(Debug)]
struct FileKeys {
    file: OpenFile,
    rows: usize,
    /// Of rows 0, [`FENCE_ROWS`], twice that ...; `None`: the file is not in the order of encoded keys, as with NaNs of
    /// both signs.
    fences: Option<Rows>,
    fingerprints: Option<Vec<u32>>,
}

/// The rows that were found, and for each of the keys the number of its row.
pub(super) struct FoundRows {
    pub rows: RecordBatch,
    pub of_keys: Vec<Option<u32>>,
}

/// Keys that are looked for.
struct Wanted {
    /// Canonical, in key order.
    columns: Vec<ArrayRef>,
    encoded: Rows,
    hashes: Vec<u64>,
    /// The first of the keys that are equal.
    distinct: HashTable<usize>,
}

/// What is looked up, and where.
pub(super) struct Lookup<'a> {
    pub tier: &'a Tier,
    pub form: &'a StoredForm,
    pub version: &'a Version,
    /// Fingerprints are kept where what is kept of all tables stays below this.
    pub bytes_max: usize,
    /// What is kept of all tables.
    pub kept_bytes: &'a (dyn Fn() -> usize + Sync),
}

impl ColdKeys {
    pub fn new(form: Arc<KeyForm>) -> ColdKeys {
        ColdKeys { form, files: Mutex::default() }
    }

    pub fn memory_bytes(&self) -> usize {
        self.files.lock().values().map(|file| file.memory_bytes()).sum()
    }

    /// The live rows of a version's files that have these keys (columns in key order): whole, with `_row_id`.
    pub async fn find(&self, lookup: &Lookup<'_>, keys: &[ArrayRef]) -> Result<FoundRows> {
        let wanted = Wanted::new(&self.form, keys)?;
        let bounds: Vec<ColumnBounds> = wanted.columns.iter().map(ColumnBounds::of).collect::<Result<_>>()?;
        let mut open: Vec<usize> = wanted.distinct.iter().copied().collect();
        open.sort_unstable();
        let mut row_of: HashMap<usize, u32> = HashMap::new();
        let (mut batches, mut rows) = (Vec::new(), 0_u32);
        // The newest file first: a key that was written lately is written again.
        for file in lookup.version.cold.files.iter().rev() {
            if open.is_empty() {
                break;
            }
            let near = self.within_bounds(lookup, file, &wanted, &bounds, &open)?;
            if near.is_empty() {
                continue;
            }
            let of_file = self.keys_of(lookup, file).await?;
            let places = of_file.places(&wanted, &near);
            if places.is_empty() {
                continue;
            }
            for batch in self.read(lookup, file, &of_file, places).await? {
                let matches = self.matches(lookup, &batch, &wanted)?;
                let numbers = UInt32Array::from_iter_values(matches.iter().map(|row| row.number));
                batches.push(take_record_batch(&batch, &numbers)?);
                for row in matches {
                    row_of.insert(row.key, rows);
                    rows += 1;
                }
            }
            open.retain(|key| !row_of.contains_key(key));
        }
        let rows = concat_batches(lookup.form.table_schema(), &batches)?;
        let of_keys = (0..wanted.hashes.len()).map(|key| row_of.get(&wanted.first_of(key)?).copied());
        Ok(FoundRows { of_keys: of_keys.collect(), rows })
    }

    /// Forgets files that the table does not have any more.
    pub fn keep(&self, named: &[DataFile]) {
        let named: HashSet<&str> = named.iter().map(|file| file.path.as_str()).collect();
        self.files.lock().retain(|path, _| named.contains(path.as_str()));
    }

    /// Which of the keys `open` lie within what the manifest says of a file's columns.
    fn within_bounds(
        &self,
        lookup: &Lookup<'_>,
        file: &DataFile,
        wanted: &Wanted,
        bounds_of_wanted: &[ColumnBounds],
        open: &[usize],
    ) -> Result<Vec<usize>> {
        let mut within: Option<BooleanArray> = None;
        for ((column, values), own) in self.form.columns().iter().zip(&wanted.columns).zip(bounds_of_wanted) {
            let bounds = lookup.form.position_in(file, *column).and_then(|position| file.columns.get(position));
            let scalars = |bounds: &ColumnBounds| {
                let of = |bound: &Option<crate::tier::Bound>| bound.as_ref()?.to_scalar(values.data_type());
                of(&bounds.min).zip(of(&bounds.max))
            };
            let Some((min, max)) = bounds.and_then(scalars) else { continue };
            if let Some((own_min, own_max)) = scalars(own)
                && (own_max < min || own_min > max)
            {
                return Ok(Vec::new());
            }
            let (min, max) = (min.to_scalar()?, max.to_scalar()?);
            let values: &dyn Datum = values;
            let inside = and(&gt_eq(values, &min)?, &lt_eq(values, &max)?)?;
            within = Some(match within {
                Some(within) => and(&within, &inside)?,
                None => inside,
            });
        }
        let Some(within) = within else { return Ok(open.to_vec()) };
        Ok(open.iter().copied().filter(|key| within.value(*key)).collect())
    }

    async fn keys_of(&self, lookup: &Lookup<'_>, file: &DataFile) -> Result<Arc<FileKeys>> {
        if let Some(known) = self.files.lock().get(&file.path) {
            return Ok(known.clone());
        }
        let fingerprints = file.rows as usize * size_of::<u32>();
        let fits = (lookup.kept_bytes)().saturating_add(fingerprints) <= lookup.bytes_max;
        let read = Arc::new(FileKeys::read(&self.form, lookup, file, fits).await?);
        self.files.lock().insert(file.path.clone(), read.clone());
        Ok(read)
    }

    async fn read(
        &self,
        lookup: &Lookup<'_>,
        file: &DataFile,
        keys: &FileKeys,
        places: Vec<Range<usize>>,
    ) -> Result<Vec<RecordBatch>> {
        let all = (0..lookup.form.table_schema().fields().len()).collect();
        let projection = Projection::new(lookup.form, file, all, true)?;
        let (positions, schema) = (projection.positions.clone(), projection.read_schema.clone());
        let rows = lookup.tier.read_places(file, &keys.file, positions, schema, places.into_iter())?;
        let rows = rows.and_then(|rows| futures::future::ready(projection.apply(lookup.form, &rows)));
        rows.try_collect().await
    }

    /// The live rows of a batch that have a key that is looked for.
    fn matches(&self, lookup: &Lookup<'_>, batch: &RecordBatch, wanted: &Wanted) -> Result<Vec<Match>> {
        let alive = lookup.version.tombstones.alive(row_ids(batch)?, CommitNumber::MAX);
        let encoded = self.form.encode(&self.form.columns_of(batch))?;
        let rows = encoded.iter().enumerate();
        let rows = rows.filter(|(row, _)| alive.as_ref().is_none_or(|alive| alive.value(*row)));
        Ok(rows.filter_map(|(row, key)| Some(Match { key: wanted.find(key)?, number: row as u32 })).collect())
    }
}

/// A row of a batch, and the key that it has.
struct Match {
    key: usize,
    number: u32,
}

impl Wanted {
    fn new(form: &KeyForm, keys: &[ArrayRef]) -> Result<Wanted> {
        let columns: Vec<ArrayRef> = keys.iter().map(canonical).collect();
        let encoded = form.encode(&columns)?;
        let hashes: Vec<u64> = encoded.iter().map(hash_of).collect();
        let mut distinct: HashTable<usize> = HashTable::with_capacity(hashes.len());
        for (key, hash) in hashes.iter().enumerate() {
            let same = |other: &usize| encoded.row(*other) == encoded.row(key);
            if distinct.find(*hash, same).is_none() {
                distinct.insert_unique(*hash, key, |other| hashes.get(*other).copied().unwrap_or(0));
            }
        }
        Ok(Wanted { columns, encoded, hashes, distinct })
    }

    fn find(&self, key: Row<'_>) -> Option<usize> {
        self.distinct.find(hash_of(key), |other| self.encoded.row(*other) == key).copied()
    }

    fn first_of(&self, key: usize) -> Option<usize> {
        self.find(self.encoded.row(key))
    }
}

impl FileKeys {
    /// Reads a file's key columns.
    async fn read(form: &KeyForm, lookup: &Lookup<'_>, file: &DataFile, with_fingerprints: bool) -> Result<FileKeys> {
        let open = lookup.tier.open(file).await?;
        let projection = Projection::new(lookup.form, file, form.columns().to_vec(), false)?;
        let (positions, schema) = (projection.positions.clone(), projection.read_schema.clone());
        let mut batches = lookup.tier.read_rows(file, positions, schema, BATCH_ROWS).await?;
        let reserved = if with_fingerprints { file.rows as usize } else { 0 };
        let (mut fences, mut fingerprints) = (form.empty(), Vec::with_capacity(reserved));
        let (mut rows, mut is_sorted) = (0, true);
        let mut last = form.empty();
        while let Some(batch) = batches.try_next().await? {
            let keys = form.encode(projection.apply(lookup.form, &batch)?.columns())?;
            for (row, key) in (rows..).zip(keys.iter()) {
                if row % FENCE_ROWS == 0 {
                    fences.push(key);
                }
                if with_fingerprints {
                    fingerprints.push(fingerprint(hash_of(key)));
                }
            }
            let from_last = last.iter().chain(keys.iter());
            is_sorted =
                is_sorted && from_last.zip(keys.iter().skip(usize::from(last.num_rows() == 0))).all(|(a, b)| a <= b);
            if let Some(end) = keys.num_rows().checked_sub(1) {
                last.clear();
                last.push(keys.row(end));
            }
            rows += keys.num_rows();
        }
        Ok(FileKeys {
            file: open,
            rows,
            fences: is_sorted.then_some(fences),
            fingerprints: with_fingerprints.then_some(fingerprints),
        })
    }

    fn memory_bytes(&self) -> usize {
        let fingerprints = self.fingerprints.as_ref().map_or(0, |all| all.capacity() * size_of::<u32>());
        self.file.memory_bytes() + self.fences.as_ref().map_or(0, Rows::size) + fingerprints
    }

    /// Rows that may have one of the keys `near`: ascending ranges, apart from each other.
    fn places(&self, wanted: &Wanted, near: &[usize]) -> Vec<Range<usize>> {
        let Some(fences) = &self.fences else { return std::iter::once(0..self.rows).collect() };
        let mut places: Vec<Range<usize>> = Vec::new();
        for key in near {
            let between = self.between(fences, wanted.encoded.row(*key));
            match &self.fingerprints {
                Some(all) => {
                    let sought = fingerprint(wanted.hashes[*key]);
                    let seen = all.get(between.clone()).unwrap_or_default().iter().enumerate();
                    let seen = seen.filter(|(_, other)| **other == sought);
                    places.extend(seen.map(|(row, _)| between.start + row..between.start + row + 1));
                }
                None => places.push(between),
            }
        }
        places.retain(|place| !place.is_empty());
        places.sort_unstable_by_key(|place| place.start);
        let mut apart: Vec<Range<usize>> = Vec::with_capacity(places.len());
        for place in places {
            match apart.last_mut().filter(|last| last.end >= place.start) {
                Some(last) => last.end = last.end.max(place.end),
                None => apart.push(place),
            }
        }
        apart
    }

    /// The rows from the last fence before the key to the first one behind it: several may have it, of which one lives.
    fn between(&self, fences: &Rows, key: Row<'_>) -> Range<usize> {
        let first_not = |before: &dyn Fn(Row<'_>) -> bool| {
            let (mut low, mut high) = (0, fences.num_rows());
            while low < high {
                let middle = low + (high - low) / 2;
                if before(fences.row(middle)) { low = middle + 1 } else { high = middle }
            }
            low
        };
        let start = first_not(&|fence| fence < key).saturating_sub(1);
        let end = first_not(&|fence| fence <= key);
        start * FENCE_ROWS..(end * FENCE_ROWS).min(self.rows)
    }
}

fn fingerprint(hash: u64) -> u32 {
    (hash >> 32) as u32
}

/// Some of the keys' columns.
pub(super) fn taken(keys: &[ArrayRef], rows: &[u32]) -> Result<Vec<ArrayRef>> {
    let rows = UInt32Array::from(rows.to_vec());
    keys.iter().map(|column| Ok(take(column, &rows, None)?)).collect()
}

#[cfg(test)]
mod tests;
