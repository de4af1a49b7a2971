//! A logical plan as a tree of [`Node`]s, or the name of what has no incremental operator.

mod aggregates;
mod joins;
mod ranks;
mod temporal;

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, DFSchemaRef};
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{
    Distinct, EmptyRelation, Expr, ExprSchemable, LogicalPlan, Projection, TableScan, Union, Unnest, Values, cast, lit,
};

use self::aggregates::{lower_aggregate, lower_distinct};
use self::joins::lower_join;
use self::ranks::{lower_distinct_on, lower_limit, lower_ranked, lower_window};
use super::relations::relation_of;
use super::view_plan::{AggregateCall, AggregateFunction, MatchKind, Node};
use crate::catalog::ViewColumn;
use crate::error::{Error, Result};
use crate::functions::{ON_TIME, interval_from};

/// Operator ids are all 0; the caller numbers them. The root's columns have the types of `columns`.
pub fn lower(plan: &LogicalPlan, columns: &[ViewColumn]) -> Result<Node> {
    let root = lower_node(plan)?;
    with_output(root, columns)
}

/// 0A000 naming the operator.
pub fn refuse(what: &str) -> Error {
    Error::not_built(format!("{what} in a materialized view"))
        .with_hint("The same SQL works as an ad hoc query, and in a plain view (CREATE VIEW).")
}

fn lower_node(plan: &LogicalPlan) -> Result<Node> {
    match plan {
        LogicalPlan::TableScan(scan) => lower_scan(scan),
        LogicalPlan::Filter(filter) => {
            if let Expr::ScalarFunction(call) = &filter.predicate
                && call.name() == ON_TIME
                && let [window, passed, _] = call.args.as_slice()
            {
                let (window, passed) = (window.clone(), passed.clone());
                return Ok(Node::Late { id: 0, input: Box::new(lower_node(&filter.input)?), window, passed });
            }
            let (timed, timeless) = temporal::split(&filter.predicate);
            let predicate = conjunction(timeless);
            predicate.iter().try_for_each(pure)?;
            let asked = predicate.clone().unwrap_or_else(|| lit(true));
            let input = match &*filter.input {
                LogicalPlan::Window(window) => lower_ranked(window, &asked, None)?,
                // Columns that nobody reads are left out between the two.
                LogicalPlan::Projection(projection) => match &*projection.input {
                    LogicalPlan::Window(window) => {
                        let window = lower_ranked(window, &asked, Some(projection))?;
                        lower_projection_over(projection, window)?
                    }
                    _ => lower_projection(projection)?,
                },
                input => lower_node(input)?,
            };
            let filtered = match predicate {
                Some(predicate) => Node::Filter { id: 0, input: Box::new(input), predicate },
                None => input,
            };
            timed.into_iter().try_fold(filtered, temporal::lower)
        }
        LogicalPlan::Projection(projection) => lower_projection(projection),
        LogicalPlan::SubqueryAlias(alias) => requalify(lower_node(&alias.input)?, &alias.schema),
        LogicalPlan::Join(join) => lower_join(join),
        LogicalPlan::Aggregate(aggregate) => lower_aggregate(aggregate),
        LogicalPlan::Distinct(Distinct::All(input)) => lower_distinct(input),
        LogicalPlan::Distinct(Distinct::On(distinct)) => lower_distinct_on(distinct),
        // A view's rows have no order of their own.
        LogicalPlan::Sort(sort) if sort.fetch.is_none() => lower_node(&sort.input),
        LogicalPlan::Limit(limit) => lower_limit(limit),
        LogicalPlan::Window(window) => lower_window(window),
        LogicalPlan::Union(union) => lower_union(union),
        LogicalPlan::Unnest(unnest) => lower_unnest(unnest),
        LogicalPlan::Values(values) => lower_values(values),
        LogicalPlan::EmptyRelation(empty) => lower_empty(empty),
        other => Err(refuse(operator_name(other))),
    }
}

fn operator_name(plan: &LogicalPlan) -> &'static str {
    match plan {
        LogicalPlan::Sort(_) => "ORDER BY",
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
    if found { Err(refuse("a subquery in an expression")) } else { temporal::refuse_time(expr) }
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
    lower_projection_over(projection, lower_node(&projection.input)?)
}

/// `input` is what the projection's input became.
fn lower_projection_over(projection: &Projection, input: Node) -> Result<Node> {
    for expr in &projection.expr {
        pure(expr)?;
    }
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
        Node::Temporal { id, input, value, comparison, bound } => {
            let value = renamed_columns(value, input.schema(), &renamed)?;
            Node::Temporal { id, input: Box::new(requalify(*input, &renamed)?), value, comparison, bound }
        }
        Node::Late { id, input, window, passed } => {
            let window = renamed_columns(window, input.schema(), &renamed)?;
            let passed = renamed_columns(passed, input.schema(), &renamed)?;
            Node::Late { id, input: Box::new(requalify(*input, &renamed)?), window, passed }
        }
        Node::Close { id, input, closing } => {
            Node::Close { id, input: Box::new(requalify(*input, &renamed)?), closing }
        }
        Node::Repeat { id, of, input } => Node::Repeat { id, of, input: Box::new(requalify(*input, &renamed)?) },
        Node::Source { id, relation, relation_name, columns, .. } => {
            Node::Source { id, relation, relation_name, columns, schema: renamed }
        }
        Node::Project { id, input, exprs, .. } => Node::Project { id, input, exprs, schema: renamed },
        Node::Join { id, left, right, on, filter, schema } => {
            let filter = filter.map(|filter| renamed_columns(filter, &schema, &renamed)).transpose()?;
            Node::Join { id, left, right, on, filter, schema: renamed }
        }
        Node::MatchJoin { id, kind, left, right, on, filter, null_aware, schema } => {
            let over_output = matches!(kind, MatchKind::Left | MatchKind::Full);
            let rename = |filter| if over_output { renamed_columns(filter, &schema, &renamed) } else { Ok(filter) };
            let filter = filter.map(rename).transpose()?;
            Node::MatchJoin { id, kind, left, right, on, filter, null_aware, schema: renamed }
        }
        Node::SetOperation { id, kind, left, right, .. } => {
            Node::SetOperation { id, kind, left, right, schema: renamed }
        }
        Node::Top { id, input, partition, order, kind, skip, fetch, shows_rank, .. } => {
            Node::Top { id, input, partition, order, kind, skip, fetch, shows_rank, schema: renamed }
        }
        Node::Window { id, input, calls, .. } => Node::Window { id, input, calls, schema: renamed },
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

/// More would be more operators than a view should have.
const VALUES_MAX: usize = 1000;

/// A row that never goes: the aggregate over nothing.
fn one_row() -> Result<Node> {
    let nothing = Node::Union { id: 0, inputs: Vec::new(), schema: Arc::new(DFSchema::empty()) };
    let count = AggregateCall { function: AggregateFunction::CountAll, args: Vec::new(), return_type: DataType::Int64 };
    let field = (None, Arc::new(Field::new("rows", DataType::Int64, true)));
    let schema = Arc::new(DFSchema::new_with_metadata(vec![field], Default::default())?);
    Ok(Node::Aggregate { id: 0, input: Box::new(nothing), group: Vec::new(), aggregates: vec![count], schema })
}

/// What a SELECT without FROM selects from, or nothing at all.
fn lower_empty(empty: &EmptyRelation) -> Result<Node> {
    let schema = plain(&empty.schema)?;
    if !empty.produce_one_row {
        return Ok(Node::Union { id: 0, inputs: Vec::new(), schema });
    }
    if !schema.fields().is_empty() {
        return Err(refuse("a row of no table"));
    }
    Ok(Node::Project { id: 0, input: Box::new(one_row()?), exprs: Vec::new(), schema })
}

fn lower_values(values: &Values) -> Result<Node> {
    if values.values.len() > VALUES_MAX {
        return Err(refuse(&format!("VALUES of more than {VALUES_MAX} rows")));
    }
    let schema = plain(&values.schema)?;
    let row = |exprs: &Vec<Expr>| {
        exprs.iter().try_for_each(pure)?;
        let (input, exprs, schema) = (Box::new(one_row()?), exprs.clone(), Arc::clone(&schema));
        Ok(Node::Project { id: 0, input, exprs, schema })
    };
    let inputs = values.values.iter().map(row).collect::<Result<_>>()?;
    Ok(Node::Union { id: 0, inputs, schema })
}

/// What lies between two times has whole days as an interval; Arrow's cast would count hours.
fn converted(expr: Expr, found: &DataType, wanted: DataType) -> Expr {
    if *found == wanted {
        expr
    } else if matches!((found, &wanted), (DataType::Duration(_), DataType::Interval(_))) {
        interval_from().call(vec![expr])
    } else {
        cast(expr, wanted)
    }
}

/// The node with the types of `schema`, by position.
fn with_types(node: Node, schema: &DFSchema) -> Result<Node> {
    let wanted = schema.fields().iter().map(|field| field.data_type());
    if node.schema().fields().iter().map(|field| field.data_type()).eq(wanted.clone()) {
        return Ok(node);
    }
    let exprs = node.schema().columns().into_iter().zip(wanted.cloned()).map(|(column, wanted)| {
        let expr = Expr::Column(column);
        Ok(converted(expr.clone(), &expr.get_type(node.schema())?, wanted))
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
        Ok(converted(expr.clone(), &expr.get_type(&schema)?, wanted))
    });
    Ok(Node::Project { id: 0, exprs: exprs.collect::<Result<_>>()?, input: Box::new(root), schema: output })
}
