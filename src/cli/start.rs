//! `tidemark start`.

use std::net::SocketAddr;
use std::process::ExitCode;

use tidemark::engine::Server;
use tidemark::error::Result;
use tidemark::settings::Settings;

use super::allocator::give_back;
use super::signals::Signals;

pub async fn run(settings: Settings) -> Result<ExitCode> {
    let mut signals = Signals::listen()?;
    println!("tidemark {} in {}", env!("CARGO_PKG_VERSION"), settings.data_dir.display());
    let server = tokio::select! {
        biased;
        server = Server::start_giving_back(settings, give_back) => server?,
        () = signals.next() => return Ok(ExitCode::SUCCESS),
    };
    println!("{}", server.recovered());
    print_addresses(&server);
    if !server.admits_clients() {
        println!("warning: nobody can log in yet: start once with TIDEMARK_PASSWORD set, or with --trust-loopback");
    }
    println!("ready");
    if server.recovered().views_to_rebuild > 0 {
        tokio::select! {
            biased;
            rebuilt = server.rebuilt() => rebuilt.iter().for_each(|rebuilt| println!("{rebuilt}")),
            () = signals.next() => return signals.shut_down(server).await,
        }
    }
    signals.next().await;
    signals.shut_down(server).await
}

/// How to reach the server, as lines to copy.
pub fn print_addresses(server: &Server) {
    println!("SQL     {}", psql(server.addr_sql()));
    println!("HTTP    http://{}/metrics", server.addr_http());
    println!("Flight  grpc://{}", server.addr_flight());
}

/// The psql call for an address; a server on all addresses is reached on this machine's own.
pub fn psql(address: SocketAddr) -> String {
    let host = match address.ip() {
        ip if !ip.is_unspecified() => ip.to_string(),
        std::net::IpAddr::V4(_) => "127.0.0.1".to_owned(),
        std::net::IpAddr::V6(_) => "::1".to_owned(),
    };
    format!("psql -h {host} -p {} -U tidemark tidemark", address.port())
}
