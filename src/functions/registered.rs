//! The functions that users may write, as a list: for catalogs of them.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use datafusion::logical_expr::{Documentation, Volatility};
use datafusion::prelude::SessionConfig;

use super::sentences::{INTERNAL, SENTENCES};
use super::session::session_state;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FunctionKind {
    Plain,
    Aggregate,
    Window,
}

/// A function under one of its names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisteredFunction {
    pub name: String,
    pub kind: FunctionKind,
    pub volatility: Volatility,
    /// As the reference spells them.
    pub arguments: String,
}

/// All of them, by name and kind.
pub fn registered_functions() -> &'static [RegisteredFunction] {
    static ALL: LazyLock<Vec<RegisteredFunction>> = LazyLock::new(collect);
    &ALL
}

fn collect() -> Vec<RegisteredFunction> {
    let state = session_state(SessionConfig::new(), Default::default()).build();
    let mut found = BTreeMap::new();
    let mut add = |name: &str, kind, volatility, documentation: Option<&Documentation>| {
        if INTERNAL.contains(&name) || name.ends_with("_from") {
            return;
        }
        let ours = SENTENCES.iter().find(|ours| ours.name == name).map(|ours| ours.syntax);
        let syntax = ours.or(documentation.map(|documentation| documentation.syntax_example.as_str()));
        let function = RegisteredFunction {
            name: name.to_owned(),
            kind,
            volatility,
            arguments: syntax.map(between_parentheses).unwrap_or_default(),
        };
        found.insert((name.to_owned(), kind as u8), function);
    };
    for (name, function) in state.scalar_functions() {
        add(name, FunctionKind::Plain, function.signature().volatility, function.documentation());
    }
    for (name, function) in state.aggregate_functions() {
        add(name, FunctionKind::Aggregate, function.signature().volatility, function.documentation());
    }
    for (name, function) in state.window_functions() {
        add(name, FunctionKind::Window, function.signature().volatility, function.documentation());
    }
    found.into_values().collect()
}

/// `sum(expression)` -> `expression`.
fn between_parentheses(syntax: &str) -> String {
    let inside = syntax.split_once('(').and_then(|(_, rest)| rest.rsplit_once(')')).map_or("", |(inside, _)| inside);
    inside.split_whitespace().collect::<Vec<_>>().join(" ")
}
