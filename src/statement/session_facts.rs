//! What statements know of their session, and what the system tables tell of it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::{Mutex, MutexGuard};

use super::handles::Handles;
use super::response::Notice;
use super::transaction::ReadMode;
use super::variables::{VARIABLES, Variables};
use crate::catalog::Catalog;
use crate::dataflow::{ViewSnapshot, ViewStatus};
use crate::error::Error;
use crate::io::machine::resident_bytes;
use crate::system::{
    CommitFacts, CursorFact, Facts, LazyFacts, LeftOut, MemoryFact, RelationStats, SessionFacts, SettingFact,
    SystemStats, ViewStats,
};
use crate::types::RelationId;

/// A session as its statements see it. Shared, because SQL functions (`set_config`) change it too.
#[derive(Clone)]
pub struct SessionView {
    pub user: String,
    pub process_id: i32,
    variables: Arc<Mutex<Variables>>,
    notices: Arc<Mutex<Vec<Notice>>>,
    waiting: Arc<Mutex<Option<Waiting>>>,
    /// Of the transaction under way, as its statement began.
    cursors: Arc<Mutex<Vec<CursorFact>>>,
}

/// The materialized view that a statement waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Waiting {
    /// Until it has applied the commit that is read.
    Read(String),
    /// Until it is live.
    Created(String),
}

impl SessionView {
    pub fn new(user: String, process_id: i32, variables: Variables) -> Self {
        SessionView {
            user,
            process_id,
            variables: Arc::new(Mutex::new(variables)),
            notices: Arc::new(Mutex::new(Vec::new())),
            waiting: Arc::default(),
            cursors: Arc::default(),
        }
    }

    pub fn variables(&self) -> MutexGuard<'_, Variables> {
        self.variables.lock()
    }

    pub fn read_mode(&self) -> ReadMode {
        self.variables().read_mode()
    }

    /// The cursors that the statement sees.
    pub fn sees_cursors(&self, cursors: Vec<CursorFact>) {
        *self.cursors.lock() = cursors;
    }

    /// What the statement waits for from here on.
    pub fn waits_for(&self, view: Option<Waiting>) {
        *self.waiting.lock() = view;
    }

    /// The statement took too long: the error, with the view that it was waiting for and the one that kept it.
    pub fn timed_out(&self, handles: &Handles) -> Error {
        let error = Error::statement_timeout();
        let Some(waiting) = self.waiting.lock().take() else { return error };
        let busy = handles.dataflows.busy_with().and_then(|view| Some(handles.catalog().get(view)?.name().to_owned()));
        match waiting {
            Waiting::Created(name) => error
                .with_detail(format!(
                    "Materialized view \"{name}\" is being filled, and will be live without this session."
                ))
                .with_hint("tidemark.views shows its status."),
            Waiting::Read(name) => {
                let kept = match busy {
                    Some(busy) if busy != name => format!(", while materialized view \"{busy}\" was being computed"),
                    _ => String::new(),
                };
                error
                    .with_detail(format!("Materialized view \"{name}\" had not applied the commit to be read{kept}."))
                    .with_hint("SET read_mode = 'snapshot' reads what the views have applied, and does not wait.")
            }
        }
    }

    pub fn notice(&self, notice: Notice) {
        self.notices.lock().push(notice);
    }

    pub fn take_notices(&self) -> Vec<Notice> {
        std::mem::take(&mut *self.notices.lock())
    }

    /// A read of a view that left rows out says so.
    pub fn warn_of_errors(&self, view: &str, snapshot: &ViewSnapshot) {
        // Errors that do not read back do not keep the view itself from being read.
        let Some(first) = snapshot.errors().ok().and_then(|mut errors| errors.next()) else { return };
        let input = if first.input.is_empty() { String::new() } else { format!(" ({})", first.input) };
        let (errors, rows) = snapshot.error_counts();
        self.notice(Notice {
            severity: "WARNING",
            code: "01000",
            message: format!("materialized view \"{view}\" leaves out rows that raise errors"),
            detail: Some(format!(
                "{} in {}, the first: {}{input}.",
                plural(rows, "row"),
                plural(errors as u64, "different error"),
                first.message,
            )),
            hint: Some(
                "SELECT * FROM tidemark.view_errors lists them; deleting or correcting the rows heals the view."
                    .to_owned(),
            ),
        });
    }

    /// What the system tables show, gathered when one is asked. `left_out` is of the statement's commit.
    pub fn facts(&self, handles: &Arc<Handles>, catalog: Arc<Catalog>, left_out: LeftOut) -> LazyFacts {
        let (session, handles) = (self.clone(), handles.clone());
        LazyFacts::new(move || {
            let stats = SystemStats { left_out, ..system_stats(&handles, &catalog) };
            Facts { catalog, stats, session: session.session_facts() }
        })
    }

    fn session_facts(&self) -> SessionFacts {
        let variables = self.variables();
        let settings = VARIABLES.iter().map(|variable| SettingFact {
            name: variable.name.to_owned(),
            value: variables.get(variable.name).unwrap_or_default().to_owned(),
            default: variable.default.to_owned(),
            description: variable.sentence.to_owned(),
        });
        let shared = self.variables.clone();
        SessionFacts {
            user: self.user.clone(),
            database: "tidemark".to_owned(),
            process_id: self.process_id,
            application_name: variables.get("application_name").unwrap_or_default().to_owned(),
            settings: settings.collect(),
            search_path: variables.search_path(),
            cursors: self.cursors.lock().clone(),
            set_setting: Arc::new(move |name, value, is_local| {
                let mut variables = shared.lock();
                // Outside of a transaction block a local value ends with the statement, before anyone sees it.
                if is_local {
                    variables.set_local(name, Some(value))?;
                } else {
                    variables.set(name, Some(value))?;
                }
                variables.get(name).map(str::to_owned)
            }),
        }
    }
}

/// Counts of every table, view and source now.
pub fn system_stats(handles: &Handles, catalog: &Catalog) -> SystemStats {
    let tables = catalog.tables().filter_map(|table| {
        let stats = handles.tables.stats(table.id).ok()?;
        Some((
            table.id,
            RelationStats {
                rows_hot: stats.rows_hot,
                rows_cold: stats.rows_cold,
                bytes_hot: stats.bytes_hot,
                bytes_cold: stats.bytes_cold,
                files: stats.files,
                tombstones: stats.tombstones,
                flushed_commit: stats.flushed,
                readable_from: stats.readable_from,
            },
        ))
    });
    let durable = handles.sequencer.durable_head();
    let views = handles.dataflows.stats().into_iter().map(|stats| {
        let (status, failure) = match stats.status {
            ViewStatus::Creating => ("creating", None),
            ViewStatus::Live => ("live", None),
            ViewStatus::Failed(why) => ("failed", Some(why)),
            ViewStatus::Suspended(why) => ("suspended", Some(why)),
        };
        (
            stats.view,
            ViewStats {
                status,
                failure,
                applied_commit: stats.commit,
                lag_commits: durable.0.saturating_sub(stats.commit.0),
                rows: stats.rows,
                state_bytes: stats.state_bytes as u64,
                errors: stats.errors,
                accepted_rows: stats.accepted_rows,
                late_rows: stats.late_rows,
                rows_read: stats.rows_read,
                rows_emitted: stats.rows_emitted,
                operators: stats.operators,
            },
        )
    });
    let views: HashMap<RelationId, ViewStats> = views.collect();
    let memory = memory_facts(handles, catalog, &views);
    let (readable_from, readable_from_us) = handles.tables.oldest_readable();
    let last_us = handles.tables.durable().timestamp_us;
    let ahead_us = last_us.saturating_sub(handles.clock.now_us()).max(0);
    SystemStats {
        memory,
        durable_commit: durable,
        commits: CommitFacts { last_us, ahead_us, readable_from, readable_from_us },
        started_us: handles.started_us,
        tables: tables.collect(),
        views,
        sources: handles.sources.all(),
        left_out: LeftOut::default(),
        watermarks: catalog
            .tables()
            .filter_map(|table| Some((table.id, handles.tables.watermark(table.id)?)))
            .collect(),
    }
}

fn memory_facts(handles: &Handles, catalog: &Catalog, views: &HashMap<RelationId, ViewStats>) -> Vec<MemoryFact> {
    let of = |component, bytes: u64| MemoryFact { component, bytes, ..MemoryFact::default() };
    let residence = &handles.residence;
    let evicted = residence.evicted_bytes.load(Ordering::Relaxed) as u64;
    let reloaded = residence.reloaded_bytes.load(Ordering::Relaxed) as u64;
    let state_max = Some(residence.bytes_max() as u64).filter(|bytes_max| *bytes_max > 0);
    let server = resident_bytes().unwrap_or_default();
    let queries = (handles.query.memory_used_bytes() as u64, handles.settings.query.memory_bytes as u64);
    let loads = handles.sequencer.admission().held_bytes();
    let mut facts = vec![
        MemoryFact { limit_bytes: handles.memory_limit, ..of("server", server) },
        MemoryFact {
            limit_bytes: state_max,
            evicted_bytes: Some(evicted),
            reloaded_bytes: Some(reloaded),
            ..of("state", residence.bytes() as u64)
        },
        MemoryFact { limit_bytes: Some(queries.1), ..of("queries", queries.0) },
        MemoryFact { limit_bytes: handles.memory_limit.map(|limit| limit / 4), ..of("loads", loads) },
        of("history", handles.tables.history_bytes()),
    ];
    facts.extend(
        handles
            .query
            .memory()
            .into_iter()
            .map(|query| MemoryFact { query: Some(query.text), ..of("query", query.bytes as u64) }),
    );
    for table in catalog.tables() {
        let Ok(stats) = handles.tables.stats(table.id) else { continue };
        facts.push(MemoryFact { relation: Some(table.id), ..of("table", stats.bytes_hot + stats.bytes_keyed) });
    }
    for view in catalog.materialized_views() {
        let bytes = views.get(&view.id).map_or(0, |stats| stats.state_bytes);
        facts.push(MemoryFact { relation: Some(view.id), ..of("view", bytes) });
    }
    facts
}

/// `1 row`, `2 rows`.
pub fn plural(count: u64, word: &str) -> String {
    format!("{count} {word}{}", if count == 1 { "" } else { "s" })
}
