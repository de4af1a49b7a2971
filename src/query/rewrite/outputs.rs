//! Names of a SELECT's columns: PostgreSQL's for what has no alias, and unique ones for DataFusion.
//!
//! DataFusion refuses two columns of one name in a projection. The second and later ones carry a mark and a number
//! behind their name, which [`display_name`] takes off where names leave the server.

use std::collections::HashSet;
use std::ops::ControlFlow;

use sqlparser::ast::{
    DataType, Expr, FunctionArguments, Ident, Query, Select, SelectItem, SetExpr, TrimWhereField, Value, visit_expressions_mut,
};

use super::names::{call, folded, parts};

/// Stands between a column's name and the number that makes it unique. No client writes it.
const MARK: char = '\u{1}';

/// A column's name as the client shall see it.
pub fn display_name(name: &str) -> &str {
    name.split(MARK).next().unwrap_or(name)
}

/// Gives each column of a SELECT its name.
pub fn name_columns(select: &mut Select) {
    let mut taken = HashSet::new();
    let mut after_wildcard = false;
    for item in &mut select.projection {
        let name = match &*item {
            SelectItem::UnnamedExpr(expr) => column_name(expr).unwrap_or_else(|| "?column?".into()),
            SelectItem::ExprWithAlias { alias, .. } => folded(alias),
            _ => {
                after_wildcard = true;
                continue;
            }
        };
        let repeated = !taken.insert(name.clone());
        let plain = matches!(item, SelectItem::UnnamedExpr(Expr::Identifier(_) | Expr::CompoundIdentifier(_)));
        let hidden_in_wildcard = after_wildcard && plain;
        if plain && !repeated && !hidden_in_wildcard {
            continue;
        }
        let unique = match repeated || hidden_in_wildcard {
            true => unique_name(&name, &mut taken),
            false => name,
        };
        let alias = Ident::with_quote('"', unique);
        match item {
            SelectItem::UnnamedExpr(expr) => {
                let expr = std::mem::replace(expr, Expr::value(Value::Null));
                *item = SelectItem::ExprWithAlias { expr, alias };
            }
            SelectItem::ExprWithAlias { alias: old, .. } if repeated => *old = alias,
            _ => {}
        }
    }
}

fn unique_name(name: &str, taken: &mut HashSet<String>) -> String {
    (1..).map(|number| format!("{name}{MARK}{number}")).find(|unique| taken.insert(unique.clone())).unwrap_or_default()
}

/// The name that PostgreSQL gives an expression without alias (FigureColname in its parse_target.c); `None` where that
/// is `?column?`.
pub fn column_name(expr: &Expr) -> Option<String> {
    Some(match expr {
        Expr::Identifier(ident) => folded(ident),
        Expr::CompoundIdentifier(path) => folded(path.last()?),
        Expr::Nested(inner) | Expr::Collate { expr: inner, .. } => column_name(inner)?,
        Expr::CompoundFieldAccess { root, .. } => column_name(root)?,
        Expr::Function(function) => match &function.args {
            FunctionArguments::Subquery(_) => "array".into(),
            _ => parts(&function.name).pop().map(function_name)?,
        },
        Expr::Cast { expr, data_type, .. } => column_name(expr).or_else(|| type_name(data_type))?,
        Expr::TypedString(typed) => type_name(&typed.data_type)?,
        Expr::Interval(_) => "interval".into(),
        Expr::Case { else_result, .. } => {
            let of_else = else_result.as_ref().and_then(|result| match result.as_ref() {
                Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::Function(_) => column_name(result),
                _ => None,
            });
            of_else.unwrap_or_else(|| "case".into())
        }
        Expr::Exists { .. } => "exists".into(),
        Expr::Subquery(query) => match query.body.as_ref() {
            SetExpr::Select(select) => match select.projection.first()? {
                SelectItem::UnnamedExpr(expr) => column_name(expr)?,
                SelectItem::ExprWithAlias { alias, .. } => folded(alias),
                _ => return None,
            },
            _ => return None,
        },
        Expr::Array(_) => "array".into(),
        Expr::Extract { .. } => "extract".into(),
        Expr::Position { .. } => "position".into(),
        Expr::Substring { .. } => "substring".into(),
        Expr::Overlay { .. } => "overlay".into(),
        Expr::Ceil { .. } => "ceil".into(),
        Expr::Floor { .. } => "floor".into(),
        Expr::AtTimeZone { .. } => "timezone".into(),
        Expr::Trim { trim_where, .. } => match trim_where {
            Some(TrimWhereField::Leading) => "ltrim".into(),
            Some(TrimWhereField::Trailing) => "rtrim".into(),
            _ => "btrim".into(),
        },
        Expr::Value(value) if matches!(value.value, Value::Boolean(_)) => "bool".into(),
        _ => return None,
    })
}

/// Functions of ours that stand for a cast are named as the cast.
fn function_name(name: String) -> String {
    match name.split_once('_') {
        Some((kind, "oid" | "name")) if kind.starts_with("reg") => kind.to_owned(),
        _ if name == "array_or_empty" || name == "array_transform" => "array".into(),
        _ => name,
    }
}

fn type_name(data_type: &DataType) -> Option<String> {
    Some(match data_type {
        DataType::Boolean | DataType::Bool => "bool".into(),
        DataType::SmallInt(_) | DataType::Int2(_) => "int2".into(),
        DataType::Int(_) | DataType::Integer(_) | DataType::Int4(_) => "int4".into(),
        DataType::BigInt(_) | DataType::Int8(_) => "int8".into(),
        DataType::Real | DataType::Float4 => "float4".into(),
        DataType::DoublePrecision | DataType::Float8 | DataType::Double(_) | DataType::Float(_) => "float8".into(),
        DataType::Numeric(_) | DataType::Decimal(_) | DataType::Dec(_) => "numeric".into(),
        DataType::Text => "text".into(),
        DataType::Varchar(_) | DataType::CharacterVarying(_) => "varchar".into(),
        DataType::Bytea => "bytea".into(),
        DataType::Date => "date".into(),
        DataType::Timestamp(_, zone) => match zone {
            sqlparser::ast::TimezoneInfo::WithTimeZone | sqlparser::ast::TimezoneInfo::Tz => "timestamptz".into(),
            _ => "timestamp".into(),
        },
        DataType::Interval { .. } => "interval".into(),
        DataType::Custom(name, _) => parts(name).pop()?,
        _ => return None,
    })
}

/// In the select list of a SELECT that gives no row, subqueries are never evaluated: NULL stands for them, whatever they
/// say.
pub fn drop_subqueries(select: &mut Select) {
    for item in &mut select.projection {
        let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = item else { continue };
        let name = column_name(expr);
        let _ = visit_expressions_mut(expr, |inner| {
            if matches!(inner, Expr::Subquery(_)) {
                *inner = Expr::value(Value::Null);
            }
            ControlFlow::<()>::Continue(())
        });
        if let (SelectItem::UnnamedExpr(expr), Some(name)) = (&*item, name) {
            *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias: Ident::with_quote('"', name) };
        }
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
