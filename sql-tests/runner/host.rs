//! The server under test: one of ours in this process, or a PostgreSQL that stands elsewhere.
//!
//! Against PostgreSQL each trial gets a database of its own. It tells which goldens are plain PostgreSQL, and keeps our
//! wording of its errors honest.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use tempfile::TempDir;
use tidemark::engine::Server;
use tidemark::settings::Settings;
use tokio_postgres::{Config, NoTls};

pub enum Host {
    Tidemark { server: Option<Box<Server>>, settings: Box<Settings>, _folder: TempDir },
    Postgres { maintenance: Box<Config>, database: String },
}

/// Connection string of a server that stands elsewhere.
pub fn external() -> Option<String> {
    std::env::var("TIDEMARK_SQL_TESTS_SERVER").ok().filter(|text| !text.is_empty())
}

/// How a server of ours runs.
#[derive(Debug, Clone, Copy, Default)]
pub struct Run {
    /// 0, or how the steps of views are cut.
    pub step_cuts_seed: u64,
    pub keeps_history: bool,
    /// State of views leaves memory after every step.
    pub evicts_state: bool,
}

impl Host {
    pub async fn start(run: Run) -> Result<Host, String> {
        match external() {
            Some(text) => Host::create_database(&text).await,
            None => Host::start_tidemark(run).await,
        }
    }

    async fn start_tidemark(run: Run) -> Result<Host, String> {
        let Run { step_cuts_seed, keeps_history, evicts_state } = run;
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let mut settings = Settings {
            data_dir: folder.path().join("data"),
            listen_sql: SocketAddr::from(([127, 0, 0, 1], 0)),
            listen_http: SocketAddr::from(([127, 0, 0, 1], 0)),
            listen_flight: SocketAddr::from(([127, 0, 0, 1], 0)),
            trust_loopback: true,
            ..Settings::default()
        };
        // Two trials run at once on two cores; and nothing goes cold unless the mode says so.
        settings.query.threads = 1;
        settings.table.flush_age_ms = 3_600_000;
        settings.dataflow.step_cuts_seed = step_cuts_seed;
        settings.dataflow.state_bytes_max = u64::from(evicts_state);
        settings.table.history_retention_ms = if keeps_history { 3_600_000 } else { 0 };
        let server = Some(start_server(&settings).await?);
        Ok(Host::Tidemark { server, settings: Box::new(settings), _folder: folder })
    }

    async fn create_database(text: &str) -> Result<Host, String> {
        static CREATED: AtomicUsize = AtomicUsize::new(0);
        let parsed = text.parse::<Config>().map_err(|error| format!("TIDEMARK_SQL_TESTS_SERVER: {error}"))?;
        let maintenance = Box::new(parsed);
        let database = format!("sql_tests_{}_{}", std::process::id(), CREATED.fetch_add(1, Ordering::Relaxed));
        maintain(&maintenance, &format!("CREATE DATABASE {database} TEMPLATE template0")).await?;
        Ok(Host::Postgres { maintenance, database })
    }

    /// The label by which goldens say `onlyif` and `skipif`.
    pub fn label(&self) -> &'static str {
        match self {
            Host::Tidemark { .. } => "tidemark",
            Host::Postgres { .. } => "postgres",
        }
    }

    pub fn config(&self) -> Result<Config, String> {
        match self {
            Host::Tidemark { server, .. } => {
                let address = server.as_ref().ok_or("the server is down")?.addr_sql();
                let mut config = Config::new();
                config.host(address.ip().to_string()).port(address.port()).user("tidemark").dbname("tidemark");
                Ok(config)
            }
            Host::Postgres { maintenance, database } => {
                let mut config = Config::clone(maintenance);
                config.dbname(database);
                Ok(config)
            }
        }
    }

    /// As kill -9 and a new start: nothing is flushed, the files are left as they are.
    pub async fn crash_and_start(&mut self) -> Result<(), String> {
        if let Host::Tidemark { server, settings, .. } = self {
            if let Some(running) = server.take() {
                // Views come back from a checkpoint at the head, from one with commits behind it, or without any.
                if running.recovered().head.0.is_multiple_of(3) {
                    running.checkpoint().await.map_err(|error| format!("a checkpoint: {error:?}"))?;
                }
                running.crash().await;
            }
            let started = start_server(settings).await?;
            // EXPLAIN and the system tables tell of a view what there is of it by then.
            started.rebuilt().await;
            *server = Some(started);
        }
        Ok(())
    }

    /// The test switch of VERIFY: makes a view's content wrong by one row.
    pub async fn plant_wrong_row(&self, view: &str) -> Result<(), String> {
        match self {
            Host::Tidemark { server: Some(server), .. } => {
                server.plant_wrong_row(view).await.map_err(|error| format!("{error:?}"))
            }
            _ => Err("there is no view to spoil".to_owned()),
        }
    }

    /// The last commit, and its time as text.
    pub fn last_commit(&self) -> Result<(u64, String), String> {
        match self {
            Host::Tidemark { server: Some(server), .. } => {
                let stats = server.stats().system;
                let time = chrono::DateTime::from_timestamp_micros(stats.commits.last_us).ok_or("no such time")?;
                Ok((stats.durable_commit.0, time.format("%Y-%m-%d %H:%M:%S%.6f+00").to_string()))
            }
            _ => Err("commits are not known".to_owned()),
        }
    }

    pub async fn stop(self) -> Result<(), String> {
        match self {
            Host::Tidemark { server, .. } => {
                if let Some(running) = server {
                    running.shutdown().await.map_err(|error| format!("at the server's end: {error:?}"))?;
                }
                Ok(())
            }
            Host::Postgres { maintenance, database } => {
                maintain(&maintenance, &format!("DROP DATABASE {database} WITH (FORCE)")).await
            }
        }
    }
}

async fn start_server(settings: &Settings) -> Result<Box<Server>, String> {
    let started = Server::start(settings.clone()).await;
    started.map(Box::new).map_err(|error| format!("the server does not start: {error:?}"))
}

async fn maintain(config: &Config, sql: &str) -> Result<(), String> {
    let (client, connection) = config.connect(NoTls).await.map_err(|error| error.to_string())?;
    let connection = tokio::spawn(connection);
    let outcome = client.batch_execute(sql).await.map_err(|error| format!("{sql}: {error:?}"));
    connection.abort();
    outcome
}
