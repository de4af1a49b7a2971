//! CREATE OR REPLACE VIEW: what a view may become, given what it was. As in PostgreSQL, its columns keep their names and types,
//! and new ones stand at the end.

use std::sync::Arc;

use crate::catalog::{Relation, View, ViewColumn};
use crate::error::{Error, Result, SqlState};

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

/// Errors: 42P16 for columns that change.
pub fn check_columns(old: &[ViewColumn], new: &[ViewColumn]) -> Result<()> {
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
