//! Select lists: subqueries that are never evaluated, `reg...` oids that are to be shown, and functions that give rows.

use std::ops::ControlFlow;

use sqlparser::ast::{
    Array, CastKind, DataType, Expr, Function, FunctionArguments, OrderByKind, Query, Select, SelectItem, SetExpr,
    Value, visit_expressions, visit_expressions_mut,
};

use super::names::{folded, parts};
use super::types::registered;
use crate::error::{Error, Result};

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

/// Beside a function that gives rows, DataFusion orders by what is selected alone. Errors: 0A000.
pub fn refuse_hidden_order(query: &Query) -> Result<()> {
    let SetExpr::Select(select) = query.body.as_ref() else { return Ok(()) };
    let Some(OrderByKind::Expressions(keys)) = query.order_by.as_ref().map(|order_by| &order_by.kind) else {
        return Ok(());
    };
    if !select.projection.iter().any(gives_rows) || keys.iter().all(|key| orders_by_selected(&key.expr, select)) {
        return Ok(());
    }
    Err(Error::not_built("ORDER BY a column that is not selected, beside a function that gives rows,")
        .with_hint("Select it in a subquery: SELECT a FROM (SELECT unnest(x) AS a, b FROM t) AS s ORDER BY b."))
}

fn gives_rows(item: &SelectItem) -> bool {
    visit_expressions(item, |expr| match expr {
        Expr::Function(function) if parts(&function.name) == ["unnest"] => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    })
    .is_break()
}

fn orders_by_selected(key: &Expr, select: &Select) -> bool {
    let is_selected = |name: &str| {
        select.projection.iter().any(|item| match item {
            SelectItem::UnnamedExpr(expr) => column_name(expr).as_deref() == Some(name),
            SelectItem::ExprWithAlias { expr, alias } => {
                folded(alias) == name || column_name(expr).as_deref() == Some(name)
            }
            _ => true,
        })
    };
    visit_expressions(key, |part| match column_name(part) {
        Some(name) if !is_selected(&name) => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    })
    .is_continue()
}

fn column_name(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Identifier(name) => Some(folded(name)),
        Expr::CompoundIdentifier(names) => names.last().map(folded),
        _ => None,
    }
}
