//! HTTP: health and metrics.
//!
//! | request        | answer                                                         |
//! |----------------|----------------------------------------------------------------|
//! | `GET /health`  | 200 `ready`; 503 `stopping` once the server ends               |
//! | `GET /metrics` | Prometheus text of what [`metrics`] declares                   |
//!
//! Does not know: where the numbers come from. A function gives them, anew for each request.

pub mod metrics;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::error::{Error, Result, SqlState};
pub use metrics::Metrics;

/// Gives the numbers of the moment.
pub type ReadMetrics = Arc<dyn Fn() -> Metrics + Send + Sync>;

/// How long requests have to end by themselves when the server stops.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(2);

#[derive(Clone)]
struct Shared {
    metrics: ReadMetrics,
    stopped: watch::Receiver<bool>,
}

/// Answers until `stopped` says so.
///
/// Errors: 58030 if the listener fails.
pub async fn serve(listener: TcpListener, metrics: ReadMetrics, stopped: watch::Receiver<bool>) -> Result<()> {
    let router = router(metrics, stopped.clone());
    let stop = wait(stopped.clone());
    let graceful = axum::serve(listener, router).with_graceful_shutdown(stop);
    // A client that reads slowly must not keep the server from ending.
    let cut = async {
        wait(stopped).await;
        tokio::time::sleep(SHUTDOWN_GRACE).await;
    };
    tokio::select! {
        biased;
        served = graceful => served.map_err(|error| {
            Error::new(SqlState::IO_ERROR, "HTTP listener failed").with_detail(error.to_string())
        }),
        () = cut => Ok(()),
    }
}

async fn wait(mut stopped: watch::Receiver<bool>) {
    // An error means that whoever could stop the server is gone, which ends it too.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

fn router(metrics: ReadMetrics, stopped: watch::Receiver<bool>) -> Router {
    Router::new()
        .route("/health", get(health))
        .route("/metrics", get(metrics_page))
        .with_state(Shared { metrics, stopped })
}

async fn health(State(shared): State<Shared>) -> (StatusCode, &'static str) {
    match *shared.stopped.borrow() {
        false => (StatusCode::OK, "ready\n"),
        true => (StatusCode::SERVICE_UNAVAILABLE, "stopping\n"),
    }
}

async fn metrics_page(State(shared): State<Shared>) -> impl IntoResponse {
    let text = (shared.metrics)().to_text();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
}

#[cfg(test)]
mod tests;
