//! PostgreSQL's protocol, version 3.0: accept loop, gate, login, simple and extended queries, COPY, cancel requests.
//!
//! Reads in the order of a connection's life: `gate` cuts frames, `login` lets in, `connection` runs messages
//! (`extended` and `copy` are its chapters), `rows` and `encode` send results; `frontend` and `backend` are the two
//! directions' messages. Of pgwire only the SCRAM exchange is used: its decoder panics on malformed bodies, replaces
//! invalid UTF-8 and buffers what a header claims.
//!
//! Does not know: SQL, tables, anything behind [`crate::session`]'s surface.
//!
//! Invariants:
//!   * nothing of a client reaches the session before its login is complete; an error before that ends the connection
//!   * no frame is buffered beyond what its type allows at that moment
//!   * a cancelled statement's response is dropped, and with it what it ran
//!   * a panic ends its own connection, with XX000, and no other

mod backend;
mod cancel;
mod connection;
mod copy;
mod encode;
mod extended;
mod frontend;
mod gate;
mod login;
mod parameter;
mod rows;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

use crate::error::{Error, Result, SqlState};
use crate::session::Database;
use crate::session::SlowClients;
use crate::settings::ServerSettings;

use backend::{Outbox, Severity};
use cancel::{CancelRegistry, stopping};
use connection::Client;
use gate::FrameReader;
use login::Opening;

pub use login::scram_verifier;

/// How long connections have to end by themselves when the server stops.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);
/// How long a last message may take to reach a client that is being cut.
const FAREWELL: Duration = Duration::from_millis(500);
/// After a failed accept, mostly for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Sockets beyond `connections_max` that may be in the middle of a login or a cancel request.
const LOGINS_MAX: usize = 128;

/// What all connections of a server share.
struct Shared {
    database: Arc<dyn Database>,
    settings: ServerSettings,
    registry: Arc<CancelRegistry>,
    connections: Arc<Semaphore>,
    shutdown: watch::Receiver<bool>,
    slow: Arc<SlowClients>,
}

/// Serves clients of `listener` until `shutdown` says true; then tells them (57P01) and gives them a few seconds.
pub async fn serve(
    listener: TcpListener,
    database: Arc<dyn Database>,
    settings: ServerSettings,
    slow: Arc<SlowClients>,
    mut shutdown: watch::Receiver<bool>,
) {
    let sockets =
        Arc::new(Semaphore::new(settings.connections_max.saturating_add(LOGINS_MAX).min(Semaphore::MAX_PERMITS)));
    let connections = Arc::new(Semaphore::new(settings.connections_max.min(Semaphore::MAX_PERMITS)));
    let registry = Arc::new(CancelRegistry::default());
    let shared = Arc::new(Shared { database, settings, registry, connections, shutdown: shutdown.clone(), slow });
    let mut clients = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = stopping(&mut shutdown) => break,
            Some(ended) = clients.join_next() => log_panic(ended),
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => match sockets.clone().try_acquire_owned() {
                    Ok(permit) => {
                        clients.spawn(serve_client(stream, peer, shared.clone(), permit));
                    }
                    Err(_) => tracing::warn!(%peer, "connection refused: too many sockets"),
                },
                Err(error) => {
                    tracing::warn!(%error, "accepting a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    let all_ended = async {
        while let Some(ended) = clients.join_next().await {
            log_panic(ended);
        }
    };
    if tokio::time::timeout(SHUTDOWN_GRACE, all_ended).await.is_err() {
        clients.shutdown().await;
    }
}

/// A panic in a connection's task has ended that task alone.
fn log_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a connection ended by a panic");
    }
}

async fn serve_client(stream: TcpStream, peer: SocketAddr, shared: Arc<Shared>, _socket: OwnedSemaphorePermit) {
    // Small answers go out at once; without it only slower.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, %error, "TCP_NODELAY");
    }
    let stream = Arc::new(stream);
    let mut reader = FrameReader::new(stream.clone());
    let mut out = Outbox::new(stream.clone(), shared.slow.clone());
    let timeout = Duration::from_millis(shared.settings.login_timeout_ms);
    let admitted = tokio::time::timeout(timeout, admit(&mut reader, &mut out, peer, &shared)).await;
    match admitted {
        Ok(Ok(Some(admitted))) => {
            let _connection = admitted.connection;
            Client::new(stream, reader, out, admitted.session, admitted.registration, &shared).run().await;
        }
        Ok(Ok(None)) => {}
        Ok(Err(error)) => {
            tracing::info!(%peer, %error, "login refused");
            farewell(&mut reader, &mut out, &error).await;
        }
        Err(_) => tracing::info!(%peer, "login timed out"),
    }
}

/// A client that has logged in.
struct Admitted {
    session: Box<dyn crate::session::Connection>,
    registration: cancel::Registration,
    connection: OwnedSemaphorePermit,
}

/// Everything up to, and without, the first ReadyForQuery. `None`: there is nobody to serve, and nothing to say.
async fn admit(
    reader: &mut FrameReader,
    out: &mut Outbox,
    peer: SocketAddr,
    shared: &Shared,
) -> Result<Option<Admitted>> {
    let login = match login::open(reader, out, peer).await? {
        Opening::Login(login) => login,
        Opening::Cancel { process_id, secret } => {
            shared.registry.cancel(process_id, secret, peer);
            return Ok(None);
        }
        Opening::Gone => return Ok(None),
    };
    if *shared.shutdown.borrow() {
        return Err(cancel::shutting_down());
    }
    let connection = shared.connections.clone().try_acquire_owned().map_err(|_| {
        Error::new(SqlState::TOO_MANY_CONNECTIONS, "too many connections").with_detail(format!(
            "The server takes {} connections (server.connections_max).",
            shared.settings.connections_max
        ))
    })?;
    if !login::authenticate(reader, out, shared.database.as_ref(), &login).await? {
        return Ok(None);
    }
    let session = shared.database.connect(login).await?;
    let registration = shared.registry.register();
    Ok(Some(Admitted { session, registration, connection }))
}

/// Says why, and cuts the client off. What it still sends is read and thrown away for a moment: closing a socket with
/// unread bytes resets the connection, and the reason would be lost with it.
async fn farewell(reader: &mut FrameReader, out: &mut Outbox, error: &Error) {
    out.error(error, Severity::Fatal);
    let say = async {
        if out.flush().await.is_ok() {
            reader.discard().await;
        }
    };
    // A client that does not listen is cut without having heard.
    let _ = tokio::time::timeout(FAREWELL, say).await;
}

#[cfg(test)]
mod tests;
