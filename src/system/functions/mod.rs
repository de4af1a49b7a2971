//! Functions that read the catalog or the session: what PostgreSQL's clients call besides SQL's own.
//!
//! Each is a body over scalars, called row by row: they run over catalogs, not over data.

mod call;
pub mod definitions;
mod names;
mod privileges;
mod session;
mod sizes;
mod text;

use std::sync::Arc;

use datafusion::logical_expr::ScalarUDF;

use self::call::{Entry, SystemFunction};
use super::facts::Facts;

/// All of them, over one set of facts.
pub fn all(facts: &Arc<Facts>) -> Vec<Arc<ScalarUDF>> {
    entries().map(|entry| Arc::new(ScalarUDF::from(SystemFunction::new(entry, facts.clone())))).collect()
}

/// Name, least and most arguments, by name.
pub fn described() -> Vec<(&'static str, usize, usize)> {
    let mut described: Vec<_> = entries().map(|(name, least, most, ..)| (*name, *least, *most)).collect();
    described.sort_unstable();
    described
}

fn entries() -> impl Iterator<Item = &'static Entry> {
    let entries = [
        definitions::FUNCTIONS,
        names::FUNCTIONS,
        privileges::FUNCTIONS,
        session::FUNCTIONS,
        sizes::FUNCTIONS,
        text::FUNCTIONS,
    ];
    entries.into_iter().flatten()
}
