//! Mode `drip`: each INSERT of rows as single-row commits in another order, some of them undone and done again.
//!
//! ```text
//! INSERT INTO t VALUES (1), (2), (3)   ->   insert 3 | insert 1 | delete 1 | insert 1 | insert 2
//! ```
//!
//! Only where this changes nothing: outside transactions, without RETURNING and ON CONFLICT. A row is undone if the
//! table takes deletes and holds the row once. A table that upserts gets its rows in their order. The order and the
//! choice come from the seed alone.

use sqlparser::ast::{SetExpr, TableObject};
use tidemark::sql::{Statement, parse_statements};

use crate::answer::{Answer, Refusal};
use crate::client::Client;
use crate::report::Report;

/// Where the seeds of all files begin; `TIDEMARK_SQL_TESTS_SEED` sets another.
const SEED: u64 = 20_260_301;

/// One row in so many is undone and done again.
const UNDONE: u64 = 2;

pub fn seed() -> u64 {
    std::env::var("TIDEMARK_SQL_TESTS_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(SEED)
}

/// A file's own seed, never 0.
pub fn seed_of(file: &str) -> u64 {
    file.bytes().fold(seed(), |seed, byte| mixed(seed ^ u64::from(byte))) | 1
}

/// How many statements a text holds; what does not parse is one.
pub fn statements(sql: &str) -> usize {
    parse_statements(sql).map_or(1, |statements| statements.len())
}

/// An INSERT of rows that stand in it.
pub struct Insert {
    table: String,
    target: String,
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Insert {
    /// `None` for everything that is to be sent as it stands.
    pub fn of(sql: &str) -> Option<Insert> {
        let [parsed] = parse_statements(sql).ok()?.try_into().ok()?;
        let Statement::Insert(insert) = parsed.statement else { return None };
        let source = insert.source?;
        let SetExpr::Values(values) = *source.body else { return None };
        let plain =
            insert.on.is_none() && insert.returning.is_none() && source.with.is_none() && source.order_by.is_none();
        let TableObject::TableName(table) = insert.table else { return None };
        if !plain || source.limit_clause.is_some() || insert.table_alias.is_some() {
            return None;
        }
        let columns: Vec<String> = insert.columns.iter().map(ToString::to_string).collect();
        let list = if columns.is_empty() { String::new() } else { format!(" ({})", columns.join(", ")) };
        let rows = values.rows.iter().map(|row| row.iter().map(ToString::to_string).collect()).collect();
        Some(Insert { table: table.to_string(), target: format!("{table}{list}"), columns, rows })
    }
}

/// The chance of one file.
pub struct Drip {
    state: u64,
    /// Some table of the file upserts, so that the order of rows means something.
    keeps_order: bool,
}

impl Drip {
    pub fn new(file: &str, text: &str) -> Drip {
        Drip { state: seed_of(file), keeps_order: text.contains("on_conflict") }
    }

    pub async fn insert(&mut self, client: &Client, mut insert: Insert, report: &Report) -> Result<Answer, Refusal> {
        if !self.keeps_order {
            for last in (1..insert.rows.len()).rev() {
                insert.rows.swap(last, (self.next() % (last as u64 + 1)) as usize);
            }
        }
        let deletes = !self.keeps_order && takes_deletes(client, &insert.table).await;
        let columns = if deletes { columns(client, &insert).await } else { Vec::new() };
        let (mut rows, mut undone) = (0, 0);
        for row in &insert.rows {
            let statement = format!("INSERT INTO {} VALUES ({})", insert.target, row.join(", "));
            rows += done(client.run(&statement).await?);
            if deletes && self.next().is_multiple_of(UNDONE) && undo(client, &insert.table, &columns, row).await {
                done(client.run(&statement).await?);
                undone += 1;
            }
        }
        report.dripped(insert.rows.len(), undone);
        Ok(Answer::Done { rows })
    }

    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed(self.state)
    }
}

fn mixed(seed: u64) -> u64 {
    let mut mixed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Deletes the row, if that takes exactly one. A row whose condition is refused stays.
async fn undo(client: &Client, table: &str, columns: &[String], row: &[String]) -> bool {
    let named: Vec<_> = columns.iter().zip(row).filter(|(_, value)| *value != "DEFAULT").collect();
    if named.is_empty() {
        return false;
    }
    let conditions: Vec<String> =
        named.iter().map(|(column, value)| format!("({column} IS NOT DISTINCT FROM {value})")).collect();
    let condition = conditions.join(" AND ");
    match first_value(client, &format!("SELECT count(*) FROM {table} WHERE {condition}")).await.as_deref() {
        Some("1") => {
            matches!(client.run(&format!("DELETE FROM {table} WHERE {condition}")).await, Ok(Answer::Done { rows: 1 }))
        }
        _ => false,
    }
}

async fn takes_deletes(client: &Client, table: &str) -> bool {
    let kind = format!("SELECT kind FROM tidemark.tables WHERE name = '{}'", bare(table));
    first_value(client, &kind).await.is_some_and(|kind| kind != "append only")
}

/// The columns that an INSERT's values go to.
async fn columns(client: &Client, insert: &Insert) -> Vec<String> {
    if !insert.columns.is_empty() {
        return insert.columns.clone();
    }
    let sql = format!(
        "SELECT column_name FROM information_schema.columns WHERE table_name = '{}' ORDER BY ordinal_position",
        bare(&insert.table)
    );
    match client.run(&sql).await {
        Ok(Answer::Rows { lines, .. }) => lines.iter().map(|name| format!("\"{name}\"")).collect(),
        _ => Vec::new(),
    }
}

/// The name as the catalog has it.
fn bare(table: &str) -> String {
    match table.strip_prefix('"') {
        Some(quoted) => quoted.trim_end_matches('"').to_owned(),
        None => table.to_lowercase(),
    }
}

async fn first_value(client: &Client, sql: &str) -> Option<String> {
    match client.run(sql).await.ok()? {
        Answer::Rows { lines, .. } => lines.into_iter().next(),
        Answer::Done { .. } => None,
    }
}

fn done(answer: Answer) -> u64 {
    match answer {
        Answer::Done { rows } => rows,
        Answer::Rows { lines, .. } => lines.len() as u64,
    }
}
