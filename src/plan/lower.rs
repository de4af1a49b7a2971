//! A logical plan as a tree of [`Node`]s, or the name of what has no incremental operator.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, DFSchemaRef, NullEquality};
use datafusion::logical_expr::expr::AggregateFunction as AggregateExpr;
use datafusion::logical_expr::{
    Aggregate, Distinct, Expr, ExprSchemable, Join, JoinType, LogicalPlan, Projection, TableScan, cast,
};

use super::relations::relation_of;
use super::view::same_type;
use super::view_plan::{AggregateCall, AggregateFunction, Node};
use crate::catalog::ViewColumn;
use crate::error::{Error, Result};

/// Operator ids are all 0; the caller numbers them. The root's columns have the types of `columns`.
pub fn lower(plan: &LogicalPlan, columns: &[ViewColumn]) -> Result<Node> {
    let root = lower_node(plan)?;
    with_output(root, columns)
}

/// 0A000 naming the operator.
fn refuse(what: &str) -> Error {
    Error::not_built(format!("{what} in a materialized view"))
        .with_hint("The same SQL works as an ad hoc query, and in a plain view (CREATE VIEW).")
}

fn lower_node(plan: &LogicalPlan) -> Result<Node> {
    match plan {
        LogicalPlan::TableScan(scan) => lower_scan(scan),
        LogicalPlan::Filter(filter) => {
            pure(&filter.predicate)?;
            Ok(Node::Filter { id: 0, input: Box::new(lower_node(&filter.input)?), predicate: filter.predicate.clone() })
        }
        LogicalPlan::Projection(projection) => lower_projection(projection),
        LogicalPlan::SubqueryAlias(alias) => requalify(lower_node(&alias.input)?, &alias.schema),
        LogicalPlan::Join(join) => lower_join(join),
        LogicalPlan::Aggregate(aggregate) => lower_aggregate(aggregate),
        LogicalPlan::Distinct(Distinct::All(input)) => lower_distinct(input),
        other => Err(refuse(operator_name(other))),
    }
}

fn operator_name(plan: &LogicalPlan) -> &'static str {
    match plan {
        LogicalPlan::Window(_) => "a window function",
        LogicalPlan::Sort(_) => "ORDER BY",
        LogicalPlan::Limit(_) => "LIMIT",
        LogicalPlan::Union(_) => "UNION",
        LogicalPlan::Distinct(_) => "DISTINCT ON",
        LogicalPlan::Values(_) => "VALUES",
        LogicalPlan::EmptyRelation(_) => "a SELECT without FROM",
        LogicalPlan::Unnest(_) => "unnest",
        LogicalPlan::RecursiveQuery(_) => "WITH RECURSIVE",
        LogicalPlan::Subquery(_) => "a subquery in an expression",
        _ => "this operator",
    }
}

/// No subqueries, windows or sets in an expression.
fn pure(expr: &Expr) -> Result<()> {
    let found = expr.exists(|expr| {
        Ok(matches!(expr, Expr::Exists(_) | Expr::InSubquery(_) | Expr::ScalarSubquery(_) | Expr::SetComparison(_)))
    })?;
    if found { Err(refuse("a subquery in an expression")) } else { Ok(()) }
}

/// Names and types alone: what the planner knows of keys is not part of a stored plan.
fn plain(schema: &DFSchema) -> Result<DFSchemaRef> {
    let fields = schema.iter().map(|(qualifier, field)| (qualifier.cloned(), Arc::clone(field))).collect();
    Ok(Arc::new(DFSchema::new_with_metadata(fields, Default::default())?))
}

fn lower_scan(scan: &TableScan) -> Result<Node> {
    let Some(relation) = relation_of(&scan.source) else {
        return Err(refuse("a system table or table function"));
    };
    let columns = match &scan.projection {
        Some(projection) => projection.clone(),
        None => (0..relation.schema.fields().len()).collect(),
    };
    let source = Node::Source {
        id: 0,
        relation: relation.id,
        relation_name: relation.name.clone(),
        columns,
        schema: plain(&scan.projected_schema)?,
    };
    Ok(scan.filters.iter().fold(source, |input, predicate| Node::Filter {
        id: 0,
        input: Box::new(input),
        predicate: predicate.clone(),
    }))
}

fn lower_projection(projection: &Projection) -> Result<Node> {
    for expr in &projection.expr {
        pure(expr)?;
    }
    let input = lower_node(&projection.input)?;
    let exprs: Vec<Expr> = projection.expr.iter().map(|expr| expr.clone().unalias_nested().data).collect();
    if is_identity(&exprs, input.schema()) {
        return requalify(input, &projection.schema);
    }
    Ok(Node::Project { id: 0, input: Box::new(input), exprs, schema: plain(&projection.schema)? })
}

/// Every column of the input once, in order.
fn is_identity(exprs: &[Expr], input: &DFSchema) -> bool {
    exprs.len() == input.fields().len()
        && exprs.iter().enumerate().all(|(i, expr)| match expr {
            Expr::Column(column) => input.maybe_index_of_column(column) == Some(i),
            _ => false,
        })
}

/// The same columns under other names: `FROM readings AS r`.
fn requalify(node: Node, renamed: &DFSchemaRef) -> Result<Node> {
    let renamed = plain(renamed)?;
    Ok(match node {
        Node::Filter { id, input, predicate } => {
            let old = Arc::clone(input.schema());
            let predicate = predicate
                .transform_up(|expr| match &expr {
                    Expr::Column(column) => {
                        let at = old.index_of_column(column)?;
                        Ok(Transformed::yes(Expr::Column(Column::from(renamed.qualified_field(at)))))
                    }
                    _ => Ok(Transformed::no(expr)),
                })?
                .data;
            Node::Filter { id, input: Box::new(requalify(*input, &renamed)?), predicate }
        }
        Node::Source { id, relation, relation_name, columns, .. } => {
            Node::Source { id, relation, relation_name, columns, schema: renamed }
        }
        Node::Project { id, input, exprs, .. } => Node::Project { id, input, exprs, schema: renamed },
        Node::Join { id, left, right, on, filter, .. } => Node::Join { id, left, right, on, filter, schema: renamed },
        Node::Aggregate { id, input, group, aggregates, .. } => {
            Node::Aggregate { id, input, group, aggregates, schema: renamed }
        }
    })
}

fn lower_join(join: &Join) -> Result<Node> {
    let kind = match join.join_type {
        JoinType::Inner if join.null_equality == NullEquality::NullEqualsNull => "INTERSECT or a NULL-safe join",
        JoinType::Inner if join.on.is_empty() => "a join without an equality (cross join)",
        JoinType::Inner => "",
        JoinType::Left => "LEFT JOIN",
        JoinType::Right => "RIGHT JOIN",
        JoinType::Full => "FULL JOIN",
        _ => "a semi-join or anti-join (IN, EXISTS, INTERSECT, EXCEPT)",
    };
    if !kind.is_empty() {
        return Err(refuse(kind));
    }
    let mut on = Vec::with_capacity(join.on.len());
    for (left, right) in &join.on {
        pure(left)?;
        pure(right)?;
        if !same_type((left, &join.left), (right, &join.right))? {
            return Err(Error::internal("join keys of different types"));
        }
        on.push((left.clone().unalias_nested().data, right.clone().unalias_nested().data));
    }
    if let Some(filter) = &join.filter {
        pure(filter)?;
    }
    Ok(Node::Join {
        id: 0,
        left: Box::new(lower_node(&join.left)?),
        right: Box::new(lower_node(&join.right)?),
        on,
        filter: join.filter.clone(),
        schema: plain(&join.schema)?,
    })
}

fn lower_aggregate(aggregate: &Aggregate) -> Result<Node> {
    if aggregate.group_expr.iter().any(|expr| matches!(expr, Expr::GroupingSet(_))) {
        return Err(refuse("GROUPING SETS, ROLLUP or CUBE"));
    }
    for expr in aggregate.group_expr.iter().chain(&aggregate.aggr_expr) {
        pure(expr)?;
    }
    let schema = plain(&aggregate.schema)?;
    let groups = aggregate.group_expr.len();
    let calls = aggregate.aggr_expr.iter().enumerate().map(|(i, expr)| {
        let return_type = schema.field(groups + i).data_type().clone();
        match expr.clone().unalias_nested().data {
            Expr::AggregateFunction(call) => lower_call(call, return_type),
            _ => Err(Error::internal("an aggregate that is not a call")),
        }
    });
    Ok(Node::Aggregate {
        id: 0,
        aggregates: calls.collect::<Result<_>>()?,
        input: Box::new(lower_node(&aggregate.input)?),
        group: aggregate.group_expr.iter().map(|expr| expr.clone().unalias_nested().data).collect(),
        schema,
    })
}

fn lower_call(call: AggregateExpr, return_type: arrow::datatypes::DataType) -> Result<AggregateCall> {
    let name = call.func.name().to_string();
    let params = call.params;
    let extreme = name == "min" || name == "max";
    if params.distinct && !extreme {
        return Err(refuse(&format!("{name}(DISTINCT ...)")));
    }
    if params.filter.is_some() {
        return Err(refuse(&format!("{name}(...) FILTER")));
    }
    if !params.order_by.is_empty() {
        return Err(refuse(&format!("{name}(... ORDER BY)")));
    }
    let function = match (name.as_str(), params.args.as_slice()) {
        ("count", [Expr::Literal(value, _)]) if !value.is_null() => AggregateFunction::CountAll,
        ("count", [_]) => AggregateFunction::Count,
        ("sum", [_]) => AggregateFunction::Sum,
        ("avg", [_]) => AggregateFunction::Avg,
        ("min", [_]) => AggregateFunction::Min,
        ("max", [_]) => AggregateFunction::Max,
        ("first", [_, _]) => AggregateFunction::First,
        ("last", [_, _]) => AggregateFunction::Last,
        _ => return Err(refuse(&format!("aggregate {name}"))),
    };
    let args = if function == AggregateFunction::CountAll { Vec::new() } else { params.args };
    Ok(AggregateCall { function, args, return_type })
}

/// DISTINCT is grouping by all columns.
fn lower_distinct(input: &LogicalPlan) -> Result<Node> {
    let schema = plain(input.schema())?;
    Ok(Node::Aggregate {
        id: 0,
        group: schema.columns().into_iter().map(Expr::Column).collect(),
        aggregates: Vec::new(),
        input: Box::new(lower_node(input)?),
        schema,
    })
}

/// The root with the view's column names, unqualified, and each column in its type's one Arrow form.
fn with_output(root: Node, columns: &[ViewColumn]) -> Result<Node> {
    let schema = Arc::clone(root.schema());
    if schema.fields().len() != columns.len() {
        return Err(Error::internal(format!("{} columns planned for {}", schema.fields().len(), columns.len())));
    }
    let fields = columns
        .iter()
        .map(|column| (None, Arc::new(arrow::datatypes::Field::new(&column.name, column.sql_type.arrow(), true))));
    let output = Arc::new(DFSchema::new_with_metadata(fields.collect(), Default::default())?);
    let same_types =
        schema.fields().iter().zip(columns).all(|(field, column)| *field.data_type() == column.sql_type.arrow());
    if same_types {
        return requalify(root, &output);
    }
    let exprs = schema.columns().into_iter().zip(columns).map(|(column, wanted)| {
        let expr = Expr::Column(column);
        let wanted = wanted.sql_type.arrow();
        Ok(if expr.get_type(&schema)? == wanted { expr } else { cast(expr, wanted) })
    });
    Ok(Node::Project { id: 0, exprs: exprs.collect::<Result<_>>()?, input: Box::new(root), schema: output })
}
