//! What readers of flushed rows keep, and for how long.

use futures::{FutureExt, TryStreamExt};

use crate::error::{Result, SqlState};
use crate::table::snapshot::TableSnapshot;
use crate::table::tests::{Database, READINGS, Simulation, reading_rows, readings, simulate};

/// Rows that a snapshot gives, or its error.
async fn read(snapshot: &TableSnapshot) -> Result<usize> {
    let batches: Vec<_> = snapshot.stream(None, 3).try_collect().await?;
    Ok(batches.iter().map(|rows| rows.num_rows()).sum())
}

/// One whose hot rows are these, which are then flushed.
async fn reader_before_a_flush(database: &Database, rows: i64) -> TableSnapshot {
    database.insert(READINGS, reading_rows(&(0..rows).collect::<Vec<_>>())).await.unwrap();
    let reader = database.at_head(READINGS);
    database.tables.flush(READINGS, &database.sequencer).await.unwrap();
    reader
}

async fn opened(simulation: &Simulation) -> Database {
    let database = simulation.open().await;
    database.create(readings()).await.unwrap();
    database
}

#[test]
fn the_oldest_rows_go_under_their_readers() {
    simulate(1, |simulation| {
        async move {
            let database = opened(&simulation).await;
            let first = reader_before_a_flush(&database, 10).await;
            let first_bytes = database.tables.left_bytes();
            let second = reader_before_a_flush(&database, 10).await;
            assert!(first_bytes > 0 && database.tables.left_bytes() == 2 * first_bytes);
            database.tables.keep_left_within(2 * first_bytes);
            assert_eq!((read(&first).await.unwrap(), read(&second).await.unwrap()), (10, 20), "there is room for both");
            database.tables.keep_left_within(first_bytes);
            let error = read(&first).await.unwrap_err();
            assert_eq!(error.state(), SqlState::CONFIGURATION_LIMIT_EXCEEDED);
            assert!(error.message().contains("\"readings\""), "{error:?}");
            assert_eq!(read(&second).await.unwrap(), 20);
            assert_eq!(database.tables.left_bytes(), first_bytes);
            database.tables.keep_left_within(0);
            read(&second).await.unwrap_err();
            // Whoever comes now reads files, and what is hot.
            database.insert(READINGS, reading_rows(&[1])).await.unwrap();
            assert_eq!(read(&database.at_head(READINGS)).await.unwrap(), 21);
            assert_eq!(database.tables.left_bytes(), 0);
        }
        .boxed()
    });
}

#[test]
fn what_a_view_is_filled_from_stays() {
    simulate(2, |simulation| {
        async move {
            let database = opened(&simulation).await;
            let filled = reader_before_a_flush(&database, 10).await.kept();
            let later = reader_before_a_flush(&database, 10).await;
            database.tables.keep_left_within(0);
            assert_eq!(read(&filled).await.unwrap(), 10);
            read(&later).await.unwrap_err();
            drop(filled);
            database.tables.keep_left_within(0);
            assert_eq!(database.tables.left_bytes(), 0);
        }
        .boxed()
    });
}

#[test]
fn rows_that_nobody_reads_are_gone_with_the_flush() {
    simulate(3, |simulation| {
        async move {
            let database = opened(&simulation).await;
            drop(reader_before_a_flush(&database, 10).await);
            assert_eq!(database.tables.left_bytes(), 0);
            // What came after the flush began stays hot, and a reader of it is not ended.
            database.insert(READINGS, reading_rows(&[1, 2])).await.unwrap();
            let reader = database.at_head(READINGS);
            database.tables.keep_left_within(0);
            assert_eq!(read(&reader).await.unwrap(), 12);
        }
        .boxed()
    });
}
