//! A whole server in one process: started, asked, stopped.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use futures::TryStreamExt;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle as TaskHandle;

use super::core::{Core, Rebuilding, Seams};
use super::healing::heal;
use super::memory::{GiveBack, Governor};
use super::recovery::{Rebuilt, Recovered};
use super::retention::expire_by_age;
use super::sources::supervise;
use super::threads::spawn;
use super::{memory, password, ticker};
use crate::commit::CommitCounters;
use crate::dataflow::checkpoint::Checkpointer;
use crate::error::{Error, Result, SqlState};
use crate::functions;
use crate::io::{Clock, Disk, OsDisk, ScopedThreads, SystemClock, SystemRng, open_store};
use crate::query::QueryEngine;
use crate::server;
use crate::session::{Connection, Response, Sessions};
use crate::settings::Settings;
use crate::statement::{Handles, SlowClients, SourceBoard, system_stats};
use crate::system::SystemStats;
use crate::tier::identity;

/// A running server.
pub struct Server {
    handles: Arc<Handles>,
    sessions: Arc<Sessions>,
    recovered: Recovered,
    rebuilt: watch::Receiver<Option<Rebuilt>>,
    addr_sql: SocketAddr,
    addr_http: SocketAddr,
    addr_flight: SocketAddr,
    stop: watch::Sender<bool>,
    checkpointer: Arc<Checkpointer>,
    tasks: Mutex<Vec<TaskHandle<()>>>,
    /// Memory, log, flush, checkpoints, views: in the order in which they end.
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// Counts of one moment.
pub struct ServerStats {
    pub system: SystemStats,
    pub commits: CommitCounters,
    /// Name of each relation in `system`, by id.
    pub names: BTreeMap<crate::types::RelationId, String>,
}

impl Server {
    /// Recovers, starts every thread, and listens. Returns when clients can connect.
    ///
    /// Errors: 55006 for a data directory in use, 0A000 for one of a later version, XX001 for a damaged one.
    pub async fn start(settings: Settings) -> Result<Server> {
        Server::start_giving_back(settings, || ()).await
    }

    /// The same over an allocator that can be told to give back what was freed: the limit of memory then holds better.
    pub async fn start_giving_back(settings: Settings, give_back: GiveBack) -> Result<Server> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let memory_limit = memory::limit_bytes(&settings);
        let settings = memory::shared(&settings, memory_limit);
        let disk: Arc<dyn Disk> = Arc::new(OsDisk::open(&settings.data_dir)?);
        let sql = listen(settings.listen_sql).await?;
        let http = listen(settings.listen_http).await?;
        let flight = listen(settings.listen_flight).await?;
        let password = std::env::var("TIDEMARK_PASSWORD").ok();
        let verifier = password::load_or_create(&disk, &SystemRng, password.as_deref())?;
        let store = open_store(&settings.object_store, &settings.data_dir.join("tier"))?;
        let started = clock.monotonic();
        let registry = functions::session_state(Default::default(), Default::default()).build();
        let (source_sender, source_changes) = mpsc::unbounded_channel();
        let writer = identity::load_or_create(&disk, &SystemRng)?;
        let seams = Seams { clock: clock.clone(), disk, store, writer };
        let (mut core, loops) = Core::open(&seams, &settings, registry, source_sender, |publisher| publisher).await?;
        // Through the tier, which checks what it reads.
        let tier = core.tables.tier().object_store();
        let query = QueryEngine::new(&settings.query, &settings.data_dir.join("spill"), tier)?;
        let (stop, stopped) = watch::channel(false);
        let log = spawn("log", move || async move {
            if let Err(error) = loops.log.run().await {
                tracing::error!(%error, "the log ended; writes are refused from here on");
            }
        })?;
        let worker = loops.views.with_threads(Arc::new(ScopedThreads::new(settings.dataflow.threads)));
        let views = spawn("views", move || worker.run())?;
        let handles = Arc::new(Handles {
            settings: settings.clone(),
            started_us: clock.now_us(),
            clock: clock.clone(),
            sequencer: core.sequencer.clone(),
            tables: core.tables.clone(),
            dataflows: core.dataflows.clone(),
            checkpointer: core.checkpointer.clone(),
            query,
            sources: Arc::new(SourceBoard::default()),
            live_views: core.publisher.live_views.clone(),
            residence: core.residence.clone(),
            slow: SlowClients::new(clock.clone()),
            memory_limit,
            definitions: Arc::default(),
        });
        // Before views step.
        core.residence.set_bytes_max(usize::try_from(settings.dataflow.state_bytes_max).unwrap_or(usize::MAX));
        let governor = memory_limit.map(|limit| {
            let (governor, stopped) = (Governor::new(handles.clone(), limit, give_back), stopped.clone());
            spawn("memory", move || governor.run(stopped))
        });
        let governor = governor.transpose()?;
        let rebuilding = core.recover_views(loops.found).await?;
        core.recovered.took = clock.monotonic() - started;
        core.recovered.memory_warning = memory::warning(memory_limit);
        let (rebuilt_sender, rebuilt) = watch::channel(None);
        let flusher = {
            let (tables, sequencer, stopped) = (core.tables.clone(), core.sequencer.clone(), stopped.clone());
            spawn("flush", move || async move {
                if let Err(error) = tables.run_flusher(sequencer, stopped).await {
                    tracing::error!(%error, "the flusher ended");
                }
            })?
        };
        let Core { checkpointer, publisher, residence, recovered, .. } = core;
        let checkpoints = {
            let (checkpointer, stopped) = (checkpointer.clone(), stopped.clone());
            spawn("checkpoint", move || checkpointer.run(stopped))?
        };

        let sessions = Arc::new(Sessions::new(handles.clone(), verifier, settings.trust_loopback));
        let server = Server {
            addr_sql: local_address(&sql)?,
            addr_http: local_address(&http)?,
            addr_flight: local_address(&flight)?,
            handles: handles.clone(),
            sessions: sessions.clone(),
            recovered,
            rebuilt,
            stop,
            tasks: Mutex::default(),
            checkpointer,
            threads: Mutex::new(governor.into_iter().chain([log, flusher, checkpoints, views]).collect()),
        };
        let initial = publisher.sources().into_values().collect();
        let tasks = vec![
            tokio::spawn(rebuild(rebuilding, clock.clone(), started, rebuilt_sender, stopped.clone())),
            tokio::spawn(expire_by_age(sessions.clone(), handles.clone(), stopped.clone())),
            tokio::spawn(heal(handles.clone(), residence, stopped.clone())),
            tokio::spawn(server::pg::serve(
                sql,
                sessions.clone(),
                settings.server.clone(),
                handles.slow.clone(),
                stopped.clone(),
            )),
            tokio::spawn(server::flight::serve(
                flight,
                sessions,
                settings.flight.clone(),
                settings.server.connections_max,
                clock,
                handles.slow.clone(),
                stopped.clone(),
            )),
            tokio::spawn(supervise(handles.clone(), initial, source_changes, stopped.clone())),
            tokio::spawn(ticker::tick(handles.clone(), stopped.clone())),
            tokio::spawn(serve_http(http, handles, stopped)),
        ];
        *server.tasks.lock() = tasks;
        Ok(server)
    }

    /// What the start found.
    pub fn recovered(&self) -> &Recovered {
        &self.recovered
    }

    /// Waits until the views that the start makes again are live, or cannot be.
    pub async fn rebuilt(&self) -> Option<Rebuilt> {
        let mut rebuilt = self.rebuilt.clone();
        // The sender is gone without a word only when the server stops.
        rebuilt.wait_for(Option::is_some).await.ok().and_then(|rebuilt| *rebuilt)
    }

    /// False where neither a password was ever set nor local clients are trusted.
    pub fn admits_clients(&self) -> bool {
        self.sessions.admits_clients()
    }

    pub fn addr_sql(&self) -> SocketAddr {
        self.addr_sql
    }

    pub fn addr_http(&self) -> SocketAddr {
        self.addr_http
    }

    pub fn addr_flight(&self) -> SocketAddr {
        self.addr_flight
    }

    /// Bytes that running ad hoc queries hold.
    pub fn kept_plan_runs(&self) -> u64 {
        self.handles.query.kept_plan_runs()
    }

    pub fn query_memory_bytes(&self) -> usize {
        self.handles.query.memory_used_bytes()
    }

    pub fn stats(&self) -> ServerStats {
        let catalog = self.handles.catalog();
        ServerStats {
            system: system_stats(&self.handles, &catalog),
            commits: self.handles.sequencer.counters(),
            names: catalog.relations().map(|relation| (relation.id(), relation.name().to_owned())).collect(),
        }
    }

    /// Runs a string of statements in a session of its own, one after another; results are dropped.
    pub async fn run_sql(&self, sql: &str) -> Result<()> {
        run_sql(&self.sessions, sql).await
    }

    /// Writes the state of all views now.
    pub async fn checkpoint(&self) -> Result<()> {
        self.checkpointer.checkpoint().await.map(drop)
    }

    /// Test switch: makes a view's content wrong by one row.
    pub async fn plant_wrong_row(&self, view: &str) -> Result<()> {
        let catalog = self.handles.catalog();
        let id = catalog.find(view).map(crate::catalog::Relation::id);
        let id = id.ok_or_else(|| Error::new(SqlState::UNDEFINED_TABLE, format!("no view \"{view}\"")))?;
        self.handles.dataflows.plant_wrong_row(id).await.map_err(Error::internal)?
    }

    /// Stops cleanly: clients are told, sources stop, what is in memory goes cold, the log ends.
    pub async fn shutdown(self) -> Result<()> {
        self.stop_tasks().await;
        let flushed = self.handles.tables.flush_all(&self.handles.sequencer).await;
        // So that the next start has nothing to replay.
        let checkpoint = self.checkpointer.checkpoint().await;
        self.stop_threads().await;
        flushed.and(checkpoint.map(|_| ()))
    }

    /// Stops without writing anything more, as if killed: what was acknowledged is in the log.
    pub async fn crash(self) {
        self.stop_tasks().await;
        self.stop_threads().await;
    }

    async fn stop_tasks(&self) {
        let _ = self.stop.send(true);
        let tasks = std::mem::take(&mut *self.tasks.lock());
        for task in tasks {
            let _ = task.await;
        }
    }

    async fn stop_threads(&self) {
        self.handles.sequencer.shutdown().await;
        self.handles.dataflows.stop();
        let threads = std::mem::take(&mut *self.threads.lock());
        let joined = tokio::task::spawn_blocking(move || {
            for thread in threads {
                if thread.join().is_err() {
                    tracing::error!("a thread of the engine ended by a panic");
                }
            }
        });
        let _ = joined.await;
    }
}

pub(super) async fn run_sql(sessions: &Sessions, sql: &str) -> Result<()> {
    let mut session = sessions.internal();
    for statement in session.parse(sql)? {
        match session.execute(&statement, Vec::new()).await? {
            Response::Rows { is_live: true, .. } => {
                return Err(Error::new(SqlState::FEATURE_NOT_SUPPORTED, "SUBSCRIBE needs a client"));
            }
            Response::Rows { mut rows, .. } => while rows.try_next().await?.is_some() {},
            Response::Done { .. } | Response::Empty => {}
            Response::CopyIn { .. } | Response::CopyOut { .. } => {
                return Err(Error::new(SqlState::FEATURE_NOT_SUPPORTED, "COPY needs a client"));
            }
        }
    }
    Ok(())
}

/// Tells when the views that the start makes again are live.
async fn rebuild(
    rebuilding: Rebuilding,
    clock: Arc<dyn Clock>,
    started: Duration,
    rebuilt: watch::Sender<Option<Rebuilt>>,
    mut stop: watch::Receiver<bool>,
) {
    tokio::select! {
        biased;
        _ = stop.wait_for(|stop| *stop) => {}
        views = rebuilding.wait() => {
            rebuilt.send_replace(Some(Rebuilt { views, took: clock.monotonic() - started }));
        }
    }
}

async fn serve_http(listener: TcpListener, handles: Arc<Handles>, stop: watch::Receiver<bool>) {
    let metrics = move || {
        let catalog = handles.catalog();
        server::http::Metrics {
            system: system_stats(&handles, &catalog),
            commits: handles.sequencer.counters(),
            names: catalog.relations().map(|relation| (relation.id(), relation.name().to_owned())).collect(),
            query_memory_bytes: handles.query.memory_used_bytes() as u64,
            kept_plan_runs: handles.query.kept_plan_runs(),
        }
    };
    if let Err(error) = server::http::serve(listener, Arc::new(metrics), stop).await {
        tracing::error!(%error, "the HTTP server ended");
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        Error::new(SqlState::IO_ERROR, format!("cannot listen on {address}"))
            .with_detail(error.to_string())
            .with_hint("Choose another address with --listen-sql, --listen-http or --listen-flight.")
    })
}

fn local_address(listener: &TcpListener) -> Result<SocketAddr> {
    listener.local_addr().map_err(|error| Error::internal("no local address").with_source(error))
}
