//! RETURNING, or the command tag alone.

use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::common::ScalarValue;
use futures::{StreamExt, stream};
use sqlparser::ast;

use super::response::Response;
use super::scope::{Environment, skeleton};
use super::select::output_columns;
use super::transaction::Transaction;
use crate::catalog::Table;
use crate::error::{Error, Result};
use crate::sql::parse_query;

/// The answer of INSERT, UPDATE or DELETE for the rows that it touched (the table's columns).
#[expect(clippy::too_many_arguments, reason = "the parts of one statement")]
pub async fn returning(
    environment: &Environment<'_>,
    transaction: &mut Transaction,
    table: &Arc<Table>,
    alias: Option<&str>,
    items: Option<&[ast::SelectItem]>,
    rows: &RecordBatch,
    tag: &str,
    parameters: &[ScalarValue],
) -> Result<Response> {
    let Some(items) = items else {
        return Ok(Response::Done { tag: format!("{tag} {}", rows.num_rows()) });
    };
    let query = returning_query(alias.unwrap_or(&table.name), items)?;
    let rows = rows.project(&(0..table.user_columns().len()).collect::<Vec<_>>())?;
    let relations = vec![(alias.unwrap_or(&table.name).to_owned(), rows)];
    let result = environment.rows_of_query_over(transaction, &query, relations, parameters).await?;
    let schema = result.schema();
    Ok(Response::Rows {
        columns: output_columns(&schema)?,
        schema,
        rows: stream::iter([Ok(result)]).boxed(),
        tag: tag.to_owned(),
        is_live: false,
    })
}

/// The query that RETURNING is over the touched rows.
pub fn returning_query(relation: &str, items: &[ast::SelectItem]) -> Result<ast::Query> {
    let from = parse_query(&format!("SELECT 1 FROM \"{}\"", relation.replace('"', "\"\"")))?;
    let ast::SetExpr::Select(select) = *from.body else { return Err(Error::internal("a query without SELECT")) };
    skeleton(items.to_vec(), select.from, None)
}
