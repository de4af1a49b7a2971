//! The hot part of a scan: prefixes of segments, deleted rows left out as they are read.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use futures::stream;

use crate::table::snapshot::{HotPart, TableSnapshot};

/// `None` where nothing is hot.
pub(super) fn scan(
    snapshot: &TableSnapshot,
    projection: &[usize],
    partitions: usize,
    batch_rows: usize,
) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let parts = snapshot.hot_parts(batch_rows.max(1));
    if parts.is_empty() {
        return Ok(None);
    }
    let schema = Arc::new(snapshot.schema_with_row_id().project(projection)?);
    let per_partition = parts.len().div_ceil(partitions);
    let streams = parts.chunks(per_partition).map(|parts| {
        Arc::new(HotRows {
            snapshot: snapshot.clone(),
            projection: Arc::from(projection),
            schema: schema.clone(),
            parts: Arc::from(parts),
        }) as Arc<dyn PartitionStream>
    });
    let streams: Vec<_> = streams.collect();
    Ok(Some(Arc::new(StreamingTableExec::try_new(schema.clone(), streams, None, [], false, None)?)))
}

/// One partition's share of the hot rows.
struct HotRows {
    snapshot: TableSnapshot,
    projection: Arc<[usize]>,
    schema: SchemaRef,
    parts: Arc<[HotPart]>,
}

impl fmt::Debug for HotRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HotRows({:?}, {} parts)", self.snapshot, self.parts.len())
    }
}

impl PartitionStream for HotRows {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let (snapshot, projection, parts) = (self.snapshot.clone(), self.projection.clone(), self.parts.clone());
        let visible = (0..parts.len()).filter_map(move |part| {
            let rows = snapshot.hot_rows(parts.get(part)?).and_then(|rows| snapshot.visible(&rows, &projection));
            match rows {
                Ok(rows) if rows.num_rows() == 0 => None,
                rows => Some(rows.map_err(|error| DataFusionError::External(Box::new(error)))),
            }
        });
        Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), stream::iter(visible)))
    }
}
