//! The core, wired and recovered: tables, log, sequencer and views over given seams.
//!
//! Starts no thread and opens no file: the loops that must run are given back, and the server runs them on threads, a
//! simulation under its executor.

use std::sync::Arc;

use datafusion::execution::SessionState;
use object_store::ObjectStore;
use tokio::sync::mpsc;

use super::publisher::{Publisher, SourceChange};
use super::recovery::{Recovered, recover};
use crate::commit::{LogWriter, Publish, Sequencer};
use crate::dataflow::{Dataflows, Worker};
use crate::error::{Error, Result};
use crate::io::{Clock, Disk};
use crate::settings::Settings;
use crate::statement::LiveViews;
use crate::table::Tables;
use crate::tier::Tier;

/// The world outside, as the core sees it.
#[derive(Clone)]
pub(super) struct Seams {
    pub clock: Arc<dyn Clock>,
    pub disk: Arc<dyn Disk>,
    pub store: Arc<dyn ObjectStore>,
}

/// What statements and sources work with.
pub(super) struct Core {
    pub tables: Arc<Tables>,
    pub sequencer: Arc<Sequencer>,
    pub dataflows: Dataflows,
    pub publisher: Arc<Publisher>,
    pub recovered: Recovered,
}

/// What must run for the core to work; each ends by itself once the sequencer is shut down, and the views are stopped.
pub(super) struct Loops {
    pub log: LogWriter,
    pub views: Worker,
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
        let Seams { clock, disk, store } = seams.clone();
        let tier = Tier::new(store);
        let tables = Tables::new(tier.clone(), settings.table.clone(), clock.clone());
        let (recovered, start, replayed) = recover(&disk, &*clock, &tier, &tables).await?;
        let (dataflows, views) = Worker::new(settings.dataflow.clone(), recovered.head);
        let publisher = Arc::new(Publisher {
            tables: tables.clone(),
            dataflows: dataflows.clone(),
            live_views: Arc::new(LiveViews::default()),
            sources,
            registry,
        });
        let hears = published(publisher.clone());
        let (sequencer, log) = Sequencer::new(settings.wal.clone(), clock, start, hears, disk, replayed.tail);
        let core = Core { tables, sequencer, dataflows, publisher, recovered };
        Ok((core, Loops { log, views }))
    }

    /// Until views have checkpoints, a start makes them again from the tables. The loops must run.
    pub async fn rebuild_views(&self) -> Result<()> {
        let catalog = self.tables.durable().catalog;
        self.sequencer
            .at_head(|head| catalog.materialized_views().try_for_each(|view| self.publisher.create_view(view, head)))?;
        for view in catalog.materialized_views() {
            if let Some(live) = self.publisher.live_views.take(view.id) {
                let live = live.await.map_err(|_| Error::internal("the dataflow worker ended"))?;
                if let Err(error) = live {
                    tracing::error!(view = %view.name, %error, "the view could not be rebuilt");
                }
            }
        }
        Ok(())
    }
}
