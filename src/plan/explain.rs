//! A view's plan as text: one operator a line, inputs indented.

use std::fmt::Write;

use arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::logical_expr::{BinaryExpr, Expr};
use datafusion::sql::unparser::expr_to_sql;

use super::view_plan::{
    AggregateCall, AggregateFunction, MatchKind, Node, OperatorId, RankKind, SetKind, SortDirection, SortKey,
    TimeComparison, ViewPlan,
};
use crate::functions::floats::CANONICAL_FLOAT;
use crate::functions::{APPROX_COUNT_DISTINCT, Arithmetic, BitOperation, literal_text};
use crate::types::RelationId;

impl ViewPlan {
    /// The dataflow as a tree, with operator ids.
    pub fn explain(&self) -> String {
        let mut text = String::new();
        explain_node(&self.root, 0, &mut text);
        text
    }

    /// One operator's line, without its inputs.
    pub fn describe(&self, operator: OperatorId) -> Option<String> {
        find(&self.root, operator).map(describe)
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

fn find(node: &Node, operator: OperatorId) -> Option<&Node> {
    if node.id() == operator {
        return Some(node);
    }
    node.inputs().into_iter().find_map(|input| find(input, operator))
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
    if let Node::Repeat { .. } = node {
        return;
    }
    for input in node.inputs() {
        explain_node(input, depth + 1, text);
    }
}

pub(super) fn describe(node: &Node) -> String {
    let is_nothing = |node: &Node| matches!(node, Node::Union { inputs, .. } if inputs.is_empty());
    match node {
        Node::Aggregate { group, input, .. } if group.is_empty() && is_nothing(input) => "One row".to_owned(),
        nothing if is_nothing(nothing) => "Nothing".to_owned(),
        Node::Source { relation_name, schema, .. } => {
            let columns: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
            format!("Source: {relation_name} ({})", columns.join(", "))
        }
        Node::Filter { predicate, .. } => format!("Filter: {}", shown(predicate)),
        Node::Temporal { value, comparison, bound, .. } => {
            let comparison = match comparison {
                TimeComparison::Above => ">",
                TimeComparison::AtLeast => ">=",
                TimeComparison::Below => "<",
                TimeComparison::AtMost => "<=",
            };
            format!("Temporal: {} {comparison} {}", shown(value), shown(bound))
        }
        Node::Late { window, passed, .. } => format!("Late: {} < {}", shown(window), shown(passed)),
        Node::Close { input, closing, .. } => {
            let key = input.schema().fields().get(closing.key).map_or("", |field| field.name().as_str());
            format!("Close: {key} < {}", shown(&closing.bound))
        }
        Node::Project { exprs, schema, .. } => {
            let columns = exprs.iter().zip(schema.fields()).map(|(expr, field)| {
                let text = shown(expr);
                let unchanged = matches!(expr, Expr::Column(column) if column.name == *field.name());
                if unchanged { text } else { format!("{text} AS {}", field.name()) }
            });
            format!("Project: {}", columns.collect::<Vec<_>>().join(", "))
        }
        Node::Join { on, filter, .. } => describe_join("Join", on, filter.as_ref()),
        Node::MatchJoin { kind, on, filter, null_aware, .. } => {
            let name = match (kind, null_aware) {
                (MatchKind::Left, _) => "LeftJoin",
                (MatchKind::Full, _) => "FullJoin",
                (MatchKind::Semi, _) => "SemiJoin",
                (MatchKind::Anti, false) => "AntiJoin",
                (MatchKind::Anti, true) => "AntiJoin (NOT IN)",
                (MatchKind::Mark, _) => "MarkJoin",
            };
            describe_join(name, on, filter.as_ref())
        }
        Node::SetOperation { kind, .. } => match kind {
            SetKind::Intersect => "Intersect",
            SetKind::IntersectAll => "IntersectAll",
            SetKind::Except => "Except",
            SetKind::ExceptAll => "ExceptAll",
        }
        .to_string(),
        Node::Top { partition, order, kind, skip, fetch, .. } => {
            let function = match kind {
                RankKind::RowNumber => "row_number",
                RankKind::Rank => "rank",
                RankKind::DenseRank => "dense_rank",
            };
            let by = if partition.is_empty() { String::new() } else { format!(" by {}", list(partition)) };
            let order: Vec<String> = order.iter().map(describe_key).collect();
            let order = if order.is_empty() { "the whole row".to_string() } else { order.join(", ") };
            let last = skip.saturating_add(*fetch);
            format!("Top: {function} {} to {last}{by}, order {order}", skip.saturating_add(1))
        }
        Node::Window { calls, .. } => format!("Window: {}", list(calls)),
        Node::Union { .. } => "Union".to_string(),
        Node::DistinctValues { keys, first_distinct, schema, .. } => {
            let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
            let (keys, values) =
                (names.get(..*keys).unwrap_or_default(), names.get(*first_distinct..).unwrap_or_default());
            let by = if keys.is_empty() { String::new() } else { format!(" by {}", keys.join(", ")) };
            format!("DistinctValues: {}{by}", values.join(", "))
        }
        Node::Repeat { of, .. } => format!("Repeat: [{of}]"),
        Node::Unnest { column, schema, .. } => format!("Unnest: {}", schema.field(*column).name()),
        Node::Aggregate { group, aggregates, .. } => {
            let group = if group.is_empty() { String::new() } else { format!(" by {}", list(group)) };
            let calls: Vec<String> = aggregates.iter().map(describe_call).collect();
            format!("Aggregate:{group} [{}]", calls.join(", "))
        }
    }
}

fn describe_join(name: &str, on: &[(Expr, Expr)], filter: Option<&Expr>) -> String {
    let keys = on.iter().map(|(left, right)| format!("{} = {}", shown(left), shown(right)));
    let keys = if on.is_empty() { "every pair".to_string() } else { keys.collect::<Vec<_>>().join(" AND ") };
    let filter = filter.map(|filter| format!(", filter: {}", shown(filter)));
    format!("{name}: {keys}{}", filter.unwrap_or_default())
}

fn describe_key(key: &SortKey) -> String {
    let SortDirection { descending, nulls_first } = key.direction;
    let direction = if descending { " DESC" } else { "" };
    // PostgreSQL's default is NULL as the greatest.
    let nulls = match (descending, nulls_first) {
        (false, true) => " NULLS FIRST",
        (true, false) => " NULLS LAST",
        _ => "",
    };
    format!("{}{direction}{nulls}", shown(&key.expr))
}

pub(super) fn describe_call(call: &AggregateCall) -> String {
    match call.function {
        AggregateFunction::CountAll => "count(*)".to_string(),
        AggregateFunction::StringAgg => match call.args.as_slice() {
            [value, separator, _, keys @ ..] if !keys.is_empty() => {
                format!("string_agg({}, {} ORDER BY {})", shown(value), shown(separator), list(keys))
            }
            args => format!("string_agg({})", list(&args[..args.len().min(2)])),
        },
        AggregateFunction::ArrayAgg { distinct } => match call.args.as_slice() {
            [value, taken, _, keys @ ..] => {
                let distinct = if distinct { "DISTINCT " } else { "" };
                let order = if keys.is_empty() { String::new() } else { format!(" ORDER BY {}", list(keys)) };
                let filter = match taken {
                    Expr::Literal(..) => String::new(),
                    taken => format!(" FILTER (WHERE {})", shown(taken)),
                };
                format!("array_agg({distinct}{}{order}){filter}", shown(value))
            }
            args => format!("array_agg({})", list(args)),
        },
        AggregateFunction::Set(function) if function.is_within_group() => {
            let (Some(value), Some(direction)) = (call.args.first(), call.args.last()) else { return String::new() };
            let descending = if literal_text(direction) == Some("d") { " DESC" } else { "" };
            let fraction = if function.has_fraction() { list(&call.args[1..2]) } else { String::new() };
            format!("{}({fraction}) WITHIN GROUP (ORDER BY {}{descending})", function.name(), shown(value))
        }
        function => format!("{}({})", function.name(), list(&call.args)),
    }
}

/// The expression as the user could have written it: operators for the functions that stand for them.
pub(super) fn shown(expr: &Expr) -> String {
    let written = expr.clone().transform_up(|expr| match expr {
        Expr::ScalarFunction(mut function) => match (Arithmetic::named(function.name()), function.args.len()) {
            (Some(operator), 2) => match (operator.operator(), function.args.pop(), function.args.pop()) {
                (Some(op), Some(right), Some(left)) => Ok(Transformed::yes(Expr::BinaryExpr(BinaryExpr {
                    left: Box::new(left),
                    op,
                    right: Box::new(right),
                }))),
                _ => Ok(Transformed::no(Expr::ScalarFunction(function))),
            },
            (_, 1) if function.name() == CANONICAL_FLOAT => Ok(Transformed::yes(function.args.remove(0))),
            _ => Ok(Transformed::no(Expr::ScalarFunction(function))),
        },
        other => Ok(Transformed::no(other)),
    });
    let written = written.map(|written| written.data).unwrap_or_else(|_| expr.clone());
    match expr_to_sql(&written) {
        Ok(sql) => sql.to_string().replace('"', "").replace("count(Int64(1))", "count(*)"),
        Err(_) => expr.human_display().to_string(),
    }
}

fn list(exprs: &[Expr]) -> String {
    exprs.iter().map(shown).collect::<Vec<_>>().join(", ")
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
            AggregateFunction::PartialSum => "partial_sum",
            AggregateFunction::MergeCount => "merge_count",
            AggregateFunction::MergeSum => "merge_sum",
            AggregateFunction::MergeAvg => "merge_avg",
            AggregateFunction::VarSamp => "var_samp",
            AggregateFunction::VarPop => "var_pop",
            AggregateFunction::StddevSamp => "stddev_samp",
            AggregateFunction::StddevPop => "stddev_pop",
            AggregateFunction::StringAgg => "string_agg",
            AggregateFunction::ArrayAgg { .. } => "array_agg",
            AggregateFunction::SingleValue => "single_value",
            AggregateFunction::Bits(BitOperation::And) => "bit_and",
            AggregateFunction::Bits(BitOperation::Or) => "bit_or",
            AggregateFunction::Bits(BitOperation::Xor) => "bit_xor",
            AggregateFunction::Regression(regression) => regression.name(),
            AggregateFunction::Set(function) => function.name(),
            AggregateFunction::ApproxCountDistinct => APPROX_COUNT_DISTINCT,
        }
    }
}
