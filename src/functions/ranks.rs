//! `row_number`, `rank`, `dense_rank` and `ntile` with PostgreSQL's result types; DataFusion counts them as unsigned.

use std::hash::{Hash, Hasher};
use std::ops::Range;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::compute::{SortOptions, cast};
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::function::{ExpressionArgs, PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion::logical_expr::window_state::WindowAggState;
use datafusion::logical_expr::{
    Documentation, LimitEffect, PartitionEvaluator, ReversedUDWF, Signature, WindowUDF, WindowUDFImpl,
};
use datafusion::physical_expr::PhysicalExpr;

/// DataFusion's window functions, those that count with the type of a count.
pub fn with_signed_ranks(functions: Vec<Arc<WindowUDF>>) -> Vec<Arc<WindowUDF>> {
    let with_type = |function: Arc<WindowUDF>| match function.name() {
        "row_number" | "rank" | "dense_rank" => Rank::function(function, DataType::Int64),
        "ntile" => Rank::function(function, DataType::Int32),
        _ => function,
    };
    functions.into_iter().map(with_type).collect()
}

/// A function of DataFusion's whose results are cast.
#[derive(Debug)]
struct Rank {
    counted: Arc<WindowUDF>,
    result: DataType,
}

impl Rank {
    fn function(counted: Arc<WindowUDF>, result: DataType) -> Arc<WindowUDF> {
        Arc::new(WindowUDF::from(Rank { counted, result }))
    }
}

impl PartialEq for Rank {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for Rank {}

impl Hash for Rank {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name().hash(state);
    }
}

impl WindowUDFImpl for Rank {
    fn name(&self) -> &str {
        self.counted.name()
    }

    fn signature(&self) -> &Signature {
        self.counted.signature()
    }

    fn expressions(&self, args: ExpressionArgs) -> Vec<Arc<dyn PhysicalExpr>> {
        self.counted.expressions(args)
    }

    fn partition_evaluator(&self, args: PartitionEvaluatorArgs) -> Result<Box<dyn PartitionEvaluator>> {
        let counted = self.counted.partition_evaluator_factory(args)?;
        Ok(Box::new(RankEvaluator { counted, result: self.result.clone() }))
    }

    fn field(&self, args: WindowUDFFieldArgs) -> Result<FieldRef> {
        let field = self.counted.field(args)?;
        Ok(Arc::new(field.as_ref().clone().with_data_type(self.result.clone())))
    }

    fn sort_options(&self) -> Option<SortOptions> {
        self.counted.sort_options()
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.counted.coerce_types(types)
    }

    fn reverse_expr(&self) -> ReversedUDWF {
        ReversedUDWF::NotSupported
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.counted.documentation()
    }

    fn limit_effect(&self, args: &[Arc<dyn PhysicalExpr>]) -> LimitEffect {
        self.counted.inner().limit_effect(args)
    }
}

#[derive(Debug)]
struct RankEvaluator {
    counted: Box<dyn PartitionEvaluator>,
    result: DataType,
}

impl PartitionEvaluator for RankEvaluator {
    fn memoize(&mut self, state: &mut WindowAggState) -> Result<()> {
        self.counted.memoize(state)
    }

    fn get_range(&self, row: usize, rows: usize) -> Result<Range<usize>> {
        self.counted.get_range(row, rows)
    }

    fn is_causal(&self) -> bool {
        self.counted.is_causal()
    }

    fn evaluate_all(&mut self, values: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
        Ok(cast(&self.counted.evaluate_all(values, rows)?, &self.result)?)
    }

    fn evaluate(&mut self, values: &[ArrayRef], range: &Range<usize>) -> Result<ScalarValue> {
        self.counted.evaluate(values, range)?.cast_to(&self.result)
    }

    fn evaluate_all_with_rank(&self, rows: usize, ranks: &[Range<usize>]) -> Result<ArrayRef> {
        Ok(cast(&self.counted.evaluate_all_with_rank(rows, ranks)?, &self.result)?)
    }

    fn supports_bounded_execution(&self) -> bool {
        self.counted.supports_bounded_execution()
    }

    fn uses_window_frame(&self) -> bool {
        self.counted.uses_window_frame()
    }

    fn include_rank(&self) -> bool {
        self.counted.include_rank()
    }
}
