//! Tables, sources, views and materialized views.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use serde::{Deserialize, Serialize};

use crate::types::{ROW_ID, RelationId, SqlType};

/// A column of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    pub name: String,
    pub sql_type: SqlType,
    pub not_null: bool,
    /// SQL text of the DEFAULT expression.
    pub default: Option<String>,
}

/// How a column of an altered table stands in files and logs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredColumn {
    /// Never given to another column of the table: a column that is dropped and added again is another one.
    pub field_id: u32,
    /// Its name in files: the one it was made with.
    pub name: String,
    /// What rows from before the column have, as an Arrow stream of one row; `None`: NULL.
    pub missing: Option<Vec<u8>>,
    /// Its values stand in some files in a narrower type, which it had when they were written.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub widened: bool,
}

/// What may be done to a table's rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum TableKind {
    /// A bag of rows, full DML.
    Plain,
    /// INSERT and COPY only.
    AppendOnly,
    /// At most one row per key; positions in [`Table::columns`], in key order.
    PrimaryKey { columns: Vec<usize> },
}

/// Where a source's rows come from. A source is an APPEND ONLY table that a connector fills.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceOptions {
    pub connector: String,
    pub options: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    pub id: RelationId,
    pub name: String,
    pub columns: Vec<Column>,
    pub kind: TableKind,
    /// Grows with every ALTER; writes carry the version they were made for.
    pub schema_version: u32,
    /// `WITH (on_conflict = 'update')`: INSERT and COPY upsert by key.
    pub upsert: bool,
    pub source: Option<SourceOptions>,
    /// One for each column, in order; empty in a table that was never altered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stored: Vec<StoredColumn>,
    /// Names in files that belong to columns that were dropped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dropped: Vec<String>,
    /// The highest field id ever given; 0 in a table that was never altered.
    #[serde(default)]
    pub last_field_id: u32,
    /// Where there is one, the table is APPEND ONLY, and [`WATERMARK`] is its last column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watermark: Option<Watermark>,
}

/// Which rows come too late: those of a time that the watermark has passed, which follows the newest row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watermark {
    /// Name of the column with the rows' time, a timestamptz or timestamp.
    pub column: String,
    /// How far it stays behind the newest row, in microseconds.
    pub delay_us: i64,
    /// After so long without a row it follows the clock; `None`: it waits for the next row.
    pub idle_us: Option<i64>,
}

/// How long rows of a table or materialized view stay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retention {
    /// The column that says how old a row is; rows that have no value there stay. Columns of a view are numbered from 1.
    pub field_id: u32,
    /// As it was written: an interval.
    pub text: String,
    pub months: i32,
    pub days: i32,
    pub us: i64,
}

/// What retention has taken from a table or materialized view so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expired {
    /// Rows from before this moment, microseconds since 1970, are gone.
    pub before_us: i64,
    /// Relations from this one on were made later, and never saw them.
    pub unseen_from: RelationId,
    /// Of a materialized view, the position of the column that said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
}

/// A materialized view shows no row with a time before this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cutoff {
    /// Position of the time among the view's columns.
    pub column: usize,
    /// Microseconds since 1970.
    pub before_us: i64,
}

impl Table {
    /// How each column stands in files: as it is, numbered from 1, unless the table was altered.
    pub fn stored_columns(&self) -> Vec<StoredColumn> {
        if !self.stored.is_empty() {
            return self.stored.clone();
        }
        let stored = |(position, column): (usize, &Column)| StoredColumn {
            field_id: position as u32 + 1,
            name: column.name.clone(),
            missing: None,
            widened: false,
        };
        self.columns.iter().enumerate().map(stored).collect()
    }

    /// The user's columns, in order.
    pub fn user_columns(&self) -> &[Column] {
        let hidden = usize::from(self.watermark.is_some());
        self.columns.get(..self.columns.len() - hidden).unwrap_or_default()
    }

    /// Position of the column that the watermark follows.
    pub fn watermark_column(&self) -> Option<usize> {
        let watermark = self.watermark.as_ref()?;
        self.columns.iter().position(|column| column.name == watermark.column)
    }

    /// All columns but the row id, in order: the user's, and behind them the hidden one of a table with a watermark.
    pub fn schema(&self) -> SchemaRef {
        arrow_schema(self.columns.iter().map(|column| (column.name.as_str(), &column.sql_type, !column.not_null)))
    }

    /// The same and the hidden row id as the last one.
    pub fn schema_with_row_id(&self) -> SchemaRef {
        let mut fields: Vec<_> = self.schema().fields().iter().cloned().collect();
        fields.push(Arc::new(Field::new(ROW_ID, DataType::Int64, false)));
        Arc::new(Schema::new(fields))
    }

    pub fn key(&self) -> Option<&[usize]> {
        match &self.kind {
            TableKind::PrimaryKey { columns } => Some(columns),
            TableKind::Plain | TableKind::AppendOnly => None,
        }
    }
}

/// Name and type of a view's output column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewColumn {
    pub name: String,
    pub sql_type: SqlType,
}

/// A named query, expanded where it is used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    pub id: RelationId,
    pub name: String,
    /// Text of the query.
    pub sql: String,
    pub columns: Vec<ViewColumn>,
    pub depends_on: Vec<RelationId>,
}

/// A continuous view.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MaterializedView {
    pub id: RelationId,
    pub name: String,
    /// Text of the query.
    pub sql: String,
    /// Session settings that the query's meaning depends on: `search_path`, `TimeZone`, `tzdb`.
    pub settings: BTreeMap<String, String>,
    /// `plan::ViewPlan` as versioned bytes, opaque here. Recovery lowers it; it is never planned again.
    pub plan: Vec<u8>,
    pub columns: Vec<ViewColumn>,
    /// Tables and materialized views that the plan reads, and views that the text names.
    pub depends_on: Vec<RelationId>,
    /// `EMIT ON WINDOW CLOSE`: it shows a group once, when the watermark has passed its window.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub emits_on_close: bool,
}

impl Retention {
    /// With months of 30 days.
    pub fn about_us(&self) -> u64 {
        const DAY_US: i64 = 86_400_000_000;
        let days = i64::from(self.months) * 30 + i64::from(self.days);
        days.saturating_mul(DAY_US).saturating_add(self.us).max(0).unsigned_abs()
    }

    /// Position of the column among those of a materialized view.
    pub fn view_column(&self) -> usize {
        (self.field_id as usize).saturating_sub(1)
    }
}

impl MaterializedView {
    pub fn schema(&self) -> SchemaRef {
        arrow_schema(self.columns.iter().map(|column| (column.name.as_str(), &column.sql_type, true)))
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Relation {
    Table(Arc<Table>),
    View(Arc<View>),
    MaterializedView(Arc<MaterializedView>),
}

impl Relation {
    pub fn id(&self) -> RelationId {
        match self {
            Relation::Table(table) => table.id,
            Relation::View(view) => view.id,
            Relation::MaterializedView(view) => view.id,
        }
    }

    pub fn name(&self) -> &str {
        match self {
            Relation::Table(table) => &table.name,
            Relation::View(view) => &view.name,
            Relation::MaterializedView(view) => &view.name,
        }
    }

    pub fn depends_on(&self) -> &[RelationId] {
        match self {
            Relation::Table(_) => &[],
            Relation::View(view) => &view.depends_on,
            Relation::MaterializedView(view) => &view.depends_on,
        }
    }

    /// `table`, `source`, `view` or `materialized view`, for messages.
    pub fn kind_name(&self) -> &'static str {
        match self {
            Relation::Table(table) if table.source.is_some() => "source",
            Relation::Table(_) => "table",
            Relation::View(_) => "view",
            Relation::MaterializedView(_) => "materialized view",
        }
    }

    /// The columns that a query sees.
    pub fn schema(&self) -> SchemaRef {
        match self {
            Relation::Table(table) => arrow_schema(
                table.user_columns().iter().map(|column| (column.name.as_str(), &column.sql_type, !column.not_null)),
            ),
            Relation::View(view) => {
                arrow_schema(view.columns.iter().map(|column| (column.name.as_str(), &column.sql_type, true)))
            }
            Relation::MaterializedView(view) => view.schema(),
        }
    }
}

/// Arrow's schema of (name, type, nullable) triples.
pub fn arrow_schema<'a>(columns: impl Iterator<Item = (&'a str, &'a SqlType, bool)>) -> SchemaRef {
    Arc::new(Schema::new(
        columns.map(|(name, sql_type, nullable)| Field::new(name, sql_type.arrow(), nullable)).collect::<Vec<_>>(),
    ))
}
