//! What each operator of a view keeps, and whether anything bounds it: `EXPLAIN (STATE)`.
//!
//! An APPEND ONLY table grows for ever, so that whatever keeps its rows does too; tables from which rows can be deleted are as large as
//! their owner lets them be. A condition such as `time > now() - INTERVAL '1 hour'` bounds all that stands above it. A retention bounds
//! the view's rows, and what aggregates keep whose keys tell a row's age.

use std::fmt::Write;

use datafusion::logical_expr::Expr;

use super::closing::come_at_once;
use super::improving::only_improves;
use super::view_plan::{AggregateCall, AggregateFunction, Node, OperatorId, ViewPlan};
use crate::types::RelationId;

/// What a plan knows of the relations that it reads.
pub trait Relations {
    /// No row is ever deleted from it.
    fn is_append_only(&self, relation: RelationId) -> bool;
    /// Nothing bounds its number of rows.
    fn grows(&self, relation: RelationId) -> bool;
}

/// The plan as a tree with what is kept, and what of it grows without a bound.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct StateReport {
    pub lines: Vec<String>,
    /// A sentence for each operator whose state grows for ever.
    pub unbounded: Vec<String>,
}

impl ViewPlan {
    /// `retention`: the column by which old rows of the view go.
    pub fn explain_state(&self, relations: &dyn Relations, retention: Option<usize>) -> StateReport {
        let mut report = StateReport::default();
        let expiring = retention.map(|column| self.expiring(column)).unwrap_or_default();
        let expiring = expiring.into_iter().map(|expiring| expiring.operator).collect();
        add(&self.root, 0, &Known { relations, expiring }, &mut report);
        let rows = match shows_groups(&self.root) {
            _ if retention.is_some() => "its rows within the retention".to_owned(),
            true => "the groups of its aggregate".to_owned(),
            false if grows(&self.root, relations) => {
                report.unbounded.push("the view keeps all of its rows, which only become more".to_owned());
                "its rows, without a bound".to_owned()
            }
            false => "its rows".to_owned(),
        };
        report.lines.push(format!("The view shows {rows}"));
        report
    }

    /// Whether nothing bounds the number of the view's rows.
    pub fn grows(&self, relations: &dyn Relations) -> bool {
        grows(&self.root, relations)
    }
}

/// What is known while a plan is described.
struct Known<'a> {
    relations: &'a dyn Relations,
    /// Aggregates that forget their groups with the view's rows.
    expiring: Vec<OperatorId>,
}

fn add(node: &Node, depth: usize, known: &Known<'_>, report: &mut StateReport) {
    let (indent, id) = (depth * 2, node.id());
    let mut line = format!("{:indent$}{} [{id}]", "", super::explain::describe(node));
    if is_append_only(node, known.relations) {
        line.push_str(", append only");
    }
    report.lines.push(line);
    for (what, unbounded) in kept(node, known) {
        let mut line = format!("{:indent$}  keeps {what}", "");
        if unbounded {
            // Writing to a String cannot fail.
            let _ = write!(line, ", without a bound");
            report.unbounded.push(sentence(id, &what));
        }
        report.lines.push(line);
    }
    match node {
        Node::Close { input, .. } => add_closed(input, depth + 1, known, report),
        Node::Repeat { .. } => {}
        _ => node.inputs().into_iter().for_each(|input| add(input, depth + 1, known, report)),
    }
}

/// An aggregate that forgets its groups when they are closed.
fn add_closed(node: &Node, depth: usize, known: &Known<'_>, report: &mut StateReport) {
    let (indent, id) = (depth * 2, node.id());
    report.lines.push(format!("{:indent$}{} [{id}]", "", super::explain::describe(node)));
    report
        .lines
        .push(format!("{:indent$}  keeps a row for each group whose window is open, and what its calls keep", ""));
    for input in node.inputs() {
        match input {
            Node::DistinctValues { input: rows, .. } => {
                let (indent, id) = (indent + 2, input.id());
                let kept = "keeps the distinct values of each group whose window is open";
                report.lines.push(format!("{:indent$}{} [{id}]", "", super::explain::describe(input)));
                report.lines.push(format!("{:indent$}  {kept}", ""));
                add(rows, depth + 2, known, report);
            }
            _ => add(input, depth + 1, known, report),
        }
    }
}

fn sentence(id: OperatorId, what: &str) -> String {
    format!("operator {id} keeps {what}, which only become more")
}

/// What the operator keeps, and whether it grows for ever.
fn kept(node: &Node, known: &Known<'_>) -> Vec<(String, bool)> {
    let relations = known.relations;
    let grown = |input: &Node| grows(input, relations);
    match node {
        Node::Source { .. }
        | Node::Filter { .. }
        | Node::Project { .. }
        | Node::Union { .. }
        | Node::Unnest { .. }
        | Node::Repeat { .. } => Vec::new(),
        Node::Temporal { .. } => vec![("the rows that time has not reached".to_owned(), false)],
        Node::Late { .. } => vec![("the rows that came too late".to_owned(), true)],
        Node::Close { .. } => Vec::new(),
        Node::Join { left, right, on, .. } | Node::MatchJoin { left, right, on, .. } => {
            let by = |keys: Vec<&Expr>| match keys.is_empty() {
                true => String::new(),
                false => {
                    format!(" by {}", keys.iter().map(|key| super::explain::shown(key)).collect::<Vec<_>>().join(", "))
                }
            };
            let (left_keys, right_keys) = on.iter().map(|(left, right)| (left, right)).unzip();
            vec![
                (format!("the rows of the left side{}", by(left_keys)), grown(left)),
                (format!("the rows of the right side{}", by(right_keys)), grown(right)),
            ]
        }
        Node::SetOperation { left, right, .. } => {
            vec![("each distinct row with its number on both sides".to_owned(), grown(left) || grown(right))]
        }
        Node::Top { .. } | Node::Window { .. } if come_at_once(node) => Vec::new(),
        Node::Top { input, partition, .. } if is_append_only(input, relations) || improves(node, relations) => {
            let of = if partition.is_empty() { "" } else { " of each partition" };
            vec![(format!("the first rows{of} in order"), !partition.is_empty() && grown(input))]
        }
        Node::Top { input, .. } | Node::Window { input, .. } => vec![("all rows in order".to_owned(), grown(input))],
        Node::DistinctValues { input, .. } => vec![("each group's distinct values".to_owned(), grown(input))],
        Node::Aggregate { id, input, group, aggregates, .. } => {
            let expires = known.expiring.contains(id);
            let groups = match group.is_empty() {
                true => "one group".to_owned(),
                false if expires => "a row for each group within the retention".to_owned(),
                false => "a row for each group".to_owned(),
            };
            let grown = |input: &Node| !expires && grown(input);
            let append_only = is_append_only(input, relations);
            let values = aggregates
                .iter()
                .filter(|call| keeps_values(call, append_only))
                .map(|call| (format!("all values of {} in order", super::explain::describe_call(call)), grown(input)));
            [(groups, !group.is_empty() && grown(input))].into_iter().chain(values).collect()
        }
    }
}

/// Whether all values are kept, and not a few numbers for each group.
fn keeps_values(call: &AggregateCall, append_only: bool) -> bool {
    use AggregateFunction as F;
    match call.function {
        F::Min | F::Max | F::First | F::Last => !append_only,
        F::StringAgg | F::ArrayAgg { .. } => true,
        F::Set(function) => function != crate::functions::SetFunction::ApproxPercentile,
        _ => false,
    }
}

/// Whether nothing bounds the number of the node's rows.
fn grows(node: &Node, relations: &dyn Relations) -> bool {
    match node {
        Node::Source { relation, .. } => relations.grows(*relation),
        Node::Temporal { comparison, .. } if comparison.expires() => false,
        Node::Aggregate { group, .. } if group.is_empty() => false,
        Node::Top { partition, .. } if partition.is_empty() => false,
        _ => node.inputs().into_iter().any(|input| grows(input, relations)),
    }
}

fn is_append_only(node: &Node, relations: &dyn Relations) -> bool {
    node.is_append_only(&|relation| relations.is_append_only(relation))
}

fn improves(node: &Node, relations: &dyn Relations) -> bool {
    only_improves(node, &|relation| relations.is_append_only(relation))
}

/// Whether the view's rows are those of an aggregate, which it keeps anyway.
fn shows_groups(node: &Node) -> bool {
    match node {
        Node::Aggregate { .. } => true,
        Node::Filter { input, .. } | Node::Project { input, .. } => shows_groups(input),
        _ => false,
    }
}
