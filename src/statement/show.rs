//! SHOW: settings, and lists of what there is.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use futures::{StreamExt, stream};

use super::response::Response;
use super::scope::Environment;
use super::select::output_columns;
use super::transaction::Transaction;
use crate::catalog::Relation;
use crate::error::Result;

/// `SHOW ALL | TABLES | SOURCES | VIEWS | MATERIALIZED VIEWS | setting`.
pub fn show(environment: &Environment<'_>, transaction: &Transaction, what: &str) -> Result<Response> {
    let catalog = transaction.catalog(environment.handles);
    let named = |kind: &str| {
        catalog
            .relations()
            .filter(|relation| relation.kind_name() == kind)
            .map(|relation| relation.name().to_owned())
            .collect()
    };
    match what {
        "all" => {
            let variables = environment.session.variables();
            let mut columns: [Vec<String>; 3] = Default::default();
            for (name, value, sentence) in variables.all() {
                for (column, text) in columns.iter_mut().zip([name, value, sentence]) {
                    column.push(text.to_owned());
                }
            }
            texts(["name", "setting", "description"].into_iter().zip(columns))
        }
        "tables" => texts([("name", named("table"))].into_iter()),
        "sources" => texts([("name", named("source"))].into_iter()),
        "views" => texts([("name", named("view"))].into_iter()),
        "materialized views" => texts([("name", named("materialized view"))].into_iter()),
        "relations" => {
            let kinds = catalog.relations().map(|relation: &Relation| relation.kind_name().to_owned()).collect();
            let names = catalog.relations().map(|relation| relation.name().to_owned()).collect();
            texts([("name", names), ("kind", kinds)].into_iter())
        }
        setting => {
            let value = environment.session.variables().get(setting)?.to_owned();
            let name = setting.replace(' ', "_");
            texts([(name.as_str(), vec![value])].into_iter())
        }
    }
}

fn texts<'a>(columns: impl Iterator<Item = (&'a str, Vec<String>)>) -> Result<Response> {
    let columns = columns.map(|(name, values)| (name, Arc::new(StringArray::from_iter_values(values)) as ArrayRef));
    let rows = RecordBatch::try_from_iter(columns)?;
    let schema = rows.schema();
    Ok(Response::Rows {
        columns: output_columns(&schema)?,
        schema,
        rows: stream::iter([Ok(rows)]).boxed(),
        tag: "SHOW".to_owned(),
        is_live: false,
    })
}
