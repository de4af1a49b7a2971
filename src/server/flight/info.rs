//! What the server says of itself (GetSqlInfo) and of its types (GetXdbcTypeInfo). Says only what is so; what clients
//! may ask and is not here is unknown to them.

use std::sync::OnceLock;

use arrow_flight::error::FlightError;
use arrow_flight::sql::metadata::{
    SqlInfoData, SqlInfoDataBuilder, XdbcTypeInfo, XdbcTypeInfoData, XdbcTypeInfoDataBuilder,
};
use arrow_flight::sql::{
    Nullable, Searchable, SqlInfo, SqlNullOrdering, SqlSupportedCaseSensitivity, SqlSupportedTransaction, XdbcDataType,
    XdbcDatetimeSubcode,
};

use crate::error::{Error, Result};
use crate::types::SqlType;

/// The version of Arrow's columnar format and Flight SQL that is spoken.
const ARROW_VERSION: &str = "1.5";

pub(super) fn sql_info() -> Result<&'static SqlInfoData> {
    static INFO: OnceLock<Result<SqlInfoData, FlightError>> = OnceLock::new();
    INFO.get_or_init(|| {
        let mut info = SqlInfoDataBuilder::new();
        info.append(SqlInfo::FlightSqlServerName, "Tidemark");
        info.append(SqlInfo::FlightSqlServerVersion, env!("CARGO_PKG_VERSION"));
        info.append(SqlInfo::FlightSqlServerArrowVersion, ARROW_VERSION);
        info.append(SqlInfo::FlightSqlServerReadOnly, true);
        info.append(SqlInfo::FlightSqlServerSql, true);
        info.append(SqlInfo::FlightSqlServerSubstrait, false);
        info.append(SqlInfo::FlightSqlServerTransaction, SqlSupportedTransaction::None as i32);
        info.append(SqlInfo::FlightSqlServerCancel, true);
        info.append(SqlInfo::FlightSqlServerBulkIngestion, false);
        info.append(SqlInfo::FlightSqlServerIngestTransactionsSupported, false);
        info.append(SqlInfo::SqlDdlCatalog, false);
        info.append(SqlInfo::SqlDdlSchema, false);
        info.append(SqlInfo::SqlDdlTable, false);
        info.append(SqlInfo::SqlIdentifierCase, SqlSupportedCaseSensitivity::SqlCaseSensitivityLowercase as i32);
        info.append(SqlInfo::SqlIdentifierQuoteChar, "\"");
        info.append(SqlInfo::SqlAllTablesAreSelectable, true);
        info.append(SqlInfo::SqlNullOrdering, SqlNullOrdering::SqlNullsSortedHigh as i32);
        info.append(SqlInfo::SqlSearchStringEscape, "\\");
        info.append(SqlInfo::SqlSupportsColumnAliasing, true);
        info.append(SqlInfo::SqlNullPlusNullIsNull, true);
        info.append(SqlInfo::SqlSupportsTableCorrelationNames, true);
        info.append(SqlInfo::SqlSupportsExpressionsInOrderBy, true);
        info.append(SqlInfo::SqlSupportsOrderByUnrelated, true);
        info.append(SqlInfo::SqlSupportsNonNullableColumns, true);
        info.append(SqlInfo::SqlSchemaTerm, "schema");
        info.append(SqlInfo::SqlCatalogTerm, "database");
        info.append(SqlInfo::SqlCatalogAtStart, true);
        info.append(SqlInfo::SqlSelectForUpdateSupported, false);
        info.append(SqlInfo::SqlStoredProceduresSupported, false);
        info.append(SqlInfo::SqlBatchUpdatesSupported, false);
        info.append(SqlInfo::SqlSavepointsSupported, false);
        info.append(SqlInfo::SqlNamedParametersSupported, false);
        info.build()
    })
    .as_ref()
    .map_err(Error::internal)
}

pub(super) fn type_info() -> Result<&'static XdbcTypeInfoData> {
    static INFO: OnceLock<Result<XdbcTypeInfoData, FlightError>> = OnceLock::new();
    INFO.get_or_init(|| {
        let mut info = XdbcTypeInfoDataBuilder::new();
        types().iter().for_each(|sql_type| info.append(describe(sql_type)));
        info.build()
    })
    .as_ref()
    .map_err(Error::internal)
}

fn types() -> [SqlType; 16] {
    [
        SqlType::Boolean,
        SqlType::Int2,
        SqlType::Int4,
        SqlType::Int8,
        SqlType::Float4,
        SqlType::Float8,
        SqlType::Numeric { precision: 38, scale: 0 },
        SqlType::Text,
        SqlType::Varchar(None),
        SqlType::Bytea,
        SqlType::Date,
        SqlType::Timestamp,
        SqlType::Timestamptz,
        SqlType::Interval,
        SqlType::Uuid,
        SqlType::Jsonb,
    ]
}

fn describe(sql_type: &SqlType) -> XdbcTypeInfo {
    use XdbcDataType as Xdbc;
    // The code, the size in digits or characters, and whether literals stand between quotes.
    let (data_type, size, quoted) = match sql_type {
        SqlType::Boolean => (Xdbc::XdbcBit, Some(1), false),
        SqlType::Int2 => (Xdbc::XdbcSmallint, Some(5), false),
        SqlType::Int4 => (Xdbc::XdbcInteger, Some(10), false),
        SqlType::Int8 => (Xdbc::XdbcBigint, Some(19), false),
        SqlType::Float4 => (Xdbc::XdbcReal, Some(7), false),
        SqlType::Float8 => (Xdbc::XdbcDouble, Some(15), false),
        SqlType::Numeric { .. } => (Xdbc::XdbcNumeric, Some(38), false),
        SqlType::Text => (Xdbc::XdbcLongvarchar, None, true),
        SqlType::Varchar(_) => (Xdbc::XdbcVarchar, None, true),
        SqlType::Bytea => (Xdbc::XdbcLongvarbinary, None, true),
        SqlType::Date => (Xdbc::XdbcDate, Some(10), true),
        SqlType::Timestamp | SqlType::Timestamptz => (Xdbc::XdbcTimestamp, Some(26), true),
        SqlType::Interval => (Xdbc::XdbcInterval, None, true),
        SqlType::Uuid => (Xdbc::XdbcBinary, Some(16), true),
        SqlType::Jsonb => (Xdbc::XdbcLongvarchar, None, true),
        // Not among the types that are listed.
        SqlType::Array(_) => (Xdbc::XdbcUnknownType, None, true),
    };
    let is_time = matches!(sql_type, SqlType::Date | SqlType::Timestamp | SqlType::Timestamptz);
    let is_number = !quoted && *sql_type != SqlType::Boolean;
    let create_params = match sql_type {
        SqlType::Numeric { .. } => Some(vec!["precision".to_owned(), "scale".to_owned()]),
        SqlType::Varchar(_) => Some(vec!["length".to_owned()]),
        _ => None,
    };
    let is_text = matches!(sql_type, SqlType::Text | SqlType::Varchar(_));
    XdbcTypeInfo {
        type_name: name(sql_type),
        data_type,
        column_size: size,
        literal_prefix: quoted.then(|| "'".to_owned()),
        literal_suffix: quoted.then(|| "'".to_owned()),
        create_params,
        nullable: Nullable::NullabilityNullable,
        case_sensitive: is_text,
        searchable: if is_text { Searchable::Full } else { Searchable::Basic },
        unsigned_attribute: is_number.then_some(false),
        fixed_prec_scale: false,
        auto_increment: is_number.then_some(false),
        local_type_name: Some(name(sql_type)),
        minimum_scale: matches!(sql_type, SqlType::Numeric { .. }).then_some(0),
        maximum_scale: matches!(sql_type, SqlType::Numeric { .. }).then_some(38),
        sql_data_type: if is_time { Xdbc::XdbcDatetime } else { data_type },
        datetime_subcode: match sql_type {
            SqlType::Date => Some(XdbcDatetimeSubcode::XdbcSubcodeYear),
            SqlType::Timestamp => Some(XdbcDatetimeSubcode::XdbcSubcodeTimestamp),
            SqlType::Timestamptz => Some(XdbcDatetimeSubcode::XdbcSubcodeTimestampWithTimezone),
            _ => None,
        },
        num_prec_radix: is_number.then_some(10),
        interval_precision: None,
    }
}

/// Without precision and scale.
fn name(sql_type: &SqlType) -> String {
    let text = sql_type.to_string();
    text.split('(').next().unwrap_or_default().to_owned()
}
