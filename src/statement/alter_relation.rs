//! ALTER of what a relation does besides its columns: how long its changes are kept, a view that goes on, a view's name.

use std::sync::Arc;

use super::define::{is_taken, kind_of, skipping};
use super::dependents::{carry_over, under_name};
use super::expire::{retention_of, retention_of_view};
use super::response::Response;
use super::scope::{Environment, no_relation};
use super::transaction::Transaction;
use crate::catalog::{Catalog, CatalogChange, MaterializedView, Relation, Retention};
use crate::dataflow::ViewStatus;
use crate::error::{Error, Result, SqlState};
use crate::sql::{AlterRelation, DropKind, RelationAction, RelationOptions, RetentionOption};

pub async fn alter_relation(
    environment: &Environment<'_>,
    transaction: &mut Transaction,
    alter: &AlterRelation,
) -> Result<Response> {
    transaction.lock_definitions(environment.handles).await?;
    let catalog = transaction.catalog(environment.handles);
    let done = Response::Done { tag: format!("ALTER {}", alter.kind.words()) };
    let Some(relation) = catalog.find(&alter.name) else {
        if alter.if_exists {
            environment.session.notice(skipping(format!("relation \"{}\" does not exist, skipping", alter.name)));
            return Ok(done);
        }
        return Err(no_relation(&catalog, &alter.name));
    };
    let kind = kind_of(relation);
    if kind != alter.kind && (kind, alter.kind) != (DropKind::Source, DropKind::Table) {
        return Err(Error::new(
            SqlState::WRONG_OBJECT_TYPE,
            format!("\"{}\" is not a {}", alter.name, alter.kind.words().to_ascii_lowercase()),
        )
        .with_hint(format!("Use ALTER {}.", kind.words())));
    }
    let (renamed, relation) = (relation.clone(), relation.id());
    match &alter.action {
        RelationAction::RenameTo(name) => rename(environment, transaction, &catalog, &renamed, name)?,
        RelationAction::SetOptions(RelationOptions { subscribe_retention_us, retention }) => {
            if let Some(retention_us) = *subscribe_retention_us {
                transaction.define(CatalogChange::KeepChanges { relation, retention_us })?;
            }
            if let Some(option) = retention {
                let retention = |option| match &renamed {
                    Relation::Table(table) => retention_of(table, option),
                    Relation::MaterializedView(view) => changed_retention(&catalog, view, option),
                    Relation::View(_) => Err(Error::internal("a plain view with rows of its own")),
                };
                let retention = option.as_ref().map(retention).transpose()?;
                transaction.define(CatalogChange::Retain { table: relation, retention })?;
            }
        }
        RelationAction::Resume => {
            let stats = environment.handles.dataflows.stats();
            let stopped = stats.iter().any(|view| {
                view.view == relation && matches!(view.status, ViewStatus::Failed(_) | ViewStatus::Suspended(_))
            });
            if stopped {
                transaction.define(CatalogChange::Resume(relation))?;
            } else {
                environment.session.notice(skipping(format!("materialized view \"{}\" is live, skipping", alter.name)));
            }
        }
    }
    Ok(done)
}

/// A retention for a view of which rows may have expired. Errors: 55000 where another column told their age.
fn changed_retention(catalog: &Catalog, view: &MaterializedView, option: &RetentionOption) -> Result<Retention> {
    let retention = retention_of_view(&view.name, &view.columns, option)?;
    match catalog.cutoff(view.id).filter(|cutoff| cutoff.column != retention.view_column()) {
        None => Ok(retention),
        Some(cutoff) => {
            let former = view.columns.get(cutoff.column).map_or("", |column| column.name.as_str());
            let message = format!("rows of materialized view \"{}\" have expired by column \"{former}\"", view.name);
            Err(Error::new(SqlState::OBJECT_NOT_IN_STATE, message)
                .with_hint("RESET (retention) and CREATE OR REPLACE the view, which gives it all of its rows, first."))
        }
    }
}

/// The view under another name. Those that read it say so too.
fn rename(
    environment: &Environment<'_>,
    transaction: &mut Transaction,
    catalog: &Arc<Catalog>,
    relation: &Relation,
    name: &str,
) -> Result<()> {
    is_taken(environment, catalog, name, false)?;
    let change = under_name(relation, name);
    let moved: Vec<Option<usize>> = (0..relation.schema().fields().len()).map(Some).collect();
    let others = carry_over(environment, catalog, relation.id(), &change, &moved, transaction.started_us)?;
    [change].into_iter().chain(others).try_for_each(|change| transaction.define(change))
}
