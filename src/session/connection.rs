//! One client's session: its transaction, its settings, and each statement to the function that carries it out.

use std::collections::HashMap;
use std::future::Future;
use std::ops::ControlFlow;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::common::ScalarValue;
use sqlparser::ast;

use super::copy_in::CopyIn;
use super::describe::{cast_parameters, describe};
use super::response::{Notice, Response};
use super::surface::{Connection, Description, Parsed, TransactionStatus};
use crate::error::{Error, Result, SqlState};
use crate::sql::{CopyDirection, DropKind, ParsedStatement, Statement, TransactionMode, parse_statements};
use crate::statement::{self as statements, Environment, Handles, SessionView, Transaction, Variables};
use crate::types::SqlType;
use crate::types::text::EncodeSettings;

/// A session.
pub struct Session {
    handles: Arc<Handles>,
    view: SessionView,
    state: State,
}

enum State {
    Idle,
    Open(Box<OpenTransaction>),
    /// After an error in a transaction, until ROLLBACK.
    Failed { implicit: bool },
}

struct OpenTransaction {
    transaction: Transaction,
    /// Of one simple query with several statements.
    implicit: bool,
}

impl Session {
    pub fn new(handles: Arc<Handles>, user: String, process_id: i32, variables: Variables) -> Session {
        Session { handles, view: SessionView::new(user, process_id, variables), state: State::Idle }
    }

    /// Runs a statement that is neither BEGIN, COMMIT, ROLLBACK nor a setting.
    async fn run(&mut self, parsed: &ParsedStatement, declared: &[Option<SqlType>], parameters: &[ScalarValue]) -> Result<Response> {
        let handles = self.handles.clone();
        let view = self.view.clone();
        let environment = Environment { handles: &handles, session: &view, text: &parsed.text, declared };
        if let State::Open(open) = &mut self.state {
            refuse_in_read_only(&open.transaction, &parsed.statement)?;
            return carry_out(&environment, &mut open.transaction, &parsed.statement, parameters).await;
        }
        let mut transaction = Transaction::autocommit(&handles);
        transaction.read_only = view.variables().is_read_only_by_default();
        refuse_in_read_only(&transaction, &parsed.statement)?;
        if matches!(parsed.statement, Statement::Query(_)) {
            return carry_out(&environment, &mut transaction, &parsed.statement, parameters).await;
        }
        let response = carry_out(&environment, &mut transaction, &parsed.statement, parameters).await?;
        // From here on the write may become durable whatever happens to the client: it is not torn apart by a cancel.
        tokio::spawn(async move { transaction.commit(&handles).await }).await.map_err(Error::internal)??;
        Ok(response)
    }

    async fn control(&mut self, statement: &Statement) -> Option<Result<Response>> {
        Some(match statement {
            Statement::Begin(mode) => self.begin(*mode),
            Statement::Commit => self.commit().await,
            Statement::Rollback => self.rollback(),
            Statement::SetTransaction(mode) => self.set_transaction(*mode),
            Statement::Set { name, value } => self.set(name, value.as_deref()),
            Statement::Reset(Some(name)) => self.view.variables().set(name, None).map(|()| done("RESET")),
            Statement::Reset(None) => self.view.variables().reset_all().map(|()| done("RESET")),
            Statement::Discard => self.discard(),
            Statement::Deallocate(_) => Ok(done("DEALLOCATE")),
            _ => return None,
        })
    }

    fn begin(&mut self, mode: TransactionMode) -> Result<Response> {
        match &mut self.state {
            State::Open(open) if !open.implicit => {
                self.view.notice(warning("25001", "there is already a transaction in progress"));
            }
            // BEGIN makes the implicit transaction, with what it did so far, an explicit one.
            State::Open(open) => open.implicit = false,
            _ => {
                let read_only = mode.read_only.unwrap_or_else(|| self.view.variables().is_read_only_by_default());
                let transaction = Transaction::explicit(&self.handles, read_only);
                self.state = State::Open(Box::new(OpenTransaction { transaction, implicit: false }));
            }
        }
        Ok(done("BEGIN"))
    }

    async fn commit(&mut self) -> Result<Response> {
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Open(open) => {
                let handles = self.handles.clone();
                tokio::spawn(async move { open.transaction.commit(&handles).await })
                    .await
                    .map_err(Error::internal)??;
                Ok(done("COMMIT"))
            }
            State::Failed { .. } => Ok(done("ROLLBACK")),
            State::Idle => {
                self.view.notice(warning("25P01", "there is no transaction in progress"));
                Ok(done("COMMIT"))
            }
        }
    }

    fn rollback(&mut self) -> Result<Response> {
        if matches!(self.state, State::Idle) {
            self.view.notice(warning("25P01", "there is no transaction in progress"));
        }
        self.state = State::Idle;
        Ok(done("ROLLBACK"))
    }

    fn set_transaction(&mut self, mode: TransactionMode) -> Result<Response> {
        if let (State::Open(open), Some(read_only)) = (&mut self.state, mode.read_only) {
            open.transaction.read_only = read_only;
        }
        Ok(done("SET"))
    }

    fn set(&mut self, name: &str, value: Option<&str>) -> Result<Response> {
        self.view.variables().set(name, value)?;
        if name == "transaction_read_only"
            && let State::Open(open) = &mut self.state
        {
            open.transaction.read_only = self.view.variables().get(name)? == "on";
        }
        Ok(done("SET"))
    }

    fn discard(&mut self) -> Result<Response> {
        if matches!(self.state, State::Open(_)) {
            return Err(Error::new(SqlState::ACTIVE_TRANSACTION, "DISCARD ALL cannot run inside a transaction block"));
        }
        self.view.variables().reset_all()?;
        Ok(done("DISCARD ALL"))
    }

    fn copy_in(&mut self, copy: &crate::sql::CopyStatement, text: &str) -> Result<Response> {
        let handles = self.handles.clone();
        let environment = Environment { handles: &handles, session: &self.view, text, declared: &[] };
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Open(open) => {
                refuse_writes(&open.transaction)?;
                // The rows join the open transaction when the data ends: they are left at the door until then.
                let copied = CopyIn::into_open(&environment, &open.transaction, copy);
                self.state = State::Open(open);
                let _ = copied?;
                Err(Error::not_built("COPY FROM STDIN inside a transaction block")
                    .with_hint("COPY is atomic by itself; run it outside of BEGIN ... COMMIT."))
            }
            State::Failed { implicit } => {
                self.state = State::Failed { implicit };
                Err(failed_transaction())
            }
            State::Idle => CopyIn::start(environment.handles, &self.view, text, copy),
        }
    }
}
