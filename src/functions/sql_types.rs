//! PostgreSQL's type names as Arrow types.
//!
//! `TIMESTAMP` is microseconds, text is Utf8 and never a view of it. `numeric` without modifiers is `numeric(38,10)` until the
//! analyzer knows what is cast to it.
//! Names that Tidemark has no type for are refused here rather than mapped to something near.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::planner::TypePlanner;
use sqlparser::ast::{DataType as SqlDataType, ExactNumberInfo, TimezoneInfo};

use crate::error::{Error, SqlState};
use crate::types::SqlType;

/// Scale of `numeric` without modifiers; PostgreSQL's is unlimited, ours has to fit 38 digits.
pub const NUMERIC_DEFAULT: SqlType = SqlType::Numeric { precision: 38, scale: 10 };

/// The type planner of every session.
#[derive(Debug)]
pub struct PostgresTypes;

impl TypePlanner for PostgresTypes {
    fn plan_type_field(&self, name: &SqlDataType) -> Result<Option<FieldRef>> {
        match sql_type(name) {
            Ok(Some(sql_type)) if is_numeric_without_modifiers(name) => {
                let field = Field::new("", sql_type.arrow(), true);
                let open = [(OPEN_NUMERIC.to_owned(), String::new())];
                Ok(Some(Arc::new(field.with_metadata(open.into()))))
            }
            Ok(Some(sql_type)) => Ok(Some(Arc::new(Field::new("", sql_type.arrow(), true)))),
            Ok(None) => Ok(None),
            Err(error) => Err(DataFusionError::External(Box::new(error))),
        }
    }
}

/// In the metadata of a cast's type that is `numeric` without modifiers, until the analyzer has given it its scale.
const OPEN_NUMERIC: &str = "numeric without modifiers";

/// Whether a cast's type is `numeric` as it is written, without a scale.
pub fn is_open_numeric(field: &Field) -> bool {
    field.metadata().contains_key(OPEN_NUMERIC)
}

fn is_numeric_without_modifiers(name: &SqlDataType) -> bool {
    use ExactNumberInfo::None;
    matches!(name, SqlDataType::Numeric(None) | SqlDataType::Decimal(None) | SqlDataType::Dec(None))
}

/// The type that `name` writes; `None` for arrays and types that only DataFusion knows.
///
/// Errors: 22023 for a precision or scale out of range; 0A000 for types of PostgreSQL that are not built.
pub fn sql_type(name: &SqlDataType) -> crate::error::Result<Option<SqlType>> {
    Ok(Some(match name {
        SqlDataType::Boolean | SqlDataType::Bool => SqlType::Boolean,
        SqlDataType::SmallInt(_) | SqlDataType::Int2(_) => SqlType::Int2,
        SqlDataType::Int(_) | SqlDataType::Integer(_) | SqlDataType::Int4(_) => SqlType::Int4,
        SqlDataType::BigInt(_) | SqlDataType::Int8(_) => SqlType::Int8,
        SqlDataType::Real | SqlDataType::Float4 => SqlType::Float4,
        SqlDataType::DoublePrecision | SqlDataType::Float8 | SqlDataType::Double(ExactNumberInfo::None) => {
            SqlType::Float8
        }
        SqlDataType::Float(info) => float(info)?,
        SqlDataType::Numeric(info) | SqlDataType::Decimal(info) | SqlDataType::Dec(info) => numeric(info)?,
        SqlDataType::Text | SqlDataType::String(_) => SqlType::Text,
        SqlDataType::Varchar(length) | SqlDataType::CharacterVarying(length) | SqlDataType::CharVarying(length) => {
            SqlType::Varchar(length.as_ref().and_then(character_length))
        }
        SqlDataType::Bytea => SqlType::Bytea,
        SqlDataType::Uuid => SqlType::Uuid,
        SqlDataType::JSONB => SqlType::Jsonb,
        SqlDataType::Date => SqlType::Date,
        SqlDataType::Timestamp(_, TimezoneInfo::Tz | TimezoneInfo::WithTimeZone) => SqlType::Timestamptz,
        SqlDataType::Timestamp(_, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => SqlType::Timestamp,
        SqlDataType::Interval { fields: None, .. } => SqlType::Interval,
        SqlDataType::Custom(name, arguments) if arguments.is_empty() => return Ok(custom(&name.to_string())),
        SqlDataType::Char(_) | SqlDataType::Character(_) | SqlDataType::Time(..) | SqlDataType::JSON => {
            return Err(Error::not_built(format!("type {}", name.to_string().to_lowercase()))
                .with_hint("Use text, timestamp for a time of day, or jsonb for JSON."));
        }
        _ => return Ok(None),
    }))
}

fn float(info: &ExactNumberInfo) -> crate::error::Result<SqlType> {
    match info {
        ExactNumberInfo::None => Ok(SqlType::Float8),
        ExactNumberInfo::Precision(1..=24) => Ok(SqlType::Float4),
        ExactNumberInfo::Precision(25..=53) => Ok(SqlType::Float8),
        _ => Err(Error::new(SqlState::INVALID_PARAMETER, "precision for type float must be from 1 to 53 bits")),
    }
}

fn numeric(info: &ExactNumberInfo) -> crate::error::Result<SqlType> {
    let (precision, scale) = match info {
        ExactNumberInfo::None => return Ok(NUMERIC_DEFAULT),
        ExactNumberInfo::Precision(precision) => (*precision, 0),
        ExactNumberInfo::PrecisionAndScale(precision, scale) => (*precision, *scale),
    };
    if !(1..=38).contains(&precision) {
        return Err(Error::new(
            SqlState::INVALID_PARAMETER,
            format!("numeric precision {precision} must be between 1 and 38"),
        ));
    }
    if !(0..=precision as i64).contains(&scale) {
        return Err(Error::new(
            SqlState::INVALID_PARAMETER,
            format!("numeric scale {scale} must be between 0 and precision {precision}"),
        ));
    }
    Ok(SqlType::Numeric { precision: precision as u8, scale: scale as i8 })
}

fn character_length(length: &sqlparser::ast::CharacterLength) -> Option<u32> {
    match length {
        sqlparser::ast::CharacterLength::IntegerLength { length, .. } => u32::try_from(*length).ok(),
        sqlparser::ast::CharacterLength::Max => None,
    }
}

/// Names that the parser does not know as types.
fn custom(name: &str) -> Option<SqlType> {
    Some(match name.to_ascii_lowercase().trim_start_matches("pg_catalog.") {
        "name" => SqlType::Text,
        "bool" => SqlType::Boolean,
        "int2" => SqlType::Int2,
        "int4" => SqlType::Int4,
        "int8" => SqlType::Int8,
        "float4" => SqlType::Float4,
        "float8" => SqlType::Float8,
        "timestamptz" => SqlType::Timestamptz,
        _ => return None,
    })
}

/// Arrow's microsecond timestamp in UTC.
pub fn timestamptz() -> DataType {
    SqlType::Timestamptz.arrow()
}
