use std::sync::Arc;

use parking_lot::Mutex;

use super::*;
use crate::error::Result;
use crate::io::{Disk, OsDisk, SystemClock};
use crate::settings::WalSettings;
use crate::types::{CommitNumber, RelationId};

#[derive(Default)]
struct Collect(Mutex<Vec<Arc<Commit>>>);

impl Publish for Collect {
    fn publish(&self, commit: &Arc<Commit>) {
        self.0.lock().push(commit.clone());
    }
}

fn rows(values: std::ops::Range<i64>) -> arrow::array::RecordBatch {
    let array: arrow::array::ArrayRef = Arc::new(arrow::array::Int64Array::from_iter_values(values));
    arrow::array::RecordBatch::try_from_iter([("value", array)]).unwrap()
}

fn insert(values: std::ops::Range<i64>) -> Write {
    let table = TableWrite { table: RelationId(16384), schema_version: 1, inserts: Some(rows(values)), deletes: None };
    Write { tables: vec![table], ..Write::default() }
}

#[tokio::test]
async fn what_is_acknowledged_on_a_real_disk_is_replayed() -> Result<()> {
    let root = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(OsDisk::open(root.path())?);
    let live = Arc::new(Collect::default());
    let replayed = replay(&disk, CommitNumber(0), &mut |_| Ok(()))?;
    let (sequencer, writer) = Sequencer::new(
        WalSettings::default(),
        Arc::new(SystemClock::new()),
        SequencerStart::default(),
        live.clone(),
        disk.clone(),
        replayed.tail,
    );
    let writer = tokio::spawn(writer.run());
    for i in 0..3 {
        let ((), durable) = sequencer.sequence(insert(i..i + 2), |_| Ok(()))?;
        assert_eq!(durable.await?, CommitNumber(i as u64 + 1));
    }
    assert_eq!(sequencer.durable_head(), CommitNumber(3));
    sequencer.shutdown().await;
    writer.await.unwrap()?;
    let again = Collect::default();
    let replayed = replay(&disk, CommitNumber(0), &mut |commit| {
        again.publish(&commit);
        Ok(())
    })?;
    assert_eq!(replayed.records, 3);
    assert_eq!(replayed.max_row_id, Some(6));
    assert_eq!(format!("{:?}", again.0.lock()), format!("{:?}", live.0.lock()));
    Ok(())
}
