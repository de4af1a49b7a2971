//! A view's plan as text: one operator a line, inputs indented.

use std::fmt::Write;

use datafusion::logical_expr::Expr;

use super::view_plan::{AggregateCall, AggregateFunction, Node, ViewPlan};
use crate::types::RelationId;
use arrow::datatypes::SchemaRef;

impl ViewPlan {
    /// The dataflow as a tree, with operator ids.
    pub fn explain(&self) -> String {
        let mut text = String::new();
        explain_node(&self.root, 0, &mut text);
        text
    }

    /// Relations that the view reads, each once, in ascending order.
    pub fn sources(&self) -> Vec<RelationId> {
        let mut found = Vec::new();
        collect_sources(&self.root, &mut found);
        found.sort();
        found.dedup();
        found
    }

    /// The view's columns as Arrow's.
    pub fn schema(&self) -> SchemaRef {
        crate::catalog::arrow_schema(self.columns.iter().map(|column| (column.name.as_str(), &column.sql_type, true)))
    }
}

fn collect_sources(node: &Node, found: &mut Vec<RelationId>) {
    if let Node::Source { relation, .. } = node {
        found.push(*relation);
    }
    for input in node.inputs() {
        collect_sources(input, found);
    }
}

fn explain_node(node: &Node, depth: usize, text: &mut String) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{:indent$}{} [{}]", "", describe(node), node.id(), indent = depth * 2);
    for input in node.inputs() {
        explain_node(input, depth + 1, text);
    }
}

fn describe(node: &Node) -> String {
    match node {
        Node::Source { relation_name, schema, .. } => {
            let columns: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
            format!("Source: {relation_name} ({})", columns.join(", "))
        }
        Node::Filter { predicate, .. } => format!("Filter: {}", predicate.human_display()),
        Node::Project { exprs, schema, .. } => {
            let columns = exprs.iter().zip(schema.fields()).map(|(expr, field)| {
                let shown = expr.human_display().to_string();
                let unchanged = matches!(expr, Expr::Column(column) if column.name == *field.name());
                if unchanged { shown } else { format!("{shown} AS {}", field.name()) }
            });
            format!("Project: {}", columns.collect::<Vec<_>>().join(", "))
        }
        Node::Join { on, filter, .. } => {
            let keys = on.iter().map(|(left, right)| format!("{} = {}", left.human_display(), right.human_display()));
            let filter = filter.as_ref().map(|filter| format!(", filter: {}", filter.human_display()));
            format!("Join: {}{}", keys.collect::<Vec<_>>().join(" AND "), filter.unwrap_or_default())
        }
        Node::Aggregate { group, aggregates, .. } => {
            let group = if group.is_empty() { String::new() } else { format!(" by {}", list(group)) };
            let calls: Vec<String> = aggregates.iter().map(describe_call).collect();
            format!("Aggregate:{group} [{}]", calls.join(", "))
        }
    }
}

fn describe_call(call: &AggregateCall) -> String {
    match call.function {
        AggregateFunction::CountAll => "count(*)".to_string(),
        function => format!("{}({})", function.name(), list(&call.args)),
    }
}

fn list(exprs: &[Expr]) -> String {
    exprs.iter().map(|expr| expr.human_display().to_string()).collect::<Vec<_>>().join(", ")
}

impl AggregateFunction {
    /// As it is written in SQL.
    pub fn name(self) -> &'static str {
        match self {
            AggregateFunction::CountAll | AggregateFunction::Count => "count",
            AggregateFunction::Sum => "sum",
            AggregateFunction::Avg => "avg",
            AggregateFunction::Min => "min",
            AggregateFunction::Max => "max",
            AggregateFunction::First => "first",
            AggregateFunction::Last => "last",
        }
    }
}
