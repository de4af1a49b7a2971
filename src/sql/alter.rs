//! ALTER: sqlparser's tree of ALTER TABLE, reduced to what can be altered here; options of any relation, and
//! ALTER MATERIALIZED VIEW ... RESUME.

use sqlparser::ast::{self, AlterColumnOperation, AlterTableOperation, RenameTableNameKind};
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;

use super::create::{
    RETENTION, SUBSCRIBE_RETENTION, column, column_type, identifier, option_map, relation_name, subscribe_retention_us,
    take_retention,
};
use super::parse::{Input, take_word};
use super::statement::{AlterAction, AlterRelation, AlterTable, DropKind, RelationAction, RelationOptions, Statement};
use crate::error::{Error, Result};
use crate::types::ROW_ID;

/// Any ALTER. Errors: 0A000 naming the form that is not built.
pub(super) fn parse_alter(input: Input<'_>) -> Result<Statement> {
    if let Some(alter) = alter_relation(&input)? {
        return Ok(Statement::AlterRelation(alter));
    }
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
    Error::not_built(what).with_hint(
        "ALTER TABLE can ADD, DROP and RENAME columns, SET and DROP their DEFAULT, widen their TYPE, and RENAME the table; \
         ALTER VIEW and MATERIALIZED VIEW can RENAME TO; ALTER TABLE, SOURCE and MATERIALIZED VIEW can SET (retention = '30 days') and SET (subscribe_retention = '1 hour').",
    )
}

/// `ALTER kind [IF EXISTS] name SET (option = value) | RESET (option) | RESUME | RENAME TO name`; `None`: it is another
/// ALTER.
fn alter_relation(input: &Input<'_>) -> Result<Option<AlterRelation>> {
    let mut parser = input.parser();
    parser.next_token();
    let kind = if take_word(&mut parser, "TABLE") {
        DropKind::Table
    } else if take_word(&mut parser, "SOURCE") {
        DropKind::Source
    } else if take_word(&mut parser, "MATERIALIZED") && take_word(&mut parser, "VIEW") {
        DropKind::MaterializedView
    } else if take_word(&mut parser, "VIEW") {
        DropKind::View
    } else {
        return Ok(None);
    };
    let if_exists = take_word(&mut parser, "IF") && take_word(&mut parser, "EXISTS");
    let Ok(name) = parser.parse_object_name(false) else { return Ok(None) };
    let is_view = matches!(kind, DropKind::View | DropKind::MaterializedView);
    let action = if is_view && take_word(&mut parser, "RENAME") {
        if !take_word(&mut parser, "TO") {
            return Ok(None);
        }
        RelationAction::RenameTo(relation_name(&input.check(parser.parse_object_name(false))?)?)
    } else if kind == DropKind::View {
        return Ok(None);
    } else if take_word(&mut parser, "SET") {
        if !parser.consume_token(&Token::LParen) {
            return Ok(None);
        }
        let options = input.check(parser.parse_comma_separated(Parser::parse_sql_option))?;
        input.check(parser.expect_token(&Token::RParen))?;
        let mut options = option_map(&options)?;
        let kept = options.remove(SUBSCRIBE_RETENTION).map(|text| subscribe_retention_us(&text)).transpose()?;
        let retention = take_retention(&mut options)?;
        refuse_options(kind, options.keys())?;
        RelationAction::SetOptions(RelationOptions { subscribe_retention_us: kept, retention: retention.map(Some) })
    } else if take_word(&mut parser, "RESET") {
        input.check(parser.expect_token(&Token::LParen))?;
        let names = input.check(parser.parse_comma_separated(Parser::parse_identifier))?;
        input.check(parser.expect_token(&Token::RParen))?;
        let names: Vec<String> = names.iter().map(identifier).collect();
        let kept = |name: &&String| *name == SUBSCRIBE_RETENTION;
        let retention = |name: &&String| *name == RETENTION;
        refuse_options(kind, names.iter().filter(|name| !kept(name) && !retention(name)))?;
        RelationAction::SetOptions(RelationOptions {
            subscribe_retention_us: names.iter().any(|name| kept(&name)).then_some(0),
            retention: names.iter().any(|name| retention(&name)).then_some(None),
        })
    } else if kind == DropKind::MaterializedView && take_word(&mut parser, "RESUME") {
        RelationAction::Resume
    } else {
        return Ok(None);
    };
    input.expect_end(&mut parser)?;
    Ok(Some(AlterRelation { kind, name: relation_name(&name)?, if_exists, action }))
}

fn refuse_options<'a>(kind: DropKind, mut names: impl Iterator<Item = &'a String>) -> Result<()> {
    match names.next() {
        Some(name) => {
            let hint = "The options that can be set are retention, with retention_column, and subscribe_retention.";
            Err(Error::not_built(format!("option \"{name}\" of ALTER {}", kind.words())).with_hint(hint))
        }
        None => Ok(()),
    }
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
        AlterTableOperation::AlterColumn { column_name, op } => {
            let column = identifier(column_name);
            match op {
                AlterColumnOperation::SetDefault { value } => {
                    Ok(AlterAction::SetDefault { column, default: Some(value.to_string()) })
                }
                AlterColumnOperation::DropDefault => Ok(AlterAction::SetDefault { column, default: None }),
                AlterColumnOperation::SetDataType { using: Some(_), .. } => {
                    Err(refused("ALTER COLUMN ... TYPE ... USING"))
                }
                AlterColumnOperation::SetDataType { data_type, .. } => {
                    Ok(AlterAction::SetType { column, sql_type: column_type(data_type)? })
                }
                other => Err(refused(&format!("ALTER COLUMN ... {other}"))),
            }
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
