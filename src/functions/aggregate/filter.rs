//! FILTER as a CASE around the arguments: what they are made of is computed only for rows that pass, as in PostgreSQL.

use arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::logical_expr::expr::Case;
use datafusion::logical_expr::{Expr, ExprSchemable, cast};

/// `f(x) FILTER (WHERE p)` is `f(CASE WHEN p THEN x END)`, where rows without a value are as no rows. Gives the condition, as a boolean.
pub fn filter_arguments(args: &mut [Expr], filter: Expr, schema: &DFSchema) -> Expr {
    let is_null = filter.get_type(schema).is_ok_and(|data_type| data_type.is_null());
    let filter = if is_null { cast(filter, DataType::Boolean) } else { filter };
    let all_literal = args.iter().all(|arg| matches!(arg, Expr::Literal(..)));
    for arg in args.iter_mut().filter(|arg| all_literal || !matches!(arg, Expr::Literal(..))) {
        let value = Box::new(std::mem::take(arg));
        *arg =
            Expr::Case(Case { expr: None, when_then_expr: vec![(Box::new(filter.clone()), value)], else_expr: None });
    }
    filter
}
