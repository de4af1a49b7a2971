//! A whole server in this process, and Arrow's own client over loopback.

mod calls;
mod login;
mod reads;

use std::time::Duration;

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{Int64Type, Schema, SchemaRef};
use arrow_flight::error::FlightError;
use arrow_flight::sql::client::FlightSqlServiceClient;
use arrow_flight::{FlightEndpoint, FlightInfo};
use futures::TryStreamExt;
use tempfile::TempDir;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use crate::engine::Server;
use crate::settings::Settings;

type Client = FlightSqlServiceClient<Channel>;

struct Running {
    server: Server,
    _folder: TempDir,
}

/// A server that trusts local clients.
async fn start() -> Running {
    start_with(|settings| settings.trust_loopback = true).await
}

async fn start_with(change: impl FnOnce(&mut Settings)) -> Running {
    let folder = tempfile::tempdir().unwrap();
    let any = "127.0.0.1:0".parse().unwrap();
    let mut settings = Settings {
        data_dir: folder.path().join("data"),
        listen_sql: any,
        listen_http: any,
        listen_flight: any,
        ..Settings::default()
    };
    settings.query.threads = 2;
    change(&mut settings);
    Running { server: Server::start(settings).await.unwrap(), _folder: folder }
}

impl Running {
    async fn client(&self) -> Client {
        let address = format!("http://{}", self.server.addr_flight());
        Client::new(Endpoint::from_shared(address).unwrap().connect().await.unwrap())
    }

    async fn sql(&self, sql: &str) {
        self.server.run_sql(sql).await.unwrap();
    }
}

/// All rows of a query, endpoint by endpoint, and what was promised of them.
async fn fetch(client: &mut Client, sql: &str) -> RecordBatch {
    let info = client.execute(sql.to_owned(), None).await.unwrap();
    fetch_info(client, &info).await
}

async fn fetch_info(client: &mut Client, info: &FlightInfo) -> RecordBatch {
    let promised: SchemaRef = Schema::try_from(info.clone()).unwrap().into();
    let mut batches = Vec::new();
    for endpoint in &info.endpoint {
        for batch in read(client, endpoint).await.unwrap() {
            assert_eq!(batch.schema(), promised);
            batches.push(batch);
        }
    }
    concat_batches(&promised, &batches).unwrap()
}

async fn read(client: &mut Client, endpoint: &FlightEndpoint) -> Result<Vec<RecordBatch>, FlightError> {
    client.do_get(endpoint.ticket.clone().unwrap()).await?.try_collect().await
}

/// The one number of a query.
async fn number(client: &mut Client, sql: &str) -> i64 {
    fetch(client, sql).await.column(0).as_primitive::<Int64Type>().value(0)
}

/// The gRPC status of a call that failed.
fn refused<T>(result: Result<T, FlightError>) -> Status {
    match result {
        Err(FlightError::Tonic(status)) => *status,
        Err(other) => panic!("not a status: {other}"),
        Ok(_) => panic!("not refused"),
    }
}

fn sqlstate(status: &Status) -> String {
    status.metadata().get("sqlstate").map(|state| state.to_str().unwrap().to_owned()).unwrap_or_default()
}

async fn eventually(what: impl Fn() -> bool) {
    let wait = async {
        while !what() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait).await.expect("in time");
}
