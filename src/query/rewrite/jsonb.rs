//! jsonb's aggregates and the functions that take a jsonb apart into rows, by arrays.

use sqlparser::ast::{Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Query, SelectItem, SetExpr};

use super::names::{call, parts};

/// `jsonb_agg(x ORDER BY y)` as `jsonb_of_array(array_agg(x ORDER BY y))`, `jsonb_object_agg(k, v)` as
/// `jsonb_of_pairs(array_agg(jsonb_pair(k, v)))`; what stands behind them stays with array_agg.
pub fn rewrite_aggregate(expr: &mut Expr) {
    let Expr::Function(function) = &mut *expr else { return };
    let Function { name, args: FunctionArguments::List(list), .. } = &mut *function else { return };
    let made = match (parts(name).as_slice(), list.args.as_slice()) {
        ([name], [_]) if name == "jsonb_agg" => "jsonb_of_array",
        (
            [name],
            [FunctionArg::Unnamed(FunctionArgExpr::Expr(key)), FunctionArg::Unnamed(FunctionArgExpr::Expr(value))],
        ) if name == "jsonb_object_agg" => {
            let pair = call("jsonb_pair", vec![key.clone(), value.clone()]);
            list.args = vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(pair))];
            "jsonb_of_pairs"
        }
        _ => return,
    };
    let Expr::Function(mut array) = call("array_agg", vec![]) else { return };
    std::mem::swap(&mut array.name, &mut function.name);
    let aggregated = std::mem::replace(expr, Expr::value(sqlparser::ast::Value::Null));
    *expr = call(made, vec![aggregated]);
}

/// `SELECT jsonb_array_elements(x)` gives a row for each element.
pub fn rewrite_rows(query: &mut Query) {
    let SetExpr::Select(select) = query.body.as_mut() else { return };
    for item in &mut select.projection {
        let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = item else { continue };
        let Expr::Function(function) = &mut *expr else { continue };
        let list = match parts(&function.name).as_slice() {
            [name] if name == "jsonb_array_elements" => "jsonb_elements",
            [name] if name == "jsonb_array_elements_text" => "jsonb_element_texts",
            [name] if name == "jsonb_object_keys" => "jsonb_keys",
            _ => continue,
        };
        function.name = sqlparser::ast::ObjectName::from(vec![sqlparser::ast::Ident::new(list)]);
        let list = std::mem::replace(expr, Expr::value(sqlparser::ast::Value::Null));
        *expr = call("unnest", vec![list]);
    }
}
