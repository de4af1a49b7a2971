//! INTERSECT and EXCEPT of columns of different types: rows are compared, made distinct and given in the type that both have in common,
//! as those of UNION are. DataFusion compares in that type alone.
//!
//! ```text
//! Join a = CAST(b AS bigint)            Join a = b
//!   Distinct                              Distinct
//!     Project a (integer)        ->         Project CAST(a AS bigint) AS a
//!   Project b (bigint)                    Project b
//! ```

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, DataFusionError, JoinType, NullEquality, Result};
use datafusion::logical_expr::type_coercion::binary::type_union_coercion;
use datafusion::logical_expr::{Distinct, Expr, Join, LogicalPlan, LogicalPlanBuilder, Union, cast};
use datafusion::optimizer::AnalyzerRule;

use super::type_name;
use crate::error::{Error, SqlState};

/// Once coercion has told which types can be compared.
#[derive(Debug)]
pub struct SetTypes;

impl AnalyzerRule for SetTypes {
    fn name(&self) -> &str {
        "set_types"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let mut changed = false;
        let plan = plan.transform_up_with_subqueries(|node| match node {
            LogicalPlan::Join(join) if is_set_operation(&join) => {
                let joined = in_common_types(join)?;
                changed |= joined.transformed;
                Ok(joined)
            }
            // Types below may have changed.
            other if changed => Ok(Transformed::yes(other.recompute_schema()?)),
            other => Ok(Transformed::no(other)),
        })?;
        Ok(plan.data)
    }
}

/// Before a plan is optimized, nothing else joins with NULL equal to NULL.
fn is_set_operation(join: &Join) -> bool {
    join.null_equality == NullEquality::NullEqualsNull
        && matches!(join.join_type, JoinType::LeftSemi | JoinType::LeftAnti)
        && join.filter.is_none()
        && join.on.len() == join.left.schema().fields().len()
        && join.on.len() == join.right.schema().fields().len()
}

/// Before types are made to fit. Errors: 42804 for types that have none in common.
pub fn check_set_operation(plan: &LogicalPlan) -> Result<()> {
    match plan {
        LogicalPlan::Join(join) if is_set_operation(join) => common_types(join).map(drop),
        _ => Ok(()),
    }
}

/// UNION before types are made to fit: a text that is written out is of the type that it stands beside; `convert` gets the inputs that
/// have one, with the types of their columns. `None` where there is nothing to do. Errors: 42804 for types that have none in common.
pub fn union_as_written(
    union: &Union,
    convert: &mut dyn FnMut(LogicalPlan) -> Result<LogicalPlan>,
) -> Result<Option<LogicalPlan>> {
    let columns = union.inputs.first().map_or(0, |input| input.schema().fields().len());
    let mut types = Vec::with_capacity(columns);
    for column in 0..columns {
        let mut common: Option<(DataType, bool)> = None;
        for input in &union.inputs {
            // Inputs of other numbers of columns are refused behind this.
            let Some(field) = input.schema().fields().get(column) else { return Ok(None) };
            let next = (field.data_type(), is_written(input, column));
            let found = match &common {
                None => next.0.clone(),
                Some((so_far, is_written)) => {
                    common_with((so_far, *is_written), next).ok_or_else(|| no_common_type("UNION", so_far, next.0))?
                }
            };
            common = Some((found, next.1 && common.is_none_or(|(_, is_written)| is_written)));
        }
        types.extend(common.map(|(data_type, _)| data_type));
    }
    let mut changed = false;
    let mut in_type = |input: &Arc<LogicalPlan>| {
        let fields = input.schema().fields().iter().zip(&types).enumerate();
        let wanted: Vec<DataType> = fields
            .map(|(column, (field, common))| match (kind_of(field.data_type()), kind_of(common)) {
                (Kind::Text, other) if other != Kind::Text && is_written(input, column) => common.clone(),
                (Kind::Time, Kind::Time) => common.clone(),
                _ => field.data_type().clone(),
            })
            .collect();
        if input.schema().fields().iter().zip(&wanted).all(|(field, wanted)| field.data_type() == wanted) {
            return Ok(Arc::clone(input));
        }
        changed = true;
        converted(input.as_ref().clone(), &wanted).and_then(&mut *convert).map(Arc::new)
    };
    let inputs = union.inputs.iter().map(&mut in_type).collect::<Result<Vec<_>>>()?;
    if changed { Ok(Some(LogicalPlan::Union(Union::try_new_with_loose_types(inputs)?))) } else { Ok(None) }
}

fn common_types(join: &Join) -> Result<Vec<DataType>> {
    let fields = join.left.schema().fields().iter().zip(join.right.schema().fields());
    let common = fields.enumerate().map(|(column, (left, right))| {
        let (left, right) = (left.data_type(), right.data_type());
        let operation = if join.join_type == JoinType::LeftSemi { "INTERSECT" } else { "EXCEPT" };
        common_with((left, is_written(&join.left, column)), (right, is_written(&join.right, column)))
            .ok_or_else(|| no_common_type(operation, left, right))
    });
    common.collect()
}

/// The type of two columns that stand beside one another, each with whether it is written out.
fn common_with((left, left_written): (&DataType, bool), (right, right_written): (&DataType, bool)) -> Option<DataType> {
    match (kind_of(left), kind_of(right)) {
        (left_kind, right_kind) if left_kind == right_kind => common_type(left, right),
        (Kind::Unknown, _) => Some(right.clone()),
        (_, Kind::Unknown) => Some(left.clone()),
        (Kind::Text, _) if left_written => Some(right.clone()),
        (_, Kind::Text) if right_written => Some(left.clone()),
        _ => None,
    }
}

/// Types of different kinds have none in common.
#[derive(Debug, PartialEq, Eq)]
enum Kind {
    /// Of NULL.
    Unknown,
    Number,
    Text,
    Time,
    Interval,
    Array,
    Other(DataType),
}

fn kind_of(data_type: &DataType) -> Kind {
    match data_type {
        DataType::Null => Kind::Unknown,
        number if number.is_numeric() => Kind::Number,
        DataType::Utf8 | DataType::Utf8View => Kind::Text,
        DataType::Date32 | DataType::Timestamp(..) => Kind::Time,
        DataType::Interval(_) | DataType::Duration(_) => Kind::Interval,
        DataType::List(_) => Kind::Array,
        other => Kind::Other(other.clone()),
    }
}

/// Of two types of one kind. DataFusion would count nanoseconds where one of them is a date, and forget a zone.
pub fn common_type(left: &DataType, right: &DataType) -> Option<DataType> {
    match (left, right) {
        (zoned @ DataType::Timestamp(_, Some(_)), _) | (_, zoned @ DataType::Timestamp(_, Some(_))) => {
            Some(zoned.clone())
        }
        (DataType::Date32, other) | (other, DataType::Date32) => Some(other.clone()),
        _ => type_union_coercion(left, right),
    }
}

/// Whether a column is a text that is written out: it is of the type that it stands beside.
fn is_written(plan: &LogicalPlan, column: usize) -> bool {
    match plan {
        LogicalPlan::Projection(projection) => {
            let expr = projection.expr.get(column).map(|expr| expr.clone().unalias_nested().data);
            matches!(expr, Some(Expr::Literal(..)))
        }
        LogicalPlan::Distinct(Distinct::All(input)) => is_written(input, column),
        LogicalPlan::SubqueryAlias(alias) => is_written(&alias.input, column),
        _ => false,
    }
}

fn in_common_types(join: Join) -> Result<Transformed<LogicalPlan>> {
    let fields = |plan: &LogicalPlan| plan.schema().fields().clone();
    let is_same = |(left, right): (&FieldRef, &FieldRef)| left.data_type() == right.data_type();
    if fields(&join.left).iter().zip(fields(&join.right).iter()).all(is_same) {
        return Ok(Transformed::no(LogicalPlan::Join(join)));
    }
    let common = common_types(&join)?;
    let left = match Arc::unwrap_or_clone(join.left) {
        LogicalPlan::Distinct(Distinct::All(input)) => {
            let input = converted(Arc::unwrap_or_clone(input), &common)?;
            LogicalPlan::Distinct(Distinct::All(Arc::new(input)))
        }
        left => converted(left, &common)?,
    };
    let right = converted(Arc::unwrap_or_clone(join.right), &common)?;
    let columns = |plan: &LogicalPlan| plan.schema().columns().into_iter().map(Expr::Column);
    let on = columns(&left).zip(columns(&right)).collect();
    let joined = Join::try_new(
        Arc::new(left),
        Arc::new(right),
        on,
        None,
        join.join_type,
        join.join_constraint,
        join.null_equality,
        join.null_aware,
    )?;
    Ok(Transformed::yes(LogicalPlan::Join(joined)))
}

fn no_common_type(operation: &str, left: &DataType, right: &DataType) -> DataFusionError {
    let message = format!("{operation} types {} and {} cannot be matched", type_name(left), type_name(right));
    DataFusionError::External(Box::new(Error::new(SqlState::DATATYPE_MISMATCH, message)))
}

/// The same columns, of these types.
fn converted(plan: LogicalPlan, types: &[DataType]) -> Result<LogicalPlan> {
    let fields: Vec<_> = plan.schema().iter().map(|(relation, field)| (relation.cloned(), Arc::clone(field))).collect();
    let columns = fields.into_iter().zip(types).map(|((relation, field), wanted)| {
        let column = Expr::Column(Column::new(relation.clone(), field.name()));
        match field.data_type() == wanted {
            true => column,
            false => cast(column, wanted.clone()).alias_qualified(relation, field.name()),
        }
    });
    let columns: Vec<Expr> = columns.collect();
    LogicalPlanBuilder::from(plan).project(columns)?.build()
}
