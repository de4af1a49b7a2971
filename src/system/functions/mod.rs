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

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use datafusion::logical_expr::ScalarUDF;

use self::call::{Entry, SystemFunction};
use super::facts::LazyFacts;

/// The function of this name over a statement's facts.
pub fn function(name: &str, facts: &Arc<LazyFacts>) -> Option<Arc<ScalarUDF>> {
    static BY_NAME: LazyLock<HashMap<&str, &Entry>> =
        LazyLock::new(|| entries().map(|entry| (entry.0, entry)).collect());
    let entry = BY_NAME.get(name)?;
    Some(Arc::new(ScalarUDF::from(SystemFunction::new(entry, facts.clone()))))
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
