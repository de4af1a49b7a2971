//! Our dialect: PostgreSQL's grammar as sqlparser reads it, and the statements that PostgreSQL does not have.
//!
//! Turns text into [`Statement`]s. Knows no catalog: names are not looked up here, types are.

mod copy;
mod create;
mod parse;
mod position;
mod statement;

pub use create::{column_type, relation_name};
pub use parse::{ParsedStatement, parse_expression, parse_query, parse_statements};
pub use position::{char_position, offset_of_location};
pub use statement::{
    CopyDirection, CopyOptionValue, CopyStatement, CopyTarget, CreateMaterializedView, CreateSource, CreateTable,
    CreateView, DropKind, Explain, Statement, TransactionMode,
};
