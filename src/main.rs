//! The program.

use tidemark::engine::Server;
use tidemark::settings::Settings;

#[tokio::main]
async fn main() {
    let mut settings = Settings { trust_loopback: true, ..Settings::default() };
    let mut args = std::env::args().skip(2);
    while let (Some(name), Some(value)) = (args.next(), args.next()) {
        match name.as_str() {
            "--data-dir" => settings.data_dir = value.into(),
            "--listen-sql" => settings.listen_sql = value.parse().expect("address"),
            "--listen-http" => settings.listen_http = value.parse().expect("address"),
            _ => panic!("{name}"),
        }
    }
    match Server::start(settings).await {
        Ok(server) => {
            println!("{}", server.recovered());
            println!("listening on {}", server.addr_sql());
            let _ = tokio::signal::ctrl_c().await;
            server.shutdown().await.expect("shutdown");
        }
        Err(error) => eprintln!("{error:?}"),
    }
}
