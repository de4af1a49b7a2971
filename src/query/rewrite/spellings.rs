//! What PostgreSQL's users write in a way of its own: functions by the operators that they are, words that are values,
//! `FETCH FIRST`, and functions that give rows in a select list.

use sqlparser::ast::{
    BinaryOperator, CastKind, DataType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident,
    LimitClause, ObjectName, Query, SelectItem, SetExpr, TableAlias, TableAliasColumnDef, TableFactor, TimezoneInfo,
};

use super::names::{call, parts};

/// `mod(a, b)`, `div(a, b)`, `sign(x)` and `age(time)`.
pub fn rewrite_function(expr: &mut Expr) {
    let Expr::Function(Function { name, args: FunctionArguments::List(list), over: None, .. }) = &mut *expr else {
        return;
    };
    let operator = match (parts(name).as_slice(), list.args.as_slice()) {
        ([name], [_, _]) if name == "mod" => BinaryOperator::Modulo,
        ([name], [_, _]) if name == "div" => BinaryOperator::Divide,
        ([name], [FunctionArg::Unnamed(FunctionArgExpr::Expr(time))]) if name == "age" => {
            *expr = call("age", vec![call("current_date", vec![]), time.clone()]);
            return;
        }
        ([plain], [_]) if plain == "sign" || plain == "ceiling" => {
            let called = if plain == "sign" { "signum" } else { "ceil" };
            *name = ObjectName::from(vec![Ident::new(called)]);
            return;
        }
        _ => return,
    };
    let [FunctionArg::Unnamed(FunctionArgExpr::Expr(left)), FunctionArg::Unnamed(FunctionArgExpr::Expr(right))] =
        list.args.as_slice()
    else {
        return;
    };
    let nested = |expr: &Expr| Box::new(Expr::Nested(Box::new(expr.clone())));
    let whole = operator == BinaryOperator::Divide;
    let computed = Expr::BinaryOp { left: nested(left), op: operator, right: nested(right) };
    *expr = if whole { call("trunc", vec![computed]) } else { Expr::Nested(Box::new(computed)) };
}

/// Words that are values of the session, and no columns.
pub fn rewrite_word(expr: &mut Expr) {
    let word = match &*expr {
        Expr::Identifier(Ident { value, quote_style: None, .. }) => value.to_ascii_lowercase(),
        Expr::Function(Function { name, args: FunctionArguments::None, .. }) => name.to_string().to_ascii_lowercase(),
        _ => return,
    };
    *expr = match word.as_str() {
        "current_schema" => call("current_schema", vec![]),
        "current_catalog" => call("current_database", vec![]),
        "localtimestamp" => Expr::Cast {
            kind: CastKind::DoubleColon,
            expr: Box::new(call("now", vec![])),
            data_type: DataType::Timestamp(None, TimezoneInfo::None),
            array: false,
            format: None,
        },
        _ => return,
    };
}

/// `FETCH FIRST 2 ROWS ONLY` as `LIMIT 2`. With ties it stays, and is refused by name.
pub fn rewrite_fetch(query: &mut Query) {
    let Some(fetch) = query.fetch.take_if(|fetch| !fetch.with_ties && !fetch.percent) else { return };
    let rows = fetch.quantity.unwrap_or_else(|| Expr::value(sqlparser::ast::Value::Number("1".to_owned(), false)));
    match &mut query.limit_clause {
        Some(LimitClause::LimitOffset { limit: limit @ None, .. }) => *limit = Some(rows),
        None => {
            query.limit_clause = Some(LimitClause::LimitOffset { limit: Some(rows), offset: None, limit_by: vec![] });
        }
        Some(_) => query.fetch = Some(sqlparser::ast::Fetch { with_ties: false, percent: false, quantity: Some(rows) }),
    }
}

/// `FROM generate_series(1, 3) AS n` has a column of the alias' name, `FROM generate_series(1, 3)` one of the function's.
pub fn name_series(factor: &mut TableFactor) {
    let TableFactor::Table { name, alias, args: Some(_), .. } = &mut *factor else { return };
    if parts(name) != ["generate_series"] {
        return;
    }
    let column = |name: &Ident| TableAliasColumnDef { name: name.clone(), data_type: None };
    match alias {
        Some(alias) if alias.columns.is_empty() => alias.columns = vec![column(&alias.name)],
        Some(_) => {}
        None => {
            let name = Ident::new("generate_series");
            let columns = vec![column(&name)];
            *alias = Some(TableAlias { explicit: true, name, columns, at: None });
        }
    }
}

/// `SELECT generate_series(1, 3)` gives a row for each number.
pub fn rewrite_series(query: &mut Query) {
    let SetExpr::Select(select) = query.body.as_mut() else { return };
    for item in &mut select.projection {
        let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = item else { continue };
        if matches!(&*expr, Expr::Function(function) if parts(&function.name) == ["generate_series"]) {
            let series = std::mem::replace(expr, Expr::value(sqlparser::ast::Value::Null));
            *expr = call("unnest", vec![series]);
        }
    }
}
