//! What the benchmarks of the incremental engine share: tables by their DDL, a worker with views over them, commits, reads.
//!
//! Drives the library as the server does, without log, tables and sockets. Does not know: workloads, clocks, figures.

use std::sync::Arc;

use datafusion::common::{HashMap, TableReference};
use futures::{StreamExt, stream};
use tidemark::catalog::{MaterializedView, Table, TableKind};
use tidemark::commit::{Commit, TableDelta};
use tidemark::dataflow::{Backfill, Dataflows, Filling, ViewSnapshot, ViewStats, Worker};
use tidemark::delta::DeltaBatch;
use tidemark::error::Result;
use tidemark::io::ScopedThreads;
use tidemark::plan::{Found, RelationLookup, RelationSource, plan_view};
use tidemark::query::rewrite::{RewriteNames, rewrite};
use tidemark::settings::DataflowSettings;
use tidemark::sql::{CreateTable, Statement, parse_query, parse_statements};
use tidemark::types::{CommitNumber, RelationId};
use tokio::task::JoinHandle;

/// 2026-01-01 00:00:00 UTC.
pub const START_US: i64 = 1_767_225_600_000_000;

/// Steps of the engine use this many threads.
pub const THREADS: usize = 2;

/// The worker of views, on the runtime of its caller, and the names that its views may read.
pub struct Engine {
    dataflows: Dataflows,
    worker: JoinHandle<()>,
    relations: Vec<RelationSource>,
    append_only: Vec<RelationId>,
}

impl Engine {
    pub fn start(tables: &[Arc<Table>]) -> Engine {
        // All commits may be put into the queue at once.
        let settings = DataflowSettings { lag_bytes_max: u64::MAX, ..DataflowSettings::default() };
        let (dataflows, worker) = Worker::new(settings, CommitNumber(0));
        let worker = worker.with_threads(Arc::new(ScopedThreads::new(THREADS))).at_time(START_US);
        let relation =
            |table: &Arc<Table>| RelationSource { id: table.id, name: table.name.clone(), schema: table.schema() };
        let is_append_only = |table: &&Arc<Table>| matches!(table.kind, TableKind::AppendOnly);
        Engine {
            dataflows,
            worker: tokio::spawn(worker.run()),
            relations: tables.iter().map(relation).collect(),
            append_only: tables.iter().filter(is_append_only).map(|table| table.id).collect(),
        }
    }

    /// Makes a view, which those after it may read by its name; tables that are not named in `rows` have none yet.
    ///
    /// Errors: those of planning, for SQL that cannot be a view.
    pub async fn create(
        &mut self,
        (id, name): (RelationId, &str),
        sql: &str,
        rows: &[(RelationId, DeltaBatch)],
    ) -> Result<()> {
        let registry = tidemark::functions::session_state(Default::default(), Default::default()).build();
        let mut query = parse_query(sql)?;
        rewrite(&mut query, &RewriteNames::default())?;
        let plan = plan_view(&registry, &Names(&self.relations), &query, sql, None)?;
        let view = MaterializedView {
            id,
            name: name.to_owned(),
            sql: sql.to_owned(),
            settings: Default::default(),
            plan: plan.to_bytes()?,
            columns: plan.columns.clone(),
            depends_on: plan.sources(),
            emits_on_close: false,
        };
        let mut backfill = HashMap::new();
        // Views give their rows themselves.
        let is_table = |source: &RelationId| self.dataflows.stats().iter().all(|stats| stats.view != *source);
        for source in plan.sources().into_iter().filter(is_table) {
            let own = rows.iter().filter(|(table, _)| *table == source).map(|(_, delta)| Ok(delta.rows().clone()));
            let rows = stream::iter(own.collect::<Vec<_>>()).boxed();
            let append_only = self.append_only.contains(&source);
            backfill.insert(source, Backfill { rows, append_only, watermark_us: None });
        }
        let view = Arc::new(view);
        self.relations.push(RelationSource { id, name: name.to_owned(), schema: view.schema() });
        self.dataflows
            .push_create(view, Ok(plan), Filling { tables: backfill, cutoff: None })
            .await
            .expect("the worker answers")
    }

    pub fn push(&self, commit: Arc<Commit>) {
        self.dataflows.push_commit(commit);
    }

    /// The view at a barrier behind all that was pushed.
    pub async fn read(&self, view: RelationId) -> Result<ViewSnapshot> {
        let (_, mut views) = self.dataflows.push_read(&[view]).await.expect("the worker answers");
        views.remove(&view).expect("what was asked for")
    }

    /// Of each view.
    pub fn stats(&self) -> Vec<ViewStats> {
        self.dataflows.stats()
    }

    pub async fn stop(self) {
        self.dataflows.stop();
        self.worker.await.expect("the worker ends");
    }
}

struct Names<'a>(&'a [RelationSource]);

impl RelationLookup for Names<'_> {
    fn find(&self, name: &TableReference) -> Result<Option<Found>> {
        let found = self.0.iter().find(|relation| relation.name == name.table());
        Ok(found.map(|relation| Found::Rows(Arc::new(relation.clone()))))
    }
}

/// A table as CREATE TABLE makes it.
pub fn table(id: RelationId, sql: &str) -> Arc<Table> {
    let statement = parse_statements(sql).expect("it parses").remove(0).statement;
    let Statement::CreateTable(create) = statement else { panic!("not a table") };
    let CreateTable { name, columns, kind, .. } = create;
    Arc::new(Table {
        id,
        name,
        columns,
        kind,
        schema_version: 1,
        upsert: false,
        source: None,
        stored: Vec::new(),
        dropped: Vec::new(),
        last_field_id: 0,
        watermark: None,
    })
}

/// One commit, a microsecond after the one before it.
pub fn commit(number: u64, deltas: Vec<(RelationId, DeltaBatch)>) -> Arc<Commit> {
    let of = |(table, delta)| TableDelta { table, schema_version: 1, delta: Arc::new(delta) };
    Arc::new(Commit {
        number: CommitNumber(number),
        timestamp_us: START_US + number as i64,
        tables: deltas.into_iter().map(of).collect(),
        catalog: Vec::new(),
        positions: Vec::new(),
        tier: Vec::new(),
        watermarks: Vec::new(),
    })
}

/// SplitMix64 (Steele, Lea, Flood 2014).
pub fn mix(value: u64) -> u64 {
    let mut mixed = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}
