//! Ordered-set aggregates as they must be written: with WITHIN GROUP, and without OVER.

use sqlparser::ast::{Expr, Function};

use super::names::parts;
use crate::error::{Error, Result, SqlState};
use crate::functions::SetFunction;

/// Errors: 42809 without WITHIN GROUP, 42883 for more than one column in it, 0A000 with OVER.
pub fn check_ordered_set(expr: &Expr) -> Result<()> {
    let Expr::Function(Function { name, over, within_group, .. }) = expr else { return Ok(()) };
    let function = parts(name).pop().and_then(|name| SetFunction::named(&name));
    let Some(function) = function.filter(|function| function.is_within_group()) else { return Ok(()) };
    let of = format!("for ordered-set aggregate {}", function.name());
    if within_group.is_empty() {
        return Err(Error::new(SqlState::WRONG_OBJECT_TYPE, format!("WITHIN GROUP is required {of}")));
    }
    if within_group.len() > 1 {
        let message =
            format!("function {} does not exist for {} columns in order", function.name(), within_group.len());
        return Err(Error::new(SqlState::UNDEFINED_FUNCTION, message).with_hint("Order by one expression."));
    }
    match over {
        Some(_) => Err(Error::new(SqlState::FEATURE_NOT_SUPPORTED, format!("OVER is not supported {of}"))
            .with_hint("Compute it by GROUP BY in a subquery, and join that.")),
        None => Ok(()),
    }
}
