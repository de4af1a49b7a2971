//! ALTER TABLE: sqlparser's tree, reduced to what can be altered here.

use sqlparser::ast::{self, AlterTableOperation, RenameTableNameKind};

use super::create::{column, identifier, relation_name};
use super::parse::Input;
use super::statement::{AlterAction, AlterTable, Statement};
use crate::error::{Error, Result};
use crate::types::ROW_ID;

/// Any ALTER. Errors: 0A000 naming the form that is not built.
pub(super) fn parse_alter(input: Input<'_>) -> Result<Statement> {
    let kind = input.tokens.get(1).map(|token| token.token.to_string().to_uppercase()).unwrap_or_default();
    if kind != "TABLE" {
        return Err(refused(&format!("ALTER {kind}")));
    }
    let mut parser = input.parser();
    let statement = input.check(parser.parse_statement())?;
    input.expect_end(&mut parser)?;
    let ast::Statement::AlterTable(alter) = statement else { return Err(refused("this form of ALTER TABLE")) };
    if alter.location.is_some() || alter.on_cluster.is_some() {
        return Err(refused("this form of ALTER TABLE"));
    }
    Ok(Statement::AlterTable(AlterTable {
        name: relation_name(&alter.name)?,
        if_exists: alter.if_exists,
        actions: alter.operations.iter().map(action).collect::<Result<_>>()?,
    }))
}

fn refused(what: &str) -> Error {
    Error::not_built(what).with_hint("ALTER TABLE can ADD, DROP and RENAME columns, and RENAME the table.")
}

fn action(operation: &AlterTableOperation) -> Result<AlterAction> {
    match operation {
        AlterTableOperation::AddColumn { if_not_exists, column_def, column_position: None, .. } => {
            let (column, is_key) = column(column_def)?;
            if is_key {
                return Err(refused("ADD COLUMN ... PRIMARY KEY"));
            }
            Ok(AlterAction::AddColumn { column, if_not_exists: *if_not_exists })
        }
        AlterTableOperation::DropColumn { column_names, if_exists, drop_behavior, .. } => match column_names.as_slice()
        {
            [name] if *drop_behavior != Some(ast::DropBehavior::Cascade) => {
                Ok(AlterAction::DropColumn { name: identifier(name), if_exists: *if_exists })
            }
            [_] => Err(refused("DROP COLUMN ... CASCADE")),
            _ => Err(refused("DROP of several columns in one action")),
        },
        AlterTableOperation::RenameColumn { old_column_name, new_column_name } => {
            let to = identifier(new_column_name);
            if to == ROW_ID {
                return Err(refused(&format!("a column named \"{ROW_ID}\"")));
            }
            Ok(AlterAction::RenameColumn { from: identifier(old_column_name), to })
        }
        AlterTableOperation::RenameTable { table_name: RenameTableNameKind::To(name) } => {
            Ok(AlterAction::RenameTo(relation_name(name)?))
        }
        other => {
            let text = other.to_string();
            let words: Vec<&str> = text.split_whitespace().take(2).collect();
            Err(refused(&format!("ALTER TABLE {}", words.join(" "))))
        }
    }
}
