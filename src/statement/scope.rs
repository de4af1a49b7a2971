//! What the names in a statement stand for, and running its query.
//!
//! Owns the way from a query's syntax to rows: the relations that it names (through views) as the transaction sees them,
//! the rewrites that DataFusion needs, the plan, the parameters. Does not know what the rows are for.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::catalog::{MemTable, TableFunctionArgs, TableProvider};
use datafusion::common::metadata::ScalarAndMetadata;
use datafusion::common::{Column as ColumnReference, ParamValues, ScalarValue, TableReference};
use datafusion::datasource::provider_as_source;
use datafusion::execution::SessionState;
use datafusion::functions_table::all_default_table_functions;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, ScalarUDF, TableSource};
use sqlparser::ast;

use super::as_of::RelationsAsOf;
use super::handles::Handles;
use super::kept_plan::{KeptPlan, PlanSlot};
use super::rows::{collect, collect_held};
use super::session_facts::{SessionView, Waiting};
use super::transaction::Transaction;
use crate::catalog::{Catalog, Column, Relation, Table, View};
use crate::dataflow::{ViewError, ViewTable};
use crate::error::{Error, Result, SqlState};
use crate::plan::{Found, RelationLookup, ViewPlan, plan_query_with_parameters};
use crate::query::rewrite::{RewriteNames, rewrite, window_input};
use crate::query::{ContextInput, QueryContext, QueryResult, Relations};
use crate::sql::{name_tables_as_of, parse_expression, parse_query};
use crate::system::{LazyFacts, LeftOut, SystemTables, ViewErrorFact, never_filled};
use crate::table::SnapshotTable;
use crate::types::{ROW_ID, RelationId, SqlType};

/// Where a statement runs: the server's handles, the session's settings, the query string for error positions.
pub struct Environment<'a> {
    pub handles: &'a Arc<Handles>,
    pub session: &'a SessionView,
    pub text: &'a str,
    /// Types that the client declared for `$1`, `$2`, ...
    pub declared: &'a [Option<SqlType>],
    /// Where a prepared statement keeps its query's plan.
    pub slot: Option<&'a PlanSlot>,
}

/// A query, planned, and the context to run it in.
pub struct Planned {
    pub context: QueryContext,
    pub plan: LogicalPlan,
}

impl Environment<'_> {
    /// Plans a query over what the transaction sees.
    pub async fn plan(&self, transaction: &mut Transaction, query: &ast::Query) -> Result<Planned> {
        self.plan_over(transaction, query, None, Vec::new()).await
    }

    /// Runs a query; its rows stream.
    pub async fn run(
        &self,
        transaction: &mut Transaction,
        query: &ast::Query,
        parameters: &[ScalarValue],
    ) -> Result<QueryResult> {
        self.run_over(transaction, query, None, parameters).await
    }

    /// Runs a planned query.
    pub async fn execute(&self, planned: Planned, parameters: &[ScalarValue]) -> Result<QueryResult> {
        let plan = with_parameters(planned.plan, parameters)?;
        let timeout = self.session.variables().statement_timeout();
        self.handles.query.execute(&planned.context, plan, timeout).await
    }

    /// All rows of a query, to be written by the transaction. `changed` is the table that the statement is about: the query
    /// sees its row ids.
    pub async fn rows_of_query(
        &self,
        transaction: &mut Transaction,
        query: &ast::Query,
        changed: Option<&Arc<Table>>,
        parameters: &[ScalarValue],
    ) -> Result<RecordBatch> {
        let result = self.run_over(transaction, query, changed, parameters).await?;
        collect_held(result.schema, result.rows, &mut transaction.held).await
    }

    /// All rows of a query in which `relations` stand before those of the catalog.
    pub async fn rows_of_query_over(
        &self,
        transaction: &mut Transaction,
        query: &ast::Query,
        relations: Vec<(String, RecordBatch)>,
        parameters: &[ScalarValue],
    ) -> Result<RecordBatch> {
        let planned = self.plan_over(transaction, query, None, relations).await?;
        let result = self.execute(planned, parameters).await?;
        collect(result.schema, result.rows).await
    }

    /// The context alone, for what plans by itself (views).
    pub async fn scope(&self, transaction: &mut Transaction, query: &ast::Query) -> Result<Scope> {
        self.scope_over(transaction, query, None, Vec::new()).await
    }

    /// Runs a query by the plan that its statement has kept, or plans it, perhaps for the next time too.
    async fn run_over(
        &self,
        transaction: &mut Transaction,
        query: &ast::Query,
        changed: Option<&Arc<Table>>,
        parameters: &[ScalarValue],
    ) -> Result<QueryResult> {
        let changed_id = changed.map(|table| table.id);
        if let Some(kept) = self.slot.and_then(|slot| slot.get(query, changed_id))
            && let Some(result) = self.run_kept(transaction, &kept, changed, parameters).await?
        {
            return Ok(result);
        }
        let scope = self.scope_over(transaction, query, changed, Vec::new()).await?;
        let plan = scope.plan(query, self.text, self.declared)?;
        if let Some(slot) = self.slot.filter(|slot| scope.past.is_empty() && slot.is_wanted()) {
            let id = |provider: &Arc<dyn TableProvider>| scope.relation_of(provider);
            if let Some(prepared) = self.handles.query.prepare(&scope.context, &plan, &id) {
                slot.keep(KeptPlan {
                    query: query.clone(),
                    changed: changed_id,
                    declared: self.declared.to_vec(),
                    catalog: scope.catalog.clone(),
                    names_and_zone: self.names_and_zone(),
                    named: named_relations(&scope.catalog, &relation_names(query)),
                    prepared,
                });
            }
        }
        self.execute(Planned { context: scope.context, plan }, parameters).await
    }

    /// Runs a kept plan; `None` where names or zone do not stand for the same any more.
    async fn run_kept(
        &self,
        transaction: &mut Transaction,
        kept: &KeptPlan,
        changed: Option<&Arc<Table>>,
        parameters: &[ScalarValue],
    ) -> Result<Option<QueryResult>> {
        if kept.names_and_zone != self.names_and_zone() || kept.declared != self.declared {
            return Ok(None);
        }
        let named = |catalog: &Catalog| match std::ptr::eq(catalog, &*kept.catalog) {
            true => kept.named.clone(),
            false => named_relations(catalog, &relation_names(&kept.query)),
        };
        transaction.fix_snapshot(self.handles, self.session.read_mode(), &named).await?;
        if let Some(changed) = changed {
            transaction.check_unaltered(self.handles, changed)?;
        }
        if !Arc::ptr_eq(&transaction.catalog(self.handles), &kept.catalog) {
            return Ok(None);
        }
        let mut rows = HashMap::with_capacity(kept.named.len());
        for id in &kept.named {
            let relation = kept.catalog.get(*id);
            if let Some(relation) = relation.filter(|relation| !matches!(relation, Relation::View(_))) {
                rows.insert(*id, self.provider(transaction, relation, kept.changed).await?);
            }
        }
        let timeout = self.session.variables().statement_timeout();
        let rows = |id| rows.get(&id).cloned();
        self.handles.query.execute_prepared(&kept.prepared, &rows, parameters, self.text, timeout).await.map(Some)
    }

    /// Rows of a table or materialized view as the transaction sees them; of the `changed` one with row ids.
    async fn provider(
        &self,
        transaction: &mut Transaction,
        relation: &Relation,
        changed: Option<RelationId>,
    ) -> Result<Arc<dyn TableProvider>> {
        let id = relation.id();
        if let Relation::Table(_) = relation {
            let snapshot = transaction.table_snapshot(self.handles, id)?;
            return Ok(Arc::new(SnapshotTable::new(snapshot, changed == Some(id))));
        }
        self.session.waits_for(Some(Waiting::Read(relation.name().to_owned())));
        let snapshot = transaction.view_snapshot(self.handles, id).await;
        self.session.waits_for(None);
        let snapshot = snapshot?;
        self.session.warn_of_errors(relation.name(), &snapshot);
        Ok(Arc::new(ViewTable::new(relation.name(), snapshot)))
    }

    /// What decides, beside the catalog, what a query's text means.
    pub fn names_and_zone(&self) -> (Vec<String>, String) {
        let variables = self.session.variables();
        (variables.search_path(), variables.time_zone().name().to_owned())
    }

    /// What every live view leaves out at the statement's commit.
    async fn left_out(&self, transaction: &mut Transaction, catalog: &Catalog) -> Result<LeftOut> {
        let mut left_out = LeftOut::default();
        for view in catalog.materialized_views() {
            // A view that failed, or that this transaction creates, has no content to tell of.
            let Ok(snapshot) = transaction.view_snapshot(self.handles, view.id).await else { continue };
            if !snapshot.has_errors() && !view.emits_on_close {
                continue;
            }
            let plan = ViewPlan::from_bytes(&view.plan, self.handles.query.base_state()).ok();
            let fact = |error: ViewError| ViewErrorFact {
                view: view.name.clone(),
                operator: error.operator,
                operation: plan.as_ref().and_then(|plan| plan.describe(error.operator)),
                sqlstate: error.state.to_string(),
                message: error.message,
                input: error.input,
                digest: error.digest.to_string(),
                rows: error.weight,
            };
            left_out.errors.extend(snapshot.errors()?.map(fact));
            left_out.late.extend(snapshot.late_rows()?.map(fact));
        }
        Ok(left_out)
    }

    async fn plan_over(
        &self,
        transaction: &mut Transaction,
        query: &ast::Query,
        changed: Option<&Arc<Table>>,
        relations: Vec<(String, RecordBatch)>,
    ) -> Result<Planned> {
        let scope = self.scope_over(transaction, query, changed, relations).await?;
        let plan = scope.plan(query, self.text, self.declared)?;
        Ok(Planned { context: scope.context, plan })
    }

    async fn scope_over(
        &self,
        transaction: &mut Transaction,
        query: &ast::Query,
        changed: Option<&Arc<Table>>,
        relations: Vec<(String, RecordBatch)>,
    ) -> Result<Scope> {
        let names = relation_names(query);
        let tells_what_is_left_out = LEFT_OUT_TABLES.iter().any(|name| names.contains(*name));
        let named = |catalog: &Catalog| {
            let mut named = named_relations(catalog, &names);
            if tells_what_is_left_out {
                named.extend(catalog.materialized_views().map(|view| view.id));
            }
            named
        };
        let past = RelationsAsOf::of(self, transaction, query).await?;
        transaction.fix_snapshot(self.handles, self.session.read_mode(), &named).await?;
        if let Some(changed) = changed {
            transaction.check_unaltered(self.handles, changed)?;
        }
        let catalog = transaction.catalog(self.handles);
        let mut public = past.providers(self, transaction, &catalog)?;
        let past = past.tables(&catalog);
        let mut views = HashMap::new();
        for id in named_relations(&catalog, &names) {
            let Some(relation) = catalog.get(id) else { continue };
            if let Relation::View(view) = relation {
                views.insert(view.name.clone(), view.clone());
                continue;
            }
            let provider = self.provider(transaction, relation, changed.map(|table| table.id)).await?;
            public.insert(relation.name().to_owned(), provider);
        }
        for (name, rows) in relations {
            views.remove(&name);
            public.insert(name, Arc::new(MemTable::try_new(rows.schema(), vec![vec![rows]])?));
        }
        let left_out = match tells_what_is_left_out {
            true => self.left_out(transaction, &catalog).await?,
            false => LeftOut::default(),
        };
        let facts = self.session.facts(self.handles, catalog.clone(), left_out);
        Ok(Scope { context: self.context(public, facts, transaction.started_us), views, catalog, past })
    }

    /// For expressions over nothing.
    pub(super) fn scope_of_nothing(&self, transaction: &Transaction) -> Scope {
        let catalog = transaction.catalog(self.handles);
        let facts = self.session.facts(self.handles, catalog.clone(), LeftOut::default());
        let context = self.context(Relations::new(), facts, transaction.started_us);
        Scope { context, views: HashMap::new(), catalog, past: HashMap::new() }
    }

    /// The names and functions of the statement, over these relations.
    pub(super) fn context(&self, public: Relations, facts: LazyFacts, now_us: i64) -> QueryContext {
        let (search_path, time_zone) = self.names_and_zone();
        let system = Arc::new(SystemTables::new(facts));
        self.handles.query.context(ContextInput {
            public,
            system,
            search_path,
            now_us,
            time_zone,
            text: self.text.to_owned(),
        })
    }
}

/// The tables of schema `tidemark` for which views are read at the statement's commit. The others never wait for a view.
const LEFT_OUT_TABLES: [&str; 2] = ["view_errors", "late_rows"];

/// The relations that one statement may name.
pub struct Scope {
    pub context: QueryContext,
    views: HashMap<String, Arc<View>>,
    catalog: Arc<Catalog>,
    /// Tables of the past, by their names in the query.
    past: HashMap<String, Arc<Table>>,
}

impl Scope {
    pub fn plan(&self, query: &ast::Query, text: &str, declared: &[Option<SqlType>]) -> Result<LogicalPlan> {
        self.plan_with(self, query, text, declared)
    }

    /// With names looked up elsewhere.
    pub fn plan_with(
        &self,
        relations: &dyn RelationLookup,
        query: &ast::Query,
        text: &str,
        declared: &[Option<SqlType>],
    ) -> Result<LogicalPlan> {
        let mut query = query.clone();
        name_tables_as_of(&mut query);
        rewrite(&mut query, &RewriteNames { never_filled: &never_filled })?;
        plan_query_with_parameters(self.context.state(), relations, &query, text, declared)
    }

    /// The same in another zone than the session's.
    pub fn plan_in_zone(
        &self,
        zone: &str,
        relations: &dyn RelationLookup,
        query: &ast::Query,
        text: &str,
    ) -> Result<LogicalPlan> {
        let mut query = query.clone();
        rewrite(&mut query, &RewriteNames { never_filled: &never_filled })?;
        plan_query_with_parameters(&self.context.state_in_zone(zone), relations, &query, text, &[])
    }
}

impl Scope {
    /// The relation whose rows these are.
    fn relation_of(&self, provider: &Arc<dyn TableProvider>) -> Option<RelationId> {
        let mut public = self.context.public().iter();
        let (name, _) = public.find(|(_, known)| Arc::ptr_eq(known, provider))?;
        self.catalog.find(name).map(Relation::id)
    }
}

impl Scope {
    /// What a query sees of a relation.
    pub(super) fn found(&self, name: &TableReference, provider: Arc<dyn TableProvider>) -> Result<Found> {
        let table = match (name.schema(), self.past.get(name.table())) {
            (None, Some(table)) => Some(table),
            (None | Some("public"), None) => self.catalog.find(name.table()).and_then(|relation| match relation {
                Relation::Table(table) => Some(table),
                _ => None,
            }),
            (Some(_), _) => None,
        };
        let schema = provider.schema();
        let source = provider_as_source(provider);
        match table {
            // Who asks for row ids gets everything.
            Some(table) if table.watermark.is_some() && schema.index_of(ROW_ID).is_err() => {
                user_columns_of(table, source)
            }
            _ => Ok(Found::Rows(source)),
        }
    }
}

/// A table without its hidden column.
pub(super) fn user_columns_of(table: &Table, source: Arc<dyn TableSource>) -> Result<Found> {
    let scan = LogicalPlanBuilder::scan(TableReference::bare(table.name.as_str()), source, None)?;
    let columns = table.user_columns().iter();
    let columns = columns.map(|column| Expr::Column(ColumnReference::new(Some(table.name.as_str()), &column.name)));
    Ok(Found::Query(Box::new(scan.project(columns.collect::<Vec<_>>())?.build()?)))
}

impl RelationLookup for Scope {
    fn find(&self, name: &TableReference) -> Result<Option<Found>> {
        if name.schema().is_none_or(|schema| schema == "public")
            && let Some(view) = self.views.get(name.table())
        {
            return expand(self, view).map(|plan| Some(Found::Query(Box::new(plan))));
        }
        match self.context.relation(name) {
            Some(provider) => self.found(name, provider).map(Some),
            None => Ok(None),
        }
    }

    fn names(&self) -> Vec<String> {
        self.catalog.relations().map(|relation| relation.name().to_owned()).collect()
    }

    fn table_function(&self, name: &str, arguments: Vec<Expr>) -> Result<Option<Arc<dyn TableSource>>> {
        table_function(self.context.state(), name, &arguments)
    }

    fn function(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.context.system_function(name)
    }
}

/// `generate_series` and DataFusion's other functions that stand in FROM.
pub fn table_function(state: &SessionState, name: &str, arguments: &[Expr]) -> Result<Option<Arc<dyn TableSource>>> {
    let Some(function) = all_default_table_functions().into_iter().find(|function| function.name() == name) else {
        return Ok(None);
    };
    let arguments = TableFunctionArgs::new(arguments, state);
    Ok(Some(provider_as_source(function.create_table_provider_with_args(arguments)?)))
}

/// A plain view's query under the names that the view gives its columns.
fn expand(scope: &Scope, view: &View) -> Result<LogicalPlan> {
    let plan = scope.plan(&*parse_query(&view.sql)?, &view.sql, &[])?;
    rename(plan, view.columns.iter().map(|column| column.name.as_str()))
}

/// The plan with other names for its columns.
pub fn rename<'a>(plan: LogicalPlan, names: impl Iterator<Item = &'a str>) -> Result<LogicalPlan> {
    let columns: Vec<Expr> =
        plan.schema().columns().into_iter().zip(names).map(|(column, name)| Expr::Column(column).alias(name)).collect();
    Ok(LogicalPlanBuilder::from(plan).project(columns)?.build()?)
}

/// The plan with its parameters filled in.
pub fn with_parameters(plan: LogicalPlan, parameters: &[ScalarValue]) -> Result<LogicalPlan> {
    if parameters.is_empty() {
        return Ok(plan);
    }
    let values = parameters.iter().cloned().map(ScalarAndMetadata::from).collect();
    plan.with_param_values(ParamValues::List(values)).map_err(Error::from)
}

/// Names in FROM clauses, anywhere in the query, that may be in schema `public`.
fn relation_names(query: &ast::Query) -> HashSet<String> {
    let mut names = RelationNames(HashSet::new());
    let _ = ast::Visit::visit(query, &mut names);
    names.0
}

struct RelationNames(HashSet<String>);

impl RelationNames {
    fn add(&mut self, name: &ast::ObjectName) {
        let parts: Vec<String> = name
            .0
            .iter()
            .filter_map(|part| part.as_ident())
            .map(|part| match part.quote_style {
                Some(_) => part.value.clone(),
                None => part.value.to_lowercase(),
            })
            .collect();
        if let [name] | [_, name] | [_, _, name] = parts.as_slice() {
            self.0.insert(name.clone());
        }
    }
}

impl ast::Visitor for RelationNames {
    type Break = ();

    fn pre_visit_relation(&mut self, name: &ast::ObjectName) -> ControlFlow<()> {
        self.add(name);
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &ast::TableFactor) -> ControlFlow<()> {
        if let Some(name) = window_input(factor) {
            self.add(&name);
        }
        ControlFlow::Continue(())
    }
}

/// The named relations, and through plain views what those read.
fn named_relations(catalog: &Catalog, names: &HashSet<String>) -> HashSet<RelationId> {
    let mut ids = HashSet::new();
    let mut open: Vec<RelationId> = names.iter().filter_map(|name| catalog.find(name)).map(Relation::id).collect();
    while let Some(id) = open.pop() {
        if ids.insert(id)
            && let Some(Relation::View(view)) = catalog.get(id)
        {
            open.extend(&view.depends_on);
        }
    }
    ids
}

/// Ids of the relations that a query names directly, for `depends_on`.
pub fn direct_dependencies(catalog: &Catalog, query: &ast::Query) -> Vec<RelationId> {
    let names = relation_names(query);
    let mut ids: Vec<RelationId> =
        catalog.relations().filter(|relation| names.contains(relation.name())).map(Relation::id).collect();
    ids.sort_unstable();
    ids
}

/// The table that INSERT, UPDATE, DELETE and COPY FROM name.
pub fn change_target(catalog: &Catalog, name: &str) -> Result<Arc<Table>> {
    match catalog.find(name) {
        Some(Relation::Table(table)) => Ok(table.clone()),
        Some(other) => {
            Err(Error::new(SqlState::WRONG_OBJECT_TYPE, format!("cannot change {} \"{name}\"", other.kind_name()))
                .with_hint("Change the tables that it reads."))
        }
        None => Err(no_relation(catalog, name)),
    }
}

/// 42P01 with the nearest name as a hint.
pub fn no_relation(catalog: &Catalog, name: &str) -> Error {
    let error = Error::new(SqlState::UNDEFINED_TABLE, format!("relation \"{name}\" does not exist"));
    let nearest = catalog
        .relations()
        .map(|relation| (datafusion::common::utils::datafusion_strsim::levenshtein(relation.name(), name), relation))
        .min_by_key(|(distance, _)| *distance);
    match nearest {
        Some((distance, relation)) if distance <= 2.max(name.len() / 3) => {
            error.with_hint(format!("Perhaps you meant \"{}\".", relation.name()))
        }
        _ => error,
    }
}

/// `SELECT projection FROM relations [WHERE selection]`.
pub fn skeleton(
    projection: Vec<ast::SelectItem>,
    relations: Vec<ast::TableWithJoins>,
    selection: Option<ast::Expr>,
) -> Result<ast::Query> {
    let mut query = *parse_query("SELECT 1")?;
    let ast::SetExpr::Select(select) = query.body.as_mut() else {
        return Err(Error::internal("a query without SELECT"));
    };
    select.projection = projection;
    select.from = relations;
    select.selection = selection;
    Ok(query)
}

/// `relation.column`, quoted as it is.
pub fn column(relation: &str, name: &str) -> ast::Expr {
    ast::Expr::CompoundIdentifier(vec![ast::Ident::with_quote('"', relation), ast::Ident::with_quote('"', name)])
}

/// `CAST(value AS type)`.
pub fn cast(value: ast::Expr, sql_type: &SqlType) -> Result<ast::Expr> {
    // A text that is too long for its column is refused later: an explicit cast would cut it.
    let sql_type = match sql_type {
        SqlType::Varchar(_) => &SqlType::Text,
        other => other,
    };
    let mut expression = parse_expression(&format!("CAST(NULL AS {sql_type})"))?;
    if let ast::Expr::Cast { expr, .. } = &mut expression {
        **expr = value;
    }
    Ok(expression)
}

/// A column's DEFAULT, NULL where it has none.
pub fn default_expression(column: &Column) -> Result<ast::Expr> {
    parse_expression(column.default.as_deref().unwrap_or("NULL"))
}

/// The name by which a statement's other clauses call its table.
pub fn target_alias(relation: &ast::TableWithJoins) -> Option<&str> {
    match &relation.relation {
        ast::TableFactor::Table { alias: Some(alias), .. } => Some(&alias.name.value),
        _ => None,
    }
}
