//! `tidemark.*`: tables, views and sources with their numbers.

use super::facts::Facts;
use super::rows::{Rows, row};
use super::table::MakeRows;
use crate::catalog::{Relation, TableKind};
use crate::types::RelationId;

/// Name, sentence, columns, rows.
pub const TABLES: &[(&str, &str, &str, Option<MakeRows>)] = &[
    (
        "tables",
        "The tables and sources, with their rows in memory and in files.",
        "id:oid name:name kind:text primary_key:text[] rows:int8 rows_hot:int8 rows_cold:int8 bytes_hot:int8 \
         bytes_cold:int8 files:int8 tombstones:int8",
        Some(tables),
    ),
    (
        "views",
        "The materialized views: what each reads, how far it is, and the size of its state.",
        "id:oid name:name definition:text depends_on:text[] applied_commit:int8 lag_commits:int8 rows:int8 \
         state_bytes:int8 errors:int8 rows_read:int8 rows_emitted:int8",
        Some(views),
    ),
    (
        "sources",
        "The sources, with the rows committed since the start, and what stopped a source that stands still.",
        "id:oid name:name connector:text options:text rows:int8 error:text",
        Some(sources),
    ),
    (
        "view_errors",
        "What materialized views leave out because of an error, by view, operator and error.",
        "view:name operator:int8 sqlstate:text message:text rows:int8",
        Some(view_errors),
    ),
    (
        "settings",
        "The session's variables; SHOW ALL shows the same.",
        "name:name value:text default:text description:text",
        Some(settings),
    ),
];

fn tables(facts: &Facts, rows: &mut Rows) {
    for table in facts.catalog.tables() {
        let stats = facts.stats.tables.get(&table.id).copied().unwrap_or_default();
        let kind = match &table.kind {
            TableKind::Plain => "plain",
            TableKind::AppendOnly => "append only",
            TableKind::PrimaryKey { .. } => "primary key",
        };
        let key = table.key().map(|key| key.iter().filter_map(|at| table.columns.get(*at)));
        let key = key.map(|key| super::rows::Cell::Texts(key.map(|column| column.name.clone()).collect()));
        rows.push(row! {
            "id" => i64::from(table.id.0), "name" => table.name.as_str(), "kind" => kind, "primary_key" => key,
            "rows" => stats.rows_hot + stats.rows_cold, "rows_hot" => stats.rows_hot, "rows_cold" => stats.rows_cold,
            "bytes_hot" => stats.bytes_hot, "bytes_cold" => stats.bytes_cold, "files" => stats.files,
            "tombstones" => stats.tombstones,
        });
    }
}

/// Names of relations, those that are gone left out.
fn names(facts: &Facts, ids: &[RelationId]) -> super::rows::Cell {
    let relations = ids.iter().filter_map(|id| facts.catalog.get(*id));
    super::rows::Cell::Texts(relations.map(|relation| relation.name().to_owned()).collect())
}

fn views(facts: &Facts, rows: &mut Rows) {
    for view in facts.catalog.materialized_views() {
        let stats = facts.stats.views.get(&view.id).copied();
        let durable = facts.stats.durable_commit.0;
        rows.push(row! {
            "id" => i64::from(view.id.0), "name" => view.name.as_str(), "definition" => view.sql.as_str(),
            "depends_on" => names(facts, &view.depends_on),
            "applied_commit" => stats.map(|stats| stats.applied_commit.0),
            "lag_commits" => stats.map(|stats| durable.saturating_sub(stats.applied_commit.0)),
            "rows" => stats.map(|stats| stats.rows), "state_bytes" => stats.map(|stats| stats.state_bytes),
            "errors" => stats.map(|stats| stats.errors), "rows_read" => stats.map(|stats| stats.rows_read),
            "rows_emitted" => stats.map(|stats| stats.rows_emitted),
        });
    }
}

fn sources(facts: &Facts, rows: &mut Rows) {
    for relation in facts.catalog.relations() {
        let Relation::Table(table) = relation else { continue };
        let Some(source) = &table.source else { continue };
        let stats = facts.stats.sources.get(&table.id).cloned().unwrap_or_default();
        let options: Vec<String> = source.options.iter().map(|(name, value)| format!("{name} = '{value}'")).collect();
        rows.push(row! {
            "id" => i64::from(table.id.0), "name" => table.name.as_str(), "connector" => source.connector.as_str(),
            "options" => options.join(", "), "rows" => stats.rows, "error" => stats.error,
        });
    }
}

fn view_errors(facts: &Facts, rows: &mut Rows) {
    for error in &facts.stats.view_errors {
        rows.push(row! {
            "view" => error.view.as_str(), "operator" => i64::from(error.operator),
            "sqlstate" => error.sqlstate.as_str(), "message" => error.message.as_str(), "rows" => error.rows,
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
