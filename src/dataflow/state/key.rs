//! Group keys packed into bytes: equal keys have equal bytes, and the columns can be read back.
//!
//! ```text
//! all columns of fixed width:  null bits (1 byte per 8 columns) | values, little endian | zeros up to a multiple of 8
//! otherwise, per column:       0 for NULL, or 1 and the value; text and bytes: length (4 bytes) and the bytes;
//!                              arrays: length of all elements (4 bytes), and the elements, each as a column
//! ```
//!
//! No packed key is a prefix of another of the same layout. Keys to group by have -0 as 0, and every NaN as one.

use arrow::array::{Array, ArrayRef, AsArray, LargeStringArray};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
    IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit, TimeUnit, TimestampMicrosecondType,
};
use xxhash_rust::xxh3::xxh3_64;

use self::unpack::{Builder, unpack_fixed, unpack_variable};
use super::column::ColumnType;
use crate::error::{Error, Result};
use crate::functions::floats::canonical_array;
use crate::types::UUID_BYTES;

/// How the columns of a key are packed.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyLayout {
    types: Vec<DataType>,
    /// Floats that are equal in SQL have equal bytes; otherwise every bit is kept.
    canonical: bool,
    /// Bytes of a key, if that is the same for all.
    fixed_width: Option<usize>,
}

impl KeyLayout {
    /// Keys to group by. Errors: 0A000 for a type that cannot be grouped by.
    pub fn new(types: Vec<DataType>) -> Result<Self> {
        KeyLayout::of(types, true)
    }

    /// Keys that read back to the last bit, for whole rows. Errors: as for [`KeyLayout::new`].
    pub fn exact(types: Vec<DataType>) -> Result<Self> {
        KeyLayout::of(types, false)
    }

    fn of(types: Vec<DataType>, canonical: bool) -> Result<Self> {
        let mut width = Some(types.len().div_ceil(8));
        for data_type in &types {
            width = match (width, value_width(data_type)?) {
                (Some(sum), Some(bytes)) => Some(sum + bytes),
                _ => None,
            };
        }
        let fixed_width = width.map(|width| width.next_multiple_of(8));
        Ok(KeyLayout { types, canonical, fixed_width })
    }

    pub fn column_type(&self) -> ColumnType {
        self.fixed_width.map_or(ColumnType::Bytes, ColumnType::Fixed)
    }

    /// Packs `rows` keys.
    pub fn pack(&self, columns: &[ArrayRef], rows: usize) -> Result<Keys> {
        let canonical: Vec<ArrayRef>;
        let columns = match self.canonical {
            true => {
                canonical = columns.iter().map(canonical_array).collect();
                &canonical
            }
            false => columns,
        };
        match self.fixed_width {
            Some(width) => pack_fixed(columns, rows, width),
            None => pack_variable(columns, rows),
        }
    }

    /// The columns of these keys.
    pub fn unpack<'a>(&self, keys: impl Iterator<Item = &'a [u8]>) -> Result<Vec<ArrayRef>> {
        let mut builders: Vec<Builder> = self.types.iter().map(Builder::new).collect::<Result<_>>()?;
        for key in keys {
            match self.fixed_width {
                Some(_) => unpack_fixed(key, &mut builders)?,
                None => unpack_variable(key, &mut builders)?,
            }
        }
        Ok(builders.into_iter().zip(&self.types).map(|(builder, data_type)| builder.finish(data_type)).collect())
    }
}

/// Packed keys of a batch, with their hashes.
#[derive(Debug)]
pub struct Keys {
    bytes: Vec<u8>,
    places: Places,
    pub hashes: Vec<u64>,
}

#[derive(Debug)]
enum Places {
    Fixed(usize),
    /// Ends, after a leading 0.
    Offsets(Vec<usize>),
}

impl Keys {
    pub fn len(&self) -> usize {
        self.hashes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// Width and bytes of all keys, where they have one width.
    pub fn fixed(&self) -> Option<(usize, &[u8])> {
        match self.places {
            Places::Fixed(width) => Some((width, &self.bytes)),
            Places::Offsets(_) => None,
        }
    }

    /// These keys, in this order.
    pub fn take(&self, rows: &[u32]) -> Keys {
        let hashes = rows.iter().map(|row| self.hashes[*row as usize]).collect();
        match &self.places {
            Places::Fixed(8) => Keys { bytes: take_words::<8>(&self.bytes, rows), places: Places::Fixed(8), hashes },
            Places::Fixed(16) => Keys { bytes: take_words::<16>(&self.bytes, rows), places: Places::Fixed(16), hashes },
            places => {
                let mut bytes = Vec::with_capacity(self.bytes.len());
                let mut offsets = vec![0];
                for row in rows {
                    bytes.extend_from_slice(self.get(*row as usize));
                    offsets.push(bytes.len());
                }
                let places = match places {
                    Places::Fixed(width) => Places::Fixed(*width),
                    Places::Offsets(_) => Places::Offsets(offsets),
                };
                Keys { bytes, places, hashes }
            }
        }
    }

    #[inline]
    pub fn get(&self, row: usize) -> &[u8] {
        match &self.places {
            Places::Fixed(width) => &self.bytes[row * width..(row + 1) * width],
            Places::Offsets(offsets) => &self.bytes[offsets[row]..offsets[row + 1]],
        }
    }
}

fn take_words<const WIDTH: usize>(bytes: &[u8], rows: &[u32]) -> Vec<u8> {
    let (words, _) = bytes.as_chunks::<WIDTH>();
    let mut taken = Vec::with_capacity(rows.len() * WIDTH);
    rows.iter().for_each(|row| taken.extend_from_slice(&words[*row as usize]));
    taken
}

const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

/// The hash of a packed key. Stable: part of the state's format.
#[inline]
pub fn hash_key(key: &[u8]) -> u64 {
    if key.len().is_multiple_of(8) && key.len() <= 32 {
        let (words, _) = key.as_chunks::<8>();
        let mut hash = MULTIPLIER;
        for word in words {
            let product = u128::from(hash ^ u64::from_le_bytes(*word)) * u128::from(MULTIPLIER);
            hash = (product as u64) ^ ((product >> 64) as u64);
        }
        let product = u128::from(hash) * u128::from(MULTIPLIER ^ key.len() as u64);
        return (product as u64) ^ ((product >> 64) as u64);
    }
    xxh3_64(key)
}

fn value_width(data_type: &DataType) -> Result<Option<usize>> {
    Ok(match data_type {
        DataType::Boolean => Some(1),
        DataType::Int16 => Some(2),
        DataType::Int32 | DataType::Date32 | DataType::Float32 => Some(4),
        DataType::Int64 | DataType::Float64 | DataType::Timestamp(TimeUnit::Microsecond, _) => Some(8),
        DataType::Decimal128(..) | DataType::Interval(IntervalUnit::MonthDayNano) => Some(16),
        DataType::FixedSizeBinary(UUID_BYTES) => Some(UUID_BYTES as usize),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Binary => None,
        DataType::List(element) if !element.data_type().is_nested() => {
            value_width(element.data_type())?;
            None
        }
        other => {
            return Err(Error::not_built(format!("grouping by {other} in a materialized view"))
                .with_hint("Cast the expression to a type that a table column can have."));
        }
    })
}

/// Runs `$body` with `$native` the Arrow primitive type of `$data_type`.
macro_rules! with_primitive {
    ($data_type:expr, $native:ident => $body:expr, $other:expr) => {
        match $data_type {
            DataType::Int16 => {
                type $native = Int16Type;
                $body
            }
            DataType::Int32 => {
                type $native = Int32Type;
                $body
            }
            DataType::Int64 => {
                type $native = Int64Type;
                $body
            }
            DataType::Date32 => {
                type $native = Date32Type;
                $body
            }
            DataType::Float32 => {
                type $native = Float32Type;
                $body
            }
            DataType::Float64 => {
                type $native = Float64Type;
                $body
            }
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                type $native = TimestampMicrosecondType;
                $body
            }
            DataType::Decimal128(..) => {
                type $native = Decimal128Type;
                $body
            }
            DataType::Interval(IntervalUnit::MonthDayNano) => {
                type $native = IntervalMonthDayNanoType;
                $body
            }
            _ => $other,
        }
    };
}

fn pack_fixed(columns: &[ArrayRef], rows: usize, width: usize) -> Result<Keys> {
    let mut bytes = vec![0; rows * width];
    let mut offset = columns.len().div_ceil(8);
    for (index, column) in columns.iter().enumerate() {
        let data_type = column.data_type().clone();
        write_column(column, &mut bytes, width, offset);
        let value_bytes = value_width(&data_type)?.unwrap_or(0);
        if let Some(nulls) = column.nulls().filter(|nulls| nulls.null_count() > 0) {
            for row in (0..rows).filter(|row| nulls.is_null(*row)) {
                // The value under a NULL may be anything; equal keys need equal bytes.
                bytes[row * width + offset..row * width + offset + value_bytes].fill(0);
                bytes[row * width + index / 8] |= 1 << (index % 8);
            }
        }
        offset += value_bytes;
    }
    let hashes = if width == 0 { vec![hash_key(&[]); rows] } else { bytes.chunks_exact(width).map(hash_key).collect() };
    Ok(Keys { bytes, places: Places::Fixed(width), hashes })
}

/// Fixed-width values as little-endian bytes.
trait Packed: Copy {
    type Bytes: AsRef<[u8]> + for<'a> TryFrom<&'a [u8]>;
    fn packed(self) -> Self::Bytes;
    fn unpacked(bytes: Self::Bytes) -> Self;
}

macro_rules! packed {
    ($($native:ty: $width:literal),*) => {
        $(impl Packed for $native {
            type Bytes = [u8; $width];
            #[inline]
            fn packed(self) -> [u8; $width] {
                self.to_le_bytes()
            }
            fn unpacked(bytes: [u8; $width]) -> Self {
                <$native>::from_le_bytes(bytes)
            }
        })*
    };
}

packed!(i16: 2, i32: 4, i64: 8, i128: 16, f32: 4, f64: 8);

impl Packed for IntervalMonthDayNano {
    type Bytes = [u8; 16];

    fn packed(self) -> [u8; 16] {
        let high = (i128::from(self.months) << 96) | (i128::from(self.days as u32) << 64);
        (high | i128::from(self.nanoseconds as u64)).to_le_bytes()
    }

    fn unpacked(bytes: [u8; 16]) -> Self {
        let packed = i128::from_le_bytes(bytes);
        IntervalMonthDayNano::new((packed >> 96) as i32, (packed >> 64) as i32, packed as i64)
    }
}

/// Writes the values of a column of fixed width at `offset` of each key.
fn write_column(column: &ArrayRef, bytes: &mut [u8], width: usize, offset: usize) {
    let data_type = column.data_type().clone();
    with_primitive!(&data_type, T => {
        write_values(column.as_primitive::<T>().values(), bytes, width, offset);
    }, {
        if let Some(values) = column.as_fixed_size_binary_opt() {
            for (row, key) in bytes.chunks_exact_mut(width).enumerate() {
                let value = values.value(row);
                key[offset..offset + value.len()].copy_from_slice(value);
            }
        } else {
            for (row, value) in column.as_boolean().values().iter().enumerate() {
                bytes[row * width + offset] = u8::from(value);
            }
        }
    });
}

fn write_values<N: Packed>(values: &[N], bytes: &mut [u8], width: usize, offset: usize) {
    for (key, value) in bytes.chunks_exact_mut(width).zip(values) {
        let packed = value.packed();
        let packed = packed.as_ref();
        key[offset..offset + packed.len()].copy_from_slice(packed);
    }
}

fn pack_variable(columns: &[ArrayRef], rows: usize) -> Result<Keys> {
    let mut bytes = Vec::with_capacity(rows * columns.len() * 12);
    let mut offsets = Vec::with_capacity(rows + 1);
    offsets.push(0);
    let readers = columns.iter().map(ValueReader::new).collect::<Result<Vec<_>>>()?;
    for row in 0..rows {
        for reader in &readers {
            reader.write(row, &mut bytes);
        }
        offsets.push(bytes.len());
    }
    let hashes = offsets.windows(2).map(|ends| hash_key(&bytes[ends[0]..ends[1]])).collect();
    Ok(Keys { bytes, places: Places::Offsets(offsets), hashes })
}

/// A column of a key whose length varies, typed once per batch.
enum ValueReader<'a> {
    Bytes {
        column: &'a dyn Array,
        offsets: &'a [i32],
        data: &'a [u8],
    },
    Large {
        column: &'a dyn Array,
        strings: &'a LargeStringArray,
    },
    Lists {
        column: &'a dyn Array,
        offsets: &'a [i32],
        elements: Box<ValueReader<'a>>,
    },
    /// Fixed-width values, already packed one after the other.
    Fixed {
        column: &'a dyn Array,
        width: usize,
        packed: Vec<u8>,
    },
}

impl<'a> ValueReader<'a> {
    fn new(column: &'a ArrayRef) -> Result<Self> {
        Ok(match column.data_type() {
            DataType::Utf8 => {
                let strings = column.as_string::<i32>();
                ValueReader::Bytes { column, offsets: strings.value_offsets(), data: strings.value_data() }
            }
            DataType::LargeUtf8 => ValueReader::Large { column, strings: column.as_string() },
            DataType::Binary => {
                let strings = column.as_binary::<i32>();
                ValueReader::Bytes { column, offsets: strings.value_offsets(), data: strings.value_data() }
            }
            DataType::List(_) => {
                let lists = column.as_list::<i32>();
                let elements = Box::new(ValueReader::new(lists.values())?);
                ValueReader::Lists { column, offsets: lists.value_offsets(), elements }
            }
            data_type => {
                let width = value_width(data_type)?.unwrap_or(0);
                let mut packed = vec![0; width * column.len()];
                write_column(column, &mut packed, width, 0);
                ValueReader::Fixed { column, width, packed }
            }
        })
    }

    fn write(&self, row: usize, bytes: &mut Vec<u8>) {
        let column = match self {
            ValueReader::Bytes { column, .. }
            | ValueReader::Large { column, .. }
            | ValueReader::Lists { column, .. }
            | ValueReader::Fixed { column, .. } => column,
        };
        if column.is_null(row) {
            bytes.push(0);
            return;
        }
        bytes.push(1);
        match self {
            ValueReader::Bytes { offsets, data, .. } => {
                let value = &data[offsets[row] as usize..offsets[row + 1] as usize];
                bytes.extend((value.len() as u32).to_le_bytes());
                bytes.extend_from_slice(value);
            }
            ValueReader::Large { strings, .. } => {
                let value = strings.value(row).as_bytes();
                bytes.extend((value.len() as u32).to_le_bytes());
                bytes.extend_from_slice(value);
            }
            ValueReader::Lists { offsets, elements, .. } => {
                let at = bytes.len();
                bytes.extend([0; 4]);
                (offsets[row]..offsets[row + 1]).for_each(|element| elements.write(element as usize, bytes));
                let length = (bytes.len() - at - 4) as u32;
                bytes[at..at + 4].copy_from_slice(&length.to_le_bytes());
            }
            ValueReader::Fixed { width, packed, .. } => {
                bytes.extend_from_slice(&packed[row * width..(row + 1) * width]);
            }
        }
    }
}

// After the macro, which it uses.
mod unpack;

#[cfg(test)]
mod tests;
