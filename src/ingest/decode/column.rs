//! A column that grows from texts.

use std::sync::Arc;

use arrow::array::{
    ArrayBuilder, ArrayRef, BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, FixedSizeBinaryBuilder,
    Float32Builder, Float64Builder, Int16Builder, Int32Builder, Int64Builder, IntervalMonthDayNanoBuilder,
    LargeStringBuilder, ListArray, StringBuilder, TimestampMicrosecondBuilder,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::Field;
use chrono_tz::Tz;

use crate::error::Result;
use crate::types::json::parse_jsonb;
use crate::types::parse;
use crate::types::{SqlType, UUID_BYTES};

/// Arrow's builder of a type, which reads PostgreSQL's text.
pub enum ColumnBuilder {
    Boolean(BooleanBuilder),
    Int2(Int16Builder),
    Int4(Int32Builder),
    Int8(Int64Builder),
    Float4(Float32Builder),
    Float8(Float64Builder),
    Numeric { builder: Decimal128Builder, precision: u8, scale: i8 },
    Text(StringBuilder),
    Varchar { builder: StringBuilder, length: Option<u32> },
    Bytea(BinaryBuilder),
    Date(Date32Builder),
    Timestamp(TimestampMicrosecondBuilder),
    Timestamptz { builder: TimestampMicrosecondBuilder, zone: Tz },
    Interval(IntervalMonthDayNanoBuilder),
    Uuid(FixedSizeBinaryBuilder),
    Jsonb(LargeStringBuilder),
    Array { sql_type: SqlType, zone: Tz, elements: Box<ColumnBuilder>, lengths: Vec<usize>, valid: Vec<bool> },
}

impl ColumnBuilder {
    /// `zone`: of timestamptz values that name none.
    pub fn new(sql_type: &SqlType, zone: Tz) -> Self {
        match sql_type {
            SqlType::Boolean => ColumnBuilder::Boolean(BooleanBuilder::new()),
            SqlType::Int2 => ColumnBuilder::Int2(Int16Builder::new()),
            SqlType::Int4 => ColumnBuilder::Int4(Int32Builder::new()),
            SqlType::Int8 => ColumnBuilder::Int8(Int64Builder::new()),
            SqlType::Float4 => ColumnBuilder::Float4(Float32Builder::new()),
            SqlType::Float8 => ColumnBuilder::Float8(Float64Builder::new()),
            SqlType::Numeric { precision, scale } => {
                let builder = Decimal128Builder::new().with_data_type(sql_type.arrow());
                ColumnBuilder::Numeric { builder, precision: *precision, scale: *scale }
            }
            SqlType::Text => ColumnBuilder::Text(StringBuilder::new()),
            SqlType::Varchar(length) => ColumnBuilder::Varchar { builder: StringBuilder::new(), length: *length },
            SqlType::Bytea => ColumnBuilder::Bytea(BinaryBuilder::new()),
            SqlType::Date => ColumnBuilder::Date(Date32Builder::new()),
            SqlType::Timestamp => ColumnBuilder::Timestamp(TimestampMicrosecondBuilder::new()),
            SqlType::Timestamptz => {
                let builder = TimestampMicrosecondBuilder::new().with_timezone("UTC");
                ColumnBuilder::Timestamptz { builder, zone }
            }
            SqlType::Interval => ColumnBuilder::Interval(IntervalMonthDayNanoBuilder::new()),
            SqlType::Uuid => ColumnBuilder::Uuid(FixedSizeBinaryBuilder::new(UUID_BYTES)),
            SqlType::Jsonb => ColumnBuilder::Jsonb(LargeStringBuilder::new()),
            SqlType::Array(element) => {
                let elements = Box::new(ColumnBuilder::new(element, zone));
                let sql_type = element.as_ref().clone();
                ColumnBuilder::Array { sql_type, zone, elements, lengths: Vec::new(), valid: Vec::new() }
            }
        }
    }

    /// Errors: what the type's input rules refuse; then nothing was appended.
    pub fn append(&mut self, text: &str) -> Result<()> {
        match self {
            ColumnBuilder::Boolean(builder) => builder.append_value(parse::parse_bool(text)?),
            ColumnBuilder::Int2(builder) => builder.append_value(parse::parse_i16(text)?),
            ColumnBuilder::Int4(builder) => builder.append_value(parse::parse_i32(text)?),
            ColumnBuilder::Int8(builder) => builder.append_value(parse::parse_i64(text)?),
            ColumnBuilder::Float4(builder) => builder.append_value(parse::parse_f32(text)?),
            ColumnBuilder::Float8(builder) => builder.append_value(parse::parse_f64(text)?),
            ColumnBuilder::Numeric { builder, precision, scale } => {
                builder.append_value(parse::parse_decimal(text, *precision, *scale)?);
            }
            ColumnBuilder::Text(builder) => builder.append_value(text),
            ColumnBuilder::Varchar { builder, length } => builder.append_value(parse::fit_varchar(text, *length)?),
            ColumnBuilder::Bytea(builder) => builder.append_value(parse::parse_bytea(text)?),
            ColumnBuilder::Date(builder) => builder.append_value(parse::parse_date(text)?),
            ColumnBuilder::Timestamp(builder) => builder.append_value(parse::parse_timestamp(text)?),
            ColumnBuilder::Timestamptz { builder, zone } => {
                builder.append_value(parse::parse_timestamptz(text, *zone)?);
            }
            ColumnBuilder::Interval(builder) => builder.append_value(parse::parse_interval(text)?),
            ColumnBuilder::Uuid(builder) => builder.append_value(parse::parse_uuid(text)?)?,
            ColumnBuilder::Jsonb(builder) => builder.append_value(parse_jsonb(text)?),
            ColumnBuilder::Array { sql_type, zone, elements, lengths, valid } => {
                let texts = parse::parse_elements(text)?;
                // All of them before the first is appended.
                texts.iter().flatten().try_for_each(|text| parse::parse_text(sql_type, text, *zone).map(drop))?;
                for text in &texts {
                    match text {
                        Some(text) => elements.append(text)?,
                        None => elements.append_null(),
                    }
                }
                lengths.push(texts.len());
                valid.push(true);
            }
        }
        Ok(())
    }

    pub fn append_null(&mut self) {
        match self {
            ColumnBuilder::Boolean(builder) => builder.append_null(),
            ColumnBuilder::Int2(builder) => builder.append_null(),
            ColumnBuilder::Int4(builder) => builder.append_null(),
            ColumnBuilder::Int8(builder) => builder.append_null(),
            ColumnBuilder::Float4(builder) => builder.append_null(),
            ColumnBuilder::Float8(builder) => builder.append_null(),
            ColumnBuilder::Numeric { builder, .. } => builder.append_null(),
            ColumnBuilder::Text(builder) | ColumnBuilder::Varchar { builder, .. } => builder.append_null(),
            ColumnBuilder::Bytea(builder) => builder.append_null(),
            ColumnBuilder::Date(builder) => builder.append_null(),
            ColumnBuilder::Timestamp(builder) | ColumnBuilder::Timestamptz { builder, .. } => builder.append_null(),
            ColumnBuilder::Interval(builder) => builder.append_null(),
            ColumnBuilder::Uuid(builder) => builder.append_null(),
            ColumnBuilder::Jsonb(builder) => builder.append_null(),
            ColumnBuilder::Array { lengths, valid, .. } => {
                lengths.push(0);
                valid.push(false);
            }
        }
    }

    /// The values so far; the builder begins anew.
    pub fn finish(&mut self) -> ArrayRef {
        match self {
            ColumnBuilder::Boolean(builder) => Arc::new(builder.finish()),
            ColumnBuilder::Int2(builder) => Arc::new(builder.finish()),
            ColumnBuilder::Int4(builder) => Arc::new(builder.finish()),
            ColumnBuilder::Int8(builder) => Arc::new(builder.finish()),
            ColumnBuilder::Float4(builder) => Arc::new(builder.finish()),
            ColumnBuilder::Float8(builder) => Arc::new(builder.finish()),
            ColumnBuilder::Numeric { builder, .. } => Arc::new(builder.finish()),
            ColumnBuilder::Text(builder) | ColumnBuilder::Varchar { builder, .. } => Arc::new(builder.finish()),
            ColumnBuilder::Bytea(builder) => Arc::new(builder.finish()),
            ColumnBuilder::Date(builder) => Arc::new(builder.finish()),
            ColumnBuilder::Timestamp(builder) => ArrayBuilder::finish(builder),
            ColumnBuilder::Timestamptz { builder, .. } => ArrayBuilder::finish(builder),
            ColumnBuilder::Interval(builder) => Arc::new(builder.finish()),
            ColumnBuilder::Uuid(builder) => Arc::new(builder.finish()),
            ColumnBuilder::Jsonb(builder) => Arc::new(builder.finish()),
            ColumnBuilder::Array { elements, lengths, valid, .. } => {
                let values = elements.finish();
                let element = Arc::new(Field::new_list_field(values.data_type().clone(), true));
                let offsets = OffsetBuffer::from_lengths(std::mem::take(lengths));
                let nulls = NullBuffer::from(std::mem::take(valid));
                Arc::new(ListArray::new(element, offsets, values, Some(nulls)))
            }
        }
    }
}
