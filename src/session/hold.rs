//! Statements whose result is read later: queries, and what answers with a few rows about the database.

use datafusion::common::ScalarValue;
use futures::TryStreamExt;

use super::dispatch::carry_out;
use crate::error::{Error, Result};
use crate::query::HeldQuery;
use crate::sql::Statement;
use crate::statement::{self as statements, Environment, Response, Transaction};

/// Holds a query; SHOW, EXPLAIN and VERIFY run at once. Reads only, so that there is nothing to commit.
pub async fn hold(
    environment: &Environment<'_>,
    statement: &Statement,
    parameters: &[ScalarValue],
) -> Result<HeldQuery> {
    let mut transaction = Transaction::autocommit(environment.handles);
    match statement {
        Statement::Query(query) => statements::hold(environment, &mut transaction, query, parameters).await,
        Statement::Show(_) | Statement::Explain(_) | Statement::ExplainView(_) | Statement::Verify(_) => {
            match carry_out(environment, &mut transaction, statement, parameters).await? {
                Response::Rows { schema, rows, .. } => HeldQuery::of_rows(&schema, rows.try_collect().await?),
                _ => Err(Error::internal("a statement that answers rows gave none")),
            }
        }
        _ => Err(Error::not_built("a statement that does more than read, over this protocol")
            .with_hint("Use PostgreSQL's protocol, at the address of --listen-sql.")),
    }
}
