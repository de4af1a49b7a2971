//! CREATE TABLE, SOURCE, VIEW and MATERIALIZED VIEW: sqlparser's tree checked, and reduced to what they can mean here.

use std::collections::BTreeMap;

use sqlparser::ast::{
    self, ColumnOption, CreateTableOptions, DataType, ExactNumberInfo, ObjectName, SqlOption, TableConstraint,
    TimezoneInfo,
};
use sqlparser::tokenizer::{Token, Word};

use super::as_of::tables_as_of;
use super::parse::Input;
use super::statement::{CreateMaterializedView, CreateSource, CreateTable, CreateView, RetentionOption, Statement};
use super::watermark::{take_emit, take_idle, take_watermark};
use crate::catalog::{Column, TableKind, Watermark};
use crate::error::{Error, Result, SqlState};
use crate::types::calendar::DAY_US;
use crate::types::parse::parse_interval;
use crate::types::{ROW_ID, SqlType, WATERMARK};

/// The option that says for how long changes are kept for subscriptions that resume.
pub(super) const SUBSCRIBE_RETENTION: &str = "subscribe_retention";

/// The option that says how long rows stay, and the one that says which column tells their age.
pub(super) const RETENTION: &str = "retention";
pub(super) const RETENTION_COLUMN: &str = "retention_column";

/// Any CREATE.
pub(super) fn parse_create(mut input: Input<'_>) -> Result<Statement> {
    if input.find_words(&["FORMAT"]).is_some() {
        return Err(Error::not_built("FORMAT ... ENCODE").with_hint("Connector 'fleet' needs no format."));
    }
    let emits_on_close = take_emit(&mut input)?;
    let watermark = take_watermark(&mut input)?;
    let is_source = input.tokens.get(1).is_some_and(|token| is_plain_word(&token.token, "SOURCE"));
    if is_source {
        input.tokens[1].token = Token::make_keyword("TABLE");
    }
    let append_only = input.find_words(&["APPEND", "ONLY"]);
    if let Some(index) = append_only {
        input.tokens.drain(index..index + 2);
    }
    let mut parser = input.parser();
    let statement = input.check(parser.parse_statement())?;
    input.expect_end(&mut parser)?;
    match statement {
        ast::Statement::CreateView(create) if create.materialized && emits_on_close => view(create, true),
        _ if emits_on_close => {
            Err(Error::new(SqlState::SYNTAX_ERROR, "EMIT ON WINDOW CLOSE belongs to CREATE MATERIALIZED VIEW"))
        }
        ast::Statement::CreateTable(create) if is_source => source(create, watermark),
        ast::Statement::CreateTable(create) => table(create, append_only.is_some(), watermark),
        _ if append_only.is_some() => Err(Error::new(SqlState::SYNTAX_ERROR, "APPEND ONLY belongs to CREATE TABLE")),
        _ if watermark.is_some() => Err(Error::new(SqlState::SYNTAX_ERROR, "WATERMARK belongs to CREATE TABLE")),
        ast::Statement::CreateView(create) => view(create, false),
        other => {
            let text = other.to_string();
            let words: Vec<&str> = text.split_whitespace().take(2).collect();
            Err(Error::not_built(words.join(" ")).with_hint("See the README for the statements that work."))
        }
    }
}

fn table(create: ast::CreateTable, append_only: bool, mut watermark: Option<Watermark>) -> Result<Statement> {
    let name = relation_name(&create.name)?;
    refuse_table_clauses(&create)?;
    let mut options = with_options(&create.table_options)?;
    let subscribe_retention_us = take_subscribe_retention(&mut options)?;
    let retention = take_retention(&mut options)?;
    take_idle(&mut options, &mut watermark)?;
    let (columns, key) = columns_and_key(&create)?;
    if columns.is_empty() {
        return Err(Error::new(SqlState::INVALID_TABLE_DEFINITION, "a table needs at least one column"));
    }
    let kind = match (append_only, key) {
        (true, Some(_)) => {
            return Err(Error::new(
                SqlState::INVALID_TABLE_DEFINITION,
                format!("table \"{name}\" cannot be APPEND ONLY and have a primary key"),
            )
            .with_hint("A primary key makes rows replaceable; drop one of the two."));
        }
        (true, None) => TableKind::AppendOnly,
        (false, Some(columns)) => TableKind::PrimaryKey { columns },
        (false, None) => TableKind::Plain,
    };
    if watermark.is_some() && kind != TableKind::AppendOnly {
        return Err(Error::not_built("WATERMARK on a table that is not APPEND ONLY").with_hint(
            "Rows of the past that can still change are never complete. Write APPEND ONLY behind the columns.",
        ));
    }
    let mut upsert = false;
    for (option, value) in &options {
        match (option.as_str(), value.as_str()) {
            ("on_conflict", "update") if matches!(kind, TableKind::PrimaryKey { .. }) => upsert = true,
            ("on_conflict", "error") => upsert = false,
            ("on_conflict", "update") => {
                return Err(Error::new(SqlState::INVALID_PARAMETER, "on_conflict needs a primary key"));
            }
            ("on_conflict", other) => {
                return Err(Error::new(
                    SqlState::INVALID_PARAMETER,
                    format!("invalid value for on_conflict: \"{other}\""),
                )
                .with_hint("Use 'update' or 'error'."));
            }
            ("connector", _) => {
                return Err(Error::not_built("a table with a connector").with_hint("Use CREATE SOURCE."));
            }
            (other, _) => {
                return Err(Error::not_built(format!("table option \"{other}\"")).with_hint(
                    "The table options that work are on_conflict, retention, retention_column, subscribe_retention and \
                     watermark_idle.",
                ));
            }
        }
    }
    let if_not_exists = create.if_not_exists;
    Ok(Statement::CreateTable(CreateTable {
        name,
        if_not_exists,
        columns,
        kind,
        upsert,
        subscribe_retention_us,
        retention,
        watermark,
    }))
}

fn source(create: ast::CreateTable, mut watermark: Option<Watermark>) -> Result<Statement> {
    let name = relation_name(&create.name)?;
    refuse_table_clauses(&create)?;
    let mut options = with_options(&create.table_options)?;
    let (columns, key) = columns_and_key(&create)?;
    if key.is_some() {
        return Err(Error::not_built("a source with a primary key")
            .with_hint("A source is append-only; keep the latest row per key in a materialized view."));
    }
    let Some(connector) = options.remove("connector") else {
        return Err(Error::new(SqlState::INVALID_PARAMETER, "a source needs a connector")
            .with_hint("Write WITH (connector = 'fleet', ...)."));
    };
    let subscribe_retention_us = take_subscribe_retention(&mut options)?;
    let retention = take_retention(&mut options)?;
    take_idle(&mut options, &mut watermark)?;
    let if_not_exists = create.if_not_exists;
    Ok(Statement::CreateSource(CreateSource {
        name,
        if_not_exists,
        columns,
        connector,
        options,
        subscribe_retention_us,
        retention,
        watermark,
    }))
}

fn view(create: ast::CreateView, emits_on_close: bool) -> Result<Statement> {
    refuse_past(&create.query)?;
    if create.or_alter {
        return Err(Error::not_built("CREATE OR ALTER VIEW").with_hint("Use CREATE OR REPLACE VIEW."));
    }
    if create.temporary {
        return Err(Error::not_built("a temporary view").with_hint("Create an ordinary view."));
    }
    let mut options = with_options(&create.options)?;
    let (subscribe_retention_us, retention) = match create.materialized {
        true => (take_subscribe_retention(&mut options)?, take_retention(&mut options)?),
        false => (0, None),
    };
    if let Some(option) = options.keys().next() {
        let hint = match option.as_str() {
            SUBSCRIBE_RETENTION => "A plain view has no changes; make it a materialized view.",
            RETENTION | RETENTION_COLUMN if !create.materialized => {
                "A plain view has no rows of its own; make it a materialized view."
            }
            _ => "Leave it out.",
        };
        return Err(Error::not_built(format!("view option \"{option}\"")).with_hint(hint));
    }
    if create.to.is_some() || create.comment.is_some() {
        return Err(Error::not_built("options of a view"));
    }
    let name = relation_name(&create.name)?;
    let columns = create.columns.iter().map(|column| identifier(&column.name)).collect();
    if create.materialized {
        if create.or_replace && create.if_not_exists {
            return Err(Error::new(SqlState::SYNTAX_ERROR, "OR REPLACE and IF NOT EXISTS exclude each other"));
        }
        return Ok(Statement::CreateMaterializedView(CreateMaterializedView {
            name,
            or_replace: create.or_replace,
            if_not_exists: create.if_not_exists,
            columns,
            query: create.query,
            subscribe_retention_us,
            retention,
            emits_on_close,
        }));
    }
    if create.if_not_exists {
        return Err(Error::new(SqlState::SYNTAX_ERROR, "CREATE VIEW has no IF NOT EXISTS"));
    }
    Ok(Statement::CreateView(CreateView { name, or_replace: create.or_replace, columns, query: create.query }))
}

/// Errors: 0A000 for a view's query that reads the past.
fn refuse_past(query: &ast::Query) -> Result<()> {
    if tables_as_of(query)?.is_empty() {
        return Ok(());
    }
    Err(Error::not_built("FOR SYSTEM_TIME AS OF in a view")
        .with_hint("A view follows the present. Ask the past ad hoc, or INSERT what it was into a table."))
}

fn refuse_table_clauses(create: &ast::CreateTable) -> Result<()> {
    let refused = [
        (create.temporary, "a temporary table"),
        (create.or_replace, "CREATE OR REPLACE TABLE"),
        (create.external, "an external table"),
        (create.query.is_some(), "CREATE TABLE AS"),
        (create.like.is_some(), "CREATE TABLE LIKE"),
        (create.inherits.is_some(), "INHERITS"),
        (create.partition_by.is_some() || create.partition_of.is_some(), "PARTITION BY"),
        (create.on_commit.is_some(), "ON COMMIT"),
    ];
    match refused.iter().find(|(present, _)| *present) {
        Some((_, what)) => Err(Error::not_built(what).with_hint("Create an ordinary table and INSERT INTO it.")),
        None => Ok(()),
    }
}

/// `WITH (name = value, ...)`, names in lower case.
fn with_options(options: &CreateTableOptions) -> Result<BTreeMap<String, String>> {
    let options = match options {
        CreateTableOptions::None => return Ok(BTreeMap::new()),
        CreateTableOptions::With(options) => options,
        _ => return Err(Error::new(SqlState::SYNTAX_ERROR, "options stand in WITH (name = value, ...)")),
    };
    option_map(options)
}

fn take_subscribe_retention(options: &mut BTreeMap<String, String>) -> Result<u64> {
    options.remove(SUBSCRIBE_RETENTION).map_or(Ok(0), |text| subscribe_retention_us(&text))
}

/// `retention` and `retention_column`, where they are among the options.
pub(super) fn take_retention(options: &mut BTreeMap<String, String>) -> Result<Option<RetentionOption>> {
    let column = options.remove(RETENTION_COLUMN);
    let Some(text) = options.remove(RETENTION) else {
        return match column {
            None => Ok(None),
            Some(_) => Err(Error::new(SqlState::INVALID_PARAMETER, format!("{RETENTION_COLUMN} needs {RETENTION}"))
                .with_hint("Write WITH (retention = '30 days', retention_column = 'taken_at').")),
        };
    };
    let interval = parse_interval(&text).ok().filter(|interval| {
        let parts = [i64::from(interval.months), i64::from(interval.days), interval.nanoseconds];
        parts.iter().all(|part| *part >= 0) && parts.iter().any(|part| *part > 0)
    });
    match interval {
        Some(interval) => Ok(Some(RetentionOption { text, interval, column })),
        None => Err(Error::new(SqlState::INVALID_PARAMETER, format!("invalid value for {RETENTION}: \"{text}\""))
            .with_hint("Write an interval, such as '30 days'; RESET (retention) keeps rows for ever.")),
    }
}

/// An interval, of which months have 30 days; 0 for none.
pub(super) fn subscribe_retention_us(text: &str) -> Result<u64> {
    let invalid = || {
        Error::new(SqlState::INVALID_PARAMETER, format!("invalid value for {SUBSCRIBE_RETENTION}: \"{text}\""))
            .with_hint("Write an interval that is not negative, such as '1 hour', or '0'.")
    };
    let interval = parse_interval(text).map_err(|_| invalid())?;
    let days = i128::from(interval.months) * 30 + i128::from(interval.days);
    let us = days * i128::from(DAY_US) + i128::from(interval.nanoseconds / 1000);
    u64::try_from(us).map_err(|_| invalid())
}

/// Names in lower case, with the text of their values.
pub(super) fn option_map(options: &[SqlOption]) -> Result<BTreeMap<String, String>> {
    let mut result = BTreeMap::new();
    for option in options {
        let SqlOption::KeyValue { key, value } = option else {
            return Err(Error::new(SqlState::SYNTAX_ERROR, format!("option \"{option}\" needs a value")));
        };
        let text = match value {
            ast::Expr::Value(value) => match &value.value {
                ast::Value::SingleQuotedString(text) => text.clone(),
                other => other.to_string(),
            },
            other => other.to_string(),
        };
        if result.insert(key.value.to_ascii_lowercase(), text).is_some() {
            return Err(Error::new(SqlState::SYNTAX_ERROR, format!("option \"{}\" is given twice", key.value)));
        }
    }
    Ok(result)
}

fn columns_and_key(create: &ast::CreateTable) -> Result<(Vec<Column>, Option<Vec<usize>>)> {
    let mut columns: Vec<Column> = Vec::new();
    let mut key_names: Option<Vec<String>> = None;
    for definition in &create.columns {
        let (column, is_key) = column(definition)?;
        if columns.iter().any(|other| other.name == column.name) {
            return Err(Error::new(
                SqlState::DUPLICATE_COLUMN,
                format!("column \"{}\" specified more than once", column.name),
            ));
        }
        if is_key && key_names.replace(vec![column.name.clone()]).is_some() {
            return Err(two_keys(create));
        }
        columns.push(column);
    }
    for constraint in &create.constraints {
        let TableConstraint::PrimaryKey(key) = constraint else {
            return Err(Error::not_built(format!("constraint {constraint}"))
                .with_hint("The constraints that work are PRIMARY KEY and NOT NULL."));
        };
        let names = key.columns.iter().map(|column| match &column.column.expr {
            ast::Expr::Identifier(name) => Ok(identifier(name)),
            other => Err(Error::new(SqlState::SYNTAX_ERROR, format!("a key is made of columns, not of {other}"))),
        });
        if key_names.replace(names.collect::<Result<_>>()?).is_some() {
            return Err(two_keys(create));
        }
    }
    let Some(names) = key_names else { return Ok((columns, None)) };
    let mut key = Vec::new();
    for name in &names {
        let index = columns.iter().position(|column| &column.name == name).ok_or_else(|| {
            Error::new(SqlState::UNDEFINED_COLUMN, format!("column \"{name}\" named in key does not exist"))
        })?;
        if key.contains(&index) {
            return Err(Error::new(
                SqlState::DUPLICATE_COLUMN,
                format!("column \"{name}\" appears twice in primary key constraint"),
            ));
        }
        columns[index].not_null = true;
        key.push(index);
    }
    Ok((columns, Some(key)))
}

fn two_keys(create: &ast::CreateTable) -> Error {
    Error::new(
        SqlState::INVALID_TABLE_DEFINITION,
        format!("multiple primary keys for table \"{}\" are not allowed", create.name),
    )
}

pub(super) fn column(definition: &ast::ColumnDef) -> Result<(Column, bool)> {
    let name = identifier(&definition.name);
    for (reserved, what) in [(ROW_ID, "the hidden row id"), (WATERMARK, "the hidden watermark")] {
        if name == reserved {
            return Err(Error::new(
                SqlState::INVALID_TABLE_DEFINITION,
                format!("column name \"{name}\" is reserved for {what}"),
            ));
        }
    }
    let mut column = Column { name, sql_type: column_type(&definition.data_type)?, not_null: false, default: None };
    let mut is_key = false;
    for option in &definition.options {
        match &option.option {
            ColumnOption::Null => {}
            ColumnOption::NotNull => column.not_null = true,
            ColumnOption::Default(expression) => column.default = Some(expression.to_string()),
            ColumnOption::PrimaryKey(_) => is_key = true,
            other => {
                return Err(Error::not_built(format!("column option {other}"))
                    .with_hint("The column options that work are NOT NULL, DEFAULT and PRIMARY KEY."));
            }
        }
    }
    Ok((column, is_key))
}

/// A column's type as written.
///
/// Errors: 42704 for a type that PostgreSQL does not have either, 0A000 for one that is not built.
pub fn column_type(data_type: &DataType) -> Result<SqlType> {
    Ok(match data_type {
        DataType::Boolean | DataType::Bool => SqlType::Boolean,
        DataType::SmallInt(_) | DataType::Int2(_) => SqlType::Int2,
        DataType::Int(_) | DataType::Integer(_) | DataType::Int4(_) => SqlType::Int4,
        DataType::BigInt(_) | DataType::Int8(_) => SqlType::Int8,
        DataType::Real | DataType::Float4 => SqlType::Float4,
        DataType::Float(ExactNumberInfo::Precision(bits)) if *bits <= 24 => SqlType::Float4,
        DataType::Float(_) | DataType::Double(_) | DataType::DoublePrecision | DataType::Float8 => SqlType::Float8,
        DataType::Numeric(info) | DataType::Decimal(info) | DataType::Dec(info) => numeric(info)?,
        DataType::Text => SqlType::Text,
        DataType::Varchar(length) | DataType::CharacterVarying(length) | DataType::CharVarying(length) => {
            match length {
                None => SqlType::Varchar(None),
                Some(ast::CharacterLength::IntegerLength { length, .. }) if (1..=10_485_760).contains(length) => {
                    SqlType::Varchar(Some(*length as u32))
                }
                Some(_) => {
                    return Err(Error::new(SqlState::INVALID_PARAMETER, "length for type varchar is out of range"));
                }
            }
        }
        DataType::Bytea => SqlType::Bytea,
        DataType::Uuid => SqlType::Uuid,
        DataType::JSONB => SqlType::Jsonb,
        DataType::Date => SqlType::Date,
        DataType::Timestamp(precision, zone) => {
            if precision.is_some_and(|digits| digits != 6) {
                return Err(Error::not_built(format!("type {data_type}"))
                    .with_hint("Timestamps have microseconds; write timestamp or timestamptz without a precision."));
            }
            match zone {
                TimezoneInfo::WithTimeZone | TimezoneInfo::Tz => SqlType::Timestamptz,
                TimezoneInfo::None | TimezoneInfo::WithoutTimeZone => SqlType::Timestamp,
            }
        }
        DataType::TimestampNtz(None) => SqlType::Timestamp,
        DataType::Interval { fields: None, precision: None } => SqlType::Interval,
        DataType::Custom(name, _) => {
            let known = ["json", "time", "timetz", "serial", "bigserial", "inet", "money", "xml", "name"];
            let text = name.to_string();
            if known.contains(&text.to_ascii_lowercase().as_str()) {
                return Err(unbuilt_type(data_type));
            }
            return Err(Error::new(SqlState::UNDEFINED_OBJECT, format!("type \"{text}\" does not exist")));
        }
        _ => return Err(unbuilt_type(data_type)),
    })
}

fn unbuilt_type(data_type: &DataType) -> Error {
    Error::not_built(format!("type {}", data_type.to_string().to_ascii_lowercase())).with_hint(
        "Types that work: boolean, smallint, integer, bigint, real, double precision, numeric(p,s), text, varchar, \
         bytea, date, timestamp, timestamptz, interval, uuid, jsonb.",
    )
}

fn numeric(info: &ExactNumberInfo) -> Result<SqlType> {
    let (precision, scale) = match info {
        ExactNumberInfo::None => {
            return Err(Error::not_built("numeric without precision")
                .with_hint("Say how many digits there are, for example numeric(38,10)."));
        }
        ExactNumberInfo::Precision(precision) => (*precision, 0),
        ExactNumberInfo::PrecisionAndScale(precision, scale) => (*precision, *scale),
    };
    if precision > 38 && precision <= 1000 {
        return Err(
            Error::not_built(format!("numeric with {precision} digits")).with_hint("At most 38 digits are stored.")
        );
    }
    if !(1..=38).contains(&precision) {
        let message = format!("NUMERIC precision {precision} must be between 1 and 1000");
        return Err(Error::new(SqlState::INVALID_PARAMETER, message));
    }
    if !(0..=precision as i64).contains(&scale) {
        return Err(Error::not_built(format!("numeric({precision},{scale})"))
            .with_hint("The scale must be between 0 and the precision."));
    }
    Ok(SqlType::Numeric { precision: precision as u8, scale: scale as i8 })
}

/// Name of a relation: one part, or two of which the first is `public`.
pub fn relation_name(name: &ObjectName) -> Result<String> {
    let parts: Vec<String> = name.0.iter().filter_map(|part| part.as_ident()).map(identifier).collect();
    match parts.as_slice() {
        [name] => Ok(name.clone()),
        [schema, name] if schema == "public" => Ok(name.clone()),
        [database, schema, name] if database == "tidemark" && schema == "public" => Ok(name.clone()),
        [schema, _] => Err(Error::new(SqlState::INVALID_SCHEMA_NAME, format!("schema \"{schema}\" does not exist"))
            .with_hint("Tables and views live in the one schema public.")),
        _ => Err(Error::not_built(format!("cross-database reference {name}"))),
    }
}

/// An identifier as PostgreSQL folds it: unquoted ones in lower case.
pub(super) fn identifier(name: &ast::Ident) -> String {
    if name.quote_style.is_some() { name.value.clone() } else { name.value.to_lowercase() }
}

fn is_plain_word(token: &Token, text: &str) -> bool {
    matches!(token, Token::Word(Word { value, quote_style: None, .. }) if value.eq_ignore_ascii_case(text))
}
