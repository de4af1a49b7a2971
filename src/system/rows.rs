//! System tables' columns, written as one line of text, and their rows, written cell by cell.
//!
//! ```text
//! oid:oid relname:name relnatts:int2 reloptions:text[]
//! ```

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanBuilder, Float32Builder, Float64Builder, Int16Builder, Int32Builder, Int64Builder, ListBuilder,
    RecordBatch, RecordBatchOptions, StringBuilder, TimestampMicrosecondBuilder,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

use crate::error::{Error, Result};

/// A column's type, by PostgreSQL's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CellType {
    Bool,
    Char,
    Name,
    Text,
    Int2,
    Int4,
    Int8,
    Oid,
    Float4,
    Float8,
    Timestamptz,
    Texts,
    Int2s,
    Oids,
}

impl CellType {
    const NAMES: [(&'static str, CellType); 14] = [
        ("bool", CellType::Bool),
        ("char", CellType::Char),
        ("name", CellType::Name),
        ("text", CellType::Text),
        ("int2", CellType::Int2),
        ("int4", CellType::Int4),
        ("int8", CellType::Int8),
        ("oid", CellType::Oid),
        ("float4", CellType::Float4),
        ("float8", CellType::Float8),
        ("timestamptz", CellType::Timestamptz),
        ("text[]", CellType::Texts),
        ("int2[]", CellType::Int2s),
        ("oid[]", CellType::Oids),
    ];

    fn parse(name: &str) -> Option<CellType> {
        CellType::NAMES.iter().find(|(known, _)| *known == name).map(|(_, cell_type)| *cell_type)
    }

    pub fn name(self) -> &'static str {
        CellType::NAMES.iter().find(|(_, cell_type)| *cell_type == self).map_or("text", |(name, _)| name)
    }

    /// The type's oid in pg_type.
    pub fn oid(self) -> i64 {
        match self {
            CellType::Bool => 16,
            CellType::Char => 18,
            CellType::Name => 19,
            CellType::Int8 => 20,
            CellType::Int2 => 21,
            CellType::Int4 => 23,
            CellType::Text => 25,
            CellType::Oid => 26,
            CellType::Float4 => 700,
            CellType::Float8 => 701,
            CellType::Timestamptz => 1184,
            CellType::Int2s => 1005,
            CellType::Texts => 1009,
            CellType::Oids => 1028,
        }
    }

    /// Oids are 64-bit integers here: they must join and compare without casts.
    fn arrow(self) -> DataType {
        let list = |element| DataType::List(Arc::new(Field::new_list_field(element, true)));
        match self {
            CellType::Bool => DataType::Boolean,
            CellType::Char | CellType::Name | CellType::Text => DataType::Utf8,
            CellType::Int2 => DataType::Int16,
            CellType::Int4 => DataType::Int32,
            CellType::Int8 | CellType::Oid => DataType::Int64,
            CellType::Float4 => DataType::Float32,
            CellType::Float8 => DataType::Float64,
            CellType::Timestamptz => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            CellType::Texts => list(DataType::Utf8),
            CellType::Int2s => list(DataType::Int16),
            CellType::Oids => list(DataType::Int64),
        }
    }
}

/// A table's columns.
#[derive(Debug, Clone)]
pub struct Columns {
    pub columns: Vec<(String, CellType)>,
    pub schema: SchemaRef,
}

impl Columns {
    /// Reads the line of text. A type that is not known is a defect of ours and reads as text; a test goes over all.
    pub fn parse(line: &str) -> Columns {
        let columns: Vec<(String, CellType)> = line
            .split_whitespace()
            .map(|column| {
                let (name, cell_type) = column.split_once(':').unwrap_or((column, "text"));
                (name.to_owned(), CellType::parse(cell_type).unwrap_or(CellType::Text))
            })
            .collect();
        let fields: Vec<Field> =
            columns.iter().map(|(name, cell_type)| Field::new(name, cell_type.arrow(), true)).collect();
        Columns { columns, schema: Arc::new(Schema::new(fields)) }
    }
}

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Texts(Vec<String>),
    Ints(Vec<i64>),
}

impl From<bool> for Cell {
    fn from(value: bool) -> Cell {
        Cell::Bool(value)
    }
}

impl From<i64> for Cell {
    fn from(value: i64) -> Cell {
        Cell::Int(value)
    }
}

impl From<i32> for Cell {
    fn from(value: i32) -> Cell {
        Cell::Int(value.into())
    }
}

impl From<u64> for Cell {
    fn from(value: u64) -> Cell {
        Cell::Int(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

impl From<usize> for Cell {
    fn from(value: usize) -> Cell {
        Cell::from(value as u64)
    }
}

impl From<f64> for Cell {
    fn from(value: f64) -> Cell {
        Cell::Float(value)
    }
}

impl From<&str> for Cell {
    fn from(value: &str) -> Cell {
        Cell::Text(value.to_owned())
    }
}

impl From<String> for Cell {
    fn from(value: String) -> Cell {
        Cell::Text(value)
    }
}

impl<T: Into<Cell>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Cell {
        value.map_or(Cell::Null, Into::into)
    }
}

/// Rows by column name: what a row does not name is NULL, so that a table's rows say only what they know.
#[derive(Default)]
pub struct Rows {
    rows: Vec<Vec<(&'static str, Cell)>>,
}

impl Rows {
    pub fn push(&mut self, row: Vec<(&'static str, Cell)>) {
        self.rows.push(row);
    }

    pub fn batch(&self, columns: &Columns) -> Result<RecordBatch> {
        let arrays: Vec<ArrayRef> =
            columns.columns.iter().map(|(name, cell_type)| self.column(name, *cell_type)).collect::<Result<_>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows.len()));
        Ok(RecordBatch::try_new_with_options(columns.schema.clone(), arrays, &options)?)
    }

    fn cells<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Cell> {
        self.rows
            .iter()
            .map(move |row| row.iter().find(|(column, _)| *column == name).map_or(&Cell::Null, |(_, cell)| cell))
    }

    fn column(&self, name: &str, cell_type: CellType) -> Result<ArrayRef> {
        macro_rules! build {
            ($builder:expr, $variant:path, $convert:expr) => {{
                let mut builder = $builder;
                for cell in self.cells(name) {
                    match cell {
                        Cell::Null => builder.append_null(),
                        $variant(value) => builder.append_value($convert(value)),
                        other => return Err(mismatch(name, cell_type, other)),
                    }
                }
                Ok(Arc::new(builder.finish()))
            }};
        }
        macro_rules! build_list {
            ($builder:expr, $variant:path, $convert:expr) => {{
                let mut builder = ListBuilder::new($builder);
                for cell in self.cells(name) {
                    match cell {
                        Cell::Null => builder.append_null(),
                        $variant(values) => {
                            values.iter().for_each(|value| builder.values().append_value($convert(value)));
                            builder.append(true);
                        }
                        other => return Err(mismatch(name, cell_type, other)),
                    }
                }
                Ok(Arc::new(builder.finish()))
            }};
        }
        match cell_type {
            CellType::Bool => build!(BooleanBuilder::new(), Cell::Bool, |value: &bool| *value),
            CellType::Char | CellType::Name | CellType::Text => {
                build!(StringBuilder::new(), Cell::Text, |value: &String| value.clone())
            }
            CellType::Int2 => build!(Int16Builder::new(), Cell::Int, |value: &i64| *value as i16),
            CellType::Int4 => build!(Int32Builder::new(), Cell::Int, |value: &i64| *value as i32),
            CellType::Int8 | CellType::Oid => build!(Int64Builder::new(), Cell::Int, |value: &i64| *value),
            CellType::Float4 => build!(Float32Builder::new(), Cell::Float, |value: &f64| *value as f32),
            CellType::Float8 => build!(Float64Builder::new(), Cell::Float, |value: &f64| *value),
            CellType::Timestamptz => {
                let builder = TimestampMicrosecondBuilder::new().with_timezone("UTC");
                build!(builder, Cell::Int, |value: &i64| *value)
            }
            CellType::Texts => build_list!(StringBuilder::new(), Cell::Texts, |value: &String| value.clone()),
            CellType::Int2s => build_list!(Int16Builder::new(), Cell::Ints, |value: &i64| *value as i16),
            CellType::Oids => build_list!(Int64Builder::new(), Cell::Ints, |value: &i64| *value),
        }
    }
}

fn mismatch(name: &str, cell_type: CellType, cell: &Cell) -> Error {
    Error::internal(format!("system column {name} of type {cell_type:?} was given {cell:?}"))
}

/// `row! { "oid" => 1, "name" => "x" }`
macro_rules! row {
    ($($name:literal => $value:expr),* $(,)?) => {
        vec![$(($name, $crate::system::rows::Cell::from($value))),*]
    };
}
pub(super) use row;
