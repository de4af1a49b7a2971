//! Describe: types of a statement's parameters, and the columns of its result, without running it.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::datatypes::Schema;
use datafusion::logical_expr::LogicalPlan;
use sqlparser::ast;

use super::surface::Description;
use crate::catalog::Catalog;
use crate::error::{Error, Result, SqlState};
use crate::plan::plan_query_with_parameters;
use crate::query::{array_parameters, present};
use crate::sql::{CursorQuery, DeclareCursor, Statement, column_type, forget_moments, relation_name};
use crate::statement::OutputColumn;
use crate::statement::definitions::Definitions;
use crate::statement::scope::change_target;
use crate::statement::{Environment, output_columns, returning_query, source_query, subscription_columns};
use crate::types::SqlType;

/// What a statement takes and gives. Types that the client declared stand; a cast gives its type; the rest is inferred,
/// and what nothing tells is text.
pub fn describe(
    environment: &Environment<'_>,
    catalog: Arc<Catalog>,
    statement: &Statement,
    declared: &[Option<SqlType>],
) -> Result<Description> {
    let parameters = |query: &ast::Query| parameters_with_casts(query, declared);
    match statement {
        Statement::Query(query) => {
            let (plan, taken) = plan(environment, &catalog, query, parameters(query)?, None)?;
            Ok(taken.giving(Some(columns(&plan)?)))
        }
        Statement::Insert(insert) => {
            let ast::TableObject::TableName(name) = &insert.table else {
                return Err(Error::not_built("INSERT INTO a function"));
            };
            let table = change_target(&catalog, &relation_name(name)?)?;
            let source = source_query(&table, insert)?;
            let whole = parameters_with_casts(insert.as_ref(), declared)?;
            let from_source = parameters_with_casts(&source, &whole)?;
            let (_, taken) = plan(environment, &catalog, &source, from_source, None)?;
            let alias = insert.table_alias.as_ref().map(|alias| alias.alias.value.as_str());
            let columns = returning(environment, &catalog, &table.name, alias, insert.returning.as_deref())?;
            Ok(taken.giving(columns))
        }
        Statement::Update(update) => {
            let mut parameters = parameters_with_casts(update.as_ref(), declared)?;
            let table = target(&catalog, &update.table)?;
            for assignment in &update.assignments {
                if let (ast::AssignmentTarget::ColumnName(name), Some(number)) =
                    (&assignment.target, placeholder(&assignment.value))
                {
                    let name = name.0.last().map(ToString::to_string).unwrap_or_default();
                    let column = table.user_columns().iter().find(|column| column.name == name);
                    offer(&mut parameters, number, column.map(|column| column.sql_type.clone()));
                }
            }
            let from = match &update.from {
                Some(ast::UpdateTableFromKind::BeforeSet(from) | ast::UpdateTableFromKind::AfterSet(from)) => {
                    from.clone()
                }
                None => Vec::new(),
            };
            let values = update.assignments.iter().map(|assignment| assignment.value.clone()).collect();
            let query = change_query(&update.table, from, values, update.selection.clone())?;
            let (_, taken) = plan(environment, &catalog, &query, parameters, Some(&table.name))?;
            let columns =
                returning(environment, &catalog, &table.name, alias(&update.table), update.returning.as_deref())?;
            Ok(taken.giving(columns))
        }
        Statement::Delete(delete) => {
            let (ast::FromTable::WithFromKeyword(from) | ast::FromTable::WithoutKeyword(from)) = &delete.from;
            let [from] = from.as_slice() else {
                return Err(Error::new(SqlState::SYNTAX_ERROR, "DELETE names one table"));
            };
            let table = target(&catalog, from)?;
            let using = delete.using.clone().unwrap_or_default();
            let query = change_query(from, using, Vec::new(), delete.selection.clone())?;
            let parameters = parameters_with_casts(delete.as_ref(), declared)?;
            let (_, taken) = plan(environment, &catalog, &query, parameters, Some(&table.name))?;
            let columns = returning(environment, &catalog, &table.name, alias(from), delete.returning.as_deref())?;
            Ok(taken.giving(columns))
        }
        Statement::DeclareCursor(DeclareCursor { query: CursorQuery::Query(query), .. }) => {
            let (_, taken) = plan(environment, &catalog, query, parameters(query)?, None)?;
            Ok(taken.giving(None))
        }
        Statement::Subscribe(subscribe) => {
            let columns = subscription_columns(&catalog, subscribe)?.to_vec();
            Ok(Description { columns: Some(columns), ..Description::default() })
        }
        Statement::Explain(_) | Statement::ExplainView(_) => Ok(texts(&["QUERY PLAN"])),
        Statement::Show(what) => Ok(match what.as_str() {
            "all" => texts(&["name", "setting", "description"]),
            "relations" => texts(&["name", "kind"]),
            "tables" | "sources" | "views" | "materialized views" => texts(&["name"]),
            setting => texts(&[&setting.replace(' ', "_")]),
        }),
        Statement::Verify(_) => {
            let column = |name: &str, sql_type| OutputColumn { name: name.to_owned(), sql_type };
            let columns = vec![
                column("view", SqlType::Text),
                column("commit", SqlType::Int8),
                column("status", SqlType::Text),
                column("differing", SqlType::Int8),
                column("rows", SqlType::Int8),
            ];
            Ok(Description { columns: Some(columns), ..Description::default() })
        }
        _ => Ok(Description::default()),
    }
}

fn texts(names: &[&str]) -> Description {
    let columns = names.iter().map(|name| OutputColumn { name: (*name).to_owned(), sql_type: SqlType::Text });
    Description { columns: Some(columns.collect()), ..Description::default() }
}

/// What a statement takes.
struct Taken {
    parameters: Vec<SqlType>,
    elements: BTreeMap<usize, SqlType>,
}

impl Taken {
    fn giving(self, columns: Option<Vec<OutputColumn>>) -> Description {
        Description { parameters: self.parameters, elements: self.elements, columns }
    }
}

/// Plans, and completes the parameters' types by what the plan infers.
fn plan(
    environment: &Environment<'_>,
    catalog: &Arc<Catalog>,
    query: &ast::Query,
    mut parameters: Vec<Option<SqlType>>,
    changed: Option<&str>,
) -> Result<(LogicalPlan, Taken)> {
    let mut definitions = Definitions::new(environment, catalog.clone(), 0);
    if let Some(table) = changed {
        definitions = definitions.with_row_ids_of(table);
    }
    let mut query = query.clone();
    forget_moments(&mut query);
    let query = definitions.rewritten(&query)?;
    let plan = plan_query_with_parameters(definitions.state(), &definitions, &query, environment.text, &parameters)?;
    for (name, data_type) in plan.get_parameter_types()? {
        if let Some(number) = name.strip_prefix('$').and_then(|number| number.parse::<usize>().ok()) {
            offer(&mut parameters, number, data_type.as_ref().and_then(SqlType::from_arrow));
        }
    }
    let elements = array_parameters(&plan)?.into_iter().filter_map(|(name, element)| {
        let number: usize = name.strip_prefix('$')?.parse().ok()?;
        Some((number.checked_sub(1)?, SqlType::from_arrow(&element)?))
    });
    let elements = elements.collect();
    let parameters = parameters.into_iter().map(|known| known.unwrap_or(SqlType::Text)).collect();
    Ok((plan, Taken { parameters, elements }))
}

/// As they leave the query engine: arrays are text by then.
fn columns(plan: &LogicalPlan) -> Result<Vec<OutputColumn>> {
    let plan = present(plan.clone())?;
    let fields: Vec<_> = plan.schema().fields().iter().cloned().collect();
    Ok(output_columns(&Schema::new(fields))?.to_vec())
}

fn returning(
    environment: &Environment<'_>,
    catalog: &Arc<Catalog>,
    table: &str,
    alias: Option<&str>,
    items: Option<&[ast::SelectItem]>,
) -> Result<Option<Vec<OutputColumn>>> {
    let Some(items) = items else { return Ok(None) };
    let mut query = returning_query(table, items)?;
    if let (ast::SetExpr::Select(select), Some(name)) = (query.body.as_mut(), alias)
        && let Some(ast::TableFactor::Table { alias, .. }) = select.from.first_mut().map(|from| &mut from.relation)
    {
        *alias = Some(ast::TableAlias {
            explicit: true,
            name: ast::Ident::with_quote('"', name),
            columns: Vec::new(),
            at: None,
        });
    }
    let (plan, _) = plan(environment, catalog, &query, Vec::new(), None)?;
    columns(&plan).map(Some)
}

/// The query by which UPDATE and DELETE find their rows.
fn change_query(
    target: &ast::TableWithJoins,
    from: Vec<ast::TableWithJoins>,
    values: Vec<ast::Expr>,
    selection: Option<ast::Expr>,
) -> Result<ast::Query> {
    let one = ast::SelectItem::UnnamedExpr(crate::sql::parse_expression("1")?);
    let values = values.into_iter().filter(|value| placeholder(value).is_none() && !is_default(value));
    let projection = std::iter::once(one).chain(values.map(ast::SelectItem::UnnamedExpr)).collect();
    let relations = std::iter::once(target.clone()).chain(from).collect();
    crate::statement::scope::skeleton(projection, relations, selection)
}

fn target(catalog: &Catalog, relation: &ast::TableWithJoins) -> Result<Arc<crate::catalog::Table>> {
    match &relation.relation {
        ast::TableFactor::Table { name, .. } => change_target(catalog, &relation_name(name)?),
        _ => Err(Error::new(SqlState::SYNTAX_ERROR, "not a table")),
    }
}

fn alias(relation: &ast::TableWithJoins) -> Option<&str> {
    crate::statement::scope::target_alias(relation)
}

fn is_default(value: &ast::Expr) -> bool {
    matches!(value, ast::Expr::Identifier(word) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case("default"))
}

/// The number of a parameter.
fn placeholder(expression: &ast::Expr) -> Option<usize> {
    match expression {
        ast::Expr::Value(value) => match &value.value {
            ast::Value::Placeholder(name) => name.strip_prefix('$')?.parse().ok(),
            _ => None,
        },
        ast::Expr::Nested(inner) => placeholder(inner),
        _ => None,
    }
}

/// A type for a parameter whose type is not known.
fn offer(parameters: &mut Vec<Option<SqlType>>, number: usize, sql_type: Option<SqlType>) {
    if number == 0 {
        return;
    }
    if parameters.len() < number {
        parameters.resize(number, None);
    }
    if parameters[number - 1].is_none() {
        parameters[number - 1] = sql_type;
    }
}

/// One entry per parameter that the statement names: as declared, or as a cast says.
fn parameters_with_casts<T: ast::Visit>(statement: &T, declared: &[Option<SqlType>]) -> Result<Vec<Option<SqlType>>> {
    let mut parameters = declared.to_vec();
    let mut failure = None;
    let _ = ast::visit_expressions(statement, |expression| {
        if let Some(number) = placeholder(expression) {
            if number > PARAMETERS_MAX {
                failure = Some(Error::new(SqlState::UNDEFINED_PARAMETER, format!("there is no parameter ${number}")));
                return ControlFlow::Break(());
            }
            offer(&mut parameters, number, None);
        }
        if let ast::Expr::Cast { expr, data_type, .. } = expression
            && let Some(number) = placeholder(expr)
        {
            offer(&mut parameters, number, column_type(data_type).ok());
        }
        ControlFlow::Continue(())
    });
    failure.map_or(Ok(parameters), Err)
}

/// The protocol counts parameters in 16 bits.
const PARAMETERS_MAX: usize = 65_535;
