//! What statements know of their session, and what the system tables tell of it.

use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use super::handles::Handles;
use super::response::Notice;
use super::variables::{VARIABLES, Variables};
use crate::catalog::Catalog;
use crate::dataflow::ViewSnapshot;
use crate::system::{Facts, RelationStats, SessionFacts, SettingFact, SystemStats, ViewStats};

/// A session as its statements see it. Shared, because SQL functions (`set_config`) change it too.
#[derive(Clone)]
pub struct SessionView {
    pub user: String,
    pub process_id: i32,
    variables: Arc<Mutex<Variables>>,
    notices: Arc<Mutex<Vec<Notice>>>,
}

impl SessionView {
    pub fn new(user: String, process_id: i32, variables: Variables) -> Self {
        SessionView {
            user,
            process_id,
            variables: Arc::new(Mutex::new(variables)),
            notices: Arc::new(Mutex::new(Vec::new())),
        }
    }

    pub fn variables(&self) -> MutexGuard<'_, Variables> {
        self.variables.lock()
    }

    pub fn notice(&self, notice: Notice) {
        self.notices.lock().push(notice);
    }

    pub fn take_notices(&self) -> Vec<Notice> {
        std::mem::take(&mut *self.notices.lock())
    }

    /// A read of a view that left rows out says so.
    pub fn warn_of_errors(&self, view: &str, snapshot: &ViewSnapshot) {
        let errors = snapshot.errors();
        let Some(first) = errors.first() else { return };
        self.notice(Notice {
            severity: "WARNING",
            code: "01000",
            message: format!("materialized view \"{view}\" leaves out rows that raise errors"),
            detail: Some(format!(
                "{} in {} different errors, the first: {}.",
                plural(errors.iter().map(|error| error.weight).sum(), "row"),
                errors.len(),
                first.message
            )),
            hint: Some(
                "SELECT * FROM tidemark.view_errors lists them; deleting or correcting the rows heals the view."
                    .to_owned(),
            ),
        });
    }

    /// Gathers what the system tables show.
    pub fn facts(&self, handles: &Handles, catalog: Arc<Catalog>) -> Facts {
        let stats = system_stats(handles, &catalog);
        let variables = self.variables();
        let settings = VARIABLES.iter().map(|variable| SettingFact {
            name: variable.name.to_owned(),
            value: variables.get(variable.name).unwrap_or_default().to_owned(),
            default: variable.default.to_owned(),
            description: variable.sentence.to_owned(),
        });
        let shared = self.variables.clone();
        Facts {
            catalog,
            stats,
            session: SessionFacts {
                user: self.user.clone(),
                database: "tidemark".to_owned(),
                process_id: self.process_id,
                application_name: variables.get("application_name").unwrap_or_default().to_owned(),
                settings: settings.collect(),
                search_path: variables.search_path(),
                set_setting: Arc::new(move |name, value, _is_local| {
                    let mut variables = shared.lock();
                    variables.set(name, Some(value))?;
                    variables.get(name).map(str::to_owned)
                }),
            },
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
            },
        ))
    });
    let views = handles.dataflows.stats().into_iter().map(|stats| {
        (
            stats.view,
            ViewStats {
                applied_commit: stats.commit,
                state_bytes: stats.state_bytes as u64,
                errors: stats.errors as u64,
                rows_read: stats.rows_read,
                rows_emitted: stats.rows_emitted,
                ..ViewStats::default()
            },
        )
    });
    let views = views.collect();
    SystemStats {
        durable_commit: handles.sequencer.durable_head(),
        started_us: handles.started_us,
        tables: tables.collect(),
        views,
        sources: handles.sources.all(),
        view_errors: Vec::new(),
    }
}

/// `1 row`, `2 rows`.
pub fn plural(count: i64, word: &str) -> String {
    format!("{count} {word}{}", if count == 1 { "" } else { "s" })
}
