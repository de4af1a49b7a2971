//! A logged-in client: reads its messages one by one, runs them, and says where it stands.
//!
//! Here are the loop, errors and the simple protocol; `extended` and `copy` add their messages to the same [`Client`].

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::backend::{Outbox, Severity};
use super::cancel::{Interrupt, Registration, shutting_down, stopping};
use super::extended::{Portal, Prepared};
use super::frontend::Message;
use super::gate::{Frame, FrameReader, Phase};
use super::rows::RowCursor;
use super::{Shared, farewell};
use crate::error::{Error, Result, SqlState};
use crate::session::{Connection, Parsed, Response, SlowClients, TransactionStatus};

/// Settings that every client is told, unless the session says another value.
const PARAMETERS: [(&str, &str); 10] = [
    ("server_version", concat!("15.0 (Tidemark ", env!("CARGO_PKG_VERSION"), ")")),
    ("server_encoding", "UTF8"),
    ("client_encoding", "UTF8"),
    ("DateStyle", "ISO, MDY"),
    ("IntervalStyle", "postgres"),
    ("TimeZone", "UTC"),
    ("integer_datetimes", "on"),
    ("standard_conforming_strings", "on"),
    ("in_hot_standby", "off"),
    ("default_transaction_read_only", "off"),
];

/// Why a message did not run to its end.
#[derive(Debug)]
pub(super) enum Failure {
    /// The statement failed; the connection goes on.
    Statement(Error),
    /// The connection ends, and the client is told why.
    Fatal(Error),
    /// There is nobody to tell.
    Gone,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error.state() {
            SqlState::CONNECTION_FAILURE => Failure::Gone,
            SqlState::ADMIN_SHUTDOWN => Failure::Fatal(error),
            _ => Failure::Statement(error),
        }
    }
}

/// One client's connection.
pub(super) struct Client {
    stream: Arc<TcpStream>,
    pub(super) reader: FrameReader,
    pub(super) out: Outbox,
    pub(super) session: Box<dyn Connection>,
    registration: Registration,
    shutdown: watch::Receiver<bool>,
    pub(super) slow: Arc<SlowClients>,
    pub(super) phase: Phase,
    pub(super) statements: HashMap<String, Arc<Prepared>>,
    pub(super) portals: HashMap<String, Portal>,
    /// After an error of the extended protocol: messages are dropped until Sync.
    pub(super) skipping: bool,
    /// Statements of the extended protocol since the last Sync share an implicit transaction.
    pub(super) implicit: bool,
}

impl Client {
    pub fn new(
        stream: Arc<TcpStream>,
        reader: FrameReader,
        out: Outbox,
        session: Box<dyn Connection>,
        registration: Registration,
        shared: &Shared,
    ) -> Self {
        Client {
            stream,
            reader,
            out,
            session,
            registration,
            shutdown: shared.shutdown.clone(),
            slow: shared.slow.clone(),
            phase: Phase::Ready { message_bytes_max: shared.settings.message_bytes_max },
            statements: HashMap::new(),
            portals: HashMap::new(),
            skipping: false,
            implicit: false,
        }
    }

    /// Until the client ends, or is cut.
    pub async fn run(mut self) {
        if let Err(Failure::Fatal(error) | Failure::Statement(error)) = self.serve().await {
            farewell(&mut self.reader, &mut self.out, &error).await;
        }
    }

    async fn serve(&mut self) -> Result<(), Failure> {
        self.greet();
        self.ready().await?;
        loop {
            let frame = tokio::select! {
                biased;
                () = stopping(&mut self.shutdown) => return Err(Failure::Fatal(shutting_down())),
                frame = self.reader.frame(self.phase) => frame.map_err(Failure::Fatal)?,
            };
            let Some(frame) = frame.filter(|frame| frame.kind != b'X') else { return Ok(()) };
            // What a panic left of the session is not used again: the connection ends here.
            match AssertUnwindSafe(self.handle(frame)).catch_unwind().await {
                Ok(handled) => handled?,
                Err(_) => return Err(Failure::Fatal(Error::internal("a statement panicked"))),
            }
        }
    }

    fn greet(&mut self) {
        let changes = self.session.parameter_changes();
        for (name, value) in PARAMETERS {
            if !changes.iter().any(|(changed, _)| changed == name) {
                self.out.parameter_status(name, value);
            }
        }
        changes.iter().for_each(|(name, value)| self.out.parameter_status(name, value));
        self.out.backend_key(self.registration.process_id, self.registration.secret);
    }

    async fn handle(&mut self, frame: Frame) -> Result<(), Failure> {
        let kind = frame.kind;
        if self.skipping && kind != b'S' {
            return Ok(());
        }
        let handled = match Message::decode(frame) {
            Ok(message) => self.dispatch(message).await,
            Err(error) => Err(Failure::Statement(error)),
        };
        match handled {
            Err(Failure::Statement(error)) => {
                self.report(&error);
                self.skipping = matches!(kind, b'P' | b'B' | b'D' | b'E' | b'C');
                if self.skipping {
                    // As PostgreSQL does: a client that asked for a flush must hear of the error before its Sync.
                    self.flush().await?;
                }
            }
            other => other?,
        }
        match kind {
            b'Q' | b'F' | b'S' => self.ready().await,
            // A long pipeline's answers do not pile up until its Sync.
            _ if self.out.is_full() => self.flush().await,
            _ => Ok(()),
        }
    }

    async fn dispatch(&mut self, message: Message) -> Result<(), Failure> {
        match message {
            Message::Query(sql) => self.query(&sql).await,
            Message::Sync => self.sync().await,
            Message::Flush => self.flush().await,
            Message::FunctionCall => Err(Error::not_built("the function call protocol").into()),
            // What a client sent before it heard that its COPY had failed.
            Message::CopyData(_) | Message::CopyDone | Message::CopyFail(_) => Ok(()),
            Message::Terminate => Err(Failure::Gone),
            Message::Parse { name, sql, parameter_oids } => self.parse(name, &sql, &parameter_oids).await,
            Message::Bind(bind) => self.bind(bind),
            Message::Describe(target) => self.describe(&target),
            Message::Execute { portal, rows_max } => self.execute(portal, rows_max).await,
            Message::Close(target) => {
                self.close(&target);
                Ok(())
            }
        }
    }

    /// The simple protocol: every statement of the string, each answered in full.
    async fn query(&mut self, sql: &str) -> Result<(), Failure> {
        self.end_pipeline(true).await?;
        self.statements.remove("");
        self.portals.remove("");
        let statements = self.session.parse(sql)?;
        if statements.is_empty() {
            self.out.empty_query();
            return Ok(());
        }
        let several = statements.len() > 1;
        if several {
            self.session.begin_implicit();
        }
        let outcome = self.run_all(&statements).await;
        if several && outcome.is_err() {
            self.session.statement_failed();
            self.session.end_implicit(false).await?;
        }
        outcome
    }

    async fn run_all(&mut self, statements: &[Parsed]) -> Result<(), Failure> {
        let mut interrupt = self.interrupt();
        for (index, statement) in statements.iter().enumerate() {
            let response = interrupt.run(self.session.execute(statement, Vec::new())).await?;
            let tag = self.respond(response, &mut interrupt).await?;
            // The commit comes before the last statement's tag: a client that reads it may rely on it.
            if statements.len() > 1 && index + 1 == statements.len() {
                self.session.end_implicit(true).await?;
            }
            self.complete(tag);
        }
        Ok(())
    }

    /// Sends a response up to its command tag, which is returned; `None` after an empty statement.
    async fn respond(&mut self, response: Response, interrupt: &mut Interrupt) -> Result<Option<String>, Failure> {
        Ok(match response {
            Response::Rows { columns, rows, tag, is_live, .. } => {
                self.begin_live(is_live, interrupt);
                self.out.row_description(&columns, &[])?;
                let settings = self.session.settings();
                let mut cursor = RowCursor::new(rows, columns, Vec::new(), tag, is_live);
                let sent = interrupt.run(cursor.send(usize::MAX, &settings, &mut self.out)).await?;
                Some(cursor.tag(sent.rows))
            }
            other => self.respond_without_rows(other, interrupt).await?,
        })
    }

    pub(super) async fn respond_without_rows(
        &mut self,
        response: Response,
        interrupt: &mut Interrupt,
    ) -> Result<Option<String>, Failure> {
        match response {
            Response::Done { tag } => Ok(Some(tag)),
            Response::Empty => Ok(None),
            Response::CopyIn { sink, columns, .. } => self.copy_in(sink, columns, interrupt).await.map(Some),
            Response::CopyOut { chunks, columns, format, is_live } => {
                self.begin_live(is_live, interrupt);
                self.copy_out(chunks, columns, format, interrupt).await.map(Some)
            }
            Response::Rows { .. } => Err(Error::internal("a result set where none was described").into()),
        }
    }

    /// A live result has no end for notices to wait for.
    pub(super) fn begin_live(&mut self, is_live: bool, interrupt: &mut Interrupt) {
        interrupt.watch_closely(is_live);
        if is_live {
            self.send_notices();
        }
    }

    pub(super) fn complete(&mut self, tag: Option<String>) {
        self.send_notices();
        match tag {
            Some(tag) => self.out.command_complete(&tag),
            None => self.out.empty_query(),
        }
    }

    /// Tells of a failed statement.
    fn report(&mut self, error: &Error) {
        self.session.statement_failed();
        self.send_notices();
        self.out.error(error, Severity::Error);
    }

    fn send_notices(&mut self) {
        self.session.take_notices().iter().for_each(|notice| self.out.notice(notice));
    }

    /// What interrupts the message at hand.
    pub(super) fn interrupt(&self) -> Interrupt {
        self.registration.interrupt(self.stream.clone(), self.shutdown.clone())
    }

    /// Ends the implicit transaction of the extended protocol's messages, if there is one.
    pub(super) async fn end_pipeline(&mut self, ok: bool) -> Result<(), Failure> {
        if std::mem::take(&mut self.implicit) {
            self.session.end_implicit(ok).await?;
        }
        Ok(())
    }

    async fn ready(&mut self) -> Result<(), Failure> {
        self.send_notices();
        let changes = self.session.parameter_changes();
        changes.iter().for_each(|(name, value)| self.out.parameter_status(name, value));
        let status = self.session.transaction_status();
        if status == TransactionStatus::Idle {
            self.portals.clear();
        }
        self.out.ready(status);
        self.flush().await
    }

    pub(super) async fn flush(&mut self) -> Result<(), Failure> {
        tokio::select! {
            biased;
            flushed = self.out.flush() => flushed.map_err(Failure::from),
            () = stopping(&mut self.shutdown) => Err(Failure::Fatal(shutting_down())),
        }
    }
}
