//! What is read: types, one commit, parts, cancel.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Int64Type, IntervalUnit, TimeUnit};
use arrow_flight::{Action, CancelFlightInfoRequest, CancelFlightInfoResult, CancelStatus};
use futures::StreamExt;
use prost::Message;
use tonic::Code;

use super::{Client, Running, eventually, fetch, fetch_info, number, read, refused, sqlstate, start};

/// Rows that make several parts, cold ones in several files and hot ones.
async fn many_rows(running: &Running) -> i64 {
    running.sql("CREATE TABLE readings (id bigint NOT NULL, name text)").await;
    for start in [0, 80_000, 160_000] {
        let rows = format!("SELECT n, 'truck_' || n FROM generate_series({start}, {}) AS t(n)", start + 79_999);
        running.sql(&format!("INSERT INTO readings {rows}")).await;
        if start < 160_000 {
            running.sql("FLUSH").await;
        }
    }
    240_000
}

fn sum(batches: &[RecordBatch]) -> (i64, usize) {
    let ids = batches.iter().map(|batch| arrow::compute::sum(batch.column(0).as_primitive::<Int64Type>()).unwrap_or(0));
    (ids.sum(), batches.iter().map(RecordBatch::num_rows).sum())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_has_its_arrow_form_hot_and_cold() {
    let running = start().await;
    let mut client = running.client().await;
    running
        .sql(
            "CREATE TABLE kinds (b boolean, i2 smallint, i4 integer, i8 bigint, f4 real, f8 double precision, \
             n numeric(12,3), t text, v varchar(5), y bytea, d date, ts timestamp, tz timestamptz, iv interval); \
             INSERT INTO kinds VALUES (true, 1, 2, 3, 1.5, 2.5, 12345.678, 'a', 'b', '\\x00ff', '2026-01-02', \
             '2026-01-02 03:04:05.000006', '2026-01-02 03:04:05+01', '1 month 2 days 03:00:00'), \
             (NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)",
        )
        .await;
    let hot = fetch(&mut client, "SELECT * FROM kinds ORDER BY b").await;
    let types: Vec<DataType> = hot.schema().fields().iter().map(|field| field.data_type().clone()).collect();
    let expected = [
        DataType::Boolean,
        DataType::Int16,
        DataType::Int32,
        DataType::Int64,
        DataType::Float32,
        DataType::Float64,
        DataType::Decimal128(12, 3),
        DataType::Utf8,
        DataType::Utf8,
        DataType::Binary,
        DataType::Date32,
        DataType::Timestamp(TimeUnit::Microsecond, None),
        DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        DataType::Interval(IntervalUnit::MonthDayNano),
    ];
    assert_eq!(types, expected, "and no _row_id");
    assert!(hot.columns().iter().all(|column| column.is_valid(0) && column.is_null(1)));
    running.sql("FLUSH").await;
    assert_eq!(fetch(&mut client, "SELECT * FROM kinds ORDER BY b").await, hot);
    // What DataFusion computes in other forms leaves in the same ones.
    let computed =
        fetch(&mut client, "SELECT NULL, ARRAY[1, 2], upper(t), count(*) FROM kinds GROUP BY 3 LIMIT 1").await;
    let types: Vec<DataType> = computed.schema().fields().iter().map(|field| field.data_type().clone()).collect();
    let numbers = DataType::new_list(DataType::Int64, true);
    assert_eq!(types, [DataType::Utf8, numbers, DataType::Utf8, DataType::Int64]);
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_are_disjoint_and_read_one_commit() {
    let running = start().await;
    let rows = many_rows(&running).await;
    let mut client = running.client().await;
    let info = client.execute("SELECT id, name FROM readings WHERE id >= 0".into(), None).await.unwrap();
    assert!(info.endpoint.len() > 1, "{} endpoints", info.endpoint.len());
    assert!(!info.ordered);
    // Neither rows that come nor rows that go now are seen.
    running.sql("INSERT INTO readings SELECT n, '' FROM generate_series(1000000, 1000999) AS t(n)").await;
    running.sql("DELETE FROM readings WHERE id < 1000; FLUSH").await;
    let mut parts = Vec::new();
    for (index, endpoint) in info.endpoint.iter().enumerate() {
        // A stream that broke off may be read again. Not the last: what is left of it may be sent before it breaks, and
        // then all parts were read.
        if index + 1 < info.endpoint.len() {
            let mut broken = client.do_get(endpoint.ticket.clone().unwrap()).await.unwrap();
            assert!(broken.next().await.unwrap().unwrap().num_rows() > 0);
        }
        parts.push(sum(&read(&mut client, endpoint).await.unwrap()));
    }
    assert!(parts.iter().all(|(_, rows)| *rows > 10_000), "{parts:?}");
    let whole = parts.iter().fold((0, 0), |all, part| (all.0 + part.0, all.1 + part.1));
    assert_eq!(whole, (rows * (rows - 1) / 2, rows as usize));
    // Read whole, it is not kept.
    let status = refused(read(&mut client, &info.endpoint[0]).await);
    assert_eq!((status.code(), sqlstate(&status).as_str()), (Code::NotFound, "34000"));
    assert_eq!(number(&mut client, "SELECT count(*) FROM readings").await, rows);
}

#[tokio::test(flavor = "multi_thread")]
async fn small_ordered_and_aggregated_results_are_one_part() {
    let running = start().await;
    many_rows(&running).await;
    let mut client = running.client().await;
    let ordered = client.execute("SELECT id FROM readings ORDER BY id DESC".into(), None).await.unwrap();
    assert!(ordered.endpoint.len() == 1 && ordered.ordered);
    let batches = read(&mut client, &ordered.endpoint[0]).await.unwrap();
    assert_eq!(batches[0].column(0).as_primitive::<Int64Type>().value(0), 239_999);
    for sql in ["SELECT count(*) FROM readings", "SELECT id FROM readings LIMIT 200000", "SELECT 1", "TABLE pg_class"] {
        let info = client.execute(sql.into(), None).await.unwrap();
        assert_eq!(info.endpoint.len(), 1, "{sql}");
    }
    running.sql("CREATE TABLE devices (name text); INSERT INTO devices VALUES ('a')").await;
    let small = client.execute("SELECT * FROM devices".into(), None).await.unwrap();
    assert_eq!(small.endpoint.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_are_read_at_once_in_tables_and_views() {
    let running = start().await;
    running
        .sql("CREATE TABLE readings (id bigint); CREATE MATERIALIZED VIEW total AS SELECT sum(id) AS s FROM readings")
        .await;
    let mut client = running.client().await;
    for n in 1..=20_i64 {
        running.sql(&format!("INSERT INTO readings VALUES ({n})")).await;
        assert_eq!(number(&mut client, "SELECT count(*) FROM readings").await, n);
        assert_eq!(number(&mut client, "SELECT CAST(s AS bigint) FROM total").await, n * (n + 1) / 2);
    }
}

async fn cancel(client: &mut Client, info: arrow_flight::FlightInfo) -> CancelStatus {
    let body = CancelFlightInfoRequest::new(info).encode_to_vec();
    let mut answer = client.do_action(Action::new("CancelFlightInfo", body)).await.unwrap();
    let body = answer.message().await.unwrap().unwrap().body;
    CancelFlightInfoResult::decode(body).unwrap().status()
}

/// Far more than can be sent in the time of a test.
const ENDLESS: &str = "SELECT n FROM generate_series(1, 100000000000) AS t(n)";

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_query_ends_all_its_streams() {
    let running = start().await;
    let mut client = running.client().await;
    let info = client.execute(ENDLESS.into(), None).await.unwrap();
    let mut stream = client.do_get(info.endpoint[0].ticket.clone().unwrap()).await.unwrap();
    stream.next().await.unwrap().unwrap();
    assert_eq!(cancel(&mut running.client().await, info.clone()).await, CancelStatus::Cancelled);
    let status = loop {
        if let Err(error) = stream.next().await.expect("an error before the end") {
            break refused::<()>(Err(error));
        }
    };
    assert_eq!((status.code(), sqlstate(&status).as_str()), (Code::Cancelled, "57014"));
    assert_eq!(cancel(&mut client, info.clone()).await, CancelStatus::NotCancellable);
    assert_eq!(refused(read(&mut client, &info.endpoint[0]).await).code(), Code::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_timeout_asked_for_in_a_header_ends_a_stream() {
    let running = start().await;
    let mut client = running.client().await;
    client.set_header("tidemark-set-statement-timeout", "200ms");
    let info = client.execute(ENDLESS.into(), None).await.unwrap();
    let status = refused(read(&mut client, &info.endpoint[0]).await);
    assert!(status.message().contains("statement timeout"), "{}", status.message());
    client.set_header("tidemark-set-statement-timeout", "soon");
    assert_eq!(sqlstate(&refused(client.execute("SELECT 1".into(), None).await)), "22023");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_the_server_ends_streams() {
    let running = start().await;
    let mut client = running.client().await;
    let info = client.execute(ENDLESS.into(), None).await.unwrap();
    let mut stream = client.do_get(info.endpoint[0].ticket.clone().unwrap()).await.unwrap();
    stream.next().await.unwrap().unwrap();
    let reader = tokio::spawn(async move {
        loop {
            if let Err(error) = stream.next().await.expect("an error before the end") {
                return refused::<()>(Err(error));
            }
        }
    });
    tokio::time::timeout(std::time::Duration::from_secs(20), running.server.shutdown()).await.unwrap().unwrap();
    assert_eq!(sqlstate(&reader.await.unwrap()), "57P01");
}

#[tokio::test(flavor = "multi_thread")]
async fn results_that_nobody_reads_are_let_go() {
    let running = super::start_with(|settings| {
        settings.trust_loopback = true;
        settings.flight.results_max = 2;
    })
    .await;
    let mut client = running.client().await;
    let mut infos = Vec::new();
    for n in 0..3 {
        infos.push(client.execute(format!("SELECT CAST({n} AS bigint)"), None).await.unwrap());
    }
    let status = refused(read(&mut client, &infos[0].endpoint[0]).await);
    assert!(status.message().contains("flight.results_max"), "{}", status.message());
    assert_eq!(fetch_info(&mut client, &infos[2]).await.num_rows(), 1);
    assert_eq!(fetch_info(&mut client, &infos[1]).await.num_rows(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_lets_go_what_it_read() {
    let running = start().await;
    running.sql("CREATE TABLE readings (id bigint)").await;
    running.sql("INSERT INTO readings SELECT n FROM generate_series(1, 100000) AS t(n)").await;
    let mut client = running.client().await;
    // A sort holds memory of the query engine until its query ends.
    let sql = "SELECT r.id FROM readings r, generate_series(1, 200) ORDER BY 1";
    let info = client.execute(sql.into(), None).await.unwrap();
    let mut stream = client.do_get(info.endpoint[0].ticket.clone().unwrap()).await.unwrap();
    stream.next().await.unwrap().unwrap();
    assert!(running.server.query_memory_bytes() > 0);
    drop(stream);
    eventually(|| running.server.query_memory_bytes() == 0).await;
}
