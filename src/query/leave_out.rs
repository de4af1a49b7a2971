//! Queries that leave out the rows on which an expression raises, as a materialized view does.
//!
//! ```text
//! Projection: a / b                     Projection: attempt(a / b)        NULL where it raises
//!   Scan                                  Filter: computes(a / b)         the rows on which it does not
//!                                           Scan
//! ```
//!
//! Nothing in such a plan raises, so the optimizer may order it as it likes. An expression is tried on a whole batch first,
//! and row by row where the batch raises: whether a row is left out depends on that row alone. What this cannot guard
//! stays as it is and may raise: the results of aggregates, conditions of outer joins, expressions with subqueries.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::compute::{cast, concat};
use arrow::datatypes::{DataType, Field, SchemaRef};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, DFSchemaRef, JoinType, Result, ScalarValue, internal_err};
use datafusion::execution::SessionState;
use datafusion::logical_expr::expr::{AggregateFunction, ScalarFunction};
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{
    Aggregate, ColumnarValue, Expr, ExprSchemable, Filter, Join, LogicalPlan, LogicalPlanBuilder, Projection,
    ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::optimizer::optimize_projections::OptimizeProjections;
use datafusion::optimizer::{Optimizer, OptimizerContext};
use datafusion::physical_expr::{PhysicalExpr, create_physical_expr};

use crate::functions::ATTEMPT;

/// The plan with every expression guarded. Columns that nobody reads are taken out first: a view does not compute them.
pub fn leave_out_errors(plan: LogicalPlan, state: &SessionState) -> Result<LogicalPlan> {
    let context = OptimizerContext::new_with_config_options(Arc::clone(state.config_options()));
    let pruned =
        Optimizer::with_rules(vec![Arc::new(OptimizeProjections::new())]).optimize(plan, &context, |_, _| {})?;
    let guard = Guard { state };
    let guarded = pruned.transform_up(|node| {
        Ok(match node {
            LogicalPlan::Projection(node) => Transformed::yes(guard.projection(node)?),
            LogicalPlan::Filter(node) => Transformed::yes(guard.filter(node)?),
            LogicalPlan::Aggregate(node) => Transformed::yes(guard.aggregate(node)?),
            LogicalPlan::Join(node) if node.join_type == JoinType::Inner => Transformed::yes(guard.join(node)?),
            other => Transformed::no(other),
        })
    })?;
    Ok(guarded.data)
}

struct Guard<'a> {
    state: &'a SessionState,
}

impl Guard<'_> {
    fn projection(&self, node: Projection) -> Result<LogicalPlan> {
        let (input, exprs) = self.guarded(node.input, node.expr)?;
        Ok(LogicalPlan::Projection(Projection::try_new(exprs, input)?))
    }

    fn filter(&self, node: Filter) -> Result<LogicalPlan> {
        let (input, mut predicates) = self.guarded(node.input, vec![node.predicate])?;
        match predicates.pop() {
            Some(predicate) => Ok(LogicalPlan::Filter(Filter::try_new(predicate.unalias(), input)?)),
            None => internal_err!("a filter without a predicate"),
        }
    }

    fn aggregate(&self, node: Aggregate) -> Result<LogicalPlan> {
        let arguments = node.aggr_expr.iter().flat_map(|call| arguments_of(call).into_iter().flatten().cloned());
        let groups = node.group_expr.len();
        let exprs = node.group_expr.iter().cloned().chain(arguments).collect();
        let (input, mut group_expr) = self.guarded(node.input, exprs)?;
        let mut arguments = group_expr.split_off(groups).into_iter();
        let calls = node.aggr_expr.into_iter().map(|call| with_arguments(call, &mut arguments)).collect();
        Ok(LogicalPlan::Aggregate(Aggregate::try_new(input, group_expr, calls)?))
    }

    fn join(&self, node: Join) -> Result<LogicalPlan> {
        let (left_keys, right_keys) = node.on.into_iter().unzip();
        let (left, left_keys) = self.guarded(node.left, left_keys)?;
        let (right, right_keys) = self.guarded(node.right, right_keys)?;
        let on = left_keys.into_iter().map(Expr::unalias).zip(right_keys.into_iter().map(Expr::unalias)).collect();
        let joined = Join::try_new(
            left,
            right,
            on,
            None,
            node.join_type,
            node.join_constraint,
            node.null_equality,
            node.null_aware,
        )?;
        match node.filter {
            None => Ok(LogicalPlan::Join(joined)),
            Some(predicate) => self.filter(Filter::try_new(predicate, Arc::new(LogicalPlan::Join(joined)))?),
        }
    }

    /// The input without the rows on which one of the expressions raises, and the expressions as attempts under their
    /// former names.
    fn guarded(&self, input: Arc<LogicalPlan>, exprs: Vec<Expr>) -> Result<(Arc<LogicalPlan>, Vec<Expr>)> {
        let schema = input.schema().clone();
        let mut guards = Vec::new();
        let mut attempts = Vec::with_capacity(exprs.len());
        for expr in exprs {
            if !may_raise(&expr) {
                attempts.push(expr);
                continue;
            }
            let (qualifier, name) = expr.qualified_name();
            let plain = expr.unalias();
            guards.push(Attempt::call(&plain, Answer::Computes, &schema, self.state)?);
            attempts.push(Attempt::call(&plain, Answer::Value, &schema, self.state)?.alias_qualified(qualifier, name));
        }
        match conjunction(guards) {
            None => Ok((input, attempts)),
            Some(guard) => Ok((Arc::new(LogicalPlanBuilder::from(input).filter(guard)?.build()?), attempts)),
        }
    }
}

/// Columns and literals do not; what holds a subquery cannot be tried on a row by itself.
fn may_raise(expr: &Expr) -> bool {
    let plain = match expr {
        Expr::Alias(alias) => alias.expr.as_ref(),
        other => other,
    };
    !matches!(plain, Expr::Column(_) | Expr::Literal(..)) && !holds_subquery(plain)
}

fn holds_subquery(expr: &Expr) -> bool {
    let mut holds = false;
    let walked = expr.apply(|expr| {
        holds |= matches!(
            expr,
            Expr::ScalarSubquery(_) | Expr::InSubquery(_) | Expr::Exists(_) | Expr::OuterReferenceColumn(..)
        );
        Ok(TreeNodeRecursion::Continue)
    });
    holds || walked.is_err()
}

fn arguments_of(call: &Expr) -> Option<&Vec<Expr>> {
    match call {
        Expr::Alias(alias) => arguments_of(&alias.expr),
        Expr::AggregateFunction(function) => Some(&function.params.args),
        _ => None,
    }
}

/// The call over the next arguments, under its former name.
fn with_arguments(call: Expr, arguments: &mut impl Iterator<Item = Expr>) -> Expr {
    let (qualifier, name) = call.qualified_name();
    match call.unalias() {
        Expr::AggregateFunction(AggregateFunction { func, mut params }) => {
            params.args = params.args.iter().filter_map(|_| arguments.next()).map(Expr::unalias).collect();
            Expr::AggregateFunction(AggregateFunction { func, params }).alias_qualified(qualifier, name)
        }
        other => other.alias_qualified(qualifier, name),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Answer {
    /// The expression's value, NULL where it raises.
    Value,
    /// Whether it has one.
    Computes,
}

/// An expression as a function of the columns that it reads.
#[derive(Debug)]
struct Attempt {
    expr: Expr,
    answer: Answer,
    name: String,
    physical: Arc<dyn PhysicalExpr>,
    /// Of its columns, in the order of the arguments.
    schema: SchemaRef,
    value_type: DataType,
    signature: Signature,
}

impl PartialEq for Attempt {
    fn eq(&self, other: &Self) -> bool {
        self.expr == other.expr && self.answer == other.answer && self.schema == other.schema
    }
}

impl Eq for Attempt {}

impl Hash for Attempt {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.expr.hash(state);
        self.answer.hash(state);
    }
}

impl Attempt {
    fn call(expr: &Expr, answer: Answer, input: &DFSchemaRef, state: &SessionState) -> Result<Expr> {
        let mut columns: Vec<Column> = expr.column_refs().into_iter().cloned().collect();
        columns.sort();
        let mut fields = Vec::with_capacity(columns.len());
        for column in &columns {
            let (qualifier, field) = input.qualified_field_from_column(column)?;
            let field = Field::new(field.name(), field.data_type().clone(), true);
            fields.push((qualifier.cloned(), Arc::new(field)));
        }
        let schema = DFSchema::new_with_metadata(fields, Default::default())?;
        let mut properties = state.execution_props().clone();
        properties.config_options = Some(Arc::clone(state.config_options()));
        let physical = create_physical_expr(expr, &schema, &properties, &PhysicalPlanningContext::default())?;
        let attempt = Attempt {
            expr: expr.clone(),
            answer,
            name: match answer {
                Answer::Value => format!("{ATTEMPT}{expr}"),
                Answer::Computes => format!("{ATTEMPT}whether {expr} has a value"),
            },
            physical,
            schema: Arc::clone(schema.inner()),
            value_type: expr.get_type(&schema)?,
            signature: Signature::variadic_any(Volatility::Immutable),
        };
        let mut args: Vec<Expr> = columns.into_iter().map(Expr::Column).collect();
        if args.is_empty() {
            // A function that takes any arguments takes at least one.
            args.push(Expr::Literal(ScalarValue::Boolean(Some(true)), None));
        }
        Ok(Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(ScalarUDF::from(attempt)), args)))
    }

    fn evaluate(&self, rows: &RecordBatch) -> Result<ArrayRef> {
        let value = self.physical.evaluate(rows)?.into_array(rows.num_rows())?;
        Ok(if *value.data_type() == self.value_type { value } else { cast(&value, &self.value_type)? })
    }

    /// Row by row: the values, NULL where a row raises, and which rows do not.
    fn evaluate_each(&self, rows: &RecordBatch) -> Result<(ArrayRef, BooleanArray)> {
        let mut values = Vec::with_capacity(rows.num_rows());
        let mut computes = Vec::with_capacity(rows.num_rows());
        for row in 0..rows.num_rows() {
            let value = self.evaluate(&rows.slice(row, 1));
            computes.push(value.is_ok());
            values.push(value.unwrap_or_else(|_| new_null_array(&self.value_type, 1)));
        }
        let parts: Vec<&dyn Array> = values.iter().map(|value| value.as_ref()).collect();
        Ok((concat(&parts)?, computes.into()))
    }
}

impl ScalarUDFImpl for Attempt {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(match self.answer {
            Answer::Value => self.value_type.clone(),
            Answer::Computes => DataType::Boolean,
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let columns = args.args.iter().take(self.schema.fields().len());
        let columns = columns.map(|column| column.to_array(args.number_rows)).collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(args.number_rows));
        let rows = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?;
        let (values, computes) = match self.evaluate(&rows) {
            Ok(values) => (values, BooleanArray::from(vec![true; rows.num_rows()])),
            Err(_) if rows.num_rows() > 0 => self.evaluate_each(&rows)?,
            Err(error) => return Err(error),
        };
        Ok(ColumnarValue::Array(match self.answer {
            Answer::Value => values,
            Answer::Computes => Arc::new(computes),
        }))
    }
}
