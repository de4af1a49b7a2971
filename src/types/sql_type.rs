//! The SQL types of columns and results, their Arrow form and their PostgreSQL identity.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, IntervalUnit, TimeUnit};
use serde::{Deserialize, Serialize};

/// Of a UUID.
pub const UUID_BYTES: i32 = 16;

/// A type as PostgreSQL names it. Each has exactly one Arrow form ([`SqlType::arrow`]).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SqlType {
    Boolean,
    Int2,
    Int4,
    Int8,
    Float4,
    Float8,
    /// `numeric(precision, scale)`, precision 1..=38, scale 0..=precision.
    Numeric {
        precision: u8,
        scale: i8,
    },
    Text,
    /// `varchar` or `varchar(n)`, n in characters.
    Varchar(Option<u32>),
    Bytea,
    Date,
    Timestamp,
    Timestamptz,
    Interval,
    Uuid,
    /// See [`super::json`].
    Jsonb,
    /// Of one dimension, of values of a type that is no array.
    Array(Box<SqlType>),
}

impl SqlType {
    /// Arrays of it. `None` for arrays: there are none of several dimensions.
    pub fn array(self) -> Option<SqlType> {
        (!matches!(self, SqlType::Array(_))).then(|| SqlType::Array(Box::new(self)))
    }

    /// Whether a value says when something was.
    pub fn tells_time(&self) -> bool {
        matches!(self, SqlType::Timestamptz | SqlType::Timestamp | SqlType::Date)
    }

    /// Of an array, the type of its elements.
    pub fn element(&self) -> Option<&SqlType> {
        match self {
            SqlType::Array(element) => Some(element),
            _ => None,
        }
    }

    pub fn arrow(&self) -> DataType {
        match self {
            SqlType::Boolean => DataType::Boolean,
            SqlType::Int2 => DataType::Int16,
            SqlType::Int4 => DataType::Int32,
            SqlType::Int8 => DataType::Int64,
            SqlType::Float4 => DataType::Float32,
            SqlType::Float8 => DataType::Float64,
            SqlType::Numeric { precision, scale } => DataType::Decimal128(*precision, *scale),
            SqlType::Text | SqlType::Varchar(_) => DataType::Utf8,
            SqlType::Bytea => DataType::Binary,
            SqlType::Date => DataType::Date32,
            SqlType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            SqlType::Timestamptz => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            SqlType::Interval => DataType::Interval(IntervalUnit::MonthDayNano),
            SqlType::Uuid => DataType::FixedSizeBinary(UUID_BYTES),
            SqlType::Jsonb => DataType::LargeUtf8,
            SqlType::Array(element) => DataType::List(Arc::new(Field::new_list_field(element.arrow(), true))),
        }
    }

    /// The type of a query's column. Wider than [`SqlType::arrow`]'s image, because DataFusion's own functions return
    /// unsigned integers and views of strings; `None` for what has no PostgreSQL form (structs, maps, lists of lists).
    pub fn from_arrow(data_type: &DataType) -> Option<SqlType> {
        Some(match data_type {
            DataType::Boolean => SqlType::Boolean,
            DataType::Int8 | DataType::Int16 | DataType::UInt8 => SqlType::Int2,
            DataType::Int32 | DataType::UInt16 => SqlType::Int4,
            DataType::Int64 | DataType::UInt32 => SqlType::Int8,
            DataType::UInt64 => SqlType::Numeric { precision: 20, scale: 0 },
            DataType::Float16 | DataType::Float32 => SqlType::Float4,
            DataType::Float64 => SqlType::Float8,
            DataType::Decimal32(precision, scale)
            | DataType::Decimal64(precision, scale)
            | DataType::Decimal128(precision, scale) => SqlType::Numeric { precision: *precision, scale: *scale },
            DataType::Utf8 | DataType::Utf8View | DataType::Null => SqlType::Text,
            DataType::LargeUtf8 => SqlType::Jsonb,
            DataType::FixedSizeBinary(UUID_BYTES) => SqlType::Uuid,
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
                SqlType::Bytea
            }
            DataType::Date32 | DataType::Date64 => SqlType::Date,
            DataType::Timestamp(_, None) => SqlType::Timestamp,
            DataType::Timestamp(_, Some(_)) => SqlType::Timestamptz,
            DataType::Interval(_) | DataType::Duration(_) => SqlType::Interval,
            DataType::Dictionary(_, value) => return SqlType::from_arrow(value),
            DataType::List(element) => return SqlType::from_arrow(element.data_type())?.array(),
            _ => return None,
        })
    }

    /// OID in pg_type.
    pub fn oid(&self) -> u32 {
        match self {
            SqlType::Boolean => 16,
            SqlType::Bytea => 17,
            SqlType::Int8 => 20,
            SqlType::Int2 => 21,
            SqlType::Int4 => 23,
            SqlType::Text => 25,
            SqlType::Float4 => 700,
            SqlType::Float8 => 701,
            SqlType::Varchar(_) => 1043,
            SqlType::Date => 1082,
            SqlType::Timestamp => 1114,
            SqlType::Timestamptz => 1184,
            SqlType::Interval => 1186,
            SqlType::Numeric { .. } => 1700,
            SqlType::Uuid => 2950,
            SqlType::Jsonb => 3802,
            SqlType::Array(element) => element.array_oid(),
        }
    }

    /// OID in pg_type of an array of it.
    pub fn array_oid(&self) -> u32 {
        match self {
            SqlType::Boolean => 1000,
            SqlType::Bytea => 1001,
            SqlType::Int2 => 1005,
            SqlType::Int4 => 1007,
            SqlType::Text => 1009,
            SqlType::Varchar(_) => 1015,
            SqlType::Int8 => 1016,
            SqlType::Float4 => 1021,
            SqlType::Float8 => 1022,
            SqlType::Timestamp => 1115,
            SqlType::Date => 1182,
            SqlType::Timestamptz => 1185,
            SqlType::Interval => 1187,
            SqlType::Numeric { .. } => 1231,
            SqlType::Uuid => 2951,
            SqlType::Jsonb => 3807,
            SqlType::Array(element) => element.array_oid(),
        }
    }

    /// atttypmod: -1 where the type has no modifier.
    pub fn type_modifier(&self) -> i32 {
        match self {
            SqlType::Numeric { precision, scale } => ((i32::from(*precision) << 16) | i32::from(*scale)) + 4,
            SqlType::Varchar(Some(length)) => *length as i32 + 4,
            SqlType::Array(element) => element.type_modifier(),
            _ => -1,
        }
    }

    /// pg_type.typlen: bytes, -1 for variable length.
    pub fn byte_width(&self) -> i16 {
        match self {
            SqlType::Boolean => 1,
            SqlType::Int2 => 2,
            SqlType::Int4 | SqlType::Float4 | SqlType::Date => 4,
            SqlType::Int8 | SqlType::Float8 | SqlType::Timestamp | SqlType::Timestamptz => 8,
            SqlType::Interval | SqlType::Uuid => 16,
            SqlType::Numeric { .. }
            | SqlType::Text
            | SqlType::Varchar(_)
            | SqlType::Bytea
            | SqlType::Jsonb
            | SqlType::Array(_) => -1,
        }
    }
}

/// As `format_type` prints it: `timestamp with time zone`, `numeric(10,2)`.
impl fmt::Display for SqlType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SqlType::Boolean => f.write_str("boolean"),
            SqlType::Int2 => f.write_str("smallint"),
            SqlType::Int4 => f.write_str("integer"),
            SqlType::Int8 => f.write_str("bigint"),
            SqlType::Float4 => f.write_str("real"),
            SqlType::Float8 => f.write_str("double precision"),
            SqlType::Numeric { precision, scale } => write!(f, "numeric({precision},{scale})"),
            SqlType::Text => f.write_str("text"),
            SqlType::Varchar(None) => f.write_str("character varying"),
            SqlType::Varchar(Some(length)) => write!(f, "character varying({length})"),
            SqlType::Bytea => f.write_str("bytea"),
            SqlType::Date => f.write_str("date"),
            SqlType::Timestamp => f.write_str("timestamp without time zone"),
            SqlType::Timestamptz => f.write_str("timestamp with time zone"),
            SqlType::Interval => f.write_str("interval"),
            SqlType::Uuid => f.write_str("uuid"),
            SqlType::Jsonb => f.write_str("jsonb"),
            SqlType::Array(element) => write!(f, "{element}[]"),
        }
    }
}
