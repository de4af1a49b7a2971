//! Arrow Flight SQL over gRPC: bulk export as Arrow, in parallel where a result is large.
//!
//! ```text
//! GetFlightInfo   fixes what a query reads, plans it, and answers with one ticket per part     service, results
//! DoGet           runs a part: batches -> IPC -> messages of about a megabyte                  stream, encode
//! DoPut           parameters of a prepared statement; everything else is refused by name      prepared, parameter
//! DoAction        prepared statements, cancel                                                  service
//! ```
//!
//! Reads in the order of a call: `socket` takes connections, `login` lets in, `service` dispatches; `metadata` and `info`
//! answer what clients ask about the database; `store` is what is remembered between calls.
//!
//! Does not know: SQL beyond what it asks of the system tables, tables, anything behind [`crate::session`]'s surface.
//!
//! Invariants:
//!   * nothing of a client reaches the session before its login is proved
//!   * all parts of a result read the same commit
//!   * a stream that ends without an error was sent whole
//!   * what a client may leave behind is bounded in number and in age

mod encode;
mod info;
mod login;
mod metadata;
mod parameter;
mod prepared;
mod results;
mod service;
mod socket;
mod status;
mod store;
mod stream;

use std::sync::Arc;
use std::time::Duration;

use arrow_flight::flight_service_server::FlightServiceServer;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tonic::transport::Server;

use crate::io::Clock;
use crate::session::{Database, SlowClients};
use crate::settings::FlightSettings;
use login::{Gate, Guarded};
use service::Service;
use socket::sockets;
use store::Store;
use stream::is_set;

/// How long calls have to end by themselves when the server stops.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);
/// Calls of one connection at a time.
const CALLS_MAX: u32 = 128;
/// A connection on which nothing comes is asked whether it lives, and cut if it does not say so.
const KEEPALIVE: Duration = Duration::from_secs(60);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// What is too old is let go this often, also where nobody calls.
const SWEEP: Duration = Duration::from_secs(5);

/// Serves clients of `listener` until `shutdown` says true; then streams end with 57P01.
pub async fn serve(
    listener: TcpListener,
    database: Arc<dyn Database>,
    settings: FlightSettings,
    connections_max: usize,
    clock: Arc<dyn Clock>,
    slow: Arc<SlowClients>,
    shutdown: watch::Receiver<bool>,
) {
    let tokens = Store::new("logins", settings.tokens_max, settings.session_age_ms, clock.clone());
    let gate = Arc::new(Gate::new(database.clone(), tokens));
    let message_bytes_max = settings.message_bytes_max;
    let service = Arc::new(Service::new(database, gate.clone(), settings, &clock, slow, shutdown.clone()));
    let inner = FlightServiceServer::from_arc(service.clone()).max_decoding_message_size(message_bytes_max);
    let stop = |mut shutdown: watch::Receiver<bool>| async move { is_set(&mut shutdown).await };
    let served = Server::builder()
        .max_concurrent_streams(CALLS_MAX)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .add_service(Guarded { gate: gate.clone(), inner })
        .serve_with_incoming_shutdown(sockets(listener, connections_max), stop(shutdown.clone()));
    let cut = async {
        stop(shutdown).await;
        clock.sleep(SHUTDOWN_GRACE).await;
    };
    let sweep = async {
        loop {
            clock.sleep(SWEEP).await;
            gate.sweep();
            service.sweep();
        }
    };
    tokio::select! {
        biased;
        served = served => if let Err(error) = served {
            tracing::error!(%error, "the Flight server ended");
        },
        () = cut => {}
        () = sweep => {}
    }
    service.forget();
}

#[cfg(test)]
mod tests;
