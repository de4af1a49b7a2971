//! Select lists: subqueries that are never evaluated, and `reg...` oids that are to be shown.

use std::ops::ControlFlow;

use sqlparser::ast::{
    Array, CastKind, DataType, Expr, Function, FunctionArguments, Query, Select, SelectItem, SetExpr, Value,
    visit_expressions_mut,
};

use super::types::registered;

/// In the select list of a SELECT that gives no row, subqueries are never evaluated: NULL, or an empty array, stands for
/// them, whatever they say.
pub fn drop_subqueries(select: &mut Select) {
    for item in &mut select.projection {
        let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = item else { continue };
        let _ = visit_expressions_mut(expr, |inner| {
            match inner {
                Expr::Subquery(_) => *inner = Expr::value(Value::Null),
                Expr::Function(Function { args: FunctionArguments::Subquery(_), .. }) => {
                    *inner = Expr::Array(Array { elem: vec![], named: true });
                }
                _ => {}
            }
            ControlFlow::<()>::Continue(())
        });
    }
}

/// `SELECT 'readings'::regclass` prints the name: in the outermost select list it is written as a text.
pub fn show_registered_names(query: &mut Query) {
    let SetExpr::Select(select) = query.body.as_mut() else { return };
    for item in &mut select.projection {
        let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = item else { continue };
        if matches!(&*expr, Expr::Cast { data_type, .. } if registered(data_type).is_some()) {
            let oid = std::mem::replace(expr, Expr::value(Value::Null));
            *expr = Expr::Cast {
                kind: CastKind::DoubleColon,
                expr: Box::new(oid),
                data_type: DataType::Text,
                array: false,
                format: None,
            };
        }
    }
}
