//! ANY and ALL over array literals, and ARRAY over a subquery.

use sqlparser::ast::{
    Array, BinaryOperator, CastKind, DataType, DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArgumentClause, FunctionArguments, GroupByExpr, Ident, LambdaFunction, LambdaFunctionParameter,
    LambdaSyntax, OneOrManyWithParens, OrderByExpr, OrderByKind, Query, Select, SelectItem, SetExpr, TableFactor,
    UnaryOperator, Value,
};

use super::names::{call, parts, reads_columns, text};
use crate::query::any_of::ANY_OF;
use crate::types::parse::parse_array;

/// `x = ANY ('{a,b}')` and `x = ANY (ARRAY[...])` as IN, `x = ANY ($1)` as a function over the parameter's text; `<> ALL` as
/// their negation. Other quantified comparisons, and arrays that are columns, are DataFusion's.
pub fn rewrite_quantified(expr: &mut Expr) {
    let (left, right, negated) = match &mut *expr {
        Expr::AnyOp { left, compare_op: BinaryOperator::Eq, right, .. } => (left, right, false),
        Expr::AllOp { left, compare_op: BinaryOperator::NotEq, right } => (left, right, true),
        _ => return,
    };
    if let Some(parameter) = parameter(right) {
        let left = std::mem::replace(&mut **left, Expr::value(Value::Null));
        let called = call(ANY_OF, vec![left, as_text(parameter)]);
        *expr = match negated {
            true => Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(called) },
            false => called,
        };
        return;
    }
    let Some(list) = elements(right) else { return };
    if list.is_empty() {
        *expr = Expr::value(Value::Boolean(negated));
        return;
    }
    let left = std::mem::replace(&mut **left, Expr::value(Value::Null));
    *expr = Expr::InList { expr: Box::new(left), list, negated };
}

/// `ARRAY[a, b]` as a call: DataFusion does not look for the columns of an outer query in a literal.
pub fn rewrite_array_of_columns(expr: &mut Expr) {
    let Expr::Array(Array { elem, .. }) = &mut *expr else { return };
    if elem.iter().any(reads_columns) {
        *expr = call("make_array", std::mem::take(elem));
    }
}

/// A parameter, whatever array type it is cast to: its elements are read as the other side's type.
fn parameter(array: &Expr) -> Option<Expr> {
    match array {
        Expr::Nested(inner) => parameter(inner),
        Expr::Cast { expr, .. } => parameter(expr),
        Expr::Value(value) if matches!(value.value, Value::Placeholder(_)) => Some(array.clone()),
        _ => None,
    }
}

fn as_text(expr: Expr) -> Expr {
    Expr::Cast {
        kind: CastKind::DoubleColon,
        expr: Box::new(expr),
        data_type: DataType::Text,
        array: false,
        format: None,
    }
}

/// The elements of an array that is written out.
fn elements(array: &Expr) -> Option<Vec<Expr>> {
    match array {
        Expr::Array(Array { elem, .. }) => Some(elem.clone()),
        Expr::Nested(inner) => elements(inner),
        Expr::Cast { expr, .. } => elements(expr),
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => parse_array(text).map(|elements| {
                elements.into_iter().map(|element| element.map_or(Expr::value(Value::Null), text_expr)).collect()
            }),
            _ => None,
        },
        _ => None,
    }
}

fn text_expr(element: String) -> Expr {
    text(element)
}

/// `ARRAY(SELECT ...)` over a column of one array: the array transformed. Before that column becomes a relation's.
pub fn rewrite_array_over_unnest(expr: &mut Expr) {
    let Expr::Function(function) = &*expr else { return };
    if let (["array"], FunctionArguments::Subquery(query)) =
        (parts(&function.name).iter().map(String::as_str).collect::<Vec<_>>().as_slice(), &function.args)
        && let Some(transformed) = over_unnest(query)
    {
        *expr = transformed;
    }
}

/// `ARRAY(SELECT ...)` otherwise: an aggregate over the subquery, empty rather than NULL.
pub fn rewrite_array_subquery(expr: &mut Expr) {
    let Expr::Function(function) = &mut *expr else { return };
    if parts(&function.name).as_slice() != ["array"] {
        return;
    }
    let FunctionArguments::Subquery(query) = &mut function.args else { return };
    if aggregate(query) {
        let query = query.clone();
        *expr = call("array_or_empty", vec![Expr::Subquery(query)]);
    }
}

/// The one expression of a plain `SELECT x FROM ...`.
fn plain_select(query: &Query) -> Option<&Select> {
    let SetExpr::Select(select) = query.body.as_ref() else { return None };
    let ungrouped = matches!(&select.group_by, GroupByExpr::Expressions(by, _) if by.is_empty());
    let plain = query.with.is_none()
        && query.limit_clause.is_none()
        && query.fetch.is_none()
        && select.having.is_none()
        && select.projection.len() == 1
        && ungrouped;
    plain.then_some(select)
}

fn item_expr(item: &SelectItem) -> Option<&Expr> {
    match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Some(expr),
        _ => None,
    }
}

/// `ARRAY(SELECT f(x) FROM unnest(a) AS x)` as `array_transform(a, x -> f(x))`.
fn over_unnest(query: &Query) -> Option<Expr> {
    let select = plain_select(query)?;
    let [item] = select.from.as_slice() else { return None };
    if !item.joins.is_empty() || select.selection.is_some() || select.distinct.is_some() || query.order_by.is_some() {
        return None;
    }
    let (array, alias) = match &item.relation {
        TableFactor::UNNEST { array_exprs, alias: Some(alias), .. } => match array_exprs.as_slice() {
            [array] => (array.clone(), alias),
            _ => return None,
        },
        TableFactor::Table { name, args: Some(arguments), alias: Some(alias), .. } if matches!(parts(name).as_slice(), [.., name] if name == "unnest") => {
            match arguments.args.as_slice() {
                [FunctionArg::Unnamed(FunctionArgExpr::Expr(array))] => (array.clone(), alias),
                _ => return None,
            }
        }
        _ => return None,
    };
    let parameter = alias.columns.first().map_or(&alias.name, |column| &column.name);
    let body = item_expr(select.projection.first()?)?;
    if matches!(body, Expr::Identifier(name) if name.value == parameter.value) {
        return Some(array);
    }
    let lambda = Expr::Lambda(LambdaFunction {
        params: OneOrManyWithParens::One(LambdaFunctionParameter { name: parameter.clone(), data_type: None }),
        body: Box::new(body.clone()),
        syntax: LambdaSyntax::Arrow,
    });
    Some(call("array_transform", vec![array, lambda]))
}

/// Puts `array_agg(x ORDER BY ...)` in the place of the subquery's one expression. False: nothing was changed.
fn aggregate(query: &mut Query) -> bool {
    let Some(value) = plain_select(query).and_then(|select| item_expr(select.projection.first()?)).cloned() else {
        return false;
    };
    let order = match query.order_by.as_ref().map(|order_by| &order_by.kind) {
        None => vec![],
        Some(OrderByKind::Expressions(order)) => order.iter().map(|by| by_value(by, &value)).collect(),
        Some(OrderByKind::All(_)) => return false,
    };
    let SetExpr::Select(select) = query.body.as_mut() else { return false };
    let distinct = select.distinct.take().is_some();
    let mut aggregated = call("array_agg", vec![value]);
    if let Expr::Function(Function { args: FunctionArguments::List(list), .. }) = &mut aggregated {
        list.duplicate_treatment = distinct.then_some(DuplicateTreatment::Distinct);
        if !order.is_empty() {
            list.clauses.push(FunctionArgumentClause::OrderBy(order));
        }
    }
    select.projection = vec![SelectItem::ExprWithAlias { expr: aggregated, alias: Ident::new("array") }];
    query.order_by = None;
    true
}

/// `ORDER BY 1` inside an aggregate is a constant; there it means the value.
fn by_value(by: &OrderByExpr, value: &Expr) -> OrderByExpr {
    let mut by = by.clone();
    if matches!(&by.expr, Expr::Value(number) if matches!(number.value, Value::Number(..))) {
        by.expr = value.clone();
    }
    by
}
