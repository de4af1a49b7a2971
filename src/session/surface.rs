//! The surface that protocols see: one [`Database`] per server, one [`Connection`] per client.
//!
//! Owns the words between a protocol and the session behind it: who logs in, what a statement's parameters and columns
//! are, which form values take. Does not know: any wire format, SQL, storage.
//!
//! The life of a connection: [`Database::authentication`] says how the user proves who they are, the protocol checks
//! it, and only then [`Database::connect`] makes the session. Dropping a [`Connection`] ends it: an open transaction is
//! rolled back, a running statement is cancelled.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::common::ScalarValue;
use pgwire::api::auth::sasl::scram::{ScramSecret, gen_salted_password};

use crate::error::Result;
use crate::query::HeldQuery;
use crate::statement::{Notice, OutputColumn, Response};
use crate::types::SqlType;
use crate::types::text::EncodeSettings;

/// What a protocol connects to. One per server.
#[async_trait]
pub trait Database: Send + Sync {
    /// Opens a session for a user who is authenticated already. Refuses an unknown database (3D000) and a server that
    /// is starting (57P03) or stopping (57P01).
    async fn connect(&self, login: Login) -> Result<Box<dyn Connection>>;

    /// How `user`, coming from `peer`, proves who they are. Says the same of an unknown user as of a known one, as far
    /// as a client can tell.
    fn authentication(&self, user: &str, peer: SocketAddr) -> Authentication;
}

/// A client's session. Statements run one after another.
#[async_trait]
pub trait Connection: Send {
    /// Splits and parses a query string, which may hold several statements, or none.
    fn parse(&self, sql: &str) -> Result<Vec<Parsed>>;

    /// Types of the parameters, and the columns of the result. `declared` holds the types the client gave, by
    /// parameter number; what it left open is inferred from the statement (42P18 where it cannot be told).
    async fn describe(&mut self, statement: &Parsed, declared: &[Option<SqlType>]) -> Result<Description>;

    /// Runs one statement. `parameters` have the types that [`Connection::describe`] answered; a numeric one has the
    /// precision and scale that its own digits need, since PostgreSQL's parameters carry no type modifier.
    ///
    /// The future is dropped when the client cancels or goes away: the session must stay usable, and what the statement
    /// had not made durable must not happen.
    async fn execute(&mut self, statement: &Parsed, parameters: Vec<ScalarValue>) -> Result<Response>;

    /// Columns of an open cursor of this name: a protocol may ask for them as for a portal's of its own.
    fn cursor_columns(&self, name: &str) -> Option<Arc<[OutputColumn]>>;

    /// Fixes what a query reads, as of now, and plans it; it runs when the result is read. For protocols that answer a
    /// question first and send rows later, perhaps over several connections. Always a transaction of its own.
    ///
    /// Errors: 0A000 for a statement that does more than read.
    async fn hold(&mut self, statement: &Parsed, parameters: Vec<ScalarValue>) -> Result<HeldQuery>;

    /// A statement failed, wherever: it did not parse, its parameters did not read, its rows or its COPY broke off
    /// after [`Connection::execute`] had answered, or it was cancelled. An open transaction becomes
    /// [`TransactionStatus::Failed`]; without one, and when called again, nothing happens.
    fn statement_failed(&mut self);

    fn transaction_status(&self) -> TransactionStatus;

    /// Opens the implicit transaction in which the several statements of one simple query run, as in PostgreSQL: they
    /// take effect together, unless the statements themselves say BEGIN and COMMIT.
    fn begin_implicit(&mut self);

    /// Ends it: commits if `ok`, else rolls back. Without an open implicit transaction it does nothing.
    async fn end_implicit(&mut self, ok: bool) -> Result<()>;

    /// Notices raised since the last call, oldest first.
    fn take_notices(&mut self) -> Vec<Notice>;

    /// Settings whose value the client must be told (`TimeZone`, `application_name` and the like) and that changed
    /// since the last call. The first call answers all of them.
    fn parameter_changes(&mut self) -> Vec<(String, String)>;

    /// The form in which values go out now.
    fn settings(&self) -> EncodeSettings;
}

/// Who connects, from where, wanting what. The protocol has checked the user by then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    pub user: String,
    /// The user's name where the client named none.
    pub database: String,
    pub peer: SocketAddr,
    /// Empty where the client gave none.
    pub application_name: String,
    /// All other start-up parameters, by name: settings to begin with, among them what `options` said with `-c`.
    pub startup: BTreeMap<String, String>,
}

/// How a user logs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authentication {
    /// No proof is asked for.
    Trust,
    ScramSha256(Verifier),
    /// The user may not connect from there, whatever they know.
    Reject,
}

/// What SCRAM-SHA-256 (RFC 5802, 7677) needs to check a password that it does not know.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    pub salt: Vec<u8>,
    pub iterations: u32,
    pub stored_key: [u8; 32],
    pub server_key: [u8; 32],
}

impl Verifier {
    /// Whether it was made from this password, for a protocol in which the client sends it. Takes milliseconds.
    pub fn accepts(&self, password: &str) -> bool {
        let iterations = self.iterations as usize;
        let salted = gen_salted_password(password, &self.salt, iterations);
        match ScramSecret::verifier_from_salted_password(self.salt.clone(), salted, iterations) {
            ScramSecret::Verifier { stored_key, .. } => is_same(&stored_key, &self.stored_key),
            _ => false,
        }
    }
}

/// Takes as long whatever differs.
fn is_same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

/// Shows no key material.
impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("iterations", &self.iterations).finish_non_exhaustive()
    }
}

/// A parsed statement: opaque to protocols, cheap to clone.
///
/// The session puts what it needs in it and takes it out with [`Parsed::get`].
#[derive(Clone)]
pub struct Parsed(Arc<dyn Any + Send + Sync>);

impl Parsed {
    pub fn new<T: Any + Send + Sync>(statement: T) -> Self {
        Parsed(Arc::new(statement))
    }

    /// What [`Parsed::new`] was given, or `None` if it was of another type.
    pub fn get<T: Any + Send + Sync>(&self) -> Option<&T> {
        self.0.downcast_ref()
    }
}

impl fmt::Debug for Parsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Parsed")
    }
}

/// What a statement takes and gives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Description {
    /// By parameter number, from `$1`.
    pub parameters: Vec<SqlType>,
    /// Of parameters that are arrays, which come as their text: the type of the elements, by index from 0.
    pub elements: BTreeMap<usize, SqlType>,
    /// `None` where there is no result set.
    pub columns: Option<Vec<OutputColumn>>,
}

/// Where a connection stands, as ReadyForQuery says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionStatus {
    Idle,
    Open,
    /// Only ROLLBACK is accepted.
    Failed,
}
