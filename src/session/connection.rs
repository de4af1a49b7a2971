//! One client's session: its transaction, its settings, and each statement to the function that carries it out.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use datafusion::common::ScalarValue;
use futures::{StreamExt, TryStreamExt};
use parking_lot::Mutex;

use super::copy_in::CopyIn;
use super::describe::describe;
use super::dispatch::{carry_out, refuse_in_read_only};
use super::hold::hold;
use super::recent::{Known, RecentStatements};
use super::surface::{Connection, Description, Parsed, TransactionStatus};
use crate::error::{Error, Result, SqlState};
use crate::plan::at_literal;
use crate::query::HeldQuery;
use crate::sql::{CopyDirection, Statement, TransactionMode, parse_statements};
use crate::statement::{Environment, Handles, SessionView, Transaction, Variables, Waiting};
use crate::statement::{Notice, OutputColumn, Response};
use crate::types::SqlType;
use crate::types::text::EncodeSettings;

/// A session.
pub struct Session {
    handles: Arc<Handles>,
    view: SessionView,
    state: SharedState,
    recent: RecentStatements,
}

/// Shared with a COPY FROM STDIN while it runs: its rows join the transaction when the data ends.
pub(super) type SharedState = Arc<Mutex<State>>;

/// Where the session stands.
pub(super) enum State {
    Idle,
    Open(Box<OpenTransaction>),
    /// After an error in a transaction, until ROLLBACK.
    Failed {
        implicit: bool,
        /// As the error left it, where a savepoint can be rolled back to.
        open: Option<Box<OpenTransaction>>,
    },
}

pub(super) struct OpenTransaction {
    pub transaction: Transaction,
    /// Of one simple query with several statements, or of several messages up to Sync.
    pub implicit: bool,
}

impl OpenTransaction {
    fn failed(self: Box<Self>) -> State {
        let implicit = self.implicit;
        State::Failed { implicit, open: self.transaction.has_savepoints().then_some(self) }
    }
}

/// The open transaction, while a statement works on it. Should the statement fail, or be dropped in the middle (a cancel),
/// the session is left failed.
pub(super) struct Working {
    state: SharedState,
    open: Option<Box<OpenTransaction>>,
}

impl Working {
    /// `None` where no transaction is open.
    pub fn take(state: &SharedState) -> Option<Working> {
        let mut locked = state.lock();
        match std::mem::replace(&mut *locked, State::Idle) {
            State::Open(open) => {
                *locked = State::Failed { implicit: open.implicit, open: None };
                Some(Working { state: state.clone(), open: Some(open) })
            }
            other => {
                *locked = other;
                None
            }
        }
    }

    pub fn transaction(&mut self) -> Result<&mut Transaction> {
        let open = self.open.as_mut().ok_or_else(|| Error::internal("the transaction was put back"))?;
        Ok(&mut open.transaction)
    }

    /// The statement succeeded.
    pub fn done(mut self) {
        if let Some(open) = self.open.take() {
            *self.state.lock() = State::Open(open);
        }
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        if let Some(open) = self.open.take() {
            *self.state.lock() = open.failed();
        }
    }
}

/// What a client prepared.
struct Prepared {
    known: Arc<Known>,
    /// Types of the parameters as described, so that execution plans with the same.
    declared: Mutex<Vec<Option<SqlType>>>,
}

/// The response whose rows' errors say where in the text they are from.
fn locating(response: Response, text: &Arc<str>) -> Response {
    match response {
        Response::Rows { columns, schema, rows, tag, is_live } => {
            let text = text.clone();
            let rows = rows.map_err(move |error| at_literal(error, &text)).boxed();
            Response::Rows { columns, schema, rows, tag, is_live }
        }
        other => other,
    }
}

impl Prepared {
    fn parsed(known: Arc<Known>) -> Parsed {
        Parsed::new(Prepared { known, declared: Mutex::default() })
    }

    fn statement(&self) -> &Statement {
        &self.known.statement.statement
    }

    fn environment<'a>(
        &'a self,
        handles: &'a Arc<Handles>,
        session: &'a SessionView,
        declared: &'a [Option<SqlType>],
    ) -> Environment<'a> {
        Environment { handles, session, text: &self.known.statement.text, declared, slot: Some(&self.known.slot) }
    }
}

impl Session {
    pub fn new(handles: Arc<Handles>, user: String, process_id: i32, variables: Variables) -> Session {
        let view = SessionView::new(user, process_id, variables);
        Session { handles, view, state: Arc::new(Mutex::new(State::Idle)), recent: RecentStatements::default() }
    }

    /// Runs a statement that is neither transaction control nor a setting nor COPY FROM.
    async fn run(&mut self, prepared: &Prepared, parameters: &[ScalarValue]) -> Result<Response> {
        let (statement, text) = (prepared.statement(), &prepared.known.statement.text);
        let declared = prepared.declared.lock().clone();
        let handles = self.handles.clone();
        let environment = prepared.environment(&handles, &self.view, &declared);
        if let Some(mut working) = Working::take(&self.state) {
            let transaction = working.transaction()?;
            refuse_in_read_only(transaction, statement)?;
            let response = carry_out(&environment, transaction, statement, parameters).await;
            let response = response.map_err(|error| at_literal(error, text))?;
            working.done();
            return Ok(locating(response, text));
        }
        let mut transaction = Transaction::autocommit(&handles);
        transaction.read_only = self.view.variables().is_read_only_by_default();
        refuse_in_read_only(&transaction, statement)?;
        let response = carry_out(&environment, &mut transaction, statement, parameters).await;
        let response = response.map_err(|error| at_literal(error, text))?;
        if let Some(view) = transaction.creates_view() {
            self.view.waits_for(Some(Waiting::Created(view)));
        }
        commit(handles.clone(), transaction).await?;
        Ok(locating(response, text))
    }

    async fn control(&mut self, statement: &Statement) -> Option<Result<Response>> {
        Some(match statement {
            Statement::Begin(mode) => self.begin(*mode),
            Statement::Commit => self.commit().await,
            Statement::Rollback => self.rollback(),
            Statement::Savepoint(name) => self.savepoint(name),
            Statement::RollbackTo(name) => self.rollback_to(name),
            Statement::Release(name) => self.release(name),
            Statement::SetTransaction(mode) => self.set_transaction(*mode),
            Statement::Set { name, value, is_local: false } => self.set(name, value.as_deref()),
            Statement::Set { name, value, is_local: true } => self.set_local(name, value.as_deref()),
            Statement::Reset(Some(name)) => self.view.variables().set(name, None).map(|()| done("RESET")),
            Statement::Reset(None) => self.view.variables().reset_all().map(|()| done("RESET")),
            Statement::Discard => self.discard(),
            Statement::Deallocate(_) => Ok(done("DEALLOCATE")),
            _ => return None,
        })
    }

    fn begin(&mut self, mode: TransactionMode) -> Result<Response> {
        let mut state = self.state.lock();
        match &mut *state {
            State::Open(open) if !open.implicit => {
                self.view.notice(warning("25001", "there is already a transaction in progress"));
            }
            // BEGIN makes the implicit transaction, with what it did so far, an explicit one.
            State::Open(open) => {
                open.implicit = false;
                open.transaction.is_implicit = false;
                self.view.variables().begin();
            }
            _ => {
                let read_only = mode.read_only.unwrap_or_else(|| self.view.variables().is_read_only_by_default());
                let transaction = Transaction::explicit(&self.handles, read_only);
                *state = State::Open(Box::new(OpenTransaction { transaction, implicit: false }));
                self.view.variables().begin();
            }
        }
        Ok(done("BEGIN"))
    }

    async fn commit(&mut self) -> Result<Response> {
        let before = std::mem::replace(&mut *self.state.lock(), State::Idle);
        match before {
            State::Open(open) => {
                let committed = commit(self.handles.clone(), open.transaction).await;
                match committed {
                    Ok(()) => self.view.variables().commit(),
                    Err(_) => self.view.variables().rollback(),
                }
                committed.map(|()| done("COMMIT"))
            }
            State::Failed { .. } => {
                self.view.variables().rollback();
                Ok(done("ROLLBACK"))
            }
            State::Idle => {
                self.view.notice(warning("25P01", "there is no transaction in progress"));
                Ok(done("COMMIT"))
            }
        }
    }

    fn rollback(&mut self) -> Result<Response> {
        let before = std::mem::replace(&mut *self.state.lock(), State::Idle);
        if matches!(before, State::Idle) {
            self.view.notice(warning("25P01", "there is no transaction in progress"));
        }
        self.view.variables().rollback();
        Ok(done("ROLLBACK"))
    }

    fn savepoint(&mut self, name: &str) -> Result<Response> {
        let variables = self.view.variables().clone();
        self.in_block("SAVEPOINT", |transaction| {
            transaction.savepoint(name, variables);
            Ok(())
        })?;
        Ok(done("SAVEPOINT"))
    }

    fn release(&mut self, name: &str) -> Result<Response> {
        self.in_block("RELEASE SAVEPOINT", |transaction| transaction.release(name))?;
        Ok(done("RELEASE"))
    }

    /// Also what makes a failed transaction go on.
    fn rollback_to(&mut self, name: &str) -> Result<Response> {
        let mut state = self.state.lock();
        match std::mem::replace(&mut *state, State::Idle) {
            State::Failed { implicit: false, open: Some(open) } => *state = State::Open(open),
            other => *state = other,
        }
        drop(state);
        let variables = self.in_block("ROLLBACK TO SAVEPOINT", |transaction| transaction.rollback_to(name))?;
        self.view.variables().rollback_to(&variables);
        Ok(done("ROLLBACK"))
    }

    fn in_block<T>(&self, what: &str, work: impl FnOnce(&mut Transaction) -> Result<T>) -> Result<T> {
        match &mut *self.state.lock() {
            State::Open(open) if !open.implicit => work(&mut open.transaction),
            // Of a failed transaction without savepoints, none can be meant.
            State::Failed { implicit: false, .. } => Err(failed_transaction()),
            _ => Err(Error::new(
                SqlState::NO_ACTIVE_TRANSACTION,
                format!("{what} can only be used in transaction blocks"),
            )),
        }
    }

    fn set_transaction(&mut self, mode: TransactionMode) -> Result<Response> {
        if let (State::Open(open), Some(read_only)) = (&mut *self.state.lock(), mode.read_only) {
            open.transaction.read_only = read_only;
        }
        Ok(done("SET"))
    }

    fn set(&mut self, name: &str, value: Option<&str>) -> Result<Response> {
        self.view.variables().set(name, value)?;
        if name == "transaction_read_only" {
            let read_only = self.view.variables().get(name)? == "on";
            return self.set_transaction(TransactionMode { read_only: Some(read_only) });
        }
        Ok(done("SET"))
    }

    fn set_local(&mut self, name: &str, value: Option<&str>) -> Result<Response> {
        if !self.view.variables().set_local(name, value)? {
            self.view.notice(warning("25P01", "SET LOCAL can only be used in transaction blocks"));
        }
        Ok(done("SET"))
    }

    fn discard(&mut self) -> Result<Response> {
        if matches!(&*self.state.lock(), State::Open(open) if !open.implicit) {
            return Err(Error::new(SqlState::ACTIVE_TRANSACTION, "DISCARD ALL cannot run inside a transaction block"));
        }
        self.view.variables().reset_all()?;
        Ok(done("DISCARD ALL"))
    }

    fn is_failed(&self) -> bool {
        matches!(&*self.state.lock(), State::Failed { .. })
    }
}

#[async_trait]
impl Connection for Session {
    fn parse(&self, sql: &str) -> Result<Vec<Parsed>> {
        if let Some(known) = self.recent.find(sql) {
            return Ok(vec![Prepared::parsed(known)]);
        }
        let known = parse_statements(sql)?.into_iter().map(|statement| Arc::new(Known::new(statement)));
        let known: Vec<Arc<Known>> = known.collect();
        if let [only] = known.as_slice() {
            self.recent.remember(only);
        }
        Ok(known.into_iter().map(Prepared::parsed).collect())
    }

    async fn describe(&mut self, statement: &Parsed, declared: &[Option<SqlType>]) -> Result<Description> {
        let prepared = prepared(statement)?;
        if self.is_failed() && !ends_transaction(prepared.statement()) {
            return Err(failed_transaction());
        }
        if let Statement::Fetch(fetch) = prepared.statement() {
            // An unknown cursor is FETCH's own error, when it runs.
            let columns = self.cursor_columns(&fetch.cursor).filter(|_| !fetch.moves);
            let columns = columns.map(|columns| columns.to_vec());
            return Ok(Description { columns, ..Description::default() });
        }
        let catalog = match &*self.state.lock() {
            State::Open(open) => open.transaction.catalog(&self.handles),
            _ => self.handles.catalog(),
        };
        let environment = prepared.environment(&self.handles, &self.view, &[]);
        let names_and_zone = environment.names_and_zone();
        let description = match prepared.known.described(&catalog, &names_and_zone, declared) {
            Some(description) => description,
            None => {
                let description = describe(&environment, catalog.clone(), prepared.statement(), declared)?;
                prepared.known.set_described(catalog, names_and_zone, declared, description.clone());
                description
            }
        };
        *prepared.declared.lock() = description.parameters.iter().cloned().map(Some).collect();
        Ok(description)
    }

    async fn execute(&mut self, statement: &Parsed, parameters: Vec<ScalarValue>) -> Result<Response> {
        let prepared = prepared(statement)?;
        let parsed = &prepared.known.statement;
        if self.is_failed() && !ends_transaction(&parsed.statement) {
            return Err(failed_transaction());
        }
        if let Some(response) = self.control(&parsed.statement).await {
            return response;
        }
        if let Statement::Copy(copy) = &parsed.statement
            && copy.direction == CopyDirection::FromStdin
        {
            return CopyIn::start(self.handles.clone(), self.view.clone(), self.state.clone(), &parsed.text, copy);
        }
        let timeout = self.view.variables().statement_timeout();
        let (view, handles) = (self.view.clone(), self.handles.clone());
        within(timeout, self.run(prepared, &parameters), &view, &handles).await
    }

    async fn hold(&mut self, statement: &Parsed, parameters: Vec<ScalarValue>) -> Result<HeldQuery> {
        let prepared = prepared(statement)?;
        let declared = prepared.declared.lock().clone();
        let environment = prepared.environment(&self.handles, &self.view, &declared);
        let timeout = self.view.variables().statement_timeout();
        let held = hold(&environment, prepared.statement(), &parameters);
        within(timeout, held, &self.view, &self.handles).await
    }

    fn cursor_columns(&self, name: &str) -> Option<Arc<[OutputColumn]>> {
        match &*self.state.lock() {
            State::Open(open) => open.transaction.cursors.get(name).ok().map(|cursor| cursor.columns.clone()),
            _ => None,
        }
    }

    fn statement_failed(&mut self) {
        let mut state = self.state.lock();
        match std::mem::replace(&mut *state, State::Idle) {
            State::Open(open) => *state = open.failed(),
            other => *state = other,
        }
    }

    fn transaction_status(&self) -> TransactionStatus {
        match &*self.state.lock() {
            State::Idle => TransactionStatus::Idle,
            State::Open(open) if open.implicit => TransactionStatus::Idle,
            State::Open(_) => TransactionStatus::Open,
            State::Failed { implicit: true, .. } => TransactionStatus::Idle,
            State::Failed { implicit: false, .. } => TransactionStatus::Failed,
        }
    }

    fn begin_implicit(&mut self) {
        let mut state = self.state.lock();
        if matches!(&*state, State::Idle) {
            let read_only = self.view.variables().is_read_only_by_default();
            let mut transaction = Transaction::explicit(&self.handles, read_only);
            transaction.is_implicit = true;
            *state = State::Open(Box::new(OpenTransaction { transaction, implicit: true }));
        }
    }

    async fn end_implicit(&mut self, ok: bool) -> Result<()> {
        let is_implicit = match &*self.state.lock() {
            State::Open(open) => open.implicit,
            State::Failed { implicit, .. } => *implicit,
            State::Idle => false,
        };
        if !is_implicit {
            return Ok(());
        }
        let before = std::mem::replace(&mut *self.state.lock(), State::Idle);
        match before {
            State::Open(open) if ok => commit(self.handles.clone(), open.transaction).await,
            _ => Ok(()),
        }
    }

    fn take_notices(&mut self) -> Vec<Notice> {
        self.view.take_notices()
    }

    fn parameter_changes(&mut self) -> Vec<(String, String)> {
        self.view.variables().take_changes()
    }

    fn settings(&self) -> EncodeSettings {
        self.view.variables().encode_settings()
    }
}

/// `work`, or 57014 if it takes longer than the session allows, with the name of the view that it waited for.
async fn within<T>(
    timeout: Option<Duration>,
    work: impl Future<Output = Result<T>>,
    view: &SessionView,
    handles: &Handles,
) -> Result<T> {
    view.waits_for(None);
    let Some(timeout) = timeout else { return work.await };
    match tokio::time::timeout(timeout, work).await {
        Ok(done) => done,
        Err(_) => Err(view.timed_out(handles)),
    }
}

/// Commits on a task of its own: once sequenced a write becomes durable whatever happens to the client, and what waits
/// for it must not be torn apart by a cancel.
pub(super) async fn commit(handles: Arc<Handles>, transaction: Transaction) -> Result<()> {
    if transaction.writes.is_empty() {
        return Ok(());
    }
    tokio::spawn(async move { transaction.commit(&handles).await }).await.map_err(Error::internal)?
}

fn prepared(statement: &Parsed) -> Result<&Prepared> {
    statement.get::<Prepared>().ok_or_else(|| Error::internal("a statement of another session"))
}

fn ends_transaction(statement: &Statement) -> bool {
    matches!(statement, Statement::Commit | Statement::Rollback | Statement::RollbackTo(_))
}

pub(super) fn failed_transaction() -> Error {
    Error::new(
        SqlState::IN_FAILED_TRANSACTION,
        "current transaction is aborted, commands ignored until end of transaction block",
    )
}

fn warning(code: &'static str, message: &str) -> Notice {
    Notice { severity: "WARNING", code, message: message.to_owned(), detail: None, hint: None }
}

fn done(tag: &str) -> Response {
    Response::Done { tag: tag.to_owned() }
}
