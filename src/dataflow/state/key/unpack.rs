//! Packed keys as columns again.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, ArrowPrimitiveType, BinaryBuilder, BooleanBuilder, FixedSizeBinaryBuilder, LargeStringBuilder, ListArray,
    PrimitiveArray, PrimitiveBuilder, StringBuilder,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{
    ArrowNativeType, DataType, Date32Type, Decimal128Type, Field, Float32Type, Float64Type, Int16Type, Int32Type,
    Int64Type, IntervalMonthDayNanoType, IntervalUnit, TimeUnit, TimestampMicrosecondType,
};

use super::{Packed, value_width};
use crate::dataflow::state::bytes::damaged;
use crate::error::Result;

/// Builds one column from packed values.
pub enum Builder {
    Boolean(BooleanBuilder),
    Primitive { width: usize, bytes: Vec<u8>, valid: Vec<bool> },
    Text(StringBuilder),
    Large(LargeStringBuilder),
    Bytes(BinaryBuilder),
    Lists { elements: Box<Builder>, lengths: Vec<usize>, valid: Vec<bool> },
}

impl Builder {
    pub fn new(data_type: &DataType) -> Result<Self> {
        Ok(match data_type {
            DataType::Boolean => Builder::Boolean(BooleanBuilder::new()),
            DataType::Utf8 => Builder::Text(StringBuilder::new()),
            DataType::LargeUtf8 => Builder::Large(LargeStringBuilder::new()),
            DataType::Binary => Builder::Bytes(BinaryBuilder::new()),
            DataType::List(element) => {
                let elements = Box::new(Builder::new(element.data_type())?);
                Builder::Lists { elements, lengths: Vec::new(), valid: Vec::new() }
            }
            other => {
                let width = value_width(other)?.unwrap_or(0);
                Builder::Primitive { width, bytes: Vec::new(), valid: Vec::new() }
            }
        })
    }

    /// Width of the packed value; `None` where its length precedes it.
    fn width(&self) -> Option<usize> {
        match self {
            Builder::Boolean(_) => Some(1),
            Builder::Primitive { width, .. } => Some(*width),
            Builder::Text(_) | Builder::Large(_) | Builder::Bytes(_) | Builder::Lists { .. } => None,
        }
    }

    fn push(&mut self, value: Option<&[u8]>) -> Result<()> {
        match self {
            Builder::Boolean(builder) => builder.append_option(value.map(|value| value != [0])),
            Builder::Primitive { width, bytes, valid } => {
                valid.push(value.is_some());
                match value {
                    Some(value) => bytes.extend_from_slice(value),
                    None => bytes.resize(bytes.len() + *width, 0),
                }
            }
            Builder::Text(builder) => {
                builder.append_option(value.map(std::str::from_utf8).transpose().map_err(|_| damaged())?);
            }
            Builder::Large(builder) => {
                builder.append_option(value.map(std::str::from_utf8).transpose().map_err(|_| damaged())?);
            }
            Builder::Bytes(builder) => builder.append_option(value),
            Builder::Lists { elements, lengths, valid } => {
                valid.push(value.is_some());
                let (mut rest, mut length) = (value.unwrap_or_default(), 0);
                while !rest.is_empty() {
                    elements.push_next(&mut rest)?;
                    length += 1;
                }
                lengths.push(length);
            }
        }
        Ok(())
    }

    /// Takes the value that the bytes begin with, behind its tag.
    fn push_next(&mut self, rest: &mut &[u8]) -> Result<()> {
        let (tag, after) = rest.split_first().ok_or_else(damaged)?;
        *rest = after;
        if *tag == 0 {
            return self.push(None);
        }
        let length = match self.width() {
            Some(width) => width,
            None => {
                let (length, after) = rest.split_first_chunk::<4>().ok_or_else(damaged)?;
                *rest = after;
                u32::from_le_bytes(*length) as usize
            }
        };
        let (value, after) = rest.split_at_checked(length).ok_or_else(damaged)?;
        *rest = after;
        self.push(Some(value))
    }

    pub fn finish(self, data_type: &DataType) -> ArrayRef {
        match self {
            Builder::Lists { elements, lengths, valid } => {
                let element = match data_type {
                    DataType::List(element) => Arc::clone(element),
                    other => Arc::new(Field::new_list_field(other.clone(), true)),
                };
                let values = elements.finish(element.data_type());
                let offsets = OffsetBuffer::from_lengths(lengths);
                Arc::new(ListArray::new(element, offsets, values, Some(NullBuffer::from(valid))))
            }
            Builder::Boolean(mut builder) => Arc::new(builder.finish()),
            Builder::Text(mut builder) => Arc::new(builder.finish()),
            Builder::Large(mut builder) => Arc::new(builder.finish()),
            Builder::Bytes(mut builder) => Arc::new(builder.finish()),
            Builder::Primitive { bytes, valid, width } => with_primitive!(data_type, T => {
                Arc::new(read_values::<T>(&bytes, width, &valid).with_data_type(data_type.clone()))
            }, fixed_bytes(&bytes, width, &valid)),
        }
    }
}

fn fixed_bytes(bytes: &[u8], width: usize, valid: &[bool]) -> ArrayRef {
    let mut builder = FixedSizeBinaryBuilder::with_capacity(valid.len(), width as i32);
    for (value, valid) in bytes.chunks_exact(width).zip(valid) {
        // The values are as wide as the builder's.
        if !*valid || builder.append_value(value).is_err() {
            builder.append_null();
        }
    }
    Arc::new(builder.finish())
}

fn read_values<T>(bytes: &[u8], width: usize, valid: &[bool]) -> PrimitiveArray<T>
where
    T: ArrowPrimitiveType,
    T::Native: Packed + ArrowNativeType,
{
    let mut builder = PrimitiveBuilder::<T>::with_capacity(valid.len());
    for (value, valid) in bytes.chunks_exact(width).zip(valid) {
        match <T::Native as Packed>::Bytes::try_from(value) {
            Ok(value) if *valid => builder.append_value(T::Native::unpacked(value)),
            _ => builder.append_null(),
        }
    }
    builder.finish()
}

pub fn unpack_fixed(key: &[u8], builders: &mut [Builder]) -> Result<()> {
    let mut offset = builders.len().div_ceil(8);
    for (index, builder) in builders.iter_mut().enumerate() {
        let width = builder.width().unwrap_or(0);
        let is_null = key.get(index / 8).ok_or_else(damaged)? >> (index % 8) & 1 == 1;
        let value = key.get(offset..offset + width).ok_or_else(damaged)?;
        builder.push((!is_null).then_some(value))?;
        offset += width;
    }
    Ok(())
}

pub fn unpack_variable(key: &[u8], builders: &mut [Builder]) -> Result<()> {
    let mut rest = key;
    builders.iter_mut().try_for_each(|builder| builder.push_next(&mut rest))
}
