//! The analyzer rule that has times counted in microseconds, as all of SQL's types are.
//!
//! Where a date stands beside a timestamp, in a comparison, a CASE, a UNION, DataFusion (55.2) makes nanoseconds of both, which end in the
//! year 2262.
//!
//! ```text
//! CAST(day AS Timestamp(ns)) < CAST(time AS Timestamp(ns))    ->    CAST(day AS Timestamp(us)) < time
//! ```

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Cast, Expr, ExprSchemable, LogicalPlan, Union, Values, cast, lit};
use datafusion::optimizer::AnalyzerRule;

use super::set_types::common_type;

/// Behind the rule that makes types fit.
#[derive(Debug)]
pub struct Microseconds;

impl AnalyzerRule for Microseconds {
    fn name(&self) -> &str {
        "microseconds"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let mut changed = false;
        let plan = plan.transform_up_with_subqueries(|node| {
            let node = match node {
                LogicalPlan::Values(values)
                    if values.schema.fields().iter().any(|field| counts_nanoseconds(field.data_type())) =>
                {
                    changed = true;
                    of_values(values)?
                }
                other => other,
            };
            let names = NamePreserver::new(&node);
            let mut schema = merge_schema(&node.inputs());
            schema.merge(node.schema());
            let node = node.map_expressions(|expr| {
                let name = names.save(&expr);
                let counted = expr.transform_up(|expr| in_microseconds(expr, &schema))?;
                Ok(counted.update_data(|expr| name.restore(expr)))
            })?;
            changed |= node.transformed;
            match node.data {
                LogicalPlan::Union(union) if changed => {
                    Ok(Transformed::yes(LogicalPlan::Union(Union::try_new_with_loose_types(union.inputs)?)))
                }
                // Types below may have changed.
                other if changed => Ok(Transformed::yes(other.recompute_schema()?)),
                other => Ok(Transformed::no(other)),
            }
        })?;
        Ok(plan.data)
    }
}

/// Values have the type of their columns, which DataFusion chose without regard to a zone.
fn of_values(Values { schema, mut values }: Values) -> Result<LogicalPlan> {
    let mut fields: Vec<Field> = schema.fields().iter().map(|field| field.as_ref().clone()).collect();
    for (column, field) in fields.iter_mut().enumerate() {
        if !counts_nanoseconds(field.data_type()) {
            continue;
        }
        let uncast = |value: &Expr| match value {
            Expr::Cast(cast) if cast.field.data_type() == field.data_type() => cast.expr.as_ref().clone(),
            other => other.clone(),
        };
        let own: Vec<Expr> = values.iter().filter_map(|row| row.get(column).map(uncast)).collect();
        let is_null = |value: &Expr| matches!(value, Expr::Literal(value, _) if value.is_null());
        let known = own.iter().filter(|value| !is_null(value));
        let types = known.filter_map(|value| value.get_type(&schema).ok());
        let common = types.reduce(|left, right| common_type(&left, &right).unwrap_or(left));
        let common = common.unwrap_or(DataType::Timestamp(TimeUnit::Microsecond, None));
        for (row, value) in values.iter_mut().zip(own) {
            row[column] = match value {
                null if is_null(&null) => lit(ScalarValue::try_from(&common)?),
                value if value.get_type(&schema)? == common => value,
                value => cast(value, common.clone()),
            };
        }
        *field = field.clone().with_data_type(common);
    }
    let schema = DFSchema::try_from(Schema::new(fields))?;
    Ok(LogicalPlan::Values(Values { schema: Arc::new(schema), values }))
}

fn counts_nanoseconds(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Timestamp(TimeUnit::Nanosecond, _))
}

fn in_microseconds(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let Expr::Cast(Cast { expr: inner, field }) = &expr else { return Ok(Transformed::no(expr)) };
    let DataType::Timestamp(TimeUnit::Nanosecond, zone) = field.data_type() else { return Ok(Transformed::no(expr)) };
    let target = DataType::Timestamp(TimeUnit::Microsecond, zone.clone());
    let inner = inner.as_ref().clone();
    let is_there = inner.get_type(schema).is_ok_and(|data_type| data_type == target);
    Ok(Transformed::yes(if is_there { inner } else { cast(inner, target) }))
}
