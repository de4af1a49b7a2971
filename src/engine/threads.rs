//! Threads that each run one future to its end.

use std::future::Future;
use std::thread::JoinHandle;

use crate::error::{Error, Result};

/// Runs what `work` makes on a thread of its own, with a tokio runtime for timers and file reads. The future is made
/// there, so that it need not be `Send`.
pub fn spawn<F>(name: &str, work: impl FnOnce() -> F + Send + 'static) -> Result<JoinHandle<()>>
where
    F: Future<Output = ()>,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::internal("cannot start a runtime").with_source(error))?;
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || runtime.block_on(work()))
        .map_err(|error| Error::internal("cannot start a thread").with_source(error))
}
