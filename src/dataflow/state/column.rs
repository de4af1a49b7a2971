//! A column of state: fixed-width numbers, or byte strings. What is absent is told by the operator that owns the column
//! (a count of zero, an empty string); there is no separate validity.

use std::collections::BTreeMap;

use super::bytes::{Reader, Writer, damaged};
use crate::error::{Error, Result};

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnType {
    Int16,
    Int64,
    Int128,
    /// Packed keys of this many bytes.
    Fixed(usize),
    Bytes,
    /// Byte strings that nearly all rows have empty.
    Rare,
}

#[derive(Debug, Clone)]
pub enum Column {
    Int16(Vec<i16>),
    Int64(Vec<i64>),
    Int128(Vec<i128>),
    Fixed { width: usize, rows: usize, bytes: Vec<u8> },
    Bytes(ByteColumn),
    Rare(RareColumn),
}

impl Column {
    pub fn new(column_type: ColumnType) -> Self {
        match column_type {
            ColumnType::Int16 => Column::Int16(Vec::new()),
            ColumnType::Int64 => Column::Int64(Vec::new()),
            ColumnType::Int128 => Column::Int128(Vec::new()),
            ColumnType::Fixed(width) => Column::Fixed { width, rows: 0, bytes: Vec::new() },
            ColumnType::Bytes => Column::Bytes(ByteColumn::default()),
            ColumnType::Rare => Column::Rare(RareColumn::default()),
        }
    }

    pub fn len(&self) -> usize {
        match self {
            Column::Int16(values) => values.len(),
            Column::Int64(values) => values.len(),
            Column::Int128(values) => values.len(),
            Column::Fixed { rows, .. } => *rows,
            Column::Bytes(values) => values.len(),
            Column::Rare(values) => values.rows,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// New rows are zero, or the empty string. Never fewer rows than there are.
    pub fn grow(&mut self, len: usize) {
        match self {
            Column::Int16(values) => values.resize(len, 0),
            Column::Int64(values) => values.resize(len, 0),
            Column::Int128(values) => values.resize(len, 0),
            Column::Fixed { width, rows, bytes } => {
                *rows = len;
                bytes.resize(len * *width, 0);
            }
            Column::Bytes(values) => (values.len()..len).for_each(|_| values.push(&[])),
            Column::Rare(values) => values.rows = len,
        }
    }

    /// A key column's next row; `key` has the column's width where it is fixed.
    pub fn push_key(&mut self, key: &[u8]) {
        match self {
            Column::Fixed { width, rows, bytes } => {
                debug_assert_eq!(key.len(), *width);
                *rows += 1;
                bytes.extend_from_slice(key);
            }
            Column::Bytes(values) => values.push(key),
            _ => debug_assert!(false, "not a key column"),
        }
    }

    #[inline]
    pub fn key(&self, row: usize) -> &[u8] {
        match self {
            Column::Fixed { width, bytes, .. } => &bytes[row * width..(row + 1) * width],
            Column::Bytes(values) => values.get(row),
            _ => &[],
        }
    }

    /// Removes a row by putting the last one in its place.
    pub fn swap_remove(&mut self, row: usize) {
        match self {
            Column::Int16(values) => drop(values.swap_remove(row)),
            Column::Int64(values) => drop(values.swap_remove(row)),
            Column::Int128(values) => drop(values.swap_remove(row)),
            Column::Fixed { width, rows, bytes } => {
                *rows -= 1;
                bytes.copy_within(*rows * *width..(*rows + 1) * *width, row * *width);
                bytes.truncate(*rows * *width);
            }
            Column::Bytes(values) => values.swap_remove(row),
            Column::Rare(values) => values.swap_remove(row),
        }
    }

    /// A column of these rows, in this order.
    pub fn take(&self, rows: &[u32]) -> Column {
        fn taken<T: Copy>(values: &[T], rows: &[u32]) -> Vec<T> {
            rows.iter().map(|row| values[*row as usize]).collect()
        }
        match self {
            Column::Int16(values) => Column::Int16(taken(values, rows)),
            Column::Int64(values) => Column::Int64(taken(values, rows)),
            Column::Int128(values) => Column::Int128(taken(values, rows)),
            Column::Fixed { width, .. } => {
                let mut bytes = Vec::with_capacity(rows.len() * width);
                rows.iter().for_each(|row| bytes.extend_from_slice(self.key(*row as usize)));
                Column::Fixed { width: *width, rows: rows.len(), bytes }
            }
            Column::Bytes(values) => Column::Bytes(values.take(rows)),
            Column::Rare(values) => Column::Rare(values.take(rows)),
        }
    }

    pub fn memory_bytes(&self) -> usize {
        match self {
            Column::Int16(values) => values.capacity() * 2,
            Column::Int64(values) => values.capacity() * 8,
            Column::Int128(values) => values.capacity() * 16,
            Column::Fixed { bytes, .. } => bytes.capacity(),
            Column::Bytes(values) => values.memory_bytes(),
            Column::Rare(values) => values.memory_bytes(),
        }
    }

    pub fn int16(&mut self) -> Result<&mut [i16]> {
        if let Column::Int16(values) = self { Ok(values) } else { Err(wrong_type()) }
    }

    pub fn int64(&mut self) -> Result<&mut [i64]> {
        if let Column::Int64(values) = self { Ok(values) } else { Err(wrong_type()) }
    }

    pub fn int128(&mut self) -> Result<&mut [i128]> {
        if let Column::Int128(values) = self { Ok(values) } else { Err(wrong_type()) }
    }

    pub fn byte_column(&mut self) -> Result<&mut ByteColumn> {
        if let Column::Bytes(values) = self { Ok(values) } else { Err(wrong_type()) }
    }

    pub fn rare_column(&mut self) -> Result<&mut RareColumn> {
        if let Column::Rare(values) = self { Ok(values) } else { Err(wrong_type()) }
    }

    pub fn as_int16(&self) -> Result<&[i16]> {
        if let Column::Int16(values) = self { Ok(values) } else { Err(wrong_type()) }
    }

    pub fn as_int64(&self) -> Result<&[i64]> {
        if let Column::Int64(values) = self { Ok(values) } else { Err(wrong_type()) }
    }

    pub fn as_int128(&self) -> Result<&[i128]> {
        if let Column::Int128(values) = self { Ok(values) } else { Err(wrong_type()) }
    }

    pub fn as_bytes(&self) -> Result<&ByteColumn> {
        if let Column::Bytes(values) = self { Ok(values) } else { Err(wrong_type()) }
    }

    pub fn as_rare(&self) -> Result<&RareColumn> {
        if let Column::Rare(values) = self { Ok(values) } else { Err(wrong_type()) }
    }

    pub fn write(&self, writer: &mut Writer) {
        match self {
            Column::Int16(values) => writer.numbers(values),
            Column::Int64(values) => writer.numbers(values),
            Column::Int128(values) => writer.numbers(values),
            Column::Fixed { bytes, .. } => writer.bytes(bytes),
            Column::Bytes(values) => values.write(writer),
            Column::Rare(values) => values.write(writer),
        }
    }

    pub fn read(column_type: ColumnType, rows: usize, reader: &mut Reader<'_>) -> Result<Self> {
        let column = match column_type {
            ColumnType::Int16 => Column::Int16(reader.numbers(rows)?),
            ColumnType::Int64 => Column::Int64(reader.numbers(rows)?),
            ColumnType::Int128 => Column::Int128(reader.numbers(rows)?),
            ColumnType::Fixed(width) => {
                let bytes = reader.bytes()?.to_vec();
                if rows.checked_mul(width) != Some(bytes.len()) {
                    return Err(damaged());
                }
                Column::Fixed { width, rows, bytes }
            }
            ColumnType::Bytes => Column::Bytes(ByteColumn::read(rows, reader)?),
            ColumnType::Rare => Column::Rare(RareColumn::read(rows, reader)?),
        };
        Ok(column)
    }
}

fn wrong_type() -> Error {
    Error::internal("a state column of another type than its operator wrote")
}

/// Byte strings that may change: a heap with holes, compacted when they outweigh what is live.
#[derive(Debug, Clone, Default)]
pub struct ByteColumn {
    places: Vec<(u64, u32)>,
    heap: Vec<u8>,
    live_bytes: usize,
}

/// Heaps smaller than this are left with their holes.
const COMPACT_BYTES_MIN: usize = 4096;

impl ByteColumn {
    pub fn get(&self, row: usize) -> &[u8] {
        let (start, length) = self.places[row];
        &self.heap[start as usize..start as usize + length as usize]
    }

    pub fn len(&self) -> usize {
        self.places.len()
    }

    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    pub fn push(&mut self, bytes: &[u8]) {
        self.places.push((self.heap.len() as u64, bytes.len() as u32));
        self.heap.extend_from_slice(bytes);
        self.live_bytes += bytes.len();
    }

    pub fn set(&mut self, row: usize, bytes: &[u8]) {
        let (start, length) = self.places[row];
        self.live_bytes = self.live_bytes - length as usize + bytes.len();
        if bytes.len() <= length as usize {
            self.heap[start as usize..start as usize + bytes.len()].copy_from_slice(bytes);
            self.places[row].1 = bytes.len() as u32;
            return;
        }
        self.places[row] = (self.heap.len() as u64, bytes.len() as u32);
        self.heap.extend_from_slice(bytes);
        self.compact_if_sparse();
    }

    fn swap_remove(&mut self, row: usize) {
        let (_, length) = self.places.swap_remove(row);
        self.live_bytes -= length as usize;
        self.compact_if_sparse();
    }

    fn compact_if_sparse(&mut self) {
        if self.heap.len() < COMPACT_BYTES_MIN || self.heap.len() / 2 < self.live_bytes {
            return;
        }
        let mut heap = Vec::with_capacity(self.live_bytes);
        for (start, length) in &mut self.places {
            let bytes = &self.heap[*start as usize..*start as usize + *length as usize];
            *start = heap.len() as u64;
            heap.extend_from_slice(bytes);
        }
        self.heap = heap;
    }

    fn take(&self, rows: &[u32]) -> ByteColumn {
        let mut taken = ByteColumn { places: Vec::with_capacity(rows.len()), ..ByteColumn::default() };
        rows.iter().for_each(|row| taken.push(self.get(*row as usize)));
        taken
    }

    fn memory_bytes(&self) -> usize {
        self.places.capacity() * 16 + self.heap.capacity()
    }

    fn write(&self, writer: &mut Writer) {
        let lengths: Vec<u32> = self.places.iter().map(|(_, length)| *length).collect();
        writer.numbers(&lengths);
        let mut heap = Vec::with_capacity(self.live_bytes);
        (0..self.len()).for_each(|row| heap.extend_from_slice(self.get(row)));
        writer.bytes(&heap);
    }

    fn read(rows: usize, reader: &mut Reader<'_>) -> Result<Self> {
        let lengths: Vec<u32> = reader.numbers(rows)?;
        let heap = reader.bytes()?.to_vec();
        let mut start = 0_u64;
        let places = lengths.into_iter().map(|length| {
            start += u64::from(length);
            (start - u64::from(length), length)
        });
        let places = places.collect();
        if start != heap.len() as u64 {
            return Err(damaged());
        }
        Ok(ByteColumn { places, live_bytes: heap.len(), heap })
    }
}

/// Byte strings by row, only those that are not empty.
#[derive(Debug, Clone, Default)]
pub struct RareColumn {
    rows: usize,
    present: BTreeMap<u32, Box<[u8]>>,
}

impl RareColumn {
    #[inline]
    pub fn get(&self, row: usize) -> &[u8] {
        // Nearly always there is none at all.
        if self.present.is_empty() {
            return &[];
        }
        self.present.get(&(row as u32)).map_or(&[], |bytes| bytes)
    }

    pub fn set(&mut self, row: usize, bytes: &[u8]) {
        if bytes.is_empty() {
            self.present.remove(&(row as u32));
        } else {
            self.present.insert(row as u32, bytes.into());
        }
    }

    fn swap_remove(&mut self, row: usize) {
        self.rows -= 1;
        self.present.remove(&(row as u32));
        if let Some(last) = self.present.remove(&(self.rows as u32)) {
            self.present.insert(row as u32, last);
        }
    }

    fn take(&self, rows: &[u32]) -> RareColumn {
        let mut taken = RareColumn { rows: rows.len(), ..RareColumn::default() };
        if !self.present.is_empty() {
            rows.iter().enumerate().for_each(|(to, from)| taken.set(to, self.get(*from as usize)));
        }
        taken
    }

    fn memory_bytes(&self) -> usize {
        self.present.values().map(|bytes| bytes.len() + size_of::<(u32, Box<[u8]>)>()).sum()
    }

    fn write(&self, writer: &mut Writer) {
        writer.number(self.present.len() as u64);
        for (row, bytes) in &self.present {
            writer.number(u64::from(*row));
            writer.bytes(bytes);
        }
    }

    fn read(rows: usize, reader: &mut Reader<'_>) -> Result<Self> {
        let mut column = RareColumn { rows, ..RareColumn::default() };
        for _ in 0..reader.number()? {
            let row = u32::try_from(reader.number()?).map_err(|_| damaged())?;
            let bytes = reader.bytes()?;
            if row as usize >= rows || bytes.is_empty() || column.present.insert(row, bytes.into()).is_some() {
                return Err(damaged());
            }
        }
        Ok(column)
    }
}
