//! The lower one of an aggregate split in two, and what the upper one does in place of each call.
//!
//! Does not know: what stands between the two.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Column, DFSchema, DFSchemaRef, TableReference};
use datafusion::logical_expr::{Expr, ExprSchemable};

use crate::error::{Error, Result};
use crate::functions::is_total_bucket;
use crate::plan::explain::shown;
use crate::plan::view_plan::{AggregateCall, AggregateFunction, Node};

/// The lower aggregate while it is put together.
pub struct Below {
    input: DFSchemaRef,
    group: Vec<Expr>,
    group_fields: Vec<(Option<TableReference>, FieldRef)>,
    calls: Vec<AggregateCall>,
    call_fields: Vec<(Option<TableReference>, FieldRef)>,
}

impl Below {
    pub fn new(input: &DFSchemaRef) -> Self {
        Below {
            input: Arc::clone(input),
            group: Vec::new(),
            group_fields: Vec::new(),
            calls: Vec::new(),
            call_fields: Vec::new(),
        }
    }

    /// The column that holds `expr` above; columns keep their names.
    pub fn group_by(&mut self, expr: &Expr) -> Result<Expr> {
        let (qualifier, field) = match expr {
            Expr::Column(column) => {
                let (qualifier, field) = self.input.qualified_field_from_column(column)?;
                (qualifier.cloned(), Arc::clone(field))
            }
            expr => {
                let data_type = expr.get_type(&self.input)?;
                (None, Arc::new(Field::new(shown(expr), data_type, true)))
            }
        };
        let column = Expr::Column(Column::new(qualifier.clone(), field.name()));
        if !self.group.contains(expr) {
            self.group.push(expr.clone());
            self.group_fields.push((qualifier, field));
        }
        Ok(column)
    }

    /// The column that holds the call's value for the rows of one key.
    fn call(&mut self, function: AggregateFunction, args: &[Expr], return_type: DataType) -> Expr {
        let call = AggregateCall { function, args: args.to_vec(), return_type };
        let args: Vec<String> = args.iter().map(shown).collect();
        let args = if function == AggregateFunction::CountAll { "*".to_owned() } else { args.join(", ") };
        let name = format!("{}({args})", function.name());
        if !self.calls.contains(&call) {
            let field = Field::new(&name, call.return_type.clone(), true);
            self.call_fields.push((None, Arc::new(field)));
            self.calls.push(call);
        }
        Expr::Column(Column::new_unqualified(name))
    }

    /// What the aggregate above does in place of `call`.
    pub fn aggregate(&mut self, call: &AggregateCall) -> Result<AggregateCall> {
        use AggregateFunction as F;
        let (function, args) = match (call.function, &call.args[..]) {
            (F::CountAll | F::Count, args) => (F::MergeCount, vec![self.call(call.function, args, DataType::Int64)]),
            (F::Sum, args) => (F::MergeSum, vec![self.call(F::PartialSum, args, DataType::Binary)]),
            (F::Avg, args) => {
                let sum = self.call(F::PartialSum, args, DataType::Binary);
                (F::MergeAvg, vec![sum, self.call(F::Count, args, DataType::Int64)])
            }
            (function @ (F::Min | F::Max), args) => {
                (function, vec![self.call(function, args, call.return_type.clone())])
            }
            (function @ (F::First | F::Last), [_, time]) => {
                let value = self.call(function, &call.args, call.return_type.clone());
                let nearest = if function == F::First { F::Min } else { F::Max };
                let time_type = time.get_type(&self.input)?;
                (function, vec![value, self.call(nearest, std::slice::from_ref(time), time_type)])
            }
            (function, _) => return Err(Error::internal(format!("{function:?} has no partial form"))),
        };
        Ok(AggregateCall { function, args, return_type: call.return_type.clone() })
    }

    pub fn over(self, input: Node) -> Result<Node> {
        let fields = self.group_fields.into_iter().chain(self.call_fields).collect();
        let schema = Arc::new(DFSchema::new_with_metadata(fields, Default::default())?);
        Ok(Node::Aggregate { id: 0, input: Box::new(input), group: self.group, aggregates: self.calls, schema })
    }
}

pub fn is_column(expr: &Expr) -> bool {
    matches!(expr, Expr::Column(_))
}

pub fn is_bucket(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarFunction(call) if is_total_bucket(call))
}

/// Groups by moments or measurements have a row each; nothing would be gained.
pub fn names_a_few(expr: &Expr, schema: &DFSchema) -> bool {
    let data_type = expr.get_type(schema);
    !matches!(data_type, Err(_) | Ok(DataType::Timestamp(..) | DataType::Float32 | DataType::Float64))
}

/// Whether the expression reads only columns of this schema, and at least one.
pub fn is_over(expr: &Expr, schema: &DFSchema) -> bool {
    let columns = expr.column_refs();
    !columns.is_empty() && columns.into_iter().all(|column| schema.index_of_column(column).is_ok())
}

/// Sums of numerics may be wider than what a partial sum holds.
pub fn has_partial(call: &AggregateCall, schema: &DFSchema) -> bool {
    use AggregateFunction as F;
    match call.function {
        F::Sum | F::Avg => {
            let input = call.args.first().and_then(|arg| arg.get_type(schema).ok());
            matches!(
                input,
                Some(DataType::Int16 | DataType::Int32 | DataType::Int64 | DataType::Float32 | DataType::Float64)
            )
        }
        F::CountAll | F::Count | F::Min | F::Max | F::First | F::Last => true,
        F::PartialSum | F::MergeCount | F::MergeSum | F::MergeAvg => false,
        F::VarSamp | F::VarPop | F::StddevSamp | F::StddevPop | F::StringAgg | F::SingleValue => false,
        F::ArrayAgg { .. } | F::Bits(_) | F::Regression(_) | F::Set(_) | F::ApproxCountDistinct => false,
    }
}
