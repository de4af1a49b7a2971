//! The literal queries of psql 15, and of drivers, through parser, rewrite, planner and DataFusion.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::datasource::MemTable;
use futures::TryStreamExt;
use object_store::memory::InMemory;
use sqlparser::ast::Statement;
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

use super::*;
use crate::catalog::{
    Catalog, CatalogChange, Column, MaterializedView, SourceOptions, Table, TableKind, View, ViewColumn,
};
use crate::error::{Error, Result, SqlState};
use crate::plan::plan_query;
use crate::query::rewrite::{RewriteNames, rewrite};
use crate::query::{ContextInput, QueryContext, QueryEngine};
use crate::settings::QuerySettings;
use crate::types::text::{EncodeSettings, write_text};
use crate::types::{CommitNumber, RelationId, SqlType};

const READINGS: u32 = 16384;
const HOT: u32 = 16385;
const LATEST: u32 = 16386;

fn column(name: &str, sql_type: SqlType, not_null: bool, default: Option<&str>) -> Column {
    Column { name: name.into(), sql_type, not_null, default: default.map(str::to_owned) }
}

fn catalog() -> Catalog {
    let columns = vec![
        column("device", SqlType::Int4, true, None),
        column("ts", SqlType::Timestamptz, false, None),
        column("temperature", SqlType::Float8, false, Some("1.5")),
        column("price", SqlType::Numeric { precision: 10, scale: 2 }, false, None),
    ];
    let table = |id: u32, name: &str, kind: TableKind, source: Option<SourceOptions>| Table {
        id: RelationId(id),
        name: name.into(),
        columns: columns.clone(),
        kind,
        schema_version: 1,
        upsert: false,
        source,
        stored: Vec::new(),
        dropped: Vec::new(),
        last_field_id: 0,
        watermark: None,
    };
    let view_columns = vec![ViewColumn { name: "device".into(), sql_type: SqlType::Int4 }];
    let sql = "SELECT device FROM readings WHERE temperature > 30".to_owned();
    let depends_on = vec![RelationId(READINGS)];
    let mut catalog = Catalog::default();
    catalog.apply(&CatalogChange::CreateTable(Arc::new(table(
        READINGS,
        "readings",
        TableKind::PrimaryKey { columns: vec![0] },
        None,
    ))));
    catalog.apply(&CatalogChange::CreateView(Arc::new(View {
        id: RelationId(HOT),
        name: "hot".into(),
        sql: sql.clone(),
        columns: view_columns.clone(),
        depends_on: depends_on.clone(),
    })));
    catalog.apply(&CatalogChange::CreateMaterializedView(Arc::new(MaterializedView {
        id: RelationId(LATEST),
        name: "latest".into(),
        sql,
        settings: BTreeMap::new(),
        plan: vec![],
        columns: view_columns,
        depends_on,
        emits_on_close: false,
    })));
    let options = BTreeMap::from([("trucks".to_owned(), "10".to_owned())]);
    let source = SourceOptions { connector: "fleet".into(), options };
    catalog.apply(&CatalogChange::CreateTable(Arc::new(table(16387, "trucks", TableKind::AppendOnly, Some(source)))));
    catalog
}

fn facts() -> Facts {
    let setting = SettingFact {
        name: "TimeZone".into(),
        value: "UTC".into(),
        default: "UTC".into(),
        description: "Time zone of the session.".into(),
    };
    let table_stats = RelationStats {
        rows_hot: 2,
        rows_cold: 3,
        bytes_hot: 100,
        bytes_cold: 20_000,
        files: 1,
        tombstones: 0,
        flushed_commit: CommitNumber(6),
        readable_from: CommitNumber(2),
    };
    let view_stats = ViewStats {
        status: "live",
        applied_commit: CommitNumber(7),
        lag_commits: 2,
        rows: 4,
        state_bytes: 64,
        ..ViewStats::default()
    };
    Facts {
        catalog: Arc::new(catalog()),
        stats: SystemStats {
            durable_commit: CommitNumber(9),
            tables: HashMap::from([(RelationId(READINGS), table_stats)]),
            views: HashMap::from([(RelationId(LATEST), view_stats)]),
            ..SystemStats::default()
        },
        session: SessionFacts {
            user: "tidemark".into(),
            database: "tidemark".into(),
            process_id: 4711,
            application_name: "psql".into(),
            settings: vec![setting],
            search_path: vec!["public".into()],
            cursors: vec![],
            set_setting: Arc::new(|_, value, _| Ok(value.to_owned())),
        },
    }
}

struct Fixture {
    engine: QueryEngine,
    context: QueryContext,
    _spill: tempfile::TempDir,
}

fn fixture() -> Fixture {
    let spill = tempfile::tempdir().unwrap();
    let settings = QuerySettings { threads: 2, ..QuerySettings::default() };
    let engine = QueryEngine::new(&settings, spill.path(), Arc::new(InMemory::new())).unwrap();
    let facts = facts();
    let mut public: HashMap<String, Arc<dyn TableProvider>> = HashMap::new();
    for relation in facts.catalog.relations() {
        let rows = RecordBatch::new_empty(relation.schema());
        let table = MemTable::try_new(relation.schema(), vec![vec![rows]]).unwrap();
        public.insert(relation.name().to_owned(), Arc::new(table));
    }
    let context = engine.context(ContextInput {
        public,
        system: Arc::new(SystemTables::new(LazyFacts::new(move || facts))),
        search_path: vec!["public".into()],
        now_us: 1_700_000_000_000_000,
        time_zone: "UTC".into(),
        text: String::new(),
    });
    Fixture { engine, context, _spill: spill }
}

impl Fixture {
    /// Rows as `a|b|c`, NULL as nothing, as `psql -At` prints them.
    async fn rows(&self, sql: &str) -> Result<Vec<String>> {
        let mut statements = Parser::parse_sql(&PostgreSqlDialect {}, sql)
            .map_err(|error| Error::new(SqlState::SYNTAX_ERROR, error.to_string()))?;
        let Some(Statement::Query(mut query)) = statements.pop() else {
            return Err(Error::internal("not a query"));
        };
        rewrite(&mut query, &RewriteNames { never_filled: &never_filled })?;
        let plan = plan_query(self.context.state(), &self.context, &query, sql)?;
        let result = self.engine.execute(&self.context, plan, None).await?;
        let batches: Vec<RecordBatch> = result.rows.try_collect().await?;
        Ok(batches.iter().flat_map(lines).collect())
    }

    async fn check(&self, sql: &str, expected: &[&str]) {
        match self.rows(sql).await {
            Ok(rows) => assert_eq!(rows, expected, "{sql}"),
            Err(error) => panic!("{sql}\n{error:?}"),
        }
    }
}

fn lines(batch: &RecordBatch) -> Vec<String> {
    let options = FormatOptions::new().with_null("");
    let columns: Vec<ArrayFormatter<'_>> =
        batch.columns().iter().map(|column| ArrayFormatter::try_new(column.as_ref(), &options).unwrap()).collect();
    let value = |row, index: usize| {
        let array = batch.column(index);
        if !array.data_type().is_nested() || array.is_null(row) {
            return columns[index].value(row).to_string();
        }
        let mut text = Vec::new();
        write_text(array, row, &EncodeSettings::default(), &mut text).unwrap();
        String::from_utf8(text).unwrap()
    };
    let line = |row| (0..columns.len()).map(|index| value(row, index)).collect::<Vec<_>>().join("|");
    (0..batch.num_rows()).map(line).collect()
}

/// psql's queries by the command that sends them.
fn psql_queries() -> Vec<(String, String)> {
    let text = include_str!("tests/psql15.sql");
    let queries = text.split("\n-- ").map(|query| query.trim_start_matches("-- "));
    queries
        .map(|query| {
            let (command, sql) = query.split_once('\n').unwrap();
            let sql = sql
                .replace("{readings_pkey}", &format!("{}", 1_000_000_000 + READINGS))
                .replace("{readings}", &READINGS.to_string())
                .replace("{hot}", &HOT.to_string())
                .replace("{latest}", &LATEST.to_string());
            (command.to_owned(), sql)
        })
        .collect()
}

#[tokio::test]
async fn every_query_of_psql_runs() {
    let fixture = fixture();
    let mut failed = Vec::new();
    for (command, sql) in psql_queries() {
        if let Err(error) = fixture.rows(&sql).await {
            failed.push(format!("{command}\n{sql}\n{error:?}"));
        }
    }
    assert!(failed.is_empty(), "{} failed:\n{}", failed.len(), failed.join("\n\n"));
}

/// What the commands show, one query after the other.
async fn check_command(command: &str, expected: &[&[&str]]) {
    let fixture = fixture();
    let queries = psql_queries().into_iter().filter(|(of, _)| of == command);
    let mut shown = Vec::new();
    for (_, sql) in queries {
        shown.push(fixture.rows(&sql).await.unwrap_or_else(|error| panic!("{sql}\n{error:?}")));
    }
    assert_eq!(shown, expected, "{command}");
}

#[tokio::test]
async fn lists_of_relations() {
    let all: &[&str] = &[
        "public|hot|view|tidemark",
        "public|latest|materialized view|tidemark",
        "public|readings|table|tidemark",
        "public|trucks|table|tidemark",
    ];
    check_command("\\d", &[all]).await;
    check_command("\\dt", &[&all[2..]]).await;
    check_command("\\dm", &[&all[1..2]]).await;
    check_command("\\dv", &[&all[..1]]).await;
    check_command("\\dt read*", &[&all[2..3]]).await;
    check_command("\\di", &[&["public|readings_pkey|index|tidemark|readings"]]).await;
}

#[tokio::test]
async fn a_table_in_detail() {
    check_command(
        "\\d readings",
        &[
            &["16384|public|readings"],
            &["0|r|true|false|false|false|false|false|false||0||p|d|heap"],
            &[
                "device|integer||true|||",
                "ts|timestamp with time zone||false|||",
                "temperature|double precision|1.5|false|||",
                "price|numeric(10,2)||false|||",
            ],
            &["readings_pkey|true|true|false|true|\
               CREATE UNIQUE INDEX readings_pkey ON public.readings USING btree (device)|PRIMARY KEY (device)|\
               p|false|false|false|0"],
            &[],
            &[],
            &[],
            &[],
            &[],
        ],
    )
    .await;
}

#[tokio::test]
async fn schemas_roles_and_databases() {
    check_command("\\dn", &[&["public|tidemark", "tidemark|tidemark"]]).await;
    check_command("\\du", &[&["tidemark|true|true|false|false|true|-1||{}|false|true"]]).await;
    check_command("\\l", &[&["tidemark|tidemark|UTF8|C|C.UTF-8||libc|"]]).await;
    check_command("\\dconfig TimeZone", &[&["TimeZone|UTC"]]).await;
    check_command("\\sv hot", &[&["16385"], &["public|hot|v|SELECT device FROM readings WHERE temperature > 30;||"]])
        .await;
}

#[tokio::test]
async fn our_own_tables() {
    let fixture = fixture();
    fixture
        .check(
            "SELECT name, kind, primary_key, rows, rows_cold, files, flushed_commit FROM tidemark.tables ORDER BY id",
            &["readings|primary key|{device}|5|3|1|6", "trucks|append only||0|0|0|0"],
        )
        .await;
    fixture
        .check(
            "SELECT name, depends_on, status, failure, rows, lag_commits FROM tidemark.views",
            &["latest|{readings}|live||4|2"],
        )
        .await;
    fixture
        .check(
            "SELECT name, connector, options, status, failed FROM tidemark.sources",
            &["trucks|fleet|trucks = '10'|running|0"],
        )
        .await;
}

#[tokio::test]
async fn names_resolve_in_every_spelling() {
    let fixture = fixture();
    for name in ["pg_class", "pg_catalog.pg_class", "tidemark.pg_catalog.pg_class", "PG_CATALOG.\"pg_class\""] {
        let sql = format!("SELECT relname FROM {name} WHERE oid = 'readings'::regclass");
        fixture.check(&sql, &["readings"]).await;
    }
    for name in ["readings", "public.readings", "tidemark.public.readings"] {
        fixture.check(&format!("SELECT count(*) FROM {name}"), &["0"]).await;
    }
    fixture
        .check(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 1",
            &["hot", "readings", "trucks"],
        )
        .await;
    let error = fixture.rows("SELECT * FROM public.pg_class").await.unwrap_err();
    assert_eq!(error.state(), SqlState::UNDEFINED_TABLE);
}

#[tokio::test]
async fn registered_types_print_names_and_compare_as_oids() {
    let fixture = fixture();
    fixture.check("SELECT 'readings'::regclass", &["readings"]).await;
    fixture.check("SELECT 'readings'::regclass::oid", &["16384"]).await;
    fixture.check("SELECT attrelid::regclass FROM pg_attribute WHERE attrelid = 'hot'::regclass", &["hot"]).await;
    fixture.check("SELECT oid::regtype::text FROM pg_type WHERE oid = to_regtype('int')", &["integer"]).await;
    fixture.check("SELECT to_regclass('nothing')", &[""]).await;
    let error = fixture.rows("SELECT 'nothing'::regclass").await.unwrap_err();
    assert_eq!(error.state(), SqlState::UNDEFINED_TABLE);
}

#[tokio::test]
async fn subqueries_as_values() {
    let fixture = fixture();
    fixture
        .check(
            "SELECT relname, (SELECT count(*) FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum < c.relnatts), \
             ARRAY(SELECT attname FROM pg_attribute a WHERE a.attrelid = c.oid ORDER BY attnum DESC) \
             FROM pg_class c WHERE relname IN ('readings', 'hot') ORDER BY 1",
            &["hot|0|{device}", "readings|3|{price,temperature,ts,device}"],
        )
        .await;
    let sql = "SELECT (SELECT attname FROM pg_attribute a WHERE a.attrelid = c.oid) FROM pg_class c WHERE relname = ";
    fixture.check(&format!("{sql} 'hot'"), &["device"]).await;
    let error = fixture.rows(&format!("{sql} 'readings'")).await.unwrap_err();
    assert_eq!(error.state(), SqlState::CARDINALITY_VIOLATION);
    let error = fixture.rows("SELECT (SELECT attname FROM pg_attribute)").await.unwrap_err();
    assert_eq!(error.state(), SqlState::CARDINALITY_VIOLATION);
}

#[tokio::test]
async fn quantified_comparisons() {
    let fixture = fixture();
    let names = "SELECT relname FROM pg_class WHERE relnamespace = 2200 AND relkind";
    fixture.check(&format!("{names} = ANY ('{{v,m}}') ORDER BY 1"), &["hot", "latest"]).await;
    fixture.check(&format!("{names} = ANY (ARRAY['v'::\"char\"])"), &["hot"]).await;
    fixture.check(&format!("{names} <> ALL ('{{r,i,v}}')"), &["latest"]).await;
    fixture
        .check(
            "SELECT attname FROM pg_attribute, pg_constraint WHERE attrelid = conrelid AND attnum = ANY (conkey)",
            &["device"],
        )
        .await;
}

/// What drivers ask when they connect, and SQLAlchemy and pgjdbc when they reflect.
#[tokio::test]
async fn queries_of_drivers() {
    let fixture = fixture();
    fixture.check("SELECT pg_catalog.set_config('search_path', 'public', false)", &["public"]).await;
    fixture.check("SELECT current_schema()", &["public"]).await;
    fixture.check("SELECT current_database(), current_user, session_user", &["tidemark|tidemark|tidemark"]).await;
    fixture.check("SELECT current_schemas(true)", &["{pg_catalog,public}"]).await;
    fixture.check("SELECT pg_is_in_recovery(), pg_backend_pid()", &["false|4711"]).await;
    for (sql, expected) in driver_queries() {
        fixture.check(sql, expected).await;
    }
}

fn driver_queries() -> Vec<(&'static str, &'static [&'static str])> {
    vec![
        // psycopg 3, TypeInfo.fetch
        (
            "SELECT typname AS name, oid, typarray AS array_oid, oid::regtype::text AS regtype, typdelim AS delimiter \
             FROM pg_type t WHERE t.oid = to_regtype('numeric') ORDER BY t.oid",
            &["numeric|1700|1231|numeric|,"],
        ),
        // SQLAlchemy 2, has_table
        (
            "SELECT pg_catalog.pg_class.relname FROM pg_catalog.pg_class JOIN pg_catalog.pg_namespace ON \
             pg_catalog.pg_namespace.oid = pg_catalog.pg_class.relnamespace WHERE pg_catalog.pg_class.relname = \
             'readings' AND pg_catalog.pg_class.relkind = ANY (ARRAY['r', 'p', 'f', 'v', 'm']) AND \
             pg_catalog.pg_table_is_visible(pg_catalog.pg_class.oid) AND pg_catalog.pg_namespace.nspname != 'pg_catalog'",
            &["readings"],
        ),
        // pgjdbc, TypeInfoCache
        (
            "SELECT typinput='pg_catalog.array_in'::regproc as is_array, typtype, typname, pg_type.oid \
             FROM pg_catalog.pg_type WHERE typname = '_int4'",
            &["true|b|_int4|1007"],
        ),
        // pgjdbc, getTables
        (
            "SELECT current_database() AS TABLE_CAT, n.nspname AS TABLE_SCHEM, c.relname AS TABLE_NAME, \
             CASE n.nspname ~ '^pg_' OR n.nspname = 'information_schema' WHEN true THEN 'SYSTEM TABLE' \
             WHEN false THEN CASE c.relkind WHEN 'r' THEN 'TABLE' WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE NULL END \
             ELSE NULL END AS TABLE_TYPE, d.description AS REMARKS \
             FROM pg_catalog.pg_namespace n, pg_catalog.pg_class c \
             LEFT JOIN pg_catalog.pg_description d ON (c.oid = d.objoid AND d.objsubid = 0 AND d.classoid = \
             'pg_class'::regclass) WHERE c.relnamespace = n.oid AND c.relname LIKE 'read%' AND c.relkind = 'r' \
             ORDER BY TABLE_TYPE, TABLE_SCHEM, TABLE_NAME",
            &["tidemark|public|readings|TABLE|"],
        ),
        ("SELECT column_name, data_type FROM information_schema.columns WHERE table_name = 'hot'", &["device|integer"]),
    ]
}

#[test]
fn definitions_are_sound() {
    let mut oids = std::collections::HashSet::new();
    for definition in table::definitions() {
        assert!(oids.insert(definition.oid), "oid of {} is taken", definition.name);
        let mut rows = rows::Rows::default();
        if let Some(make) = definition.rows {
            make(&facts(), &mut rows);
        }
        let batch = rows.batch(&definition.columns).unwrap_or_else(|e| panic!("{}: {e:?}", definition.name));
        assert_eq!(batch.num_columns(), definition.columns.columns.len());
        assert!(batch.columns().iter().all(|column| column.len() == batch.num_rows()));
    }
}
