//! Ctrl-C and SIGTERM.

use std::process::ExitCode;

use tidemark::engine::Server;
use tidemark::error::{Error, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that end the program.
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    pub fn listen() -> Result<Signals> {
        let listen = |kind| signal(kind).map_err(|error| Error::internal("no signal handler").with_source(error));
        Ok(Signals { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    /// Until one of them comes. May be dropped and called again.
    pub async fn next(&mut self) {
        tokio::select! {
            biased;
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// Stops the server cleanly; one more signal ends the program at once, which loses nothing acknowledged.
    pub async fn shut_down(&mut self, server: Server) -> Result<ExitCode> {
        println!("stopping");
        tokio::select! {
            biased;
            stopped = server.shutdown() => stopped?,
            () = self.next() => return Ok(ExitCode::from(130)),
        }
        println!("stopped");
        Ok(ExitCode::SUCCESS)
    }
}
