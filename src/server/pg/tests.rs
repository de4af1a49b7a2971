//! The protocol against a scripted database: through tokio-postgres, and through bare sockets.

mod client;
mod fake;
mod raw;

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_postgres::{Client, Config, NoTls};

use crate::io::SystemClock;
use crate::session::SlowClients;
use crate::settings::ServerSettings;
use fake::FakeDatabase;

/// A server on a free port, until it is dropped.
struct TestServer {
    addr: SocketAddr,
    database: Arc<FakeDatabase>,
    slow: Arc<SlowClients>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl TestServer {
    async fn start() -> TestServer {
        TestServer::with_settings(ServerSettings::default()).await
    }

    async fn with_settings(settings: ServerSettings) -> TestServer {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (database, slow) = (Arc::new(FakeDatabase::default()), SlowClients::new(Arc::new(SystemClock::new())));
        let (stop, stopping) = watch::channel(false);
        let task = tokio::spawn(super::serve(listener, database.clone(), settings, slow.clone(), stopping));
        TestServer { addr, database, slow, stop, task }
    }

    fn config(&self, user: &str) -> Config {
        let mut config = Config::new();
        config.host("127.0.0.1").port(self.addr.port()).user(user).dbname("tidemark");
        config
    }

    async fn connect(&self) -> Client {
        self.try_connect(self.config("local")).await.unwrap()
    }

    async fn try_connect(&self, config: Config) -> Result<Client, tokio_postgres::Error> {
        let (client, connection) = config.connect(NoTls).await?;
        tokio::spawn(async move {
            let _ = connection.await;
        });
        Ok(client)
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}
