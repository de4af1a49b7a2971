//! What drivers' introspection asks for: `generate_subscripts`, and LIKE with an escape character of its own.

use sqlparser::ast::{Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Value, ValueWithSpan};

use super::names::{call, parts, text};

/// `generate_subscripts(array, 1)` as the numbers of its elements, a row for each. The vectors of pg_index count from 0.
pub fn rewrite_subscripts(expr: &mut Expr) {
    let Expr::Function(Function { name, args: FunctionArguments::List(list), .. }) = &mut *expr else { return };
    if parts(name).as_slice() != ["generate_subscripts"] {
        return;
    }
    let [FunctionArg::Unnamed(FunctionArgExpr::Expr(array)), _] = list.args.as_slice() else { return };
    let array = array.clone();
    let column = match &array {
        Expr::CompoundIdentifier(path) => path.last().map(|column| column.value.as_str()),
        Expr::Identifier(column) => Some(column.value.as_str()),
        _ => None,
    };
    let is_vector = column.is_some_and(|name| ["indkey", "indclass", "indcollation", "indoption"].contains(&name));
    *expr = call("unnest", vec![call("array_subscripts", vec![array, number(if is_vector { "0" } else { "1" })])]);
}

fn number(digits: &str) -> Expr {
    Expr::value(Value::Number(digits.to_owned(), false))
}

/// `x LIKE p ESCAPE '/'` with the pattern as it is where backslash escapes.
pub fn rewrite_escape(expr: &mut Expr) {
    let (Expr::Like { pattern, escape_char, .. } | Expr::ILike { pattern, escape_char, .. }) = &mut *expr else {
        return;
    };
    let Some(ValueWithSpan { value: Value::SingleQuotedString(escape), .. }) = &*escape_char else { return };
    if escape == "\\" {
        return;
    }
    let escape = escape.clone();
    *escape_char = None;
    let written = match &**pattern {
        Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(written), .. }) => Some(written.clone()),
        _ => None,
    };
    **pattern = match written {
        Some(written) => text(escaped_by_backslash(&written, &escape)),
        None => {
            let pattern = std::mem::replace(&mut **pattern, Expr::value(Value::Null));
            call("like_pattern", vec![pattern, text(escape)])
        }
    };
}

/// A pattern whose escape character is `escape`; none where that is empty.
pub fn escaped_by_backslash(pattern: &str, escape: &str) -> String {
    let mut out = String::with_capacity(pattern.len());
    let mut characters = pattern.chars();
    while let Some(c) = characters.next() {
        if escape.starts_with(c) {
            out.push('\\');
            out.extend(characters.next());
        } else if c == '\\' {
            out.push_str("\\\\");
        } else {
            out.push(c);
        }
    }
    out
}
