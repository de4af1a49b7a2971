//! A logical plan as a tree of [`Node`]s, or the name of what has no incremental operator.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, DFSchemaRef, NullEquality};
use datafusion::logical_expr::expr::AggregateFunction as AggregateExpr;
use datafusion::logical_expr::{
    Aggregate, Distinct, Expr, ExprSchemable, Join, JoinType, LogicalPlan, Projection, TableScan, Union, Unnest, cast,
    lit,
};

use super::relations::relation_of;
use super::view::same_type;
use super::view_plan::{AggregateCall, AggregateFunction, Node};
use crate::catalog::ViewColumn;
use crate::error::{Error, Result};
use crate::functions::ORDERED_STRING_AGG;

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
        LogicalPlan::Union(union) => lower_union(union),
        LogicalPlan::Unnest(unnest) => lower_unnest(unnest),
        other => Err(refuse(operator_name(other))),
    }
}

fn operator_name(plan: &LogicalPlan) -> &'static str {
    match plan {
        LogicalPlan::Window(_) => "a window function",
        LogicalPlan::Sort(_) => "ORDER BY",
        LogicalPlan::Limit(_) => "LIMIT",
        LogicalPlan::Distinct(_) => "DISTINCT ON",
        LogicalPlan::Values(_) => "VALUES",
        LogicalPlan::EmptyRelation(_) => "a SELECT without FROM",
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
            let predicate = renamed_columns(predicate, input.schema(), &renamed)?;
            Node::Filter { id, input: Box::new(requalify(*input, &renamed)?), predicate }
        }
        Node::Source { id, relation, relation_name, columns, .. } => {
            Node::Source { id, relation, relation_name, columns, schema: renamed }
        }
        Node::Project { id, input, exprs, .. } => Node::Project { id, input, exprs, schema: renamed },
        Node::Join { id, left, right, on, filter, schema } => {
            let filter = filter.map(|filter| renamed_columns(filter, &schema, &renamed)).transpose()?;
            Node::Join { id, left, right, on, filter, schema: renamed }
        }
        Node::LeftJoin { id, left, right, on, filter, schema } => {
            let filter = filter.map(|filter| renamed_columns(filter, &schema, &renamed)).transpose()?;
            Node::LeftJoin { id, left, right, on, filter, schema: renamed }
        }
        Node::Union { id, inputs, .. } => Node::Union { id, inputs, schema: renamed },
        Node::DistinctValues { id, input, keys, first_distinct, .. } => {
            Node::DistinctValues { id, input, keys, first_distinct, schema: renamed }
        }
        Node::Unnest { id, input, column, .. } => Node::Unnest { id, input, column, schema: renamed },
        Node::Aggregate { id, input, group, aggregates, .. } => {
            Node::Aggregate { id, input, group, aggregates, schema: renamed }
        }
    })
}

/// `expr` over `old` as an expression over `renamed`, which has the same columns under other names.
fn renamed_columns(expr: Expr, old: &DFSchema, renamed: &DFSchema) -> Result<Expr> {
    let renamed = expr.transform_up(|expr| match &expr {
        Expr::Column(column) => {
            let at = old.index_of_column(column)?;
            Ok(Transformed::yes(Expr::Column(Column::from(renamed.qualified_field(at)))))
        }
        _ => Ok(Transformed::no(expr)),
    })?;
    Ok(renamed.data)
}

fn lower_join(join: &Join) -> Result<Node> {
    let kind = match join.join_type {
        JoinType::Full => "FULL JOIN",
        JoinType::Inner | JoinType::Left | JoinType::Right if join.null_equality == NullEquality::NullEqualsNull => {
            "INTERSECT or a NULL-safe join"
        }
        JoinType::Inner if join.on.is_empty() => "a join without an equality (cross join)",
        JoinType::Left | JoinType::Right if join.on.is_empty() => "an outer join without an equality",
        JoinType::Inner | JoinType::Left | JoinType::Right => "",
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
    let (left, right) = (Box::new(lower_node(&join.left)?), Box::new(lower_node(&join.right)?));
    let (filter, schema) = (join.filter.clone(), plain(&join.schema)?);
    match join.join_type {
        JoinType::Left => Ok(Node::LeftJoin { id: 0, left, right, on, filter, schema }),
        JoinType::Right => mirrored(left, right, on, filter, schema),
        _ => Ok(Node::Join { id: 0, left, right, on, filter, schema }),
    }
}

/// A right join: a left join of the sides in turn, with the columns put back in their order.
fn mirrored(
    left: Box<Node>,
    right: Box<Node>,
    on: Vec<(Expr, Expr)>,
    filter: Option<Expr>,
    schema: DFSchemaRef,
) -> Result<Node> {
    let left_columns = left.schema().fields().len();
    let columns: Vec<_> = schema.iter().map(|(qualifier, field)| (qualifier.cloned(), Arc::clone(field))).collect();
    let (own, others) = columns.split_at(left_columns);
    let swapped = DFSchema::new_with_metadata([others, own].concat(), Default::default())?;
    let join = Node::LeftJoin {
        id: 0,
        left: right,
        right: left,
        on: on.into_iter().map(|(left, right)| (right, left)).collect(),
        filter,
        schema: Arc::new(swapped),
    };
    let exprs = schema.columns().into_iter().map(Expr::Column).collect();
    Ok(Node::Project { id: 0, input: Box::new(join), exprs, schema })
}

/// UNION ALL; inputs that are unions themselves are taken apart.
fn lower_union(union: &Union) -> Result<Node> {
    let schema = plain(&union.schema)?;
    let mut inputs = Vec::with_capacity(union.inputs.len());
    for input in &union.inputs {
        let input = with_types(lower_node(input)?, &schema)?;
        match input {
            Node::Union { inputs: nested, .. } => inputs.extend(nested),
            input => inputs.push(input),
        }
    }
    Ok(Node::Union { id: 0, inputs, schema })
}

/// The node with the types of `schema`, by position.
fn with_types(node: Node, schema: &DFSchema) -> Result<Node> {
    let wanted = schema.fields().iter().map(|field| field.data_type());
    if node.schema().fields().iter().map(|field| field.data_type()).eq(wanted.clone()) {
        return Ok(node);
    }
    let exprs = node.schema().columns().into_iter().zip(wanted.cloned()).map(|(column, wanted)| {
        let expr = Expr::Column(column);
        Ok(if expr.get_type(node.schema())? == wanted { expr } else { cast(expr, wanted) })
    });
    let exprs = exprs.collect::<Result<_>>()?;
    Ok(Node::Project { id: 0, exprs, input: Box::new(node), schema: Arc::new(schema.clone()) })
}

fn lower_unnest(unnest: &Unnest) -> Result<Node> {
    let [(column, _)] = unnest.list_type_columns.as_slice() else {
        return Err(refuse("unnest of several lists"));
    };
    let inputs = unnest.input.schema().fields();
    let in_place = unnest.dependency_indices.iter().copied().eq(0..inputs.len());
    let is_list = matches!(inputs.get(*column).map(|field| field.data_type()), Some(DataType::List(element))
        if !element.data_type().is_nested());
    if !in_place || !is_list || !unnest.struct_type_columns.is_empty() || unnest.options.preserve_nulls() {
        return Err(refuse("this unnest"));
    }
    let input = Box::new(lower_node(&unnest.input)?);
    Ok(Node::Unnest { id: 0, input, column: *column, schema: plain(&unnest.schema)? })
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
    let calls: Vec<(AggregateCall, bool)> = calls.collect::<Result<_>>()?;
    let input = lower_node(&aggregate.input)?;
    let group = aggregate.group_expr.iter().map(|expr| expr.clone().unalias_nested().data).collect();
    if calls.iter().any(|(_, distinct)| *distinct) {
        return distinct_aggregate(input, group, calls, schema);
    }
    let aggregates = calls.into_iter().map(|(call, _)| call).collect();
    Ok(Node::Aggregate { id: 0, aggregates, input: Box::new(input), group, schema })
}

/// The call, and whether each group's values count once.
fn lower_call(call: AggregateExpr, return_type: DataType) -> Result<(AggregateCall, bool)> {
    let name = call.func.name().to_string();
    let params = call.params;
    if params.filter.is_some() {
        return Err(refuse(&format!("{name}(...) FILTER")));
    }
    if !params.order_by.is_empty() {
        return Err(refuse(&format!("{name}(... ORDER BY)")));
    }
    let function = match (name.as_str(), params.args.as_slice()) {
        ("count", [Expr::Literal(value, _)]) if !value.is_null() && !params.distinct => AggregateFunction::CountAll,
        ("count", [_]) => AggregateFunction::Count,
        ("sum", [_]) => AggregateFunction::Sum,
        ("avg", [_]) => AggregateFunction::Avg,
        ("min", [_]) => AggregateFunction::Min,
        ("max", [_]) => AggregateFunction::Max,
        ("first", [_, _]) => AggregateFunction::First,
        // False before true: the least is whether all are, the greatest whether any is.
        ("bool_and", [_]) => AggregateFunction::Min,
        ("bool_or", [_]) => AggregateFunction::Max,
        ("var_samp", [_]) => AggregateFunction::VarSamp,
        ("var_pop", [_]) => AggregateFunction::VarPop,
        ("stddev_samp", [_]) => AggregateFunction::StddevSamp,
        ("stddev_pop", [_]) => AggregateFunction::StddevPop,
        (ORDERED_STRING_AGG, [_, _, _, ..]) => AggregateFunction::StringAgg,
        ("last", [_, _]) => AggregateFunction::Last,
        _ => return Err(refuse(&format!("aggregate {name}"))),
    };
    let extreme = matches!(function, AggregateFunction::Min | AggregateFunction::Max);
    if params.distinct
        && params.args.iter().filter(|arg| !matches!(arg, Expr::Literal(..))).count() > 1
        && function != AggregateFunction::StringAgg
    {
        return Err(refuse(&format!("{name}(DISTINCT ...)")));
    }
    let args = if function == AggregateFunction::CountAll { Vec::new() } else { params.args };
    Ok((AggregateCall { function, args, return_type }, params.distinct && !extreme))
}

/// Aggregates of which some see each value of a group once:
///
/// ```text
/// Aggregate by key0 [count(value0), sum(value1), count(distinct0)]
///   DistinctValues                     rows with NULL for distinct0, and each (key0, distinct0) once with NULL elsewhere
///     Project key0, value0, value1, distinct0
/// ```
///
/// Every aggregate leaves NULL out, so that each call sees its own rows alone.
fn distinct_aggregate(
    input: Node,
    group: Vec<Expr>,
    calls: Vec<(AggregateCall, bool)>,
    schema: DFSchemaRef,
) -> Result<Node> {
    let mut plain_args: Vec<Expr> = Vec::new();
    let mut distinct_args: Vec<Expr> = Vec::new();
    let mut aggregates = Vec::with_capacity(calls.len());
    let column = |args: &mut Vec<Expr>, prefix: &str, expr: Expr| {
        let position = args.iter().position(|other| *other == expr).unwrap_or_else(|| {
            args.push(expr);
            args.len() - 1
        });
        Expr::Column(Column::new_unqualified(format!("{prefix}{position}")))
    };
    for (mut call, distinct) in calls {
        if call.function == AggregateFunction::CountAll {
            call.function = AggregateFunction::Count;
            call.args = vec![lit(1_i64)];
        }
        let (args, prefix) = if distinct { (&mut distinct_args, "distinct") } else { (&mut plain_args, "value") };
        let several = call.args.len() > 1;
        call.args = std::mem::take(&mut call.args)
            .into_iter()
            .map(|arg| match arg {
                // A separator is read where the operator is built.
                literal @ Expr::Literal(..) if several => literal,
                arg => column(args, prefix, arg),
            })
            .collect();
        aggregates.push(call);
    }
    let named = |prefix: &str, exprs: &[Expr]| -> Result<Vec<_>> {
        let field = |(i, expr): (usize, &Expr)| {
            Ok((None, Arc::new(Field::new(format!("{prefix}{i}"), expr.get_type(input.schema())?, true))))
        };
        exprs.iter().enumerate().map(field).collect()
    };
    let (keys, first_distinct) = (group.len(), group.len() + plain_args.len());
    let fields = [named("key", &group)?, named("value", &plain_args)?, named("distinct", &distinct_args)?].concat();
    let below: DFSchemaRef = Arc::new(DFSchema::new_with_metadata(fields, Default::default())?);
    let exprs = [group, plain_args, distinct_args].concat();
    let project = Node::Project { id: 0, input: Box::new(input), exprs, schema: Arc::clone(&below) };
    let group = below.columns().into_iter().take(keys).map(Expr::Column).collect();
    let values = Node::DistinctValues { id: 0, input: Box::new(project), keys, first_distinct, schema: below };
    Ok(Node::Aggregate { id: 0, input: Box::new(values), group, aggregates, schema })
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
    let fields = columns.iter().map(|column| (None, Arc::new(Field::new(&column.name, column.sql_type.arrow(), true))));
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
