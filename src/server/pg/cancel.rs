//! Interrupts: cancel requests, the server's shutdown, clients that hang up in the middle of a statement.
//!
//! A client gets a process id and a secret at login; a CancelRequest on another connection names both. It hits the
//! statement that runs at that moment, or nothing: each message that runs statements opens an [`Interrupt`] of its own.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::sync::{oneshot, watch};

use super::gate::{closed, hangup};
use crate::error::{Error, Result, SqlState};
use crate::io::{Rng, SystemRng};

/// The connections of a server that can be cancelled.
#[derive(Default)]
pub(super) struct CancelRegistry {
    clients: Mutex<HashMap<u32, Client>>,
}

struct Client {
    secret: u32,
    slot: Arc<Slot>,
}

/// Where the running message's sender lies; taken by whoever cancels it.
#[derive(Default)]
struct Slot(Mutex<Option<oneshot::Sender<()>>>);

/// A connection's entry; dropping it takes the entry out.
pub(super) struct Registration {
    registry: Arc<CancelRegistry>,
    slot: Arc<Slot>,
    pub process_id: u32,
    pub secret: u32,
}

impl CancelRegistry {
    pub fn register(self: &Arc<Self>) -> Registration {
        let rng = SystemRng;
        let slot = Arc::new(Slot::default());
        let mut clients = self.clients.lock();
        // Positive, because clients read it as a signed process id.
        let process_id = loop {
            let candidate = (rng.next_u64() as u32) & 0x7FFF_FFFF;
            if candidate != 0 && !clients.contains_key(&candidate) {
                break candidate;
            }
        };
        let secret = rng.next_u64() as u32;
        clients.insert(process_id, Client { secret, slot: slot.clone() });
        Registration { registry: self.clone(), slot, process_id, secret }
    }

    /// Cancels what the client runs now. A wrong secret does nothing, and says nothing.
    pub fn cancel(&self, process_id: u32, secret: u32, peer: SocketAddr) {
        let slot = match self.clients.lock().get(&process_id) {
            Some(client) if client.secret == secret => client.slot.clone(),
            _ => {
                tracing::warn!(%peer, process_id, "cancel request with a wrong process id or secret");
                return;
            }
        };
        if let Some(sender) = slot.0.lock().take() {
            // The statement may have ended in between; then there is nothing to cancel.
            let _ = sender.send(());
        }
    }
}

impl Registration {
    /// For one message: what interrupts it.
    pub fn interrupt(&self, stream: Arc<TcpStream>, shutdown: watch::Receiver<bool>) -> Interrupt {
        let (sender, cancelled) = oneshot::channel();
        *self.slot.0.lock() = Some(sender);
        Interrupt { cancelled, shutdown, stream, slot: self.slot.clone(), closely: false }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.registry.clients.lock().remove(&self.process_id);
    }
}

/// What may end a statement from outside. Dropping it closes the window for cancel requests.
pub(super) struct Interrupt {
    cancelled: oneshot::Receiver<()>,
    shutdown: watch::Receiver<bool>,
    stream: Arc<TcpStream>,
    slot: Arc<Slot>,
    /// The statement may stand still for as long as its client likes.
    closely: bool,
}

impl Drop for Interrupt {
    fn drop(&mut self) {
        self.slot.0.lock().take();
    }
}

impl Interrupt {
    /// Whether to notice that the client closed behind bytes that wait to be read.
    pub fn watch_closely(&mut self, closely: bool) {
        self.closely = closely;
    }

    /// Runs `work` until it ends or is interrupted; then it is dropped where it stands.
    pub async fn run<T>(&mut self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            biased;
            Ok(()) = &mut self.cancelled, if !self.cancelled.is_terminated() => Err(canceled()),
            () = stopping(&mut self.shutdown) => Err(shutting_down()),
            result = work => result,
            () = gone(&self.stream, self.closely) => Err(Error::new(SqlState::CONNECTION_FAILURE, "connection to client lost")),
        }
    }
}

async fn gone(stream: &TcpStream, closely: bool) {
    if closely { closed(stream).await } else { hangup(stream).await }
}

fn canceled() -> Error {
    Error::new(SqlState::QUERY_CANCELED, "canceling statement due to user request")
}

pub(super) fn shutting_down() -> Error {
    Error::new(SqlState::ADMIN_SHUTDOWN, "terminating connection because the server is shutting down")
}

/// Ends when the server stops. A server whose handle is gone is not stopping.
pub(super) async fn stopping(shutdown: &mut watch::Receiver<bool>) {
    if shutdown.wait_for(|stopping| *stopping).await.is_err() {
        std::future::pending().await
    }
}
