//! Our dialect: PostgreSQL's grammar as sqlparser reads it, and the statements that PostgreSQL does not have.
//!
//! Turns text into [`Statement`]s. Knows no catalog: names are not looked up here, types are.

mod alter;
mod as_of;
mod copy;
mod create;
mod cursor;
mod dialect;
mod entries;
mod parse;
mod position;
mod statement;
mod subscribe;
mod watermark;

pub use as_of::{Moment, TableAsOf, forget_moments, name_tables_as_of, refuse_moment, tables_as_of};
pub use create::{column_type, relation_name};
pub use entries::{STATEMENTS, StatementEntry};
pub use parse::{ParsedStatement, parse_expression, parse_query, parse_statements};
pub use position::{char_position, offset_of_location};
pub use statement::{
    AlterAction, AlterRelation, AlterTable, CopyDirection, CopyOptionValue, CopyStatement, CopyTarget,
    CreateMaterializedView, CreateSource, CreateTable, CreateView, CursorQuery, DeclareCursor, DropKind, Explain,
    Fetch, RelationAction, RelationOptions, RetentionOption, Statement, Subscribe, TransactionMode,
};
