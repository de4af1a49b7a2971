//! What a database says of its past: its tables as of an earlier commit, and the changes of a view since then.

use std::collections::BTreeMap;

use futures::TryStreamExt;
use tokio::sync::oneshot;

use super::ledger::{Ledger, Rows, State, split};
use super::pulses::time_of;
use super::views;
use crate::catalog::Catalog;
use crate::dataflow::{Change, History, Subject};
use crate::engine::core::Core;
use crate::error::{Result, SqlState};
use crate::table::TableSnapshot;
use crate::testing::oracle::{self, Row};
use crate::testing::values::rows_of;
use crate::types::{CommitNumber, RelationId};

/// The views whose changes are kept; one of them follows time.
pub(super) const KEPT: [&str; 2] = ["counts", "fresh"];

/// What is asked under the publish lock.
pub(super) struct Question {
    commit: CommitNumber,
    at_us: i64,
    changes: Vec<(Subject, oneshot::Receiver<Result<History>>)>,
}

impl Question {
    /// Of the oldest commit that can be read, or one between it and the head.
    pub fn ask(core: &Core, head: CommitNumber, catalog: &Catalog) -> Question {
        let oldest = core.tables.oldest_readable().0;
        let commit = if head.0.is_multiple_of(2) { oldest } else { CommitNumber(oldest.0.midpoint(head.0)) };
        let changes = KEPT.iter().filter_map(|name| catalog.find(name)).map(|view| {
            let subject = Subject { relation: view.id(), name: view.name().to_owned(), schema: view.schema() };
            (subject.clone(), core.dataflows.push_resume(subject, commit))
        });
        Question { commit, at_us: time_of(core, commit), changes: changes.collect() }
    }
}

/// The answer.
pub(super) struct Past {
    commit: CommitNumber,
    tables: BTreeMap<RelationId, Rows>,
    at_us: i64,
    /// Of a view since the commit, where there is such a view, and its changes were kept by then.
    changes: Vec<(String, Vec<Change>)>,
    /// A flush came since.
    pub is_cold: bool,
}

impl Past {
    pub async fn of(core: &Core, asked: Question, snapshots: &[(RelationId, TableSnapshot)]) -> Past {
        let Question { commit, at_us, changes } = asked;
        let mut past = Past { commit, at_us, tables: BTreeMap::new(), changes: Vec::new(), is_cold: false };
        for (id, snapshot) in snapshots {
            let stats = core.tables.stats(*id).unwrap();
            let Ok(was) = core.tables.as_of(snapshot, past.commit) else {
                assert!(stats.readable_from > past.commit);
                continue;
            };
            past.is_cold |= stats.flushed > past.commit;
            let batches = was.stream(None, 7).try_collect::<Vec<_>>().await.unwrap();
            past.tables.insert(*id, batches.iter().flat_map(rows_of).map(split).collect());
        }
        for (subject, answer) in changes {
            match answer.await.unwrap() {
                Ok(history) => {
                    let parts = history.parts.iter().map(|part| part.read(&subject.schema).unwrap());
                    past.changes.push((subject.name.clone(), parts.flatten().collect()));
                }
                Err(error) => assert_eq!(error.state(), SqlState::INVALID_PARAMETER, "{error}"),
            }
        }
        past
    }

    /// Whether changes of each of the views were there to be compared.
    pub fn has_changes(&self) -> [bool; 2] {
        KEPT.map(|view| self.changes.iter().any(|(name, changes)| name == view && !changes.is_empty()))
    }

    /// Panics where it was otherwise. `present`: what the ledger says of the head.
    pub fn check(&self, ledger: &Ledger, present: &State, head: CommitNumber) {
        let mut then = ledger.state_at(self.commit);
        then.now_us = self.at_us;
        for (view, changes) in &self.changes {
            let mut content = content(&views::oracle(view, &then));
            for change in changes {
                assert!(change.commit > self.commit && change.commit <= head, "a change of commit {}", change.commit);
                for (row, values) in rows_of(change.rows.rows()).into_iter().enumerate() {
                    *content.entry(rendered(&values)).or_default() += change.rows.weight(row);
                }
            }
            content.retain(|_, count| *count != 0);
            let now = self::content(&views::oracle(view, present));
            assert_eq!(content, now, "changes of {view} from {} to {head}", self.commit);
        }
        // With the columns of now.
        present.catalog.tables().for_each(|table| then.alter(table));
        for (table, rows) in &self.tables {
            let lines = |rows: &Rows| rows.iter().map(|(id, row)| (*id, rendered(row))).collect::<Vec<_>>();
            let was = then.tables.get(table).map(lines);
            assert_eq!(Some(lines(rows)), was, "table {table} as of {}, head {head}", self.commit);
        }
    }
}

fn rendered(row: &Row) -> Vec<String> {
    row.iter().map(oracle::Value::render).collect()
}

fn content(rows: &[Row]) -> BTreeMap<Vec<String>, i64> {
    let mut content = BTreeMap::new();
    rows.iter().for_each(|row| *content.entry(rendered(row)).or_default() += 1);
    content
}
