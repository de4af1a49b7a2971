//! Output columns named as PostgreSQL names them: `sum` and not `sum(t.x)`, and the same name twice where asked for.
//!
//! DataFusion wants the columns of a projection to be unique. So the syntax gets aliases, made unique by a suffix that
//! no user can write, and the finished plan gets a last projection that takes the suffix off again.

use std::collections::HashSet;

use datafusion::common::{Column, Result, TableReference};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use sqlparser::ast::{
    CastKind, DataType as SqlDataType, Expr as SqlExpr, Function, Ident, ObjectNamePart, OrderBy, OrderByKind, Query,
    Select, SelectItem, SetExpr, TableFactor, TypedString, Value, VisitMut, VisitorMut,
};
use std::ops::ControlFlow;

/// Begins the suffix of a name that occurs twice.
const SUFFIX: char = '\u{1}';
const UNNAMED: &str = "?column?";

/// Gives every computed column of the outermost SELECT, and those of inner ones where that is unambiguous, its name.
pub fn name_output(query: &mut Query) {
    let _ = query.visit(&mut InnerNames);
    if let Some(select) = leftmost_select(&mut query.body) {
        name_outermost(select);
    }
    order_by_names(query);
}

fn leftmost_select(body: &mut SetExpr) -> Option<&mut Select> {
    match body {
        SetExpr::Select(select) => Some(select),
        SetExpr::Query(query) => leftmost_select(&mut query.body),
        SetExpr::SetOperation { left, .. } => leftmost_select(left),
        _ => None,
    }
}

fn name_outermost(select: &mut Select) {
    let wildcard = select.projection.iter().any(is_wildcard);
    let mut taken = HashSet::new();
    for (i, item) in select.projection.iter_mut().enumerate() {
        let Some((name, explicit)) = item_name(item) else { continue };
        let unique = taken.insert(name.clone()) && !wildcard;
        match (unique, explicit) {
            (true, Explicit::Yes) => {}
            (true, Explicit::No) => set_alias(item, &name),
            (false, _) => set_alias(item, &format!("{name}{SUFFIX}{i}")),
        }
    }
}

/// SELECT DISTINCT may be ordered only by its own columns: an expression that is one of them is put by its name.
fn order_by_names(query: &mut Query) {
    let SetExpr::Select(select) = query.body.as_ref() else { return };
    let Some(OrderBy { kind: OrderByKind::Expressions(keys), .. }) = &mut query.order_by else { return };
    if select.distinct.is_none() {
        return;
    }
    for key in keys {
        let named = select.projection.iter().find_map(|item| match item {
            SelectItem::ExprWithAlias { expr, alias } if *expr == key.expr => Some(alias.clone()),
            _ => None,
        });
        if let Some(alias) = named {
            key.expr = SqlExpr::Identifier(alias);
        }
    }
}

/// Names of inner SELECTs: only where the query could not be written without them, so only unique ones.
struct InnerNames;

impl VisitorMut for InnerNames {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Derived { subquery, .. } = factor {
            name_inner(subquery);
        }
        ControlFlow::Continue(())
    }

    /// Numbers beyond 38 digits, `1e300`, are floats; numeric cannot hold them.
    fn post_visit_expr(&mut self, expr: &mut SqlExpr) -> ControlFlow<()> {
        if let SqlExpr::Value(value) = expr
            && let Value::Number(number, _) = &value.value
            && exceeds_numeric(number)
        {
            *expr = SqlExpr::TypedString(TypedString {
                data_type: SqlDataType::DoublePrecision,
                value: Value::SingleQuotedString(number.clone()).into(),
                uses_odbc_syntax: false,
            });
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        for cte in query.with.iter_mut().flat_map(|with| &mut with.cte_tables) {
            name_inner(&mut cte.query);
        }
        ControlFlow::Continue(())
    }
}

fn exceeds_numeric(number: &str) -> bool {
    let (digits, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let exponent: u64 = exponent.trim_start_matches(['+', '-']).parse().unwrap_or(u64::MAX);
    let digits = digits.chars().filter(char::is_ascii_digit).count() as u64;
    exponent.saturating_add(digits) > 38
}

fn name_inner(query: &mut Query) {
    let Some(select) = leftmost_select(&mut query.body) else { return };
    if select.projection.iter().any(is_wildcard) {
        return;
    }
    let names: Vec<Option<String>> =
        select.projection.iter().map(|item| item_name(item).map(|(name, _)| name)).collect();
    for (i, item) in select.projection.iter_mut().enumerate() {
        let Some((name, Explicit::No)) = item_name(item) else { continue };
        let repeated = names.iter().enumerate().any(|(j, other)| i != j && other.as_ref() == Some(&name));
        if !repeated {
            set_alias(item, &name);
        }
    }
}

fn is_wildcard(item: &SelectItem) -> bool {
    matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..))
}

/// Whether the name is in the text, as an alias or as a column's own name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Explicit {
    Yes,
    No,
}

fn item_name(item: &SelectItem) -> Option<(String, Explicit)> {
    match item {
        SelectItem::ExprWithAlias { alias, .. } => Some((normal(alias), Explicit::Yes)),
        SelectItem::UnnamedExpr(expr) => {
            let explicit = match expr {
                SqlExpr::Identifier(_) | SqlExpr::CompoundIdentifier(_) => Explicit::Yes,
                _ => Explicit::No,
            };
            Some((figure_name(expr).unwrap_or_else(|| UNNAMED.to_string()), explicit))
        }
        _ => None,
    }
}

fn set_alias(item: &mut SelectItem, name: &str) {
    let expr = match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => expr,
        _ => return,
    };
    let expr = std::mem::replace(expr, SqlExpr::Value(Value::Null.into()));
    *item = SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('"', name) };
}

fn normal(ident: &Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
}

/// PostgreSQL's FigureColname: the name that an expression suggests for its column.
fn figure_name(expr: &SqlExpr) -> Option<String> {
    let fixed = |name: &str| Some(name.to_string());
    match expr {
        SqlExpr::Identifier(ident) => Some(normal(ident)),
        SqlExpr::CompoundIdentifier(idents) => idents.last().map(normal),
        SqlExpr::Nested(inner) => figure_name(inner),
        SqlExpr::Collate { expr, .. } => figure_name(expr),
        SqlExpr::Function(function) => function_name(function),
        SqlExpr::Cast { kind, expr, data_type, .. } if *kind != CastKind::SafeCast => {
            figure_name(expr).or_else(|| Some(type_word(&data_type.to_string())))
        }
        SqlExpr::TypedString(typed) => Some(type_word(&typed.data_type.to_string())),
        SqlExpr::Interval(_) => fixed("interval"),
        SqlExpr::Case { else_result, .. } => {
            let otherwise = else_result.as_deref().filter(|expr| {
                matches!(expr, SqlExpr::Identifier(_) | SqlExpr::CompoundIdentifier(_) | SqlExpr::Function(_))
            });
            otherwise.and_then(figure_name).or_else(|| fixed("case"))
        }
        SqlExpr::Extract { .. } => fixed("extract"),
        SqlExpr::Ceil { .. } => fixed("ceil"),
        SqlExpr::Floor { .. } => fixed("floor"),
        SqlExpr::Position { .. } => fixed("position"),
        SqlExpr::Substring { .. } => fixed("substring"),
        SqlExpr::Trim { .. } => fixed("btrim"),
        SqlExpr::Overlay { .. } => fixed("overlay"),
        SqlExpr::AtTimeZone { .. } => fixed("timezone"),
        SqlExpr::Exists { .. } => fixed("exists"),
        SqlExpr::Array(_) => fixed("array"),
        SqlExpr::Subquery(query) => subquery_name(&query.body),
        SqlExpr::Value(value) if matches!(value.value, Value::Boolean(_)) => fixed("bool"),
        _ => None,
    }
}

fn function_name(function: &Function) -> Option<String> {
    match function.name.0.last() {
        Some(ObjectNamePart::Identifier(ident)) => Some(normal(ident)),
        _ => None,
    }
}

fn subquery_name(body: &SetExpr) -> Option<String> {
    match body {
        SetExpr::Select(select) => select.projection.first().and_then(item_name).map(|(name, _)| name),
        SetExpr::Query(query) => subquery_name(&query.body),
        SetExpr::SetOperation { left, .. } => subquery_name(left),
        _ => None,
    }
}

/// A type's name as pg_type has it, which is what PostgreSQL names the column of `'1'::int`.
fn type_word(written: &str) -> String {
    let written = written.to_lowercase();
    let word = written.split('(').next().unwrap_or_default().trim();
    match word {
        "int" | "integer" => "int4",
        "bigint" => "int8",
        "smallint" => "int2",
        "double precision" | "float" | "double" => "float8",
        "real" => "float4",
        "boolean" => "bool",
        "decimal" | "dec" => "numeric",
        "character varying" => "varchar",
        "timestamp with time zone" => "timestamptz",
        "timestamp without time zone" => "timestamp",
        other => other,
    }
    .to_string()
}

/// Takes the suffixes off: columns of the same name are told apart by qualifiers, which no client sees.
pub fn restore_names(plan: LogicalPlan) -> Result<LogicalPlan> {
    let fields: Vec<(Option<TableReference>, String)> =
        plan.schema().iter().map(|(qualifier, field)| (qualifier.cloned(), field.name().clone())).collect();
    if !fields.iter().any(|(_, name)| name.contains(SUFFIX)) {
        return Ok(plan);
    }
    let plain = |name: &str| name.split(SUFFIX).next().unwrap_or_default().to_string();
    let renamed = fields.iter().enumerate().map(|(i, (qualifier, name))| {
        let column = Expr::Column(Column::new(qualifier.clone(), name.clone()));
        let shown = plain(name);
        let repeated = fields.iter().enumerate().any(|(j, (_, other))| i != j && plain(other) == shown);
        match (repeated, name.contains(SUFFIX) || qualifier.is_none()) {
            (true, true) => column.alias_qualified(Some(format!("{SUFFIX}{i}")), shown),
            (false, true) => column.alias(shown),
            (_, false) => column,
        }
    });
    let renamed: Vec<Expr> = renamed.collect();
    LogicalPlanBuilder::from(plan).project(renamed)?.build()
}

#[cfg(test)]
mod tests;
