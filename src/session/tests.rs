//! Prepared statements on a whole server: they keep their plans, and never run by one that has become stale.

use tempfile::TempDir;
use tokio_postgres::{Client, NoTls};

use crate::engine::Server;
use crate::settings::Settings;

struct Running {
    server: Server,
    client: Client,
    _folder: TempDir,
}

async fn start() -> Running {
    let folder = tempfile::tempdir().unwrap();
    let any = "127.0.0.1:0".parse().unwrap();
    let mut settings = Settings {
        data_dir: folder.path().join("data"),
        trust_loopback: true,
        listen_sql: any,
        listen_http: any,
        listen_flight: any,
        ..Settings::default()
    };
    settings.query.threads = 2;
    let server = Server::start(settings).await.unwrap();
    let client = connect(&server).await;
    Running { server, client, _folder: folder }
}

async fn connect(server: &Server) -> Client {
    let address = server.addr_sql();
    let url = format!("host={} port={} user=tidemark dbname=tidemark", address.ip(), address.port());
    let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

impl Running {
    async fn sql(&self, sql: &str) {
        self.client.batch_execute(sql).await.unwrap();
    }

    /// How many of `work`'s queries ran by a kept plan.
    async fn kept<T>(&self, work: impl Future<Output = T>) -> (T, u64) {
        let before = self.server.kept_plan_runs();
        let done = work.await;
        (done, self.server.kept_plan_runs() - before)
    }
}

const SETUP: &str = "CREATE TABLE trucks (id bigint PRIMARY KEY, name text, fuel double precision, seen timestamptz);
    CREATE MATERIALIZED VIEW by_name AS SELECT name, count(*) AS n, max(fuel) AS fuel FROM trucks GROUP BY name;
    CREATE VIEW fast AS SELECT id, name FROM trucks WHERE fuel > 0.5;
    INSERT INTO trucks SELECT n, 'truck ' || n % 3, n / 10.0, '2026-01-01 12:00:00+00' FROM generate_series(1, 9) AS s(n)";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prepared_query_is_planned_twice_and_then_kept() {
    let running = start().await;
    running.sql(SETUP).await;
    let client = &running.client;
    let by_key = client.prepare("SELECT fuel, name FROM trucks WHERE id = $1").await.unwrap();
    let of_view = client.prepare("SELECT n FROM by_name WHERE name = $1").await.unwrap();
    let ((), kept) = running
        .kept(async {
            for id in 1..=9_i64 {
                let row = client.query_one(&by_key, &[&id]).await.unwrap();
                assert_eq!(row.get::<_, f64>(0), id as f64 / 10.0);
                let row = client.query_one(&of_view, &[&format!("truck {}", id % 3)]).await.unwrap();
                assert_eq!(row.get::<_, i64>(0), 3);
            }
            assert!(client.query(&by_key, &[&10_i64]).await.unwrap().is_empty());
        })
        .await;
    assert_eq!(kept, 7 + 1 + 7, "all but the first two executions of each");
    running.server.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kept_plan_reads_what_is_there_now() {
    let running = start().await;
    running.sql(SETUP).await;
    let client = &running.client;
    let count = client.prepare("SELECT count(*) FROM trucks WHERE fuel >= $1").await.unwrap();
    let read = async || client.query_one(&count, &[&0.45_f64]).await.unwrap().get::<_, i64>(0);
    for _ in 0..3 {
        assert_eq!(read().await, 5);
    }
    running.sql("INSERT INTO trucks VALUES (10, 'new', 1.0, now())").await;
    assert_eq!(running.kept(read()).await, (6, 1), "another commit's rows, the same plan");
    running
        .sql("BEGIN; INSERT INTO trucks VALUES (11, 'own', 1.0, now()); DELETE FROM trucks WHERE id IN (8, 9)")
        .await;
    assert_eq!(running.kept(read()).await, (5, 1), "the transaction's own writes");
    running.sql("ROLLBACK; FLUSH").await;
    assert_eq!(running.kept(read()).await, (6, 1), "the rows as files");
    running.server.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn definitions_and_settings_that_change_make_another_plan() {
    let running = start().await;
    running.sql(SETUP).await;
    let client = &running.client;
    let text = client.prepare("SELECT seen::text FROM trucks WHERE id = $1").await.unwrap();
    let read = async || client.query_one(&text, &[&1_i64]).await.unwrap().get::<_, String>(0);
    for _ in 0..3 {
        assert_eq!(read().await, "2026-01-01 12:00:00+00");
    }
    running.sql("SET TimeZone = 'Asia/Tokyo'").await;
    assert_eq!(running.kept(read()).await, ("2026-01-01 21:00:00+09".to_owned(), 0));
    assert_eq!(running.kept(read()).await, ("2026-01-01 21:00:00+09".to_owned(), 1), "and is kept in its turn");

    let other = connect(&running.server).await;
    let fast = client.prepare("SELECT count(*) FROM fast").await.unwrap();
    let read = async || client.query_one(&fast, &[]).await.unwrap().get::<_, i64>(0);
    for _ in 0..3 {
        assert_eq!(read().await, 4);
    }
    other.batch_execute("CREATE OR REPLACE VIEW fast AS SELECT id, name FROM trucks WHERE fuel > 0.85").await.unwrap();
    assert_eq!(running.kept(read()).await, (1, 0), "a view that was replaced");
    other.batch_execute("DROP TABLE trucks CASCADE").await.unwrap();
    assert_eq!(client.query_one(&fast, &[]).await.unwrap_err().code().unwrap().code(), "42P01");
    other.batch_execute("CREATE TABLE fast (id int); INSERT INTO fast VALUES (1), (2)").await.unwrap();
    assert_eq!(running.kept(read()).await, (2, 0), "a table in its place");
    running.server.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prepared_writes_keep_their_plans_too() {
    let running = start().await;
    running.sql("CREATE TABLE counters (id int PRIMARY KEY, value bigint, at timestamptz DEFAULT now())").await;
    let client = &running.client;
    let insert = client.prepare("INSERT INTO counters (id, value) VALUES ($1, $2)").await.unwrap();
    let plain = client.prepare("INSERT INTO counters VALUES ($1, $2, NULL)").await.unwrap();
    let update = client.prepare("UPDATE counters SET value = value + $2 WHERE id = $1").await.unwrap();
    let delete = client.prepare("DELETE FROM counters WHERE value > $1").await.unwrap();
    let write = async {
        for n in 0..10_i32 {
            client.execute(&insert, &[&n, &i64::from(n)]).await.unwrap();
            client.execute(&plain, &[&(n + 100), &i64::from(n)]).await.unwrap();
            for _ in 0..2 {
                assert_eq!(client.execute(&update, &[&n, &100_i64]).await.unwrap(), 1);
            }
            assert_eq!(client.execute(&delete, &[&(200_i64)]).await.unwrap(), u64::from(n > 0));
        }
    };
    let ((), kept) = running.kept(write).await;
    // A DEFAULT of now() is a new question each time.
    assert_eq!(kept, (10 - 2) + (20 - 2) + (10 - 2), "inserts without now(), updates, deletes");
    let row = client.query_one("SELECT count(*), sum(value)::text, count(at) FROM counters", &[]).await.unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, &str>(1), row.get::<_, i64>(2)), (11, "245", 1));
    running.server.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_depends_on_the_moment_is_planned_each_time() {
    let running = start().await;
    let client = &running.client;
    let now = client.prepare("SELECT extract(epoch from now())::float8, $1::int").await.unwrap();
    let read = async {
        let mut last = 0.0;
        for n in 0..4 {
            let at: f64 = client.query_one(&now, &[&n]).await.unwrap().get(0);
            assert!(at > last, "{at} after {last}");
            last = at;
        }
    };
    assert_eq!(running.kept(read).await, ((), 0));
    let system = client.prepare("SELECT count(*) FROM pg_class WHERE relname = $1").await.unwrap();
    for expected in [0_i64, 0, 0] {
        assert_eq!(client.query_one(&system, &[&"later"]).await.unwrap().get::<_, i64>(0), expected);
    }
    running.sql("CREATE TABLE later (id int)").await;
    let (row, kept) = running.kept(client.query_one(&system, &[&"later"])).await;
    assert_eq!((row.unwrap().get::<_, i64>(0), kept), (1, 0));
    running.server.shutdown().await.unwrap();
}
