//! What a client decodes is what went in, in messages of the wanted size.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray};
use arrow_flight::decode::FlightRecordBatchStream;
use futures::{StreamExt, TryStreamExt, stream};

use super::*;

fn rows(count: i64) -> RecordBatch {
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..count));
    let names: ArrayRef =
        Arc::new((0..count).map(|n| (n % 7 > 0).then(|| format!("truck_{n}"))).collect::<StringArray>());
    RecordBatch::try_from_iter_with_nullable([("id", ids, true), ("name", names, true)]).unwrap()
}

#[tokio::test]
async fn rows_come_back_and_a_slice_sends_only_its_own() {
    let whole = rows(100_000);
    let slice = whole.slice(33_333, 10_000);
    let mut encoder = Encoder::new();
    let mut messages = vec![encoder.schema(&slice.schema())];
    for part in cut(&slice, 50_000) {
        messages.push(encoder.rows(&part).unwrap());
    }
    let bodies: Vec<usize> = messages[1..].iter().map(|message| message.data_body.len()).collect();
    assert!(bodies.len() > 3 && bodies.iter().all(|bytes| (20_000..80_000).contains(bytes)), "{bodies:?}");
    let decoded: Vec<RecordBatch> =
        FlightRecordBatchStream::new_from_flight_data(stream::iter(messages).map(Ok)).try_collect().await.unwrap();
    let decoded = arrow::compute::concat_batches(&slice.schema(), &decoded).unwrap();
    assert_eq!(decoded, slice);
}

#[test]
fn no_rows_are_no_message() {
    assert_eq!(cut(&rows(0), 1000).count(), 0);
    assert_eq!(cut(&rows(1), 0).map(|part| part.num_rows()).collect::<Vec<_>>(), [1]);
}
