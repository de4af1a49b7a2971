//! Each statement to the function that carries it out.

use datafusion::common::ScalarValue;

use crate::error::{Error, Result, SqlState};
use crate::sql::{CopyDirection, Statement};
use crate::statement::Response;
use crate::statement::{self as statements, Environment, Transaction, define, explain, flush};

/// Runs a statement within a transaction. Transaction control, settings and COPY FROM are the session's own.
pub async fn carry_out(
    environment: &Environment<'_>,
    transaction: &mut Transaction,
    statement: &Statement,
    parameters: &[ScalarValue],
) -> Result<Response> {
    environment.session.sees_cursors(transaction.cursors.facts());
    match statement {
        Statement::Query(query) => statements::select(environment, transaction, query, parameters).await,
        Statement::Insert(insert) => statements::insert(environment, transaction, insert, parameters).await,
        Statement::Update(update) => statements::update(environment, transaction, update, parameters).await,
        Statement::Delete(delete) => statements::delete(environment, transaction, delete, parameters).await,
        Statement::CreateTable(create) => define::create_table(environment, transaction, create).await,
        Statement::CreateSource(create) => define::create_source(environment, transaction, create).await,
        Statement::CreateView(create) => define::create_view(environment, transaction, create).await,
        Statement::CreateMaterializedView(create) => {
            define::create_materialized_view(environment, transaction, create).await
        }
        Statement::AlterTable(table) => statements::alter::alter_table(environment, transaction, table).await,
        Statement::AlterRelation(alter) => {
            statements::alter_relation::alter_relation(environment, transaction, alter).await
        }
        Statement::Drop { kind, names, if_exists, cascade } => {
            define::drop_relations(environment, transaction, *kind, names, *if_exists, *cascade).await
        }
        Statement::Copy(copy) if copy.direction == CopyDirection::ToStdout => {
            statements::copy::copy_to(environment, transaction, copy).await
        }
        Statement::Show(what) => statements::show(environment, transaction, what),
        Statement::Flush(table) => flush::flush(environment, transaction, table.as_deref()).await,
        Statement::Expire(table) => statements::expire::expire(environment, transaction, table).await,
        Statement::Backup(url) => statements::backup::backup(environment, transaction, url).await,
        Statement::Verify(view) => statements::verify::verify(environment, transaction, view).await,
        Statement::Explain(what) => explain::explain(environment, transaction, what, parameters).await,
        Statement::ExplainView(view) => explain::explain_view(environment, transaction, view),
        Statement::Subscribe(what) => statements::subscribe(environment, transaction, what).await,
        Statement::DeclareCursor(declare) => {
            statements::declare_cursor(environment, transaction, declare, parameters).await
        }
        Statement::Fetch(fetch) => statements::fetch(environment, transaction, fetch).await,
        Statement::CloseCursor(name) => statements::close_cursor(transaction, name.as_deref()),
        Statement::Copy(_)
        | Statement::Begin(_)
        | Statement::Commit
        | Statement::Rollback
        | Statement::Savepoint(_)
        | Statement::RollbackTo(_)
        | Statement::Release(_)
        | Statement::SetTransaction(_)
        | Statement::Set { .. }
        | Statement::Reset(_)
        | Statement::Discard
        | Statement::Deallocate(_) => Err(Error::internal("a statement of the session itself")),
    }
}

/// 25006 for a statement that writes in a read-only transaction.
pub fn refuse_in_read_only(transaction: &Transaction, statement: &Statement) -> Result<()> {
    let words = match statement {
        Statement::Insert(_) => "INSERT",
        Statement::Update(_) => "UPDATE",
        Statement::Delete(_) => "DELETE",
        Statement::CreateTable(_) => "CREATE TABLE",
        Statement::CreateSource(_) => "CREATE SOURCE",
        Statement::CreateView(_) => "CREATE VIEW",
        Statement::CreateMaterializedView(_) => "CREATE MATERIALIZED VIEW",
        Statement::AlterTable(_) => "ALTER TABLE",
        Statement::AlterRelation(alter) => return refuse_words(transaction, &format!("ALTER {}", alter.kind.words())),
        Statement::Drop { .. } => "DROP",
        Statement::Expire(_) => "EXPIRE",
        Statement::Copy(copy) if copy.direction == CopyDirection::FromStdin => "COPY FROM",
        _ => return Ok(()),
    };
    refuse_words(transaction, words)
}

fn refuse_words(transaction: &Transaction, words: &str) -> Result<()> {
    if !transaction.read_only {
        return Ok(());
    }
    Err(Error::new(SqlState::READ_ONLY_TRANSACTION, format!("cannot execute {words} in a read-only transaction")))
}
