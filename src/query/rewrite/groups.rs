//! Casts in a GROUP BY that names their operand as well: `GROUP BY day::date, day`, `GROUP BY md5(name)::uuid, md5(name)`.

use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, Query, Select, SelectItem, SetExpr, Value,
    visit_expressions_mut,
};

use super::names::call;
use crate::functions::NAMED;

/// Gives casts of this query whose names DataFusion would take for each other's names of their own. Before anything else of it is
/// rewritten.
pub fn name_casts(query: &mut Query) {
    let operands = ambiguous_operands(query);
    if !operands.is_empty() {
        let _ = visit_expressions_mut(query, |expr| {
            name_cast(expr, &operands);
            ControlFlow::<()>::Continue(())
        });
    }
}

fn ambiguous_operands(query: &Query) -> Vec<Expr> {
    let SetExpr::Select(select) = query.body.as_ref() else { return Vec::new() };
    let GroupByExpr::Expressions(groups, _) = &select.group_by else { return Vec::new() };
    let groups: Vec<&Expr> = groups.iter().map(|group| written(group, select)).collect();
    let operands = groups.iter().map(|group| operand(group)).filter(|operand| !matches!(operand, Expr::Value(_)));
    let is_ambiguous = |cast: &&Expr| {
        let same = || groups.iter().filter(|group| operand(group) == *cast);
        same().any(|group| matches!(plain(group), Expr::Cast { .. }))
            && same().any(|group| Some(group) != same().next())
    };
    operands.filter(is_ambiguous).cloned().collect()
}

/// A cast of one of them, with a name of its own.
fn name_cast(expr: &mut Expr, operands: &[Expr]) {
    if matches!(expr, Expr::Cast { .. }) && operands.contains(operand(expr)) {
        let name = Expr::value(Value::SingleQuotedString(expr.to_string()));
        let cast = std::mem::replace(expr, Expr::value(Value::Null));
        *expr = call(NAMED, vec![cast, name]);
    }
}

/// What stands for a place or a name of the select list.
fn written<'a>(group: &'a Expr, select: &'a Select) -> &'a Expr {
    let item = match group {
        Expr::Value(value) => match &value.value {
            Value::Number(place, _) => place.parse::<usize>().ok().and_then(|place| {
                let item = select.projection.get(place.checked_sub(1)?)?;
                match item {
                    SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Some(expr),
                    _ => None,
                }
            }),
            _ => None,
        },
        Expr::Identifier(name) => select.projection.iter().find_map(|item| match item {
            SelectItem::ExprWithAlias { expr: expr @ Expr::Cast { .. }, alias } if alias == name => Some(expr),
            _ => None,
        }),
        _ => None,
    };
    item.unwrap_or(group)
}

fn plain(expr: &Expr) -> &Expr {
    match expr {
        Expr::Nested(inner) => plain(inner),
        other => other,
    }
}

/// What is cast, through casts of casts and their names.
fn operand(expr: &Expr) -> &Expr {
    match expr {
        Expr::Nested(inner) | Expr::Cast { expr: inner, .. } => operand(inner),
        other => named(other).map_or(other, operand),
    }
}

/// What [`name_cast`] gave a name.
fn named(expr: &Expr) -> Option<&Expr> {
    let Expr::Function(function) = expr else { return None };
    match &function.args {
        FunctionArguments::List(list) if function.name.to_string() == NAMED => match list.args.as_slice() {
            [FunctionArg::Unnamed(FunctionArgExpr::Expr(cast)), _] => Some(cast),
            _ => None,
        },
        _ => None,
    }
}
