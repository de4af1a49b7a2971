//! CREATE OR REPLACE VIEW: what a view may become, given what it was and who reads it.
//!
//! As in PostgreSQL, its columns keep their names and types, and new ones stand at the end. Beyond that, a materialized
//! view that reads it was computed from the former query, and a plain view may have named its columns by `*`; both are
//! told apart from what stays right.

use std::sync::Arc;

use super::define::with_dependents;
use super::definitions::Definitions;
use super::scope::Environment;
use crate::catalog::{Catalog, CatalogChange, Relation, View, ViewColumn};
use crate::error::{Error, Result, SqlState};
use crate::plan::plan_query;
use crate::sql::parse_query;
use crate::types::SqlType;

/// The plain view that a name stands for. Errors: 42809.
pub fn replaceable(relation: &Relation) -> Result<Arc<View>> {
    match relation {
        Relation::View(view) => Ok(view.clone()),
        other => {
            let message = format!("\"{}\" is not a view but a {}", other.name(), other.kind_name());
            Err(Error::new(SqlState::WRONG_OBJECT_TYPE, message))
        }
    }
}

/// Errors: 42P16 for columns that change, 42P17 for a view of itself, 2BP01 naming who reads the view and cannot go on.
pub fn check_replacement(
    environment: &Environment<'_>,
    catalog: &Arc<Catalog>,
    old: &View,
    new: &Arc<View>,
    now_us: i64,
) -> Result<()> {
    check_columns(&old.columns, &new.columns)?;
    let dependents = with_dependents(catalog, &[old.id]);
    if new.depends_on.iter().any(|id| dependents.contains(id)) {
        let message = format!("view \"{}\" would read itself", new.name);
        return Err(Error::new(SqlState::INVALID_OBJECT_DEFINITION, message));
    }
    let mut next = catalog.as_ref().clone();
    next.apply(&CatalogChange::CreateView(new.clone()));
    let next = Arc::new(next);
    let definitions = Definitions::new(environment, next.clone(), now_us)?;
    let in_the_way: Vec<String> = dependents
        .into_iter()
        .filter(|id| *id != old.id)
        .filter_map(|id| next.get(id))
        .filter(|relation| !keeps_its_columns(&definitions, relation))
        .map(|relation| format!("{} {} depends on view {}", relation.kind_name(), relation.name(), old.name))
        .collect();
    if in_the_way.is_empty() {
        return Ok(());
    }
    let message = format!("cannot replace view {} because other objects depend on it", old.name);
    Err(Error::new(SqlState::DEPENDENT_OBJECTS, message)
        .with_detail(in_the_way.join("\n"))
        .with_hint("DROP them, replace the view, and CREATE them again."))
}

fn check_columns(old: &[ViewColumn], new: &[ViewColumn]) -> Result<()> {
    let refused = |message: String| Error::new(SqlState::INVALID_TABLE_DEFINITION, message);
    if new.len() < old.len() {
        return Err(refused("cannot drop columns from view".to_owned()).with_hint("DROP the view and CREATE it again."));
    }
    for (old, new) in old.iter().zip(new) {
        if old.name != new.name {
            let message = format!("cannot change name of view column \"{}\" to \"{}\"", old.name, new.name);
            return Err(refused(message).with_hint("New columns stand behind those that the view has."));
        }
        if old.sql_type != new.sql_type {
            return Err(refused(format!(
                "cannot change data type of view column \"{}\" from {} to {}",
                old.name, old.sql_type, new.sql_type
            )));
        }
    }
    Ok(())
}

/// Whether a plain view, planned anew, has the columns that it had.
fn keeps_its_columns(definitions: &Definitions, relation: &Relation) -> bool {
    let Relation::View(view) = relation else { return false };
    let plan = || {
        let query = definitions.rewritten(&*parse_query(&view.sql)?)?;
        plan_query(definitions.state(), definitions, &query, &view.sql)
    };
    let Ok(plan) = plan() else { return false };
    let types = plan.schema().fields().iter().map(|field| SqlType::from_arrow(field.data_type()));
    types.eq(view.columns.iter().map(|column| Some(column.sql_type.clone())))
}
