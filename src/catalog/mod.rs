//! Definitions as data: names, types, options, SQL text. Never live plans, never handles.
//!
//! A [`Catalog`] is a value. A change to it is a [`CatalogChange`] in a commit record, and [`Catalog::apply`] gives the
//! next value; whoever holds the old one keeps a consistent picture.

mod change;
mod relation;

pub use change::{Catalog, CatalogChange, RowRuns};
pub use relation::{
    Column, Cutoff, Expired, MaterializedView, Relation, Retention, SourceOptions, StoredColumn, Table, TableKind,
    View, ViewColumn, Watermark, arrow_schema,
};
