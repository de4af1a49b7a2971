//! Queries: SELECT, VALUES, WITH.

use std::sync::Arc;

use arrow::datatypes::Schema;
use datafusion::common::ScalarValue;
use sqlparser::ast;

use super::response::{OutputColumn, Response};
use super::scope::{Environment, with_parameters};
use super::transaction::Transaction;
use crate::error::{Error, Result};
use crate::query::{HeldQuery, QueryResult, result_type};

pub async fn select(
    environment: &Environment<'_>,
    transaction: &mut Transaction,
    query: &ast::Query,
    parameters: &[ScalarValue],
) -> Result<Response> {
    refuse_locks(query)?;
    let QueryResult { schema, rows } = environment.run(transaction, query, parameters).await?;
    Ok(Response::Rows { columns: output_columns(&schema)?, schema, rows, tag: "SELECT".to_owned(), is_live: false })
}

/// A query that is read later, at the commit of now.
pub async fn hold(
    environment: &Environment<'_>,
    transaction: &mut Transaction,
    query: &ast::Query,
    parameters: &[ScalarValue],
) -> Result<HeldQuery> {
    refuse_locks(query)?;
    let planned = environment.plan(transaction, query).await?;
    let plan = with_parameters(planned.plan, parameters)?;
    let timeout = environment.session.variables().statement_timeout();
    environment.handles.query.hold(&planned.context, plan, transaction.rows_of_tables(), timeout).await
}

/// Names and types of a result's columns, as the client is told them.
pub fn output_columns(schema: &Schema) -> Result<Arc<[OutputColumn]>> {
    schema
        .fields()
        .iter()
        .map(|field| {
            let sql_type = result_type(field.data_type())?;
            Ok(OutputColumn { name: field.name().clone(), sql_type })
        })
        .collect()
}

pub(super) fn refuse_locks(query: &ast::Query) -> Result<()> {
    if query.locks.is_empty() {
        return Ok(());
    }
    Err(Error::not_built("SELECT ... FOR UPDATE")
        .with_hint("Transactions read one snapshot, and a conflicting change fails at COMMIT with 40001."))
}
