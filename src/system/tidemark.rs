//! `tidemark.*`: tables, views and sources with their numbers, errors of views, settings.

use chrono::DateTime;

use super::facts::Facts;
use super::measures::{self, Measure};
use super::rows::{Cell, Rows, row};
use super::table::MakeRows;
use crate::catalog::{Relation, TableKind};
use crate::functions::session_state;
use crate::plan::ViewPlan;
use crate::types::RelationId;
use crate::types::calendar::DAY_US;
use crate::types::text::write_interval;

/// Name, sentence, columns before [`measure_columns`], rows.
pub const TABLES: &[(&str, &str, &str, Option<MakeRows>)] = &[
    (
        "tables",
        "The tables and sources, with their rows in memory and in files.",
        "id:oid name:name kind:text primary_key:text[] retention:text retention_column:name expired_before:timestamptz",
        Some(tables),
    ),
    (
        "views",
        "The materialized views: what each reads, how far it is, and the size of its state.",
        "id:oid name:name definition:text depends_on:text[] status:text failure:text retention:text retention_column:name expired_before:timestamptz",
        Some(views),
    ),
    (
        "view_operators",
        "What each operator of a live materialized view keeps in memory, and what it did; numbered and printed as by EXPLAIN MATERIALIZED VIEW.",
        "view:name operator:int8 operation:text state_bytes:int8 rows_read:int8 rows_emitted:int8",
        Some(view_operators),
    ),
    (
        "sources",
        "The sources, with the rows committed since the start, and what stopped a source that stands still.",
        "id:oid name:name connector:text options:text status:text error:text",
        Some(sources),
    ),
    (
        "commits",
        "The last commit, the oldest one that FOR SYSTEM_TIME AS OF can ask, and by how many milliseconds the time of commits is ahead of the wall clock.",
        "last_commit:int8 last_at:timestamptz readable_from:int8 readable_from_at:timestamptz ahead_ms:int8",
        Some(commits),
    ),
    (
        "view_errors",
        "What materialized views leave out because of an error, by view, operator, error, and row or group.",
        "view:name operator:int8 operation:text sqlstate:text message:text input:text input_digest:text rows:int8",
        Some(view_errors),
    ),
    (
        "late_rows",
        "Rows that came too late for a view with EMIT ON WINDOW CLOSE, by view, window and row.",
        "view:name window:text input:text input_digest:text rows:int8",
        Some(late_rows),
    ),
    (
        "watermarks",
        "The watermarks of tables: where each is, and what it waits for; SHOW WATERMARKS shows the same.",
        "name:name time_column:name watermark:timestamptz newest:timestamptz delay:text idle:text rows_ahead:int8 waits_for:text",
        Some(watermarks),
    ),
    (
        "memory",
        "What holds memory: the server as the machine sees it, hot rows and keys of each table, state of each view and of all, queries together and each by itself, loads, marks of the past.",
        "component:text name:text bytes:int8 limit_bytes:int8 evicted_bytes:int8 reloaded_bytes:int8",
        Some(memory),
    ),
    (
        "settings",
        "The session's variables; SHOW ALL shows the same.",
        "name:name value:text default:text description:text",
        Some(settings),
    ),
];

/// The numbers' columns of a table, behind the others.
pub fn measure_columns(table: &str) -> String {
    match table {
        "tables" => measures::columns(measures::TABLE),
        "views" => measures::columns(measures::VIEW),
        "sources" => measures::columns(measures::SOURCE),
        _ => String::new(),
    }
}

/// NULL where nothing is known.
fn measured<T>(measures: &'static [Measure<T>], facts: Option<&T>) -> impl Iterator<Item = (&'static str, Cell)> {
    measures.iter().map(move |measure| (measure.name, facts.map(measure.read).into()))
}

fn tables(facts: &Facts, rows: &mut Rows) {
    for table in facts.catalog.tables() {
        let stats = facts.stats.tables.get(&table.id).copied().unwrap_or_default();
        let kind = match &table.kind {
            TableKind::Plain => "plain",
            TableKind::AppendOnly => "append only",
            TableKind::PrimaryKey { .. } => "primary key",
        };
        let key = table.key().map(|key| key.iter().filter_map(|at| table.columns.get(*at)));
        let key = key.map(|key| Cell::Texts(key.map(|column| column.name.clone()).collect()));
        let mut cells = row! {
            "id" => i64::from(table.id.0), "name" => table.name.as_str(), "kind" => kind, "primary_key" => key,
        };
        cells.extend(retention(facts, table.id, |field_id| {
            let position = table.stored_columns().iter().position(|stored| stored.field_id == field_id)?;
            table.columns.get(position).map(|column| column.name.clone())
        }));
        cells.extend(measured(measures::TABLE, Some(&stats)));
        rows.push(cells);
    }
}

/// For how long rows stay, by which column, and what has expired. `name_of`: a column by its field id.
fn retention(facts: &Facts, id: RelationId, name_of: impl Fn(u32) -> Option<String>) -> Vec<(&'static str, Cell)> {
    let retention = facts.catalog.retention(id);
    let expired = facts.catalog.expired(id);
    row! {
        "retention" => retention.map(|retention| retention.text.clone()),
        "retention_column" => retention.and_then(|retention| name_of(retention.field_id)),
        "expired_before" => expired.map_or(Cell::Null, |expired| Cell::Int(expired.before_us)),
    }
}

/// Names of relations, those that are gone left out.
fn names(facts: &Facts, ids: &[RelationId]) -> Cell {
    let relations = ids.iter().filter_map(|id| facts.catalog.get(*id));
    Cell::Texts(relations.map(|relation| relation.name().to_owned()).collect())
}

fn views(facts: &Facts, rows: &mut Rows) {
    for view in facts.catalog.materialized_views() {
        let stats = facts.stats.views.get(&view.id);
        let mut cells = row! {
            "id" => i64::from(view.id.0), "name" => view.name.as_str(), "definition" => view.sql.as_str(),
            "depends_on" => names(facts, &view.depends_on),
            // Until the worker gets to it.
            "status" => stats.map_or("creating", |stats| stats.status),
            "failure" => stats.and_then(|stats| stats.failure.clone()),
        };
        cells.extend(retention(facts, view.id, |field_id| {
            view.columns.get((field_id as usize).checked_sub(1)?).map(|column| column.name.clone())
        }));
        cells.extend(measured(measures::VIEW, stats));
        rows.push(cells);
    }
}

fn sources(facts: &Facts, rows: &mut Rows) {
    for relation in facts.catalog.relations() {
        let Relation::Table(table) = relation else { continue };
        let Some(source) = &table.source else { continue };
        let stats = facts.stats.sources.get(&table.id).cloned().unwrap_or_default();
        let options: Vec<String> = source.options.iter().map(|(name, value)| format!("{name} = '{value}'")).collect();
        let mut cells = row! {
            "id" => i64::from(table.id.0), "name" => table.name.as_str(), "connector" => source.connector.as_str(),
            "options" => options.join(", "),
            "status" => if stats.error.is_some() { "failed" } else { "running" },
        };
        cells.extend(measured(measures::SOURCE, Some(&stats)));
        cells.push(("error", stats.error.into()));
        rows.push(cells);
    }
}

fn view_operators(facts: &Facts, rows: &mut Rows) {
    let registry = session_state(Default::default(), Default::default()).build();
    for view in facts.catalog.materialized_views() {
        let Some(stats) = facts.stats.views.get(&view.id) else { continue };
        let plan = ViewPlan::from_bytes(&view.plan, &registry).ok();
        for operator in &stats.operators {
            rows.push(row! {
                "view" => view.name.as_str(), "operator" => i64::from(operator.operator),
                "operation" => plan.as_ref().and_then(|plan| plan.describe(operator.operator)),
                "state_bytes" => operator.state_bytes as i64, "rows_read" => operator.rows_read as i64,
                "rows_emitted" => operator.rows_emitted as i64,
            });
        }
    }
}

fn late_rows(facts: &Facts, rows: &mut Rows) {
    for late in &facts.stats.left_out.late {
        rows.push(row! {
            "view" => late.view.as_str(), "window" => late.message.as_str(), "input" => late.input.as_str(),
            "input_digest" => late.digest.as_str(), "rows" => late.rows,
        });
    }
}

fn watermarks(facts: &Facts, rows: &mut Rows) {
    for table in facts.catalog.tables() {
        let Some(watermark) = &table.watermark else { continue };
        let stats = facts.stats.watermarks.get(&table.id).copied().unwrap_or_default();
        let mut waits_for = match stats.at_us {
            None => "the first row".to_owned(),
            Some(at_us) => format!("a row later than {}", moment(at_us.saturating_add(watermark.delay_us))),
        };
        if let Some(idle_us) = watermark.idle_us {
            waits_for.push_str(&format!(", or {} without a row", duration(idle_us)));
        }
        if stats.rows_ahead > 0 {
            waits_for.push_str("; rows from the future do not move it");
        }
        rows.push(row! {
            "name" => table.name.as_str(), "time_column" => watermark.column.as_str(),
            "watermark" => stats.at_us.map_or(Cell::Null, Cell::Int),
            "newest" => stats.newest_us.map_or(Cell::Null, Cell::Int),
            "delay" => duration(watermark.delay_us), "idle" => watermark.idle_us.map(duration),
            "rows_ahead" => stats.rows_ahead as i64, "waits_for" => waits_for,
        });
    }
}

fn moment(us: i64) -> String {
    DateTime::from_timestamp_micros(us)
        .map_or_else(|| us.to_string(), |time| time.format("%Y-%m-%d %H:%M:%S%.f+00").to_string())
}

fn duration(us: i64) -> String {
    let mut text = Vec::new();
    write_interval(0, (us / DAY_US) as i32, us % DAY_US, &mut text);
    String::from_utf8_lossy(&text).into_owned()
}

fn commits(facts: &Facts, rows: &mut Rows) {
    let commits = facts.stats.commits;
    rows.push(row! {
        "last_commit" => facts.stats.durable_commit.0 as i64, "last_at" => commits.last_us,
        "readable_from" => commits.readable_from.0 as i64, "readable_from_at" => commits.readable_from_us,
        "ahead_ms" => commits.ahead_us / 1000,
    });
}

fn view_errors(facts: &Facts, rows: &mut Rows) {
    for error in &facts.stats.left_out.errors {
        rows.push(row! {
            "view" => error.view.as_str(), "operator" => i64::from(error.operator),
            "operation" => error.operation.clone(), "sqlstate" => error.sqlstate.as_str(),
            "message" => error.message.as_str(), "input" => error.input.as_str(),
            "input_digest" => error.digest.as_str(), "rows" => error.rows,
        });
    }
}

fn memory(facts: &Facts, rows: &mut Rows) {
    for fact in &facts.stats.memory {
        let name = fact.relation.and_then(|id| facts.catalog.get(id)).map(|relation| relation.name().to_owned());
        if name.is_none() && fact.relation.is_some() {
            continue;
        }
        let name = name.or_else(|| fact.query.clone());
        rows.push(row! {
            "component" => fact.component, "name" => name, "bytes" => fact.bytes,
            "limit_bytes" => fact.limit_bytes, "evicted_bytes" => fact.evicted_bytes,
            "reloaded_bytes" => fact.reloaded_bytes,
        });
    }
}

fn settings(facts: &Facts, rows: &mut Rows) {
    for setting in &facts.session.settings {
        rows.push(row! {
            "name" => setting.name.as_str(), "value" => setting.value.as_str(),
            "default" => setting.default.as_str(), "description" => setting.description.as_str(),
        });
    }
}
