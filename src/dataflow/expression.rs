//! Expressions of a view: compiled once, evaluated per batch, and row by row where the batch fails.
//!
//! Whether a row errs is decided by that row alone. DataFusion may evaluate `b` of `a AND b` on rows for which `a` is
//! false, depending on what else is in the batch; so a failing batch is halved until single rows fail.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::{cast, concat, take};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::DFSchema;
use datafusion::common::config::ConfigOptions;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::execution_props::ExecutionProps;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::physical_expr::window::WindowExpr;
use datafusion::physical_expr::{PhysicalExpr, create_physical_expr};
use datafusion::physical_planner::create_window_expr;

use super::errors::ErrorDelta;
use crate::delta::DeltaBatch;
use crate::error::{Error, Result};
use crate::plan::OperatorId;

/// Several expressions over one input, evaluated together: a row for which one fails is out for all.
#[derive(Debug, Clone)]
pub struct Expressions {
    operator: OperatorId,
    expressions: Vec<(Arc<dyn PhysicalExpr>, DataType)>,
}

impl Expressions {
    /// `settings` are those that the view was created under. Errors: what DataFusion cannot turn into a physical form.
    pub fn compile(
        operator: OperatorId,
        expressions: &[Expr],
        input: &DFSchema,
        settings: &Arc<ConfigOptions>,
    ) -> Result<Self> {
        let mut properties = ExecutionProps::new();
        properties.config_options = Some(settings.clone());
        let relaxed = relaxed(input)?;
        let compile = |expression: &Expr| -> Result<(Arc<dyn PhysicalExpr>, DataType)> {
            let physical =
                create_physical_expr(expression, &relaxed, &properties, &PhysicalPlanningContext::default())?;
            let data_type = physical.data_type(relaxed.as_arrow())?;
            Ok((physical, data_type))
        };
        let expressions = expressions.iter().map(compile).collect::<Result<_>>()?;
        Ok(Expressions { operator, expressions })
    }

    pub fn types(&self) -> Vec<DataType> {
        self.expressions.iter().map(|(_, data_type)| data_type.clone()).collect()
    }

    /// These of the expressions, in this order.
    pub fn select(&self, places: &[usize]) -> Expressions {
        let expressions = places.iter().map(|place| self.expressions[*place].clone()).collect();
        Expressions { operator: self.operator, expressions }
    }

    /// One array per expression, cast to `types` where the plan promised another.
    pub fn cast_to(mut self, types: &[DataType]) -> Self {
        for ((_, target), promised) in self.expressions.iter_mut().zip(types) {
            *target = promised.clone();
        }
        self
    }

    /// The rows for which all expressions can be evaluated, and their values; the others become errors.
    pub fn evaluate(&self, input: DeltaBatch, errors: &mut ErrorDelta) -> Result<(DeltaBatch, Vec<ArrayRef>)> {
        if let Ok(values) = self.evaluate_all(input.rows()) {
            return Ok((input, values));
        }
        let mut good = Vec::new();
        self.evaluate_split(&input, 0, input.num_rows(), &mut good, errors)?;
        let kept: UInt32Array = good.iter().flat_map(|part| part.start as u32..part.end as u32).collect();
        let values = (0..self.expressions.len()).map(|index| self.gather(&good, index)).collect::<Result<_>>()?;
        Ok((take_rows(&input, &kept)?, values))
    }

    fn gather(&self, good: &[Part], index: usize) -> Result<ArrayRef> {
        let arrays: Vec<&dyn Array> = good.iter().map(|part| part.values[index].as_ref()).collect();
        if arrays.is_empty() {
            return Ok(arrow::array::new_empty_array(&self.expressions[index].1));
        }
        Ok(concat(&arrays)?)
    }

    fn evaluate_split(
        &self,
        input: &DeltaBatch,
        start: usize,
        end: usize,
        good: &mut Vec<Part>,
        errors: &mut ErrorDelta,
    ) -> Result<()> {
        match self.evaluate_all(&input.rows().slice(start, end - start)) {
            Ok(values) => good.push(Part { start, end, values }),
            Err(error) if end - start == 1 => errors.push(self.operator, &error, input, start, input.weight(start))?,
            Err(_) => {
                let middle = start + (end - start) / 2;
                self.evaluate_split(input, start, middle, good, errors)?;
                self.evaluate_split(input, middle, end, good, errors)?;
            }
        }
        Ok(())
    }

    fn evaluate_all(&self, rows: &RecordBatch) -> Result<Vec<ArrayRef>> {
        let evaluate = |(expression, data_type): &(Arc<dyn PhysicalExpr>, DataType)| -> Result<ArrayRef> {
            let value = expression.evaluate(rows)?.into_array(rows.num_rows())?;
            Ok(if value.data_type() == data_type { value } else { cast(&value, data_type)? })
        };
        self.expressions.iter().map(evaluate).collect()
    }
}

/// Window functions over the columns of `input`, as DataFusion evaluates them.
pub fn window_calls(
    calls: &[Expr],
    input: &DFSchema,
    settings: &Arc<ConfigOptions>,
) -> Result<Vec<Arc<dyn WindowExpr>>> {
    let mut properties = ExecutionProps::new();
    properties.config_options = Some(settings.clone());
    let relaxed = relaxed(input)?;
    let context = PhysicalPlanningContext::default();
    let compile = |call: &Expr| Ok(create_window_expr(call, &relaxed, &properties, &context)?);
    calls.iter().map(compile).collect()
}

/// The FILTER of each window function.
pub fn window_filters(
    calls: &[Expr],
    input: &DFSchema,
    settings: &Arc<ConfigOptions>,
) -> Result<Vec<Option<Arc<dyn PhysicalExpr>>>> {
    let mut properties = ExecutionProps::new();
    properties.config_options = Some(settings.clone());
    let relaxed = relaxed(input)?;
    let context = PhysicalPlanningContext::default();
    let filter = |call: &Expr| match call {
        Expr::WindowFunction(call) => {
            let filter = call.params.filter.as_deref();
            Ok(filter.map(|filter| create_physical_expr(filter, &relaxed, &properties, &context)).transpose()?)
        }
        _ => Ok(None),
    };
    calls.iter().map(filter).collect()
}

/// Rows that were evaluated together.
struct Part {
    start: usize,
    end: usize,
    values: Vec<ArrayRef>,
}

/// The schema with every column nullable: what an operator gives is only known to be typed.
fn relaxed(schema: &DFSchema) -> Result<DFSchema> {
    let fields = schema.iter().map(|(qualifier, field)| (qualifier.cloned(), Arc::new(nullable(field)))).collect();
    Ok(DFSchema::new_with_metadata(fields, schema.metadata().clone())?)
}

fn nullable(field: &Field) -> Field {
    Field::new(field.name(), field.data_type().clone(), true)
}

/// Arrow's schema of an operator's output.
pub fn arrow_schema(schema: &DFSchema) -> SchemaRef {
    Arc::new(Schema::new(schema.fields().iter().map(|field| nullable(field)).collect::<Vec<_>>()))
}

/// A batch that may have no columns at all (`count(*)` needs none).
pub fn batch(schema: &SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(schema.clone(), columns, &options).map_err(Error::internal)
}

pub fn take_rows(delta: &DeltaBatch, indices: &UInt32Array) -> Result<DeltaBatch> {
    let columns =
        delta.rows().columns().iter().map(|column| Ok(take(column, indices, None)?)).collect::<Result<_>>()?;
    let rows = batch(&delta.schema(), columns, indices.len())?;
    let weights = indices.values().iter().map(|row| delta.weight(*row as usize)).collect::<Vec<_>>();
    DeltaBatch::new(rows, weights.into())
}
