//! The server as protocols see it: who may connect, and a session for who does.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use async_trait::async_trait;

use super::connection::Session;
use super::surface::{Authentication, Connection, Database, Login, Verifier};
use crate::error::{Error, Result, SqlState};
use crate::statement::{Handles, Variables};

/// Name of the one user and of the one database.
pub const NAME: &str = "tidemark";

/// One server's sessions.
pub struct Sessions {
    handles: Arc<Handles>,
    /// `None` until a password was set: then only trusted clients get in.
    verifier: Option<Verifier>,
    trust_loopback: bool,
    process_ids: AtomicI32,
}

impl Sessions {
    pub fn new(handles: Arc<Handles>, verifier: Option<Verifier>, trust_loopback: bool) -> Sessions {
        Sessions { handles, verifier, trust_loopback, process_ids: AtomicI32::new(1) }
    }

    /// Can anybody log in at all?
    pub fn admits_clients(&self) -> bool {
        self.trust_loopback || self.verifier.is_some()
    }

    /// A session without a client, for SQL that the program itself brings.
    pub fn internal(&self) -> Session {
        self.session(Variables::default())
    }

    fn session(&self, variables: Variables) -> Session {
        let process_id = self.process_ids.fetch_add(1, Ordering::Relaxed);
        Session::new(self.handles.clone(), NAME.to_owned(), process_id, variables)
    }
}

#[async_trait]
impl Database for Sessions {
    async fn connect(&self, login: Login) -> Result<Box<dyn Connection>> {
        if login.user != NAME {
            return Err(Error::new(SqlState::INVALID_AUTHORIZATION, format!("role \"{}\" does not exist", login.user))
                .with_hint(format!("The user is {NAME}.")));
        }
        if login.database != NAME {
            let message = format!("database \"{}\" does not exist", login.database);
            return Err(
                Error::new(SqlState::INVALID_CATALOG_NAME, message).with_hint(format!("The database is {NAME}."))
            );
        }
        let variables = Variables::with_startup(&login.startup, &login.application_name)?;
        Ok(Box::new(self.session(variables)))
    }

    fn authentication(&self, _user: &str, peer: SocketAddr) -> Authentication {
        if self.trust_loopback && peer.ip().is_loopback() {
            return Authentication::Trust;
        }
        match &self.verifier {
            Some(verifier) => Authentication::ScramSha256(verifier.clone()),
            None => Authentication::Reject,
        }
    }
}
