//! CREATE and DROP of tables, sources, views and materialized views.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::IntervalMonthDayNano;
use datafusion::execution::SessionState;
use sqlparser::ast;

use super::definitions::Definitions;
use super::dependents::replace;
use super::expire::{retention_of, retention_of_view};
use super::replace_view::{check_columns, replaceable};
use super::response::{Notice, Response};
use super::scope::{Environment, default_expression, direct_dependencies};
use super::transaction::Transaction;
use crate::catalog::{
    Catalog, CatalogChange, Column, MaterializedView, Relation, Retention, SourceOptions, Table, TableKind, View,
    ViewColumn, Watermark,
};
use crate::dataflow::Dataflow;
use crate::error::{Error, Result, SqlState};
use crate::ingest;
use crate::plan::{RelationLookup, ViewPlan, plan_query, plan_view};
use crate::sql::{CreateMaterializedView, CreateSource, CreateTable, CreateView, DropKind, RetentionOption};
use crate::types::{RelationId, SqlType, WATERMARK};

pub async fn create_table(
    environment: &Environment<'_>,
    transaction: &mut Transaction,
    create: &CreateTable,
) -> Result<Response> {
    transaction.lock_definitions(environment.handles).await?;
    let catalog = transaction.catalog(environment.handles);
    if is_taken(environment, &catalog, &create.name, create.if_not_exists)? {
        return done("CREATE TABLE");
    }
    let table = Table {
        id: catalog.next_id(),
        name: create.name.clone(),
        columns: with_watermark(create.columns.clone(), create.watermark.as_ref())?,
        kind: create.kind.clone(),
        schema_version: 1,
        upsert: create.upsert,
        source: None,
        stored: Vec::new(),
        dropped: Vec::new(),
        last_field_id: 0,
        watermark: create.watermark.clone(),
    };
    check_defaults(environment, &table)?;
    let relation = table.id;
    let retention = create.retention.as_ref().map(|option| retention_of(&table, option)).transpose()?;
    transaction.define(CatalogChange::CreateTable(Arc::new(table)))?;
    if retention.is_some() {
        transaction.define(CatalogChange::Retain { table: relation, retention })?;
    }
    keep_changes(transaction, relation, create.subscribe_retention_us)?;
    done("CREATE TABLE")
}

pub async fn create_source(
    environment: &Environment<'_>,
    transaction: &mut Transaction,
    create: &CreateSource,
) -> Result<Response> {
    transaction.lock_definitions(environment.handles).await?;
    let catalog = transaction.catalog(environment.handles);
    if is_taken(environment, &catalog, &create.name, create.if_not_exists)? {
        return done("CREATE SOURCE");
    }
    let source = SourceOptions { connector: create.connector.clone(), options: create.options.clone() };
    let columns = ingest::complete_columns(&source, create.columns.clone())?;
    let table = Table {
        id: catalog.next_id(),
        name: create.name.clone(),
        columns: with_watermark(columns, create.watermark.as_ref())?,
        kind: TableKind::AppendOnly,
        schema_version: 1,
        upsert: false,
        source: Some(source),
        stored: Vec::new(),
        dropped: Vec::new(),
        last_field_id: 0,
        watermark: create.watermark.clone(),
    };
    check_defaults(environment, &table)?;
    let relation = table.id;
    let retention = create.retention.as_ref().map(|option| retention_of(&table, option)).transpose()?;
    transaction.define(CatalogChange::CreateTable(Arc::new(table)))?;
    if retention.is_some() {
        transaction.define(CatalogChange::Retain { table: relation, retention })?;
    }
    keep_changes(transaction, relation, create.subscribe_retention_us)?;
    done("CREATE SOURCE")
}

pub async fn create_view(
    environment: &Environment<'_>,
    transaction: &mut Transaction,
    create: &CreateView,
) -> Result<Response> {
    transaction.lock_definitions(environment.handles).await?;
    let catalog = transaction.catalog(environment.handles);
    let replaced = match catalog.find(&create.name) {
        Some(relation) if create.or_replace => Some(replaceable(relation)?),
        _ => {
            is_taken(environment, &catalog, &create.name, false)?;
            None
        }
    };
    let definitions = Definitions::new(environment, catalog.clone(), transaction.started_us);
    let query = definitions.rewritten(&create.query)?;
    let plan = plan_query(definitions.state(), &definitions, &query, environment.text)?;
    let columns = plan.schema().fields().iter().map(|field| {
        let sql_type = SqlType::from_arrow(field.data_type()).ok_or_else(|| {
            Error::not_built(format!("column \"{}\" of type {} in a view", field.name(), field.data_type()))
        })?;
        Ok(ViewColumn { name: field.name().clone(), sql_type })
    });
    let columns = named(columns.collect::<Result<Vec<_>>>()?, &create.columns)?;
    let mut names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    names.sort_unstable();
    if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(Error::new(SqlState::DUPLICATE_COLUMN, format!("column \"{}\" specified more than once", pair[0]))
            .with_hint("Give the columns of the view different names with AS."));
    }
    let view = Arc::new(View {
        id: replaced.as_ref().map_or_else(|| catalog.next_id(), |replaced| replaced.id),
        name: create.name.clone(),
        sql: create.query.to_string(),
        columns,
        depends_on: direct_dependencies(&catalog, &create.query),
    });
    let change = CatalogChange::CreateView(view.clone());
    let changes = match replaced {
        Some(replaced) => {
            check_columns(&replaced.columns, &view.columns)?;
            replace(environment, &catalog, replaced.id, change, transaction.started_us)?
        }
        None => vec![change],
    };
    changes.into_iter().try_for_each(|change| transaction.define(change))?;
    done("CREATE VIEW")
}

pub async fn create_materialized_view(
    environment: &Environment<'_>,
    transaction: &mut Transaction,
    create: &CreateMaterializedView,
) -> Result<Response> {
    transaction.lock_definitions(environment.handles).await?;
    let catalog = transaction.catalog(environment.handles);
    let former = match catalog.find(&create.name) {
        Some(Relation::MaterializedView(view)) if create.or_replace => Some(view.id),
        Some(other) if create.or_replace => {
            let message = format!("\"{}\" is not a materialized view but a {}", create.name, other.kind_name());
            return Err(Error::new(SqlState::WRONG_OBJECT_TYPE, message));
        }
        _ if is_taken(environment, &catalog, &create.name, create.if_not_exists)? => {
            return done("CREATE MATERIALIZED VIEW");
        }
        _ => None,
    };
    let view = materialized_view(environment, &catalog, create, transaction.started_us)?;
    let relation = view.id;
    let asked =
        create.retention.as_ref().map(|option| retention_of_view(&view.name, &view.columns, option)).transpose()?;
    let kept = former.and_then(|former| catalog.get(former).zip(catalog.retention(former)));
    let retention = match (asked, kept) {
        (None, Some((former, kept))) => Some(carried_retention(former, kept, &view)?),
        (asked, _) => asked,
    };
    let changes = match former {
        Some(former) => {
            let change = CatalogChange::ReplaceMaterializedView { former, view: Arc::new(view) };
            replace(environment, &catalog, former, change, transaction.started_us)?
        }
        None => vec![CatalogChange::CreateMaterializedView(Arc::new(view))],
    };
    changes.into_iter().try_for_each(|change| transaction.define(change))?;
    if retention.is_some() {
        transaction.define(CatalogChange::Retain { table: relation, retention })?;
    }
    keep_changes(transaction, relation, create.subscribe_retention_us)?;
    done("CREATE MATERIALIZED VIEW")
}

/// The retention of a view that is replaced, for the one in its place: by the column of the same name.
///
/// Errors: 2BP01 where that does not say how old a row is.
fn carried_retention(former: &Relation, kept: &Retention, view: &MaterializedView) -> Result<Retention> {
    let schema = former.schema();
    let column = schema.fields().get(kept.view_column()).map_or("", |field| field.name().as_str());
    let interval = IntervalMonthDayNano::new(kept.months, kept.days, kept.us.saturating_mul(1000));
    let option = RetentionOption { text: kept.text.clone(), interval, column: Some(column.to_owned()) };
    retention_of_view(&view.name, &view.columns, &option).map_err(|_| {
        let message = format!(
            "cannot replace materialized view {} because its retention depends on a time in column {column}",
            view.name
        );
        Error::new(SqlState::DEPENDENT_OBJECTS, message)
            .with_hint("Say WITH (retention = ..., retention_column = ...), or ALTER MATERIALIZED VIEW ... RESET (retention) first.")
    })
}

/// A new definition, under the next id.
fn materialized_view(
    environment: &Environment<'_>,
    catalog: &Arc<Catalog>,
    create: &CreateMaterializedView,
    now_us: i64,
) -> Result<MaterializedView> {
    let definitions = Definitions::new(environment, catalog.clone(), now_us);
    let query = definitions.rewritten(&create.query)?;
    let closes = create.emits_on_close.then_some(&**catalog);
    let plan = plan_view(definitions.state(), &definitions, &query, environment.text, closes)?;
    let mut depends_on = direct_dependencies(catalog, &create.query);
    depends_on.extend(plan.sources());
    depends_on.sort_unstable();
    depends_on.dedup();
    let settings = {
        let variables = environment.session.variables();
        ["search_path", "timezone"]
            .into_iter()
            .map(|name| Ok((name.to_owned(), variables.get(name)?.to_owned())))
            .chain([Ok(("tzdb".to_owned(), chrono_tz::IANA_TZDB_VERSION.to_owned()))])
            .collect::<Result<BTreeMap<_, _>>>()?
    };
    // What the engine refuses is refused before anything is committed.
    let append_only = plan.sources().into_iter().filter(|source| definitions.is_append_only(*source)).collect();
    Dataflow::check(&plan, &settings, &append_only)?;
    Ok(MaterializedView {
        id: catalog.next_id(),
        name: create.name.clone(),
        sql: create.query.to_string(),
        settings,
        columns: named(plan.columns.clone(), &create.columns)?,
        plan: plan.to_bytes()?,
        depends_on,
        emits_on_close: create.emits_on_close,
    })
}

fn keep_changes(transaction: &mut Transaction, relation: RelationId, retention_us: u64) -> Result<()> {
    match retention_us {
        0 => Ok(()),
        _ => transaction.define(CatalogChange::KeepChanges { relation, retention_us }),
    }
}

pub async fn drop_relations(
    environment: &Environment<'_>,
    transaction: &mut Transaction,
    kind: DropKind,
    names: &[String],
    if_exists: bool,
    cascade: bool,
) -> Result<Response> {
    transaction.lock_definitions(environment.handles).await?;
    let mut dropped: Vec<RelationId> = Vec::new();
    for name in names {
        let catalog = transaction.catalog(environment.handles);
        let Some(relation) = catalog.find(name) else {
            if if_exists {
                environment.session.notice(skipping(format!(
                    "{} \"{name}\" does not exist, skipping",
                    kind.words().to_ascii_lowercase()
                )));
                continue;
            }
            let message = format!("{} \"{name}\" does not exist", kind.words().to_ascii_lowercase());
            return Err(Error::new(SqlState::UNDEFINED_TABLE, message));
        };
        if kind_of(relation) != kind {
            return Err(Error::new(
                SqlState::WRONG_OBJECT_TYPE,
                format!("\"{name}\" is not a {}", kind.words().to_ascii_lowercase()),
            )
            .with_hint(format!("Use DROP {}.", kind_of(relation).words())));
        }
        dropped.push(relation.id());
    }
    let catalog = transaction.catalog(environment.handles);
    let order = with_dependents(&catalog, &dropped);
    let others: Vec<&Relation> =
        order.iter().filter(|id| !dropped.contains(id)).filter_map(|id| catalog.get(*id)).collect();
    if !others.is_empty() && !cascade {
        let name = dropped.first().and_then(|id| catalog.get(*id)).map_or("", Relation::name);
        let detail: Vec<String> = others
            .iter()
            .map(|other| {
                format!(
                    "{} {} depends on {} {name}",
                    other.kind_name(),
                    other.name(),
                    kind.words().to_ascii_lowercase()
                )
            })
            .collect();
        return Err(Error::new(
            SqlState::DEPENDENT_OBJECTS,
            format!("cannot drop {} {name} because other objects depend on it", kind.words().to_ascii_lowercase()),
        )
        .with_detail(detail.join("\n"))
        .with_hint("Use DROP ... CASCADE to drop the dependent objects too."));
    }
    for other in &others {
        environment.session.notice(skipping(format!("drop cascades to {} {}", other.kind_name(), other.name())));
    }
    for id in order {
        transaction.define(CatalogChange::Drop(id))?;
    }
    Ok(Response::Done { tag: format!("DROP {}", kind.words()) })
}

/// The given relations and everything that reads them, dependents first.
pub(super) fn with_dependents(catalog: &Catalog, ids: &[RelationId]) -> Vec<RelationId> {
    let mut found: Vec<RelationId> = ids.to_vec();
    let mut next = 0;
    while next < found.len() {
        let dependents: Vec<RelationId> = catalog.dependents(found[next]).map(Relation::id).collect();
        found.extend(dependents.into_iter().filter(|id| !ids.contains(id)));
        next += 1;
    }
    // A relation is created after what it reads, so that the highest id first is dependents first.
    found.sort_unstable();
    found.dedup();
    found.reverse();
    found
}

pub(super) fn kind_of(relation: &Relation) -> DropKind {
    match relation {
        Relation::Table(table) if table.source.is_some() => DropKind::Source,
        Relation::Table(_) => DropKind::Table,
        Relation::View(_) => DropKind::View,
        Relation::MaterializedView(_) => DropKind::MaterializedView,
    }
}

/// Is the name taken? With IF NOT EXISTS that is a notice, else 42P07.
pub(super) fn is_taken(
    environment: &Environment<'_>,
    catalog: &Catalog,
    name: &str,
    if_not_exists: bool,
) -> Result<bool> {
    if catalog.find(name).is_none() {
        return Ok(false);
    }
    if !if_not_exists {
        return Err(Error::new(SqlState::DUPLICATE_TABLE, format!("relation \"{name}\" already exists")));
    }
    environment.session.notice(skipping(format!("relation \"{name}\" already exists, skipping")));
    Ok(true)
}

/// A column list after a view's name renames the first columns.
pub(super) fn named(mut columns: Vec<ViewColumn>, names: &[String]) -> Result<Vec<ViewColumn>> {
    if names.len() > columns.len() {
        return Err(Error::new(SqlState::SYNTAX_ERROR, "CREATE VIEW specifies more column names than columns"));
    }
    for (column, name) in columns.iter_mut().zip(names) {
        column.name.clone_from(name);
    }
    Ok(columns)
}

/// A DEFAULT must plan, and have the column's type.
pub(super) fn check_defaults(environment: &Environment<'_>, table: &Table) -> Result<()> {
    let definitions = Definitions::new(environment, Arc::new(Catalog::default()), 0);
    for column in table.columns.iter().filter(|column| column.default.is_some()) {
        let value = super::scope::cast(default_expression(column)?, &column.sql_type)?;
        let query = super::scope::skeleton(vec![ast::SelectItem::UnnamedExpr(value)], Vec::new(), None)?;
        let query = definitions.rewritten(&query)?;
        let plan = plan_query(definitions.state(), &definitions, &query, "")?;
        definitions.state().optimize(&plan).map_err(|error| {
            let error = Error::from(error);
            Error::new(error.state(), format!("default for column \"{}\": {}", column.name, error.message()))
        })?;
    }
    Ok(())
}

pub(super) fn skipping(message: String) -> Notice {
    Notice { severity: "NOTICE", code: "00000", message, detail: None, hint: None }
}

fn done(tag: &str) -> Result<Response> {
    Ok(Response::Done { tag: tag.to_owned() })
}

/// The columns of a table with a watermark: behind the user's the one that each row is marked in.
///
/// Errors: 42703 where the watermark's column is none of them, 42804 where it has no times.
fn with_watermark(mut columns: Vec<Column>, watermark: Option<&Watermark>) -> Result<Vec<Column>> {
    let Some(watermark) = watermark else { return Ok(columns) };
    let Some(column) = columns.iter().find(|column| column.name == watermark.column) else {
        let message = format!("column \"{}\" of the watermark does not exist", watermark.column);
        return Err(Error::new(SqlState::UNDEFINED_COLUMN, message));
    };
    let sql_type = column.sql_type.clone();
    if !matches!(sql_type, SqlType::Timestamptz | SqlType::Timestamp) {
        let message = format!("column \"{}\" of the watermark is of type {sql_type}", watermark.column);
        return Err(Error::new(SqlState::DATATYPE_MISMATCH, message).with_hint("Use a timestamptz or timestamp."));
    }
    columns.push(Column { name: WATERMARK.to_owned(), sql_type, not_null: false, default: None });
    Ok(columns)
}

/// The stored plan of a view.
pub fn plan_of(view: &MaterializedView, state: &SessionState) -> Result<ViewPlan> {
    ViewPlan::from_bytes(&view.plan, state)
}
