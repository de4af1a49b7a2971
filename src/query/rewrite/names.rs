//! Qualified functions and operators, collations, and the hidden column `tableoid`.

use std::collections::HashMap;
use std::ops::ControlFlow;

use sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident,
    JoinOperator, ObjectName, ObjectNamePart, Select, TableFactor, Value, ValueWithSpan, visit_expressions,
};

/// The identifiers of a name, folded to lower case where they are not quoted.
pub fn parts(name: &ObjectName) -> Vec<String> {
    name.0.iter().filter_map(ObjectNamePart::as_ident).map(folded).collect()
}

pub fn folded(ident: &Ident) -> String {
    match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_lowercase(),
    }
}

/// `pg_catalog.f` as `f`. Functions live in no schema of ours.
fn strip_schema(name: &mut ObjectName) {
    if let [schema, _] = parts(name).as_slice()
        && matches!(schema.as_str(), "pg_catalog" | "information_schema" | "public")
    {
        name.0.remove(0);
    }
}

/// Whether it reads a column, or what may be one.
pub fn reads_columns(expr: &Expr) -> bool {
    let is_name = |expr: &Expr| match expr {
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    visit_expressions(expr, is_name).is_break()
}

/// `$1`, `$2`, ... of a template as its arguments.
pub fn fill_placeholder(expr: &mut Expr, arguments: &[Expr]) {
    if let Expr::Value(ValueWithSpan { value: Value::Placeholder(number), .. }) = expr
        && let Ok(number) = number.trim_start_matches('$').parse::<usize>()
        && let Some(argument) = arguments.get(number.wrapping_sub(1))
    {
        *expr = argument.clone();
    }
}

/// A call of a function by its plain name.
pub fn call(name: &str, arguments: Vec<Expr>) -> Expr {
    let args = arguments.into_iter().map(|argument| FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))).collect();
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList { duplicate_treatment: None, args, clauses: vec![] }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: vec![],
    })
}

pub fn text(value: impl Into<String>) -> Expr {
    Expr::value(Value::SingleQuotedString(value.into()))
}

pub fn unqualify_table_function(factor: &mut TableFactor) {
    match factor {
        TableFactor::Table { name, args: Some(_), .. } | TableFactor::Function { name, .. } => strip_schema(name),
        _ => {}
    }
}

/// Functions, operators and collations without their schema; `every` by its other name.
pub fn unqualify(expr: &mut Expr) {
    match expr {
        Expr::Function(function) => {
            strip_schema(&mut function.name);
            if parts(&function.name) == ["every"] {
                function.name = ObjectName::from(vec![Ident::new("bool_and")]);
            }
        }
        Expr::BinaryOp { op, .. } => {
            if let BinaryOperator::PGCustomBinaryOperator(path) = op
                && let Some(plain) = path.last().and_then(|symbol| operator(symbol))
            {
                *op = plain;
            }
        }
        // There is one collation, by code point.
        Expr::Collate { expr: inner, .. } => *expr = std::mem::replace(inner, Expr::value(Value::Null)),
        _ => {}
    }
}

/// `time AT TIME ZONE zone` as the function that PostgreSQL makes of it.
pub fn rewrite_at_time_zone(expr: &mut Expr) {
    if let Expr::AtTimeZone { timestamp, time_zone } = expr {
        let [time, zone] = [timestamp, time_zone].map(|part| std::mem::replace(&mut **part, Expr::value(Value::Null)));
        *expr = call("timezone", vec![zone, time]);
    }
}

fn operator(symbol: &str) -> Option<BinaryOperator> {
    Some(match symbol {
        "~" => BinaryOperator::PGRegexMatch,
        "~*" => BinaryOperator::PGRegexIMatch,
        "!~" => BinaryOperator::PGRegexNotMatch,
        "!~*" => BinaryOperator::PGRegexNotIMatch,
        "~~" => BinaryOperator::PGLikeMatch,
        "~~*" => BinaryOperator::PGILikeMatch,
        "!~~" => BinaryOperator::PGNotLikeMatch,
        "!~~*" => BinaryOperator::PGNotILikeMatch,
        "=" => BinaryOperator::Eq,
        "<>" | "!=" => BinaryOperator::NotEq,
        "<" => BinaryOperator::Lt,
        "<=" => BinaryOperator::LtEq,
        ">" => BinaryOperator::Gt,
        ">=" => BinaryOperator::GtEq,
        "+" => BinaryOperator::Plus,
        "-" => BinaryOperator::Minus,
        "*" => BinaryOperator::Multiply,
        "/" => BinaryOperator::Divide,
        "%" => BinaryOperator::Modulo,
        "||" => BinaryOperator::StringConcat,
        _ => return None,
    })
}

/// The tables that a SELECT's FROM names, by the name that its columns are qualified with.
pub fn tables_by_alias(select: &Select) -> HashMap<String, ObjectName> {
    let mut tables = HashMap::new();
    for item in &select.from {
        for factor in std::iter::once(&item.relation).chain(item.joins.iter().map(|join| &join.relation)) {
            if let TableFactor::Table { name, alias, args: None, .. } = factor {
                let own = parts(name).pop().unwrap_or_default();
                tables.insert(alias.as_ref().map_or(own, |alias| folded(&alias.name)), name.clone());
            }
        }
    }
    tables
}

/// `c.tableoid` as the oid of the table behind `c`; the innermost `c` counts.
pub fn rewrite_tableoid(expr: &mut Expr, scopes: &[HashMap<String, ObjectName>]) {
    let table = match &*expr {
        Expr::CompoundIdentifier(path) => match path.as_slice() {
            [alias, column] if folded(column) == "tableoid" => {
                let alias = folded(alias);
                scopes.iter().rev().find_map(|scope| scope.get(&alias))
            }
            _ => None,
        },
        Expr::Identifier(column) if folded(column) == "tableoid" => match scopes.last() {
            Some(scope) if scope.len() == 1 => scope.values().next(),
            _ => None,
        },
        _ => None,
    };
    if let Some(table) = table {
        *expr = call("regclass_oid", vec![text(table.to_string())]);
    }
}

/// Whether the FROM gives no row for certain: one of its tables, not on the optional side of a join, is never filled.
pub fn reads_only_nothing(select: &Select, never_filled: &dyn Fn(&str) -> bool) -> bool {
    let is_empty = |factor: &TableFactor| match factor {
        TableFactor::Table { name, args: None, .. } => match parts(name).as_slice() {
            [schema, table] => schema == "pg_catalog" && never_filled(table),
            [table] => never_filled(table),
            _ => false,
        },
        _ => false,
    };
    select.from.iter().any(|item| {
        let inner_joins_only = item.joins.iter().all(|join| {
            matches!(
                join.join_operator,
                JoinOperator::Join(_)
                    | JoinOperator::Inner(_)
                    | JoinOperator::CrossJoin(_)
                    | JoinOperator::Left(_)
                    | JoinOperator::LeftOuter(_)
            )
        });
        let optional = |operator: &JoinOperator| matches!(operator, JoinOperator::Left(_) | JoinOperator::LeftOuter(_));
        inner_joins_only
            && (is_empty(&item.relation)
                || item.joins.iter().any(|join| !optional(&join.join_operator) && is_empty(&join.relation)))
    })
}
