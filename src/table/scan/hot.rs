//! The hot part of a scan: prefixes of segments, deleted rows left out as they are read.

use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::common::{DataFusionError, Result};
use datafusion::physical_plan::ExecutionPlan;

use crate::leaf::{LeafExec, Part};
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
    let shares = parts.chunks(per_partition).map(|parts| {
        let (projection, parts) = (Arc::from(projection), Arc::from(parts));
        Arc::new(HotRows { snapshot: snapshot.clone(), projection, parts }) as Arc<dyn Part>
    });
    Ok(Some(Arc::new(LeafExec::new("HotRowsExec", &snapshot.table().name, schema, shares.collect()))))
}

/// One partition's share of the hot rows.
#[derive(Debug)]
struct HotRows {
    snapshot: TableSnapshot,
    projection: Arc<[usize]>,
    parts: Arc<[HotPart]>,
}

impl Part for HotRows {
    /// With those that are deleted.
    fn rows(&self) -> usize {
        self.parts.iter().map(HotPart::rows).sum()
    }

    fn read(&self) -> Box<dyn Iterator<Item = Result<RecordBatch>> + Send> {
        let (snapshot, projection, parts) = (self.snapshot.clone(), self.projection.clone(), self.parts.clone());
        Box::new((0..parts.len()).filter_map(move |part| {
            let rows = snapshot.hot_rows(parts.get(part)?).and_then(|rows| snapshot.visible(&rows, &projection));
            match rows {
                Ok(rows) if rows.num_rows() == 0 => None,
                rows => Some(rows.map_err(|error| DataFusionError::External(Box::new(error)))),
            }
        }))
    }
}
