//! What tokio-postgres sees.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use futures::{SinkExt, StreamExt, TryStreamExt};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use super::TestServer;
use crate::settings::ServerSettings;

/// Any type's binary form, as it is on the wire.
#[derive(Debug, PartialEq, Clone)]
struct Raw(Vec<u8>);

impl<'a> FromSql<'a> for Raw {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Raw(raw.to_vec()))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

impl ToSql for Raw {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        out.extend_from_slice(&self.0);
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

async fn simple(client: &Client, sql: &str) -> Vec<Vec<Option<String>>> {
    let messages = client.simple_query(sql).await.unwrap();
    let rows = messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some((0..row.len()).map(|i| row.get(i).map(str::to_owned)).collect()),
        _ => None,
    });
    rows.collect()
}

fn code(error: &tokio_postgres::Error) -> &SqlState {
    error.code().unwrap_or_else(|| panic!("no SQLSTATE: {error:?}"))
}

async fn eventually(mut holds: impl FnMut() -> bool) {
    for _ in 0..400 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("it did not come to hold");
}

#[tokio::test]
async fn simple_query_streams_rows_as_text() {
    let server = TestServer::start().await;
    let client = server.connect().await;
    let rows = simple(&client, "rows 2500").await;
    assert_eq!(rows.len(), 2500);
    assert_eq!(rows[2499], [Some("2499".to_owned())]);
    assert!(simple(&client, "").await.is_empty());
    assert!(simple(&client, ";;").await.is_empty());
}

#[tokio::test]
async fn every_type_goes_round_in_binary() {
    let server = TestServer::start().await;
    let client = server.connect().await;
    let time = UNIX_EPOCH + Duration::from_micros(1_700_000_000_123_456);
    let row = client
        .query_one(
            "echo bool int2 int4 int8 float4 float8 text bytea timestamp timestamptz",
            &[
                &true,
                &-7_i16,
                &70_000_i32,
                &(1_i64 << 40),
                &1.5_f32,
                &f64::MIN_POSITIVE,
                &"häfen",
                &&[0_u8, 255][..],
                &time,
                &time,
            ],
        )
        .await
        .unwrap();
    assert!(row.get::<_, bool>(0));
    assert_eq!(row.get::<_, i16>(1), -7);
    assert_eq!(row.get::<_, i32>(2), 70_000);
    assert_eq!(row.get::<_, i64>(3), 1 << 40);
    assert_eq!(row.get::<_, f32>(4), 1.5);
    assert_eq!(row.get::<_, f64>(5), f64::MIN_POSITIVE);
    assert_eq!(row.get::<_, String>(6), "häfen");
    assert_eq!(row.get::<_, Vec<u8>>(7), [0, 255]);
    assert_eq!(row.get::<_, SystemTime>(8), time);
    assert_eq!(row.get::<_, SystemTime>(9), time);
}

#[tokio::test]
async fn binary_numeric_date_and_interval_go_round_bit_for_bit() {
    let server = TestServer::start().await;
    let client = server.connect().await;
    // 12345678.9: groups 1234, 5678, 9000; weight 1; one decimal.
    let numeric = Raw([3_u16, 1, 0, 1, 1234, 5678, 9000].iter().flat_map(|n| n.to_be_bytes()).collect());
    let date = Raw(7_000_i32.to_be_bytes().to_vec());
    let interval = Raw([&(-5_i64).to_be_bytes()[..], &3_i32.to_be_bytes(), &(-14_i32).to_be_bytes()].concat());
    let row = client.query_one("echo numeric date interval", &[&numeric, &date, &interval]).await.unwrap();
    assert_eq!(row.get::<_, Raw>(0), numeric);
    assert_eq!(row.get::<_, Raw>(1), date);
    assert_eq!(row.get::<_, Raw>(2), interval);
}

#[tokio::test]
async fn nulls_of_every_type() {
    let server = TestServer::start().await;
    let client = server.connect().await;
    let types = "bool int2 int4 int8 float4 float8 numeric text bytea date timestamp timestamptz interval";
    let nulls: Vec<Option<Raw>> = vec![None; 13];
    let parameters: Vec<&(dyn ToSql + Sync)> = nulls.iter().map(|null| null as &(dyn ToSql + Sync)).collect();
    let row = client.query_one(&format!("echo {types}"), &parameters).await.unwrap();
    for index in 0..13 {
        assert_eq!(row.get::<_, Option<Raw>>(index), None);
    }
}

#[tokio::test]
async fn an_error_carries_all_its_fields() {
    let server = TestServer::start().await;
    let client = server.connect().await;
    let error = client.simple_query("fail").await.unwrap_err();
    let fields = error.as_db_error().unwrap();
    assert_eq!(fields.severity(), "ERROR");
    assert_eq!(fields.code().code(), "22003");
    assert_eq!(fields.message(), "too big");
    assert_eq!(fields.detail(), Some("It is."));
    assert_eq!(fields.hint(), Some("Less."));
    assert_eq!(fields.where_(), Some("COPY readings, line 3"));
    let error = client.simple_query("a syntax").await.unwrap_err();
    let fields = error.as_db_error().unwrap();
    assert_eq!(fields.position(), Some(&tokio_postgres::error::ErrorPosition::Original(3)));
    assert_eq!(simple(&client, "rows 1").await.len(), 1);
}

#[tokio::test]
async fn extended_errors_skip_to_sync_and_the_connection_lives() {
    let server = TestServer::start().await;
    let client = server.connect().await;
    assert_eq!(code(&client.query("fail", &[]).await.unwrap_err()), &SqlState::NUMERIC_VALUE_OUT_OF_RANGE);
    assert_eq!(code(&client.query("a syntax", &[]).await.unwrap_err()), &SqlState::SYNTAX_ERROR);
    assert_eq!(code(&client.query("write a; write b", &[]).await.unwrap_err()), &SqlState::SYNTAX_ERROR);
    let error = client.query("changed", &[]).await.unwrap_err();
    assert_eq!(code(&error), &SqlState::FEATURE_NOT_SUPPORTED);
    assert_eq!(client.query("rows 3", &[]).await.unwrap().len(), 3);
}

#[tokio::test]
async fn a_bad_parameter_is_named() {
    let server = TestServer::start().await;
    let client = server.connect().await;
    let error = client.query("echo int4 int4", &[&1_i32, &Raw(vec![1, 2])]).await.unwrap_err();
    let fields = error.as_db_error().unwrap();
    assert_eq!(fields.code().code(), "22P03");
    assert!(fields.where_().unwrap().ends_with("parameter $2"), "{:?}", fields.where_());
}

#[tokio::test]
async fn rows_before_a_late_error_arrive_and_the_stream_is_dropped() {
    let server = TestServer::start().await;
    let client = server.connect().await;
    let error = client.simple_query("broken").await.unwrap_err();
    assert_eq!(code(&error), &SqlState::DIVISION_BY_ZERO);
    eventually(|| server.database.journal.lock().streams_dropped == 1).await;
}

#[tokio::test]
async fn several_statements_are_one_transaction() {
    let server = TestServer::start().await;
    let client = server.connect().await;
    client.simple_query("write a; write b; fail").await.unwrap_err();
    assert!(server.database.journal.lock().committed.is_empty());
    client.simple_query("write a; write b").await.unwrap();
    assert_eq!(server.database.journal.lock().committed, ["a", "b"]);
}

#[tokio::test]
async fn a_failed_transaction_takes_only_rollback() {
    let server = TestServer::start().await;
    let client = server.connect().await;
    client.simple_query("begin").await.unwrap();
    client.simple_query("broken").await.unwrap_err();
    let error = client.simple_query("write a").await.unwrap_err();
    assert_eq!(code(&error), &SqlState::IN_FAILED_SQL_TRANSACTION);
    client.simple_query("rollback").await.unwrap();
    client.simple_query("write b").await.unwrap();
    assert_eq!(server.database.journal.lock().committed, ["b"]);
}

#[tokio::test]
async fn a_prepared_statement_runs_again() {
    let server = TestServer::start().await;
    let client = server.connect().await;
    let statement = client.prepare("rows 2500").await.unwrap();
    for _ in 0..2 {
        let rows = client.query_raw(&statement, Vec::<i32>::new()).await.unwrap();
        assert_eq!(rows.try_collect::<Vec<_>>().await.unwrap().len(), 2500);
    }
}

#[tokio::test]
async fn cancel_ends_a_stream_and_a_statement_that_hangs() {
    let server = TestServer::start().await;
    let client = server.connect().await;
    for sql in ["endless", "hang"] {
        let token = client.cancel_token();
        let (answer, _) = tokio::join!(client.simple_query(sql), async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            token.cancel_query(NoTls).await.unwrap();
        });
        assert_eq!(code(&answer.unwrap_err()), &SqlState::QUERY_CANCELED, "{sql}");
    }
    eventually(|| server.database.journal.lock().streams_dropped == 1).await;
    // A cancel request that comes too late hits nothing.
    client.cancel_token().cancel_query(NoTls).await.unwrap();
    assert_eq!(simple(&client, "rows 5").await.len(), 5);
}

#[tokio::test]
async fn cancel_ends_a_copy() {
    let server = TestServer::start().await;
    let client = server.connect().await;
    let token = client.cancel_token();
    let sink = client.copy_in::<_, Bytes>("copyin").await.unwrap();
    let mut sink = Box::pin(sink);
    sink.send(Bytes::from_static(b"a\t1\n")).await.unwrap();
    sink.flush().await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    token.cancel_query(NoTls).await.unwrap();
    eventually(|| server.database.journal.lock().sinks_dropped == 1).await;
    drop(sink);
    assert!(server.database.journal.lock().copied.is_empty());
}

#[tokio::test]
async fn copy_in_and_out() {
    let server = TestServer::start().await;
    let client = server.connect().await;
    let mut sink = Box::pin(client.copy_in("copyin").await.unwrap());
    sink.send(Bytes::from_static(b"a\t1\nb")).await.unwrap();
    sink.send(Bytes::from_static(b"\t2\n")).await.unwrap();
    assert_eq!(sink.as_mut().finish().await.unwrap(), 2);
    assert_eq!(server.database.journal.lock().copied, b"a\t1\nb\t2\n");

    let lines: Vec<Bytes> = client.copy_out("copyout").await.unwrap().try_collect().await.unwrap();
    assert_eq!(lines, ["a\t1\n", "b\t2\n", "c\t3\n"]);
    assert_eq!(simple(&client, "rows 1").await.len(), 1);
}

#[tokio::test]
async fn a_failing_copy_leaves_nothing_and_the_connection_in_step() {
    let server = TestServer::start().await;
    let client = server.connect().await;
    let mut sink = Box::pin(client.copy_in("copyin 3").await.unwrap());
    for _ in 0..10 {
        if sink.send(Bytes::from_static(b"abcd\n")).await.is_err() {
            break;
        }
    }
    let error = sink.as_mut().finish().await.unwrap_err();
    assert_eq!(code(&error), &SqlState::BAD_COPY_FILE_FORMAT);
    drop(sink);
    assert_eq!(server.database.journal.lock().sinks_dropped, 1);
    assert_eq!(simple(&client, "rows 1").await.len(), 1);
    // The client's own CopyFail: tokio-postgres sends it when the sink is dropped.
    let mut sink = Box::pin(client.copy_in("copyin").await.unwrap());
    sink.send(Bytes::from_static(b"x\n")).await.unwrap();
    drop(sink);
    assert_eq!(simple(&client, "rows 1").await.len(), 1);
    assert_eq!(server.database.journal.lock().sinks_dropped, 2);
    assert!(server.database.journal.lock().copied.is_empty());
}

#[tokio::test]
async fn a_password_is_checked_before_anything_else() {
    let server = TestServer::start().await;
    let mut config = server.config("ada");
    assert!(server.try_connect(config.clone().password("right").clone()).await.is_ok());
    let error = server.try_connect(config.password("wrong").clone()).await.unwrap_err();
    assert_eq!(code(&error), &SqlState::INVALID_PASSWORD);
    assert_eq!(error.as_db_error().unwrap().severity(), "FATAL");
    let error = server.try_connect(server.config("nobody")).await.unwrap_err();
    assert_eq!(code(&error), &SqlState::INVALID_AUTHORIZATION_SPECIFICATION);
    let mut config = server.config("local");
    let error = server.try_connect(config.dbname("elsewhere").clone()).await.unwrap_err();
    assert_eq!(code(&error), &SqlState::INVALID_CATALOG_NAME);
}

#[tokio::test]
async fn startup_parameters_and_options_reach_the_session() {
    let server = TestServer::start().await;
    let mut config = server.config("local");
    config.application_name("loader").options("-c statement_timeout=5s --time-zone=Asia/Tokyo -c x=a\\ b");
    server.try_connect(config).await.unwrap();
    let login = server.database.journal.lock().login.clone().unwrap();
    assert_eq!((login.user.as_str(), login.application_name.as_str()), ("local", "loader"));
    let settings: Vec<_> = login.startup.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(settings, [("statement_timeout", "5s"), ("time_zone", "Asia/Tokyo"), ("x", "a b")]);
}

#[tokio::test]
async fn too_many_connections_are_refused_and_places_come_free() {
    let settings = ServerSettings { connections_max: 1, ..ServerSettings::default() };
    let server = TestServer::with_settings(settings).await;
    let first = server.connect().await;
    let error = server.try_connect(server.config("local")).await.unwrap_err();
    assert_eq!(code(&error), &SqlState::TOO_MANY_CONNECTIONS);
    drop(first);
    for _ in 0..200 {
        if server.try_connect(server.config("local")).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("the place did not come free");
}

#[tokio::test]
async fn a_panic_ends_its_connection_and_no_other() {
    let server = TestServer::start().await;
    let (first, second) = (server.connect().await, server.connect().await);
    let error = first.simple_query("panic").await.unwrap_err();
    assert_eq!(code(&error), &SqlState::INTERNAL_ERROR);
    assert!(first.simple_query("rows 1").await.is_err());
    assert_eq!(simple(&second, "rows 1").await.len(), 1);
}

#[tokio::test]
async fn shutdown_tells_clients_and_ends_their_statements() {
    let mut server = TestServer::start().await;
    let client = server.connect().await;
    let stop = server.stop.clone();
    let (answer, ()) = tokio::join!(client.simple_query("hang"), async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        stop.send_replace(true);
    });
    assert_eq!(code(&answer.unwrap_err()), &SqlState::ADMIN_SHUTDOWN);
    drop(client);
    tokio::time::timeout(Duration::from_secs(3), &mut server.task).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_client_that_hangs_up_ends_its_statement() {
    let server = TestServer::start().await;
    let (client, connection) = server.config("local").connect(NoTls).await.unwrap();
    let connection = tokio::spawn(connection);
    let query = tokio::spawn(async move { client.simple_query("endless").await.map(|_| ()) });
    tokio::time::sleep(Duration::from_millis(50)).await;
    connection.abort();
    query.abort();
    eventually(|| server.database.journal.lock().streams_dropped == 1).await;
}

#[tokio::test]
async fn notices_come_with_their_statement() {
    let server = TestServer::start().await;
    let (client, mut connection) = server.config("local").connect(NoTls).await.unwrap();
    let (seen, mut notices) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut messages = futures::stream::poll_fn(move |context| connection.poll_message(context));
        while let Some(Ok(message)) = messages.next().await {
            if let tokio_postgres::AsyncMessage::Notice(notice) = message {
                seen.send((notice.severity().to_owned(), notice.message().to_owned())).unwrap();
            }
        }
    });
    client.simple_query("notice").await.unwrap();
    assert_eq!(notices.recv().await, Some(("WARNING".to_owned(), "mind".to_owned())));
}
