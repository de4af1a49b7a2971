//! Functions that give rows, in FROM, as the subqueries that they stand for: their arguments may be columns of what stands before them.
//!
//! | written | becomes |
//! |---|---|
//! | `FROM t, jsonb_array_elements(t.j) AS e` | `FROM t, LATERAL (SELECT unnest(jsonb_elements(t.j)) AS value) AS e` |
//! | `FROM t, jsonb_each(t.j) AS e(k, v)` | the same over pairs of key and value |
//! | `FROM t, jsonb_to_recordset(t.j) AS e(a int, b text)` | the same over objects, each column cast to its type |
//! | `FROM t, unnest(t.a) AS u`, `FROM t, generate_series(1, t.n) AS g` | `FROM t, LATERAL (SELECT unnest(...) AS u) AS u` |
//! | `... WITH ORDINALITY AS e(v, n)` | the elements by their places |
//! | `e` in such a SELECT | `e.value` |
//!
//! `unnest` and `generate_series` of constants are DataFusion's. What becomes of LATERAL is told in `plan::lateral`.

use std::ops::ControlFlow;

use sqlparser::ast::{
    CastKind, DataType, Expr, FunctionArg, FunctionArgExpr, Ident, ObjectName, Query, SelectItem, SetExpr, TableAlias,
    TableAliasColumnDef, TableFactor, Value, ValueWithSpan, VisitMut, VisitorMut,
};

use super::names::{fill_placeholder, folded, parts, reads_columns};
use crate::error::{Error, Result, SqlState};
use crate::sql::parse_query;

/// A function that gives rows.
struct Rows {
    name: &'static str,
    arguments: std::ops::RangeInclusive<usize>,
    /// The array of its rows.
    list: &'static str,
    columns: Columns,
    /// Whether DataFusion knows it in FROM, over constants.
    is_known: bool,
}

/// The columns of a function that gives rows, from the `element`s of its list.
#[derive(Clone, Copy)]
enum Columns {
    /// One that has the alias' name.
    Alias,
    /// Each with its expression.
    Named(&'static [(&'static str, &'static str)]),
    /// Those of the alias.
    Declared,
}

const VALUE: Columns = Columns::Named(&[("value", "element")]);

const FUNCTIONS: [Rows; 8] = [
    rows("jsonb_array_elements", "jsonb_elements($1)", VALUE),
    rows("jsonb_array_elements_text", "jsonb_element_texts($1)", VALUE),
    rows("jsonb_object_keys", "jsonb_keys($1)", Columns::Alias),
    rows("jsonb_each", "jsonb_entries($1)", Columns::Named(&[("key", "element->>0"), ("value", "element->1")])),
    rows("jsonb_each_text", "jsonb_entries($1)", Columns::Named(&[("key", "element->>0"), ("value", "element->>1")])),
    rows("jsonb_to_recordset", "jsonb_records($1)", Columns::Declared),
    Rows { is_known: true, ..rows("unnest", "$1", Columns::Alias) },
    Rows { is_known: true, arguments: 2..=3, ..rows("generate_series", "generate_series($1, $2, $3)", Columns::Alias) },
];

const fn rows(name: &'static str, list: &'static str, columns: Columns) -> Rows {
    Rows { name, arguments: 1..=1, list, columns, is_known: false }
}

impl Rows {
    /// A text that is written out is read as a jsonb where the function takes one.
    fn read(&self, argument: Expr) -> Expr {
        match &argument {
            Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(_), .. }) if !self.is_known => Expr::Cast {
                kind: CastKind::DoubleColon,
                expr: Box::new(argument),
                data_type: DataType::JSONB,
                array: false,
                format: None,
            },
            _ => argument,
        }
    }
}

/// Rewrites a query's FROM, and whole rows of it in its expressions.
///
/// Errors: 42883 for another number of arguments, 42601 for columns that must be declared.
pub fn rewrite_rows_in_from(query: &mut Query) -> Result<()> {
    let SetExpr::Select(select) = query.body.as_mut() else { return Ok(()) };
    let mut values = Vec::new();
    for (place, item) in select.from.iter_mut().enumerate() {
        rewrite_factor(&mut item.relation, place > 0, &mut values)?;
        for join in &mut item.joins {
            rewrite_factor(&mut join.relation, true, &mut values)?;
        }
    }
    if !values.is_empty() {
        select.projection.iter_mut().for_each(|item| name_whole_row(item, &values));
        let _ = VisitMut::visit(query, &mut WholeRows { values });
    }
    Ok(())
}

/// `values`: aliases whose whole row is their column `value`.
fn rewrite_factor(factor: &mut TableFactor, is_lateral: bool, values: &mut Vec<Ident>) -> Result<()> {
    let Some((function, arguments, with_ordinality)) = call_of(factor) else { return Ok(()) };
    if function.is_known && !arguments.iter().any(reads_columns) && !with_ordinality {
        return Ok(());
    }
    if !function.arguments.contains(&arguments.len()) {
        let message = format!("function {} does not take {} arguments", function.name, arguments.len());
        return Err(Error::new(SqlState::UNDEFINED_FUNCTION, message));
    }
    let alias = match factor {
        TableFactor::Table { alias, .. } | TableFactor::Function { alias, .. } | TableFactor::UNNEST { alias, .. } => {
            alias.take()
        }
        _ => None,
    };
    let mut alias = alias.unwrap_or_else(|| TableAlias {
        explicit: true,
        name: Ident::new(function.name),
        columns: Vec::new(),
        at: None,
    });
    let columns = columns_of(function, &alias, with_ordinality)?;
    if alias.columns.is_empty() && columns.iter().any(|(name, _)| name.value == "value") && columns.len() == 1 {
        values.push(alias.name.clone());
    }
    alias.columns = columns
        .iter()
        .enumerate()
        .map(|(place, (name, _))| match alias.columns.get(place) {
            Some(given) => TableAliasColumnDef { name: given.name.clone(), data_type: None },
            None => TableAliasColumnDef { name: name.clone(), data_type: None },
        })
        .collect();
    let mut subquery = parse_query(&template(function, arguments.len(), &columns, with_ordinality))?;
    let arguments: Vec<Expr> = arguments.into_iter().map(|argument| function.read(argument)).collect();
    let _ = VisitMut::visit(&mut subquery, &mut Fill { arguments: &arguments });
    *factor = TableFactor::Derived { lateral: is_lateral, subquery, alias: Some(alias), sample: None };
    Ok(())
}

/// The function, its arguments, and whether its rows are numbered.
fn call_of(factor: &TableFactor) -> Option<(&'static Rows, Vec<Expr>, bool)> {
    let named = |name: &ObjectName| match parts(name).as_slice() {
        [name] => FUNCTIONS.iter().find(|function| function.name == name),
        [schema, name] if schema == "pg_catalog" => FUNCTIONS.iter().find(|function| function.name == name),
        _ => None,
    };
    let plain = |arguments: &[FunctionArg]| {
        let plain = arguments.iter().map(|argument| match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
            _ => None,
        });
        plain.collect::<Option<Vec<_>>>()
    };
    match factor {
        TableFactor::Table { name, args: Some(arguments), with_ordinality, .. } => {
            Some((named(name)?, plain(&arguments.args)?, *with_ordinality))
        }
        TableFactor::Function { name, args, with_ordinality, .. } => {
            Some((named(name)?, plain(args)?, *with_ordinality))
        }
        TableFactor::UNNEST { array_exprs, with_ordinality, with_offset: false, .. } if array_exprs.len() == 1 => {
            let unnest = FUNCTIONS.iter().find(|function| function.name == "unnest")?;
            Some((unnest, array_exprs.clone(), *with_ordinality))
        }
        _ => None,
    }
}

/// Each column's name, and its expression over an `element`.
fn columns_of(function: &Rows, alias: &TableAlias, with_ordinality: bool) -> Result<Vec<(Ident, String)>> {
    let mut columns = match function.columns {
        Columns::Alias => vec![(alias.name.clone(), "element".to_owned())],
        Columns::Named(columns) => {
            columns.iter().map(|(name, expr)| (Ident::new(*name), (*expr).to_owned())).collect::<Vec<_>>()
        }
        Columns::Declared => {
            let column = |column: &TableAliasColumnDef| {
                let (name, data_type) = (&column.name, column.data_type.as_ref()?);
                let key = folded(name).replace('\'', "''");
                let data_type = data_type.to_string();
                Some(match data_type.eq_ignore_ascii_case("jsonb") {
                    true => (name.clone(), format!("element->'{key}'")),
                    false => (name.clone(), format!("CAST(element->>'{key}' AS {data_type})")),
                })
            };
            let declared: Option<Vec<_>> = alias.columns.iter().map(column).collect();
            declared.filter(|columns| !columns.is_empty()).ok_or_else(|| {
                let message = "a column definition list is required for functions returning \"record\"";
                Error::new(SqlState::SYNTAX_ERROR, message)
                    .with_hint(format!("For example {}(...) AS t(device text, temperature float8).", function.name))
            })?
        }
    };
    if with_ordinality {
        columns.push((Ident::new("ordinality"), "place".to_owned()));
    }
    Ok(columns)
}

fn template(function: &Rows, arguments: usize, columns: &[(Ident, String)], with_ordinality: bool) -> String {
    let list = if arguments < 3 { function.list.replace(", $3", "") } else { function.list.to_owned() };
    let selected: Vec<String> = columns.iter().enumerate().map(|(i, (_, expr))| format!("{expr} AS c{i}")).collect();
    let selected = selected.join(", ");
    match with_ordinality {
        false => format!("SELECT {selected} FROM (SELECT unnest({list}) AS element) AS elements"),
        true => format!(
            "SELECT {selected} FROM (SELECT list[place] AS element, place::bigint AS place \
             FROM (SELECT list, unnest(generate_series(1, cardinality(list)::bigint)) AS place \
             FROM (SELECT {list} AS list) AS lists) AS places) AS elements"
        ),
    }
}

/// `SELECT e` shows a column `e`.
fn name_whole_row(item: &mut SelectItem, values: &[Ident]) {
    if let SelectItem::UnnamedExpr(Expr::Identifier(name)) = item
        && values.iter().any(|value| folded(value) == folded(name))
    {
        *item = SelectItem::ExprWithAlias { expr: Expr::Identifier(name.clone()), alias: name.clone() };
    }
}

struct Fill<'a> {
    arguments: &'a [Expr],
}

impl VisitorMut for Fill<'_> {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        fill_placeholder(expr, self.arguments);
        ControlFlow::Continue(())
    }
}

struct WholeRows {
    values: Vec<Ident>,
}

impl VisitorMut for WholeRows {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Identifier(name) = expr
            && self.values.iter().any(|value| folded(value) == folded(name))
        {
            *expr = Expr::CompoundIdentifier(vec![name.clone(), Ident::new("value")]);
        }
        ControlFlow::Continue(())
    }
}
