//! A transaction: one snapshot from its first statement on, its own writes over it, and its commit.
//!
//! ```text
//!                     reads                                  writes
//! single statement    the head; the target table under       its table's lock is held from reading to sequencing
//!                     its lock as sequenced                   (not to fsync): it cannot conflict
//! BEGIN ... COMMIT    one snapshot and its own writes         checked at COMMIT against what others did: 40001, 23505
//! ```

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::ArrayRef;
use arrow::compute::concat_batches;
use tokio::sync::{OwnedMutexGuard, oneshot};

use super::cursor::Cursors;
use super::define::with_dependents;
use super::filling::FilledBeside;
use super::handles::Handles;
use super::variables::Variables;
use super::write_set::{WriteSet, row_ids};
use crate::catalog::{Catalog, CatalogChange, Relation, Table};
use crate::commit::{Durable, HeldBytes, SequencedWrite};
use crate::dataflow::{ViewReads, ViewSnapshot};
use crate::error::{Error, Result, SqlState};
use crate::table::{DurableState, TableSnapshot};
use crate::types::{CommitNumber, RelationId};

/// One transaction, explicit or of a single statement.
pub struct Transaction {
    /// Of a single statement.
    pub is_autocommit: bool,
    /// The extended protocol's own, which ends with Sync.
    pub is_implicit: bool,
    pub read_only: bool,
    /// Wall time, microseconds: what `now()` gives.
    pub started_us: i64,
    pub writes: WriteSet,
    /// What its statements collected to write.
    pub held: HeldBytes,
    pub cursors: Cursors,
    base: Option<Base>,
    savepoints: Vec<Savepoint>,
    locks: BTreeMap<RelationId, OwnedMutexGuard<()>>,
    definitions: Option<OwnedMutexGuard<()>>,
}

/// What ROLLBACK TO goes back to.
struct Savepoint {
    name: String,
    writes: WriteSet,
    variables: Variables,
    /// Those that were declared by then.
    cursors: BTreeSet<String>,
}

/// Which commit a statement reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadMode {
    /// The head: the last durable one.
    Strict,
    /// The newest one that the views it names have applied.
    Snapshot,
}

/// Everything as of one commit.
struct Base {
    at: CommitNumber,
    /// Of the commit, microseconds.
    timestamp_us: i64,
    /// Without the transaction's own definitions.
    committed: Arc<Catalog>,
    /// With them.
    catalog: Arc<Catalog>,
    tables: HashMap<RelationId, TableSnapshot>,
    /// Of tables, where it is the head.
    watermarks: BTreeMap<RelationId, i64>,
    pending_views: Option<oneshot::Receiver<(CommitNumber, ViewReads)>>,
    views: ViewReads,
}

impl Transaction {
    pub fn autocommit(handles: &Handles) -> Self {
        Transaction::new(handles, true, false)
    }

    pub fn explicit(handles: &Handles, read_only: bool) -> Self {
        Transaction::new(handles, false, read_only)
    }

    fn new(handles: &Handles, is_autocommit: bool, read_only: bool) -> Self {
        Transaction {
            is_autocommit,
            is_implicit: false,
            read_only,
            started_us: handles.clock.now_us(),
            writes: WriteSet::default(),
            held: handles.sequencer.admission().hold(),
            cursors: Cursors::default(),
            base: None,
            savepoints: Vec::new(),
            locks: BTreeMap::new(),
            definitions: None,
        }
    }

    /// Nothing was written in it, and no BEGIN made it: what cannot run in a transaction block may run.
    pub fn is_untouched_pipeline(&self) -> bool {
        self.is_implicit && self.writes.is_empty()
    }

    /// The catalog that the transaction sees.
    pub fn catalog(&self, handles: &Handles) -> Arc<Catalog> {
        match &self.base {
            Some(base) => base.catalog.clone(),
            None => handles.catalog(),
        }
    }

    /// Fixes the snapshot, if this is the first statement. A single statement needs only what it names (`named`, with
    /// what its views read); an explicit transaction takes everything, since it cannot know what comes.
    pub async fn fix_snapshot(
        &mut self,
        handles: &Handles,
        mode: ReadMode,
        named: &(dyn Fn(&Catalog) -> HashSet<RelationId> + Sync),
    ) -> Result<()> {
        if self.base.is_some() {
            return Ok(());
        }
        if mode == ReadMode::Snapshot {
            self.base = self.at_applied(handles, named).await?;
        }
        if self.base.is_none() {
            self.base = Some(self.at_head(handles, named)?);
        }
        Ok(())
    }

    /// Everything as of the head; views answer once they are there.
    fn at_head(&self, handles: &Handles, named: &dyn Fn(&Catalog) -> HashSet<RelationId>) -> Result<Base> {
        handles.sequencer.at_head(|at| {
            let catalog = handles.catalog();
            let (tables, views) = self.wanted(&catalog, named);
            let snapshots = tables.into_iter().map(|id| Ok((id, handles.tables.snapshot(id, at)?)));
            let tables = snapshots.collect::<Result<_>>()?;
            let pending_views = (!views.is_empty()).then(|| handles.dataflows.push_read(&views));
            let committed = catalog.clone();
            let DurableState { timestamp_us, watermarks, .. } = handles.tables.durable();
            let views = ViewReads::default();
            Ok(Base { at, timestamp_us, committed, catalog, tables, watermarks, pending_views, views })
        })
    }

    /// Everything as of the newest commit that all wanted views have applied. `None` where there are none, and where a
    /// table was flushed past that commit, so that its rows are not told apart any more: then the head is read.
    async fn at_applied(
        &self,
        handles: &Handles,
        named: &(dyn Fn(&Catalog) -> HashSet<RelationId> + Sync),
    ) -> Result<Option<Base>> {
        let catalog = handles.catalog();
        let (tables, views) = self.wanted(&catalog, named);
        if views.is_empty() {
            return Ok(None);
        }
        let (at, timestamp_us, views) = handles.dataflows.read_applied(&views).await.map_err(|_| stopping())?;
        // One that takes another's place is waited for.
        if views.values().any(|view| matches!(view, Err(error) if error.state() == SqlState::UNDEFINED_TABLE)) {
            return Ok(None);
        }
        let snapshots = tables.into_iter().map(|id| Some((id, handles.tables.snapshot(id, at).ok()?)));
        let tables = snapshots.collect::<Option<_>>();
        let committed = catalog.clone();
        let watermarks = BTreeMap::new();
        Ok(tables.map(|tables| Base {
            at,
            timestamp_us,
            committed,
            catalog,
            tables,
            watermarks,
            pending_views: None,
            views,
        }))
    }

    /// Of the tables, at the commit that a strict read is of.
    pub fn watermarks(&self) -> BTreeMap<RelationId, i64> {
        self.base.as_ref().map(|base| base.watermarks.clone()).unwrap_or_default()
    }

    /// Tables, and materialized views.
    fn wanted(
        &self,
        catalog: &Catalog,
        named: &dyn Fn(&Catalog) -> HashSet<RelationId>,
    ) -> (Vec<RelationId>, Vec<RelationId>) {
        let everything = !self.is_autocommit;
        let named = if everything { HashSet::new() } else { named(catalog) };
        let (mut tables, mut views) = (Vec::new(), Vec::new());
        for relation in catalog.relations().filter(|relation| everything || named.contains(&relation.id())) {
            match relation {
                Relation::Table(table) => tables.push(table.id),
                Relation::MaterializedView(view) => views.push(view.id),
                Relation::View(_) => {}
            }
        }
        (tables, views)
    }

    /// The commit that the transaction reads at.
    pub fn at(&self) -> Option<CommitNumber> {
        self.base.as_ref().map(|base| base.at)
    }

    /// The commit that the transaction reads at, and its time in microseconds since 1970.
    pub fn at_time(&self) -> Option<(CommitNumber, i64)> {
        self.base.as_ref().map(|base| (base.at, base.timestamp_us))
    }

    /// From here on now() is the time of the commit that is read, as it is in views.
    pub fn bind_time_to_commit(&mut self) {
        if let Some(base) = &self.base {
            self.started_us = base.timestamp_us;
        }
    }

    /// Rows of all tables in the snapshot.
    pub fn rows_of_tables(&self) -> usize {
        let tables = self.base.iter().flat_map(|base| base.tables.values()).map(TableSnapshot::row_count);
        let views = self.base.iter().flat_map(|base| base.views.values()).flatten();
        tables.chain(views.map(|view| view.rows_held() as usize)).sum()
    }

    /// A table as the transaction sees it, its own writes included.
    pub fn table_snapshot(&self, handles: &Handles, id: RelationId) -> Result<TableSnapshot> {
        let base = self.base.as_ref().ok_or_else(|| Error::internal("the transaction has no snapshot"))?;
        let snapshot = if self.is_autocommit && self.locks.contains_key(&id) {
            let snapshot = handles.tables.snapshot(id, CommitNumber::MAX)?;
            // The statement was planned for the table as it was.
            if base.catalog.table(id).is_some_and(|table| table.schema_version != snapshot.table().schema_version) {
                return Err(conflict(format!("table \"{}\" was altered by another session", snapshot.table().name)));
            }
            snapshot
        } else if let Some(snapshot) = base.tables.get(&id) {
            match base.catalog.table(id) {
                // The transaction has altered it.
                Some(table) if table.schema_version != snapshot.table().schema_version => {
                    snapshot.altered(table.clone())?
                }
                _ => snapshot.clone(),
            }
        } else {
            let table =
                base.catalog.table(id).ok_or_else(|| Error::internal(format!("no table {id} in the snapshot")))?;
            handles.tables.empty_snapshot(table.clone())?
        };
        Ok(self.writes.over(id, snapshot))
    }

    /// A materialized view at the transaction's commit. Waits until it has applied it.
    pub async fn view_snapshot(&mut self, handles: &Handles, id: RelationId) -> Result<ViewSnapshot> {
        let base = self.base.as_mut().ok_or_else(|| Error::internal("the transaction has no snapshot"))?;
        if let Some(pending) = &mut base.pending_views {
            // Taken out only when it has come: a statement that is canceled here leaves it to the next.
            (_, base.views) = pending.await.map_err(|_| stopping())?;
            base.pending_views = None;
        }
        match base.views.get(&id) {
            Some(Ok(view)) => Ok(view.clone()),
            Some(Err(error)) => Err(view_failed(&base.catalog, id, error)),
            None if self.writes.catalog.iter().any(|change| creates(change, id)) => {
                Err(Error::not_built("reading a materialized view in the transaction that creates it")
                    .with_hint("COMMIT first."))
            }
            None => {
                let name = handles.catalog().get(id).map_or_else(|| id.to_string(), |view| view.name().to_owned());
                Err(Error::new(SqlState::OBJECT_NOT_IN_STATE, format!("materialized view \"{name}\" is not live")))
            }
        }
    }

    /// For a statement that reads a table in order to change it. In a single statement it takes the table's write lock;
    /// an explicit transaction is checked at COMMIT instead.
    pub async fn lock_for_change(&mut self, handles: &Handles, table: &Table) -> Result<()> {
        if self.is_autocommit && !self.locks.contains_key(&table.id) {
            let guard = handles.tables.write_lock(table.id).await?;
            self.locks.insert(table.id, guard);
        }
        Ok(())
    }

    /// For a statement that looked its table up before its snapshot was fixed: 40001 if an ALTER came in between.
    pub fn check_unaltered(&self, handles: &Handles, table: &Table) -> Result<()> {
        let version = self.catalog(handles).table(table.id).map(|found| found.schema_version);
        if version == Some(table.schema_version) {
            return Ok(());
        }
        Err(conflict(format!("table \"{}\" was altered by another session", table.name)))
    }

    /// In an explicit transaction, before a statement goes on with rows that it deletes: 40001 if another transaction
    /// has changed one of them since the snapshot.
    pub fn check_unchanged(&self, handles: &Handles, table: &Table) -> Result<()> {
        let Some(base) = self.base.as_ref().filter(|_| !self.is_autocommit) else { return Ok(()) };
        let Some(writes) = self.writes.table(table.id).filter(|_| base.tables.contains_key(&table.id)) else {
            return Ok(());
        };
        let mut deleted: Vec<_> = writes.deleted().iter().copied().collect();
        deleted.sort_unstable();
        if handles.tables.any_deleted_since(table.id, &deleted, base.at)? {
            return Err(conflict(format!("rows of table \"{}\" were changed by another transaction", table.name)));
        }
        Ok(())
    }

    /// Before a definition is checked: no other session may define anything until this transaction ends, and the
    /// catalog is the newest.
    pub async fn lock_definitions(&mut self, handles: &Handles) -> Result<()> {
        if self.definitions.is_some() {
            return Ok(());
        }
        self.definitions = Some(handles.definitions.clone().lock_owned().await);
        if self.base.is_none() {
            return self.fix_snapshot(handles, ReadMode::Strict, &|_| HashSet::new()).await;
        }
        match &self.base {
            Some(base) if !self.is_autocommit && !Arc::ptr_eq(&base.committed, &handles.catalog()) => {
                Err(conflict("another session changed definitions since this transaction began"))
            }
            _ => Ok(()),
        }
    }

    /// Remembers what was written so far, and the session's variables, under a name.
    pub fn savepoint(&mut self, name: &str, variables: Variables) {
        let (writes, cursors) = (self.writes.clone(), self.cursors.names());
        self.savepoints.push(Savepoint { name: name.to_owned(), writes, variables, cursors });
    }

    /// Forgets a savepoint and those after it; what was written since stays.
    pub fn release(&mut self, name: &str) -> Result<()> {
        let at = self.find_savepoint(name)?;
        self.savepoints.truncate(at);
        Ok(())
    }

    /// Undoes what was written since a savepoint, which stays. Gives the variables as they were then.
    pub fn rollback_to(&mut self, name: &str) -> Result<Variables> {
        let at = self.find_savepoint(name)?;
        self.savepoints.truncate(at + 1);
        let savepoint = self.savepoints.last().ok_or_else(|| no_savepoint(name))?;
        self.writes = savepoint.writes.clone();
        self.cursors.keep(&savepoint.cursors);
        if let Some(base) = &mut self.base {
            base.catalog = base.committed.clone();
            if !self.writes.catalog.is_empty() {
                let catalog = Arc::make_mut(&mut base.catalog);
                self.writes.catalog.iter().for_each(|change| catalog.apply(change));
            }
        }
        Ok(savepoint.variables.clone())
    }

    pub fn has_savepoints(&self) -> bool {
        !self.savepoints.is_empty()
    }

    /// The newest one of this name.
    fn find_savepoint(&self, name: &str) -> Result<usize> {
        self.savepoints.iter().rposition(|savepoint| savepoint.name == name).ok_or_else(|| no_savepoint(name))
    }

    /// Records a definition; later statements of the transaction see it.
    pub fn define(&mut self, change: CatalogChange) -> Result<()> {
        let base = self.base.as_mut().ok_or_else(|| Error::internal("the transaction has no snapshot"))?;
        if let CatalogChange::Drop(id) = &change {
            self.writes.forget(*id);
        }
        if let CatalogChange::AlterTable(table) = &change
            && self.writes.table(table.id).is_some()
        {
            return Err(Error::not_built("ALTER TABLE of a table whose rows the transaction has changed")
                .with_hint("COMMIT first."));
        }
        Arc::make_mut(&mut base.catalog).apply(&change);
        self.writes.catalog.push(change);
        Ok(())
    }

    /// Name of the materialized view that the commit waits for.
    pub fn creates_view(&self) -> Option<String> {
        self.writes.catalog.iter().find_map(|change| match change {
            CatalogChange::CreateMaterializedView(view) | CatalogChange::ReplaceMaterializedView { view, .. } => {
                Some(view.name.clone())
            }
            _ => None,
        })
    }

    /// Sequences the writes, waits until they are durable, and until views created here are live.
    pub async fn commit(mut self, handles: &Handles) -> Result<()> {
        if self.writes.is_empty() {
            return Ok(());
        }
        // What deletes or drops gives memory back, and must not wait for it.
        if self.writes.has_new_rows() {
            let patience = Duration::from_millis(handles.settings.memory.write_timeout_ms);
            handles.sequencer.admission().admitted_within(&*handles.clock, patience).await?;
        }
        if !self.is_autocommit {
            self.check_conflicts(handles).await?;
        }
        let created: Vec<RelationId> = self.writes.catalog.iter().filter_map(created_view).collect();
        let changes_rows = self.writes.tables().next().is_some();
        let beside = if changes_rows { &[] } else { self.writes.catalog.as_slice() };
        let beside = FilledBeside::fill(handles, beside).await?;
        let durable = sequence(handles, std::mem::take(&mut self.writes))?;
        beside.take_over();
        // Others may change the tables now: what was sequenced is what they read. Definitions stay locked until theirs
        // are published.
        self.locks.clear();
        durable.await?;
        let catalog = handles.catalog();
        let above = with_dependents(&catalog, &created);
        for view in &created {
            if let Some(live) = handles.live_views.take(*view) {
                live.await.map_err(|_| stopping())??;
            }
        }
        // RESUME puts the views above into the stream too. What becomes of them is theirs, and tidemark.views tells.
        for view in above {
            if let Some(live) = handles.live_views.take(view) {
                let _ = live.await.map_err(|_| stopping())?;
            }
        }
        Ok(())
    }

    /// Takes the locks of all tables that others could have changed under us, in the order of their ids so that two
    /// transactions cannot wait for each other, and compares.
    async fn check_conflicts(&mut self, handles: &Handles) -> Result<()> {
        let Some(base) = &self.base else { return Ok(()) };
        for writes in self.writes.tables() {
            if !base.tables.contains_key(&writes.table.id) {
                continue;
            }
            if writes.table.key().is_some() || !writes.deleted().is_empty() {
                let guard = handles.tables.write_lock(writes.table.id).await?;
                self.locks.insert(writes.table.id, guard);
            }
            let mut deleted: Vec<_> = writes.deleted().iter().copied().collect();
            deleted.sort_unstable();
            if handles.tables.any_deleted_since(writes.table.id, &deleted, base.at)? {
                return Err(conflict(format!(
                    "rows of table \"{}\" were changed by another transaction",
                    writes.table.name
                )));
            }
            if let Some(key) = writes.table.key() {
                let rows = concat_batches(&writes.table.schema_with_row_id(), writes.inserts())?;
                let keys: Vec<ArrayRef> = key.iter().map(|column| rows.column(*column).clone()).collect();
                let (live, found) = handles.tables.lookup_keys(writes.table.id, &keys).await?;
                let ids = row_ids(&live);
                if found.iter().flatten().any(|row| !writes.deleted().contains(&ids.value(*row as usize))) {
                    return Err(conflict(format!(
                        "a row with the same primary key was inserted into table \"{}\" by another transaction",
                        writes.table.name
                    )));
                }
            }
        }
        Ok(())
    }
}

/// Gives the writes their place in the order of commits, and makes them part of sequenced state.
pub fn sequence(handles: &Handles, writes: WriteSet) -> Result<Durable> {
    let write = writes.into_write()?;
    let apply = |sequenced: &SequencedWrite<'_>| handles.tables.apply_with_definitions(sequenced);
    let ((), durable) = handles.tables.sequence_marked(write, |write| handles.sequencer.sequence(write, apply))?;
    Ok(durable)
}

fn no_savepoint(name: &str) -> Error {
    Error::new(SqlState::INVALID_SAVEPOINT, format!("savepoint \"{name}\" does not exist"))
}

fn conflict(detail: impl Into<String>) -> Error {
    Error::new(SqlState::SERIALIZATION_FAILURE, "could not serialize access due to concurrent update")
        .with_detail(format!("{}.", detail.into()))
        .with_hint("Retry the transaction.")
}

/// What a reader of a view that is not followed any more is told.
fn view_failed(catalog: &Catalog, id: RelationId, error: &Error) -> Error {
    let name = catalog.get(id).map_or_else(|| id.to_string(), |view| view.name().to_owned());
    // The worker has not come to it yet, or not any more.
    if error.state() == SqlState::UNDEFINED_TABLE {
        return Error::new(SqlState::OBJECT_NOT_IN_STATE, format!("materialized view \"{name}\" is not live"))
            .with_hint("It is being filled. A read in read_mode 'strict' waits for it.");
    }
    let became = if error.state() == SqlState::PROGRAM_LIMIT_EXCEEDED { "is suspended" } else { "failed" };
    Error::new(SqlState::OBJECT_NOT_IN_STATE, format!("materialized view \"{name}\" {became}"))
        .with_detail(format!("{}.", error.message()))
        .with_hint("tidemark.views shows its status; ALTER MATERIALIZED VIEW ... RESUME fills it again.")
}

pub(super) fn stopping() -> Error {
    Error::new(SqlState::ADMIN_SHUTDOWN, "the server is shutting down")
}

fn created_view(change: &CatalogChange) -> Option<RelationId> {
    match change {
        CatalogChange::CreateMaterializedView(view) | CatalogChange::ReplaceMaterializedView { view, .. } => {
            Some(view.id)
        }
        CatalogChange::Resume(view) => Some(*view),
        _ => None,
    }
}

fn creates(change: &CatalogChange, id: RelationId) -> bool {
    created_view(change) == Some(id)
}
