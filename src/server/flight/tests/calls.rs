//! Metadata, prepared statements, and what is refused by name.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema};
use arrow::ipc::reader::StreamReader;
use arrow_flight::sql::{
    CommandGetDbSchemas, CommandGetExportedKeys, CommandGetPrimaryKeys, CommandGetTables, CommandGetXdbcTypeInfo,
    CommandStatementIngest, CommandStatementQuery, ProstMessageExt, SqlInfo,
};
use arrow_flight::{Action, Criteria, FlightDescriptor};
use futures::stream;
use prost::Message;
use tonic::Code;

use super::{Client, fetch_info, refused, sqlstate, start};

fn texts(rows: &RecordBatch, column: usize) -> Vec<String> {
    rows.column(column).as_string::<i32>().iter().map(|text| text.unwrap_or("NULL").to_owned()).collect()
}

async fn tables(client: &mut Client, pattern: &str, table_types: &[&str], include_schema: bool) -> RecordBatch {
    let request = CommandGetTables {
        catalog: None,
        db_schema_filter_pattern: None,
        table_name_filter_pattern: Some(pattern.into()),
        table_types: table_types.iter().map(|name| (*name).to_owned()).collect(),
        include_schema,
    };
    let info = client.get_tables(request).await.unwrap();
    fetch_info(client, &info).await
}

#[tokio::test(flavor = "multi_thread")]
async fn catalogs_schemas_and_tables() {
    let running = start().await;
    running
        .sql(
            "CREATE TABLE readings (id bigint PRIMARY KEY, \"it's\" text); \
             CREATE VIEW latest AS SELECT id FROM readings; \
             CREATE MATERIALIZED VIEW total AS SELECT count(*) AS n FROM readings",
        )
        .await;
    let mut client = running.client().await;
    let info = client.get_catalogs().await.unwrap();
    assert_eq!(texts(&fetch_info(&mut client, &info).await, 0), ["tidemark"]);
    let request = CommandGetDbSchemas { catalog: None, db_schema_filter_pattern: Some("p%".into()) };
    let info = client.get_db_schemas(request).await.unwrap();
    assert_eq!(texts(&fetch_info(&mut client, &info).await, 1), ["pg_catalog", "public"]);
    let info = client.get_table_types().await.unwrap();
    let types = texts(&fetch_info(&mut client, &info).await, 0);
    assert_eq!(types, ["MATERIALIZED VIEW", "SYSTEM TABLE", "TABLE", "VIEW"]);

    let user = ["TABLE", "VIEW", "MATERIALIZED VIEW"];
    let found = tables(&mut client, "%", &user, false).await;
    assert_eq!(texts(&found, 2), ["latest", "readings", "total"]);
    assert_eq!(texts(&found, 3), ["VIEW", "TABLE", "MATERIALIZED VIEW"]);
    assert_eq!(texts(&tables(&mut client, "%ead%", &user, false).await, 2), ["readings"]);
    assert_eq!(texts(&tables(&mut client, "pg_cl__s", &[], false).await, 3), ["SYSTEM TABLE"]);
    assert_eq!(tables(&mut client, "o'clock", &[], false).await.num_rows(), 0);

    let found = tables(&mut client, "readings", &["TABLE"], true).await;
    let bytes = found.column(4).as_binary::<i32>().value(0);
    let schema = StreamReader::try_new(bytes, None).unwrap().schema();
    let column = |name: &str, data_type| Field::new(name, data_type, true);
    assert_eq!(*schema, Schema::new(vec![column("id", DataType::Int64), column("it's", DataType::Utf8)]));
    // Each of the system's own tables has a schema too.
    assert!(tables(&mut client, "%", &["SYSTEM TABLE"], true).await.num_rows() > 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_and_what_the_server_says_of_itself() {
    let running = start().await;
    running.sql("CREATE TABLE readings (a text, b bigint, c bigint, PRIMARY KEY (c, a))").await;
    let mut client = running.client().await;
    let request = CommandGetPrimaryKeys { catalog: None, db_schema: Some("public".into()), table: "readings".into() };
    let info = client.get_primary_keys(request).await.unwrap();
    let keys = fetch_info(&mut client, &info).await;
    assert_eq!((texts(&keys, 3), texts(&keys, 4)), (vec!["c".into(), "a".into()], vec!["readings_pkey".into(); 2]));
    assert_eq!(keys.column(5).as_primitive::<Int32Type>().values(), &[1, 2]);
    let request = CommandGetExportedKeys { catalog: None, db_schema: None, table: "readings".into() };
    let info = client.get_exported_keys(request).await.unwrap();
    let keys = fetch_info(&mut client, &info).await;
    assert_eq!((keys.num_rows(), keys.num_columns()), (0, 13));

    let info = client.get_sql_info(vec![SqlInfo::FlightSqlServerName, SqlInfo::FlightSqlServerReadOnly]).await.unwrap();
    let said = fetch_info(&mut client, &info).await;
    assert_eq!(said.column(1).as_union().value(0).as_string::<i32>().value(0), "Tidemark");
    assert!(said.column(1).as_union().value(1).as_boolean().value(0));
    let info = client.get_xdbc_type_info(CommandGetXdbcTypeInfo { data_type: None }).await.unwrap();
    let types = fetch_info(&mut client, &info).await;
    assert_eq!(types.num_rows(), 16);
    assert!(texts(&types, 0).contains(&"timestamp with time zone".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn prepared_statements_take_parameters() {
    let running = start().await;
    running
        .sql("CREATE TABLE readings (id integer, name text); INSERT INTO readings VALUES (1, 'a'), (2, 'b'), (3, 'b')")
        .await;
    let mut client = running.client().await;
    let sql = "SELECT id FROM readings WHERE name = $1 AND id > $2 ORDER BY id";
    let mut statement = client.prepare(sql.into(), None).await.unwrap();
    assert_eq!(statement.dataset_schema().unwrap().field(0).data_type(), &DataType::Int32);
    let parameters = statement.parameter_schema().unwrap();
    let types: Vec<_> = parameters.fields().iter().map(|field| field.data_type().clone()).collect();
    assert_eq!(types, [DataType::Utf8, DataType::Int32]);
    assert_eq!(sqlstate(&refused(statement.execute().await)), "08P01");
    for (name, above, expected) in [("b", 2, vec![3]), ("b", 0, vec![2, 3]), ("x", 0, vec![])] {
        let name: ArrayRef = Arc::new(StringArray::from(vec![name]));
        let above: ArrayRef = Arc::new(Int64Array::from(vec![above]));
        let row = RecordBatch::try_from_iter([("1", name), ("2", above)]).unwrap();
        statement.set_parameters(row).unwrap();
        let info = statement.execute().await.unwrap();
        let rows = fetch_info(&mut client, &info).await;
        assert_eq!(rows.column(0).as_primitive::<Int32Type>().values(), expected.as_slice());
    }
    let two: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
    statement.set_parameters(RecordBatch::try_from_iter([("1", two.clone()), ("2", two)]).unwrap()).unwrap();
    assert_eq!(refused(statement.execute().await).code(), Code::Unimplemented);
    statement.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_keep_their_sqlstate() {
    let running = start().await;
    running.sql("CREATE TABLE readings (temperature bigint); INSERT INTO readings VALUES (0)").await;
    let mut client = running.client().await;
    let status = refused(client.execute("SELECT temperatur FROM readings".into(), None).await);
    assert_eq!((status.code(), sqlstate(&status).as_str()), (Code::InvalidArgument, "42703"));
    assert!(status.message().contains("HINT:  Perhaps you meant \"temperature\""), "{}", status.message());
    for (sql, state) in
        [("SELEC", "42601"), ("SELECT * FROM nothing", "42P01"), ("", "42601"), ("SELECT 1; SELECT 2", "42601")]
    {
        assert_eq!(sqlstate(&refused(client.execute(sql.into(), None).await)), state, "{sql}");
    }
    // One that shows when rows are computed comes with the stream.
    let info = client.execute("SELECT 1 / temperature FROM readings".into(), None).await.unwrap();
    let status = refused(super::read(&mut client, &info.endpoint[0]).await);
    assert_eq!((status.code(), sqlstate(&status).as_str()), (Code::InvalidArgument, "22012"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_built_is_refused_by_name() {
    let running = start().await;
    running.sql("CREATE TABLE readings (id bigint)").await;
    let mut client = running.client().await;
    let refused_as = |status: tonic::Status, name: &str| {
        assert_eq!((status.code(), sqlstate(&status).as_str()), (Code::Unimplemented, "0A000"), "{name}");
        assert!(status.message().contains(name), "{name}: {}", status.message());
    };
    for sql in [
        "INSERT INTO readings VALUES (1)",
        "INSERT INTO readings VALUES (1) RETURNING id",
        "BEGIN",
        "DROP TABLE readings",
    ] {
        refused_as(refused(client.execute(sql.into(), None).await), "more than read");
    }
    refused_as(refused(client.execute_update("DELETE FROM readings".into(), None).await), "more than read");
    let rows: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let rows = RecordBatch::try_from_iter([("id", rows)]).unwrap();
    let ingest = CommandStatementIngest { table: "readings".into(), ..Default::default() };
    refused_as(refused(client.execute_ingest(ingest, stream::iter([Ok(rows)])).await), "loading rows");
    refused_as(refused(client.execute("SELECT 1".into(), Some("x".into())).await), "a transaction");
    refused_as(refused(client.begin_transaction().await), "BeginTransaction");
    refused_as(refused(client.prepare("INSERT INTO readings VALUES ($1)".into(), None).await), "more than read");
    let flights = client.inner_mut().list_flights(Criteria::default()).await;
    refused_as(flights.map(|_| ()).unwrap_err(), "ListFlights");
    assert_eq!(super::number(&mut client, "SELECT count(*) FROM readings").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn schemas_are_told_without_running_and_nonsense_is_refused() {
    let running = start().await;
    let mut client = running.client().await;
    let command = CommandStatementQuery { query: "SELECT CAST(1 AS bigint) AS n".into(), transaction_id: None };
    let descriptor = FlightDescriptor::new_cmd(command.as_any().encode_to_vec());
    let schema = client.inner_mut().get_schema(descriptor).await.unwrap().into_inner();
    let schema = Schema::try_from(&schema).unwrap();
    assert_eq!(schema, Schema::new(vec![Field::new("n", DataType::Int64, true)]));
    for descriptor in [FlightDescriptor::new_cmd("\u{1}\u{2}"), FlightDescriptor::new_path(vec!["readings".into()])] {
        let status = client.inner_mut().get_flight_info(descriptor).await.unwrap_err();
        assert!(["08P01", "0A000"].contains(&sqlstate(&status).as_str()), "{status:?}");
    }
    let status = client.do_action(Action::new("CancelFlightInfo", "\u{ff}")).await;
    assert_eq!(sqlstate(&refused(status)), "08P01");
    let ids = super::fetch(&mut client, "SHOW statement_timeout").await;
    assert_eq!(texts(&ids, 0), ["0"]);
    assert_eq!(ids.column(0).as_primitive_opt::<Int64Type>(), None);
}
