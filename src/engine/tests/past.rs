//! What a database says of its past: its tables as of an earlier commit, and the changes of a view since then.

use std::collections::BTreeMap;

use futures::TryStreamExt;
use tokio::sync::oneshot;

use super::ledger::{Ledger, Rows, State, split};
use super::views;
use crate::catalog::Catalog;
use crate::dataflow::{Change, History, Subject};
use crate::engine::core::Core;
use crate::error::{Result, SqlState};
use crate::table::TableSnapshot;
use crate::testing::oracle::{self, Row};
use crate::testing::values::rows_of;
use crate::types::{CommitNumber, RelationId};

/// The view whose changes are kept.
pub(super) const KEPT: &str = "counts";

/// What is asked under the publish lock.
pub(super) struct Question {
    commit: CommitNumber,
    changes: Option<(Subject, oneshot::Receiver<Result<History>>)>,
}

impl Question {
    /// Of the oldest commit that can be read, or one between it and the head.
    pub fn ask(core: &Core, head: CommitNumber, catalog: &Catalog) -> Question {
        let oldest = core.tables.oldest_readable().0;
        let commit = if head.0.is_multiple_of(2) { oldest } else { CommitNumber(oldest.0.midpoint(head.0)) };
        let changes = catalog.find(KEPT).map(|view| {
            let subject = Subject { relation: view.id(), name: view.name().to_owned(), schema: view.schema() };
            (subject.clone(), core.dataflows.push_resume(subject, commit))
        });
        Question { commit, changes }
    }
}

/// The answer.
pub(super) struct Past {
    commit: CommitNumber,
    tables: BTreeMap<RelationId, Rows>,
    /// Since the commit; `None` where there is no such view, or its changes were not kept by then.
    changes: Option<Vec<Change>>,
    /// A flush came since.
    pub is_cold: bool,
}

impl Past {
    pub async fn of(core: &Core, asked: Question, snapshots: &[(RelationId, TableSnapshot)]) -> Past {
        let mut past = Past { commit: asked.commit, tables: BTreeMap::new(), changes: None, is_cold: false };
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
        if let Some((subject, answer)) = asked.changes {
            match answer.await.unwrap() {
                Ok(history) => {
                    let parts = history.parts.iter().map(|part| part.read(&subject.schema).unwrap());
                    past.changes = Some(parts.flatten().collect());
                }
                Err(error) => assert_eq!(error.state(), SqlState::INVALID_PARAMETER, "{error}"),
            }
        }
        past
    }

    /// Whether changes were there to be compared.
    pub fn has_changes(&self) -> bool {
        self.changes.as_ref().is_some_and(|changes| !changes.is_empty())
    }

    /// Panics where it was otherwise. `present`: what the ledger says of the head.
    pub fn check(&self, ledger: &Ledger, present: &State, head: CommitNumber) {
        let mut then = ledger.state_at(self.commit);
        if let Some(changes) = &self.changes {
            let mut content = content(&views::oracle(KEPT, &then));
            for change in changes {
                assert!(change.commit > self.commit && change.commit <= head, "a change of commit {}", change.commit);
                for (row, values) in rows_of(change.rows.rows()).into_iter().enumerate() {
                    *content.entry(rendered(&values)).or_default() += change.rows.weight(row);
                }
            }
            content.retain(|_, count| *count != 0);
            let now = self::content(&views::oracle(KEPT, present));
            assert_eq!(content, now, "changes of {KEPT} from {} to {head}", self.commit);
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
