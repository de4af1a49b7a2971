//! COPY FROM STDIN and COPY TO STDOUT.
//!
//! COPY FROM decodes as bytes arrive and commits once, at the end: an error, or a connection that goes away, leaves
//! nothing of the statement behind.

use std::sync::Arc;

use futures::StreamExt;
use sqlparser::ast;

use super::response::{CopyChunk, Response};
use super::scope::{Environment, cast, change_target, column, default_expression, skeleton};
use super::subscribe::Feed;
use super::transaction::Transaction;
use crate::catalog::{Column, Table};
use crate::error::{Error, Result, SqlState};
use crate::query::{Deadline, QueryResult};
use crate::sinks::CopyEncoder;
use crate::sql::{CopyDirection, CopyOptionValue, CopyStatement, CopyTarget, parse_query};
use crate::types::{CopyFormat, CopyHeader, CopyOptions, ForceQuote};

/// What COPY FROM STDIN will fill.
pub struct CopyFrom {
    pub table: Arc<Table>,
    /// Positions of the columns that the data has, in its order.
    pub columns: Vec<usize>,
    pub options: CopyOptions,
}

impl CopyFrom {
    pub fn new(environment: &Environment<'_>, transaction: &Transaction, copy: &CopyStatement) -> Result<CopyFrom> {
        let CopyTarget::Table { name, columns } = &copy.target else {
            return Err(Error::new(SqlState::SYNTAX_ERROR, "COPY FROM needs a table"));
        };
        let table = change_target(&transaction.catalog(environment.handles), name)?;
        if table.source.is_some() {
            return Err(Error::new(SqlState::WRONG_OBJECT_TYPE, format!("cannot copy into source \"{name}\""))
                .with_hint("Its connector fills it; copy into a table."));
        }
        let columns = positions(&table, columns)?;
        Ok(CopyFrom { table, columns, options: options(&copy.options)? })
    }

    /// The columns that the data has.
    pub fn data_columns(&self) -> Vec<Column> {
        self.columns.iter().map(|column| self.table.columns[*column].clone()).collect()
    }

    /// A query over the decoded data, named `data`, that gives the table's columns in order, left-out ones by their
    /// DEFAULT. `None` where the data has them all in order.
    pub fn completion(&self, data: &str) -> Result<Option<ast::Query>> {
        if self.columns.iter().copied().eq(0..self.table.columns.len()) {
            return Ok(None);
        }
        let from = parse_query(&format!("SELECT 1 FROM {data}"))?;
        let ast::SetExpr::Select(select) = *from.body else { return Err(Error::internal("a query without SELECT")) };
        let projection = self.table.columns.iter().enumerate().map(|(index, target)| {
            let value = match self.columns.contains(&index) {
                true => column(data, &target.name),
                false => cast(default_expression(target)?, &target.sql_type)?,
            };
            let alias = ast::Ident::with_quote('"', target.name.as_str());
            Ok(ast::SelectItem::ExprWithAlias { expr: value, alias })
        });
        skeleton(projection.collect::<Result<_>>()?, select.from, None).map(Some)
    }
}

/// COPY ... TO STDOUT.
pub async fn copy_to(
    environment: &Environment<'_>,
    transaction: &mut Transaction,
    copy: &CopyStatement,
) -> Result<Response> {
    debug_assert_eq!(copy.direction, CopyDirection::ToStdout);
    let options = options(&copy.options)?;
    let is_live = matches!(copy.target, CopyTarget::Subscribe(_));
    let result = match &copy.target {
        CopyTarget::Subscribe(subscribe) => {
            let feed = Feed::open(environment, transaction, subscribe).await?;
            let deadline = Deadline::after(environment.session.variables().statement_timeout());
            QueryResult { schema: feed.schema.clone(), rows: feed.rows(deadline) }
        }
        CopyTarget::Query(query) => environment.run(transaction, query, &[]).await?,
        CopyTarget::Table { name, columns } => {
            let columns: Vec<String> = columns.iter().map(|column| quoted(column)).collect();
            let columns = if columns.is_empty() { "*".to_owned() } else { columns.join(", ") };
            let query = parse_query(&format!("SELECT {columns} FROM {}", quoted(name)))?;
            environment.run(transaction, &query, &[]).await?
        }
    };
    let format = options.format;
    let names = result.schema.fields().iter().map(|field| field.name().clone()).collect();
    let encoder = CopyEncoder::new(names, options, environment.session.variables().encode_settings())?;
    let header = encoder.header();
    let rows = result.rows.map(move |batch| {
        let batch = batch?;
        Ok(CopyChunk { bytes: encoder.encode(&batch)?, rows: batch.num_rows() as u64 })
    });
    let header = header.map(|bytes| Ok(CopyChunk { bytes, rows: 0 }));
    let chunks = futures::stream::iter(header).chain(rows).boxed();
    Ok(Response::CopyOut { chunks, columns: result.schema.fields().len(), format, is_live })
}

fn positions(table: &Table, names: &[String]) -> Result<Vec<usize>> {
    if names.is_empty() {
        return Ok((0..table.user_columns().len()).collect());
    }
    let mut positions = Vec::new();
    for name in names {
        let position = table.user_columns().iter().position(|column| column.name == *name).ok_or_else(|| {
            Error::new(
                SqlState::UNDEFINED_COLUMN,
                format!("column \"{name}\" of relation \"{}\" does not exist", table.name),
            )
        })?;
        if positions.contains(&position) {
            return Err(Error::new(SqlState::DUPLICATE_COLUMN, format!("column \"{name}\" specified more than once")));
        }
        positions.push(position);
    }
    Ok(positions)
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The options as written, checked.
fn options(written: &[(String, CopyOptionValue)]) -> Result<CopyOptions> {
    let format = written.iter().find(|(name, _)| name == "format").map(|(_, value)| word(value, "format"));
    let mut options = match format.transpose()?.as_deref() {
        None | Some("text") => CopyOptions::text(),
        Some("csv") => CopyOptions::csv(),
        Some("binary") => {
            return Err(Error::not_built("COPY in binary format").with_hint("Use text or csv."));
        }
        Some(other) => {
            return Err(Error::new(SqlState::INVALID_PARAMETER, format!("COPY format \"{other}\" not recognized")));
        }
    };
    let mut escape_given = false;
    for (index, (name, value)) in written.iter().enumerate() {
        if written[..index].iter().any(|(other, _)| other == name) {
            return Err(Error::new(SqlState::SYNTAX_ERROR, "conflicting or redundant options"));
        }
        let csv_only = ["quote", "escape", "force_quote", "force_null", "force_not_null"].contains(&name.as_str());
        if csv_only && options.format != CopyFormat::Csv {
            return Err(Error::not_built(format!("COPY {name} outside of CSV mode")).with_hint("Add FORMAT csv."));
        }
        match name.as_str() {
            "format" => {}
            "delimiter" => options.delimiter = one_byte(value, "delimiter")?,
            "null" => options.null = raw_word(value, "null")?,
            "header" => options.header = header(value)?,
            "quote" => options.quote = one_byte(value, "quote")?,
            "escape" => {
                options.escape = one_byte(value, "escape")?;
                escape_given = true;
            }
            "force_quote" => {
                options.force_quote = match columns(value, name)? {
                    all if all == ["*"] => ForceQuote::All,
                    some => ForceQuote::Columns(some),
                }
            }
            "force_null" => options.force_null = columns(value, name)?,
            "force_not_null" => options.force_not_null = columns(value, name)?,
            "encoding" if word(value, name)?.replace('-', "") == "utf8" => {}
            "encoding" => return Err(Error::not_built("COPY in an encoding other than UTF8")),
            "freeze" => return Err(Error::not_built("COPY FREEZE").with_hint("Leave it out; it is not needed.")),
            other => {
                return Err(Error::new(SqlState::SYNTAX_ERROR, format!("option \"{other}\" not recognized")));
            }
        }
    }
    if !escape_given {
        options.escape = options.quote;
    }
    options.validate()?;
    Ok(options)
}

fn raw_word(value: &CopyOptionValue, name: &str) -> Result<String> {
    match value {
        CopyOptionValue::Word(word) => Ok(word.clone()),
        _ => Err(Error::new(SqlState::SYNTAX_ERROR, format!("{name} requires a parameter"))),
    }
}

fn word(value: &CopyOptionValue, name: &str) -> Result<String> {
    raw_word(value, name).map(|word| word.to_ascii_lowercase())
}

fn one_byte(value: &CopyOptionValue, name: &str) -> Result<u8> {
    match raw_word(value, name)?.as_bytes() {
        [byte] if byte.is_ascii() => Ok(*byte),
        _ => Err(Error::new(SqlState::INVALID_PARAMETER, format!("COPY {name} must be a single one-byte character"))),
    }
}

fn header(value: &CopyOptionValue) -> Result<CopyHeader> {
    match value {
        CopyOptionValue::Absent => Ok(CopyHeader::Present),
        value => match word(value, "header")?.as_str() {
            "true" | "on" | "1" => Ok(CopyHeader::Present),
            "false" | "off" | "0" => Ok(CopyHeader::Absent),
            "match" => Ok(CopyHeader::Match),
            _ => Err(Error::new(SqlState::SYNTAX_ERROR, "header requires a Boolean value or \"match\"")),
        },
    }
}

fn columns(value: &CopyOptionValue, name: &str) -> Result<Vec<String>> {
    match value {
        CopyOptionValue::Columns(columns) => Ok(columns.clone()),
        _ => Err(Error::new(
            SqlState::INVALID_PARAMETER,
            format!("argument to option \"{name}\" must be a list of column names"),
        )),
    }
}
