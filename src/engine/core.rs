//! The core, wired and recovered: tables, log, sequencer and views over given seams.
//!
//! Starts no thread: the loops that must run are given back, and the server runs them on threads, a simulation under its
//! executor.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use datafusion::execution::SessionState;
use object_store::ObjectStore;
use tokio::sync::{mpsc, oneshot};

use super::publisher::{Publisher, SourceChange};
use super::rebuild::{Behind, StartOfViews};
use super::recovery::{Recovered, recover};
use crate::catalog::MaterializedView;
use crate::commit::{LogWriter, Publish, Sequencer};
use crate::dataflow::checkpoint::{Checkpointer, Checkpoints, SavedCheckpoint, SavedView};
use crate::dataflow::state::Residence;
use crate::dataflow::{Dataflows, ViewReads, Worker};
use crate::error::{Error, Result};
use crate::io::{Clock, Disk};
use crate::settings::Settings;
use crate::statement::LiveViews;
use crate::table::{DurableState, Tables};
use crate::tier::{Tier, WriterId};
use crate::types::CommitNumber;

/// The world outside, as the core sees it.
#[derive(Clone)]
pub(super) struct Seams {
    pub clock: Arc<dyn Clock>,
    pub disk: Arc<dyn Disk>,
    pub store: Arc<dyn ObjectStore>,
    /// In whose name manifests are written.
    pub writer: WriterId,
}

/// What statements and sources work with.
pub(super) struct Core {
    pub tables: Arc<Tables>,
    pub sequencer: Arc<Sequencer>,
    pub dataflows: Dataflows,
    pub publisher: Arc<Publisher>,
    pub checkpointer: Arc<Checkpointer>,
    pub residence: Arc<Residence>,
    pub recovered: Recovered,
}

/// What must run for the core to work; each ends by itself once the sequencer is shut down, and the views are stopped.
pub(super) struct Loops {
    pub log: LogWriter,
    pub views: Worker,
    pub found: FoundViews,
}

/// Views on their way back.
pub(super) struct Rebuilding {
    views: Vec<(Arc<MaterializedView>, oneshot::Receiver<Result<()>>)>,
    /// When all of them, and those from the checkpoint, are at the head.
    stepped: oneshot::Receiver<(CommitNumber, ViewReads)>,
}

impl Rebuilding {
    /// Until all are live, or cannot be, and at the head. Gives how many of those that are made again are live.
    pub async fn wait(self) -> usize {
        // Where the worker has ended, the server stops.
        let _ = self.stepped.await;
        let mut live = 0;
        for (view, made) in self.views {
            match made.await {
                Ok(Ok(())) => live += 1,
                Ok(Err(error)) => tracing::error!(view = %view.name, %error, "the view could not be rebuilt"),
                // The worker has ended, because the server stops.
                Err(_) => {}
            }
        }
        live
    }
}

/// What the last life left of views, for [`Core::recover_views`].
pub(super) struct FoundViews {
    checkpoint: Option<SavedCheckpoint>,
    started: StartOfViews,
    /// With the log.
    disk: Arc<dyn Disk>,
}

impl Core {
    /// Recovers, and wires. `registry`: functions and types that stored plans refer to. `published` says who hears of
    /// commits: the publisher, or something around it.
    pub async fn open(
        seams: &Seams,
        settings: &Settings,
        registry: SessionState,
        sources: mpsc::UnboundedSender<SourceChange>,
        published: impl FnOnce(Arc<Publisher>) -> Arc<dyn Publish>,
    ) -> Result<(Core, Loops)> {
        let Seams { clock, disk, store, writer } = seams.clone();
        let tier = Tier::new(store);
        let tables = Tables::new(tier.clone(), settings.table.clone(), clock.clone());
        let (checkpoints, found) = Checkpoints::open(disk.clone())?;
        let mut behind = Behind::new(settings.checkpoint.log_bytes);
        let mut checkpoint = found.checkpoint;
        let commit = checkpoint.as_ref().map(|checkpoint| checkpoint.commit);
        let (mut recovered, start, replayed) =
            recover(&disk, &*clock, &tier, &tables, &writer, commit, &mut behind).await?;
        recovered.damaged_checkpoints = found.damaged.iter().map(ToString::to_string).collect();
        // The log may have been truncated behind it, or be of another time.
        if commit.is_some_and(|commit| replayed.after > commit || commit > recovered.head) {
            recovered.damaged_checkpoints.push("the log does not reach back to it".to_owned());
            checkpoint = None;
            checkpoints.forget()?;
        }
        recovered.checkpoint = checkpoint.as_ref().map(|checkpoint| checkpoint.commit);
        let residence = Residence::with_store(checkpoints.pages().clone());
        let cold = tables.durable_in_manifest().await;
        let (started, changelogs) =
            StartOfViews::prepare(&disk, settings, &tables, cold, recovered.checkpoint, behind)?;
        let (dataflows, views) = Worker::new(settings.dataflow.clone(), started.at);
        let views = views.with_changelogs(changelogs).at_time(started.builds.timestamp_us);
        let changes = dataflows.clone();
        tables.before_flush(move || {
            let changes = changes.clone();
            Box::pin(async move { changes.sync_changes().await })
        });
        let publisher = Arc::new(Publisher {
            tables: tables.clone(),
            dataflows: dataflows.clone(),
            live_views: Arc::new(LiveViews::default()),
            sources,
            registry,
        });
        let hears = published(publisher.clone());
        let (sequencer, log) =
            Sequencer::new(settings.wal.clone(), clock.clone(), start, hears, disk.clone(), replayed.tail);
        let checkpointer =
            Checkpointer::new(settings.checkpoint.clone(), checkpoints, dataflows.clone(), sequencer.clone(), clock);
        let views = views.with_residence(residence.clone());
        let core = Core { tables, sequencer, dataflows, publisher, checkpointer, residence, recovered };
        Ok((core, Loops { log, views, found: FoundViews { checkpoint, started, disk } }))
    }

    /// Views come back from the checkpoint and the commits behind it; those that it does not have, or that cannot be read,
    /// are made again from the tables. The loops must run, and nobody may commit before this returns. Then everything is in the
    /// stream, and reads of any view stand behind it; what is waited for is that all are live. Where the log holds more than
    /// memory is for, it is read piece by piece, and the views have stepped over all but the last.
    pub async fn recover_views(&mut self, found: FoundViews) -> Result<Rebuilding> {
        let FoundViews { checkpoint, started, disk } = found;
        let catalog = self.tables.durable().catalog;
        for (relation, retention_us) in catalog.subscribe_retentions() {
            self.publisher.keep_changes(relation, retention_us);
        }
        let mut saved = checkpoint.map_or(Vec::new(), |checkpoint| checkpoint.views).into_iter().peekable();
        let mut missing = BTreeSet::new();
        for view in catalog.materialized_views() {
            while saved.next_if(|saved| saved.view < view.id).is_some() {}
            let saved = saved.next_if(|saved| saved.view == view.id);
            // Its own place in the order must be the one of what it reads.
            let stands_alone = !view.depends_on.iter().any(|on| missing.contains(on));
            let restored = match saved.filter(|_| stands_alone) {
                Some(saved) => self.restore(view, saved).await?,
                None => false,
            };
            if !restored {
                missing.insert(view.id);
            }
        }
        self.recovered.views_to_rebuild = missing.len();
        let rebuilt: Vec<_> = catalog.materialized_views().filter(|view| missing.contains(&view.id)).cloned().collect();
        let StartOfViews { at, mut behind, builds: mut then } = started;
        let mut unbuilt: VecDeque<_> = rebuilt.iter().collect();
        // Those that are there by then; a view's id is greater than those of the views that it reads.
        let mut build = |then: &DurableState| {
            while let Some(view) = unbuilt.pop_front_if(|view| then.catalog.get(view.id).is_some()) {
                self.publisher.create_view_at(view, then)?;
            }
            Ok::<(), Error>(())
        };
        if at >= then.commit {
            build(&then)?;
        }
        loop {
            for commit in behind.commits.drain(..) {
                if commit.number > then.commit {
                    then.advance(&commit);
                }
                self.dataflows.push_recovered(commit.clone());
                if commit.number >= then.commit {
                    build(&then)?;
                }
            }
            let Some(after) = behind.goes_on_after else { break };
            // Where the worker has ended, the views are gone, and reads say so.
            let _ = self.dataflows.push_read(&[]).await;
            behind = behind.read_on(&disk, after)?;
        }
        build(&self.tables.durable())?;
        let stepped = self.dataflows.push_read(&[]);
        let views = rebuilt.into_iter().filter_map(|view| {
            let live = self.publisher.live_views.take(view.id)?;
            Some((view, live))
        });
        Ok(Rebuilding { views: views.collect(), stepped })
    }

    /// Whether the view is back.
    async fn restore(&self, view: &Arc<MaterializedView>, saved: SavedView) -> Result<bool> {
        // What cannot be read is told when the view is made.
        let Ok(plan) = self.publisher.plan_of(view) else { return Ok(false) };
        let restored = self.dataflows.push_restore(view.clone(), plan, saved).await;
        match restored.map_err(|_| Error::internal("the dataflow worker ended"))? {
            Ok(()) => Ok(true),
            Err(error) => {
                tracing::warn!(view = %view.name, %error, "the view's checkpoint is of no use");
                Ok(false)
            }
        }
    }
}
