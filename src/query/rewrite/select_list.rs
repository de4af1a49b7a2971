//! Select lists: subqueries that are never evaluated, and `reg...` oids that are to be shown.

use std::ops::ControlFlow;

use sqlparser::ast::{Expr, Query, Select, SelectItem, SetExpr, Value, visit_expressions_mut};

use super::names::{call, parts};

/// In the select list of a SELECT that gives no row, subqueries are never evaluated: NULL stands for them, whatever they
/// say.
pub fn drop_subqueries(select: &mut Select) {
    for item in &mut select.projection {
        let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = item else { continue };
        let _ = visit_expressions_mut(expr, |inner| {
            if matches!(inner, Expr::Subquery(_)) {
                *inner = Expr::value(Value::Null);
            }
            ControlFlow::<()>::Continue(())
        });
    }
}

/// `SELECT 'readings'::regclass` prints the name: the outermost select list turns oids made from texts back.
pub fn show_registered_names(query: &mut Query) {
    let SetExpr::Select(select) = query.body.as_mut() else { return };
    for item in &mut select.projection {
        let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = item else { continue };
        let Expr::Function(function) = &*expr else { continue };
        let Some(name) = parts(&function.name).pop() else { continue };
        let shown = match name.strip_suffix("_oid") {
            Some(kind) if kind.starts_with("reg") => format!("{kind}_name"),
            _ => continue,
        };
        let oid = std::mem::replace(expr, Expr::value(Value::Null));
        *expr = call(&shown, vec![oid]);
    }
}
