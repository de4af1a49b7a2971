//! `tidemark demo`: a server, the demo's SQL, and what comes of it, until Ctrl-C.

use std::io::{IsTerminal, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tidemark::engine::Server;
use tidemark::error::{Error, Result, SqlState};
use tidemark::io::{Clock, SystemClock};
use tidemark::settings::Settings;

use super::Flags;
use super::allocator::give_back;
use super::signals::Signals;
use super::start::{print_addresses, psql};
use super::status::{Snapshot, status_line, status_table};

/// Everything that the demo is.
pub const SQL: &str = include_str!("../engine/demo.sql");

/// How often the table is drawn on a terminal, and a line printed elsewhere.
const REDRAW: Duration = Duration::from_secs(1);
const LINE: Duration = Duration::from_secs(5);
/// Ports tried behind the usual one.
const PORTS_TRIED: u16 = 100;

/// An address that no flag chose may have another port, if its own is taken.
pub async fn run(mut settings: Settings, flags: &Flags) -> Result<ExitCode> {
    let mut signals = Signals::listen()?;
    if flags.listen_sql.is_none() {
        settings.listen_sql = free_address(settings.listen_sql, &[])?;
    }
    if flags.listen_http.is_none() {
        settings.listen_http = free_address(settings.listen_http, &[settings.listen_sql.port()])?;
    }
    if flags.listen_flight.is_none() {
        let others = [settings.listen_sql.port(), settings.listen_http.port()];
        settings.listen_flight = free_address(settings.listen_flight, &others)?;
    }
    let data_dir = settings.data_dir.clone();
    let server = tokio::select! {
        biased;
        server = start(settings) => server?,
        () = signals.next() => return Ok(ExitCode::SUCCESS),
    };
    println!("{}", server.recovered());
    println!("The demo is running in {}; Ctrl-C ends it, and the next run goes on from there.\n", data_dir.display());
    print_addresses(&server);
    println!("\nTry   {} -c \"SELECT * FROM low_fuel\"\n", psql(server.addr_sql()));
    watch(&server, &mut signals).await;
    signals.shut_down(server).await
}

async fn start(settings: Settings) -> Result<Server> {
    let server = Server::start_giving_back(settings, give_back).await?;
    match server.run_sql(SQL).await {
        Ok(()) => Ok(server),
        Err(error) => {
            server.shutdown().await?;
            Err(error)
        }
    }
}

/// The address itself, or the next port that nobody listens on.
fn free_address(wanted: SocketAddr, others: &[u16]) -> Result<SocketAddr> {
    let mut address = wanted;
    for port in wanted.port()..wanted.port().saturating_add(PORTS_TRIED) {
        address.set_port(port);
        if !others.contains(&port) && TcpListener::bind(address).is_ok() {
            if port != wanted.port() {
                println!("port {} is taken, using {port}", wanted.port());
            }
            return Ok(address);
        }
    }
    Err(Error::new(SqlState::IO_ERROR, format!("no free port from {} on", wanted.port()))
        .with_hint("Choose addresses with --listen-sql, --listen-http and --listen-flight."))
}

/// Shows what happens until a signal comes.
async fn watch(server: &Server, signals: &mut Signals) {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let terminal = std::io::stdout().is_terminal();
    let mut before = Snapshot::take(&server.stats(), clock.monotonic());
    let mut drawn = 0;
    loop {
        tokio::select! {
            biased;
            () = signals.next() => return,
            () = clock.sleep(if terminal { REDRAW } else { LINE }) => {}
        }
        let now = Snapshot::take(&server.stats(), clock.monotonic());
        if terminal {
            let table = status_table(&before, &now);
            redraw(&table, &mut drawn);
        } else {
            println!("{}", status_line(&before, &now));
        }
        before = now;
    }
}

/// Puts the table where the last one stood.
fn redraw(table: &str, drawn: &mut usize) {
    let up = if *drawn > 0 { format!("\x1b[{drawn}F") } else { String::new() };
    print!("{up}\x1b[0J{table}");
    // A terminal that went away ends the program by its signal; nothing is lost with a table.
    let _ = std::io::stdout().flush();
    *drawn = table.lines().count();
}
