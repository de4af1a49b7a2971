//! What becomes of those that read a relation when its definition changes.
//!
//! A table that is altered, or a relation that is renamed, leaves the rows of a view as they are if the view's query, planned
//! again, is the same plan but for where columns stand. A materialized view that is replaced has other rows, so that those
//! that read it are filled anew. Who would mean something else, or nothing, is in the way and is named.
//!
//! As in PostgreSQL, a view keeps the columns that it was made with: `*` does not grow.

use std::ops::ControlFlow;
use std::sync::Arc;

use sqlparser::ast;

use super::define::with_dependents;
use super::definitions::Definitions;
use super::scope::{Environment, direct_dependencies};
use crate::catalog::{Catalog, CatalogChange, MaterializedView, Relation, Table, View};
use crate::error::{Error, Result, SqlState};
use crate::plan::{ViewPlan, plan_query, plan_view_again};
use crate::sql::parse_query;
use crate::types::{RelationId, SqlType};

/// The definitions that go with `change`, which alters or renames `altered`. `moved` has for each of its former columns the
/// present position.
///
/// Errors: 2BP01 naming who is in the way, and why.
pub fn carry_over(
    environment: &Environment<'_>,
    catalog: &Arc<Catalog>,
    altered: RelationId,
    change: &CatalogChange,
    moved: &[Option<usize>],
    now_us: i64,
) -> Result<Vec<CatalogChange>> {
    let mut next = catalog.as_ref().clone();
    next.apply(change);
    let name_of =
        |catalog: &Catalog| catalog.get(altered).map(|relation| relation.name().to_owned()).unwrap_or_default();
    let (former, present) = (name_of(catalog), name_of(&next));
    let mut in_the_way = InTheWay::of(catalog, altered);
    let mut changes = Vec::new();
    // What is compared: the names are the present ones on both sides.
    let mut renamed = catalog.as_ref().clone();
    let readers: Vec<Relation> =
        readers(catalog, altered).into_iter().filter_map(|id| catalog.get(id).cloned()).collect();
    if former != present {
        if let Some(relation) = catalog.get(altered) {
            renamed.apply(&under_name(relation, &present));
        }
        for reader in readers.iter().filter(|reader| reader.depends_on().contains(&altered)) {
            match with_text(reader, |sql| with_relation_renamed(sql, &former, &present)) {
                Ok(change) => {
                    renamed.apply(&change);
                    next.apply(&change);
                    changes.push(change);
                }
                Err(error) => in_the_way.add(reader, &error),
            }
        }
    }
    let (renamed, next) = (Arc::new(renamed), Arc::new(next));
    for reader in &readers {
        let checked = match (reader, next.get(reader.id())) {
            (Relation::MaterializedView(before), Some(Relation::MaterializedView(after))) => {
                same_rows(environment, after, (&renamed, &next), (altered, &present, moved), now_us).map(|plan| {
                    let view = MaterializedView { plan, ..after.as_ref().clone() };
                    let is_changed = view != **before;
                    changes.extend(is_changed.then(|| CatalogChange::AlterMaterializedView(Arc::new(view))));
                })
            }
            (Relation::View(_), Some(Relation::View(after))) => {
                let definitions = Definitions::new(environment, next.clone(), now_us);
                check_columns(&definitions, after)
            }
            _ => Ok(()),
        };
        if let Err(error) = checked {
            in_the_way.add(reader, &error);
        }
    }
    in_the_way.refuse("alter", "DROP them, alter it, and CREATE them again.")?;
    Ok(changes)
}

/// A view in another's place, which `first` puts there, and all that read the former one with it.
///
/// Errors: 42P17 for a view of itself; 2BP01 naming who cannot read the new one.
pub fn replace(
    environment: &Environment<'_>,
    catalog: &Arc<Catalog>,
    former: RelationId,
    first: CatalogChange,
    now_us: i64,
) -> Result<Vec<CatalogChange>> {
    let mut next = catalog.as_ref().clone();
    next.apply(&first);
    let mut waiting = with_dependents(catalog, &[former]);
    let name = catalog.get(former).map(Relation::name).unwrap_or_default();
    let reads = next.find(name).map(Relation::depends_on).unwrap_or_default();
    if let Some(view) = next.find(name).filter(|_| reads.iter().any(|id| waiting.contains(id))) {
        let message = format!("{} \"{name}\" would read itself", view.kind_name());
        return Err(Error::new(SqlState::INVALID_OBJECT_DEFINITION, message));
    }
    waiting.retain(|id| *id != former);
    waiting.reverse();
    let mut in_the_way = InTheWay::of(catalog, former);
    let mut changes = vec![first];
    // Each after those that it reads.
    while let Some(at) = waiting.iter().position(|id| {
        catalog.get(*id).is_some_and(|relation| !relation.depends_on().iter().any(|on| waiting.contains(on)))
    }) {
        let Some(reader) = catalog.get(waiting.remove(at)) else { continue };
        match again(environment, &Arc::new(next.clone()), reader, now_us) {
            Ok(change) => {
                next.apply(&change);
                changes.push(change);
            }
            Err(error) => in_the_way.add(reader, &error),
        }
    }
    in_the_way.refuse("replace", "DROP them, replace it, and CREATE them again.")?;
    Ok(changes)
}

/// Relations whose query reads `altered`, some through plain views. What a materialized view hides from those above it is not
/// their concern.
fn readers(catalog: &Catalog, altered: RelationId) -> Vec<RelationId> {
    let mut found: Vec<RelationId> = Vec::new();
    let mut open = vec![altered];
    while let Some(id) = open.pop() {
        for reader in catalog.dependents(id).filter(|reader| !found.contains(&reader.id())).collect::<Vec<_>>() {
            found.push(reader.id());
            open.extend(matches!(reader, Relation::View(_)).then(|| reader.id()));
        }
    }
    found.sort_unstable();
    found
}

/// The definition over what its names stand for now. A materialized view gets an id of its own, to be filled anew.
fn again(environment: &Environment<'_>, next: &Arc<Catalog>, reader: &Relation, now_us: i64) -> Result<CatalogChange> {
    match reader {
        Relation::View(view) => {
            check_columns(&Definitions::new(environment, next.clone(), now_us), view)?;
            let depends_on = direct_dependencies(next, &*parse_query(&view.sql)?);
            Ok(CatalogChange::CreateView(Arc::new(View { depends_on, ..view.as_ref().clone() })))
        }
        Relation::MaterializedView(view) => {
            let plan = plan_again(environment, next, view, now_us)?;
            let types = plan.columns.iter().map(|column| &column.sql_type);
            if !types.eq(view.columns.iter().map(|column| &column.sql_type)) {
                return Err(other_columns());
            }
            let mut depends_on = direct_dependencies(next, &*parse_query(&view.sql)?);
            depends_on.extend(plan.sources());
            depends_on.sort_unstable();
            depends_on.dedup();
            let made =
                MaterializedView { id: next.next_id(), plan: plan.to_bytes()?, depends_on, ..view.as_ref().clone() };
            Ok(CatalogChange::ReplaceMaterializedView { former: view.id, view: Arc::new(made) })
        }
        Relation::Table(_) => Err(Error::internal("a table that reads another relation")),
    }
}

/// The stored plan over the altered relation, if the query means the same rows as before.
fn same_rows(
    environment: &Environment<'_>,
    view: &MaterializedView,
    (before, after): (&Arc<Catalog>, &Arc<Catalog>),
    (altered, name, moved): (RelationId, &str, &[Option<usize>]),
    now_us: i64,
) -> Result<Vec<u8>> {
    let present = plan_again(environment, after, view, now_us)?;
    let former = plan_again(environment, before, view, now_us)?;
    if former.over_altered(altered, name, moved).as_ref() != Some(&present) {
        return Err(other_columns());
    }
    let registry = Definitions::new(environment, before.clone(), now_us);
    let stored = ViewPlan::from_bytes(&view.plan, registry.state())?;
    let reads = stored.sources().contains(&altered);
    match stored.over_altered(altered, name, moved) {
        Some(plan) if reads => plan.to_bytes(),
        Some(_) => Ok(view.plan.clone()),
        None => Err(other_columns()),
    }
}

fn plan_again(
    environment: &Environment<'_>,
    catalog: &Arc<Catalog>,
    view: &MaterializedView,
    now_us: i64,
) -> Result<ViewPlan> {
    let zone = view.settings.get("timezone").map(String::as_str);
    let definitions = Definitions::in_zone(environment, catalog.clone(), now_us, zone);
    let query = definitions.rewritten(&*parse_query(&view.sql)?)?;
    let closes = view.emits_on_close.then_some(&**catalog);
    plan_view_again(definitions.state(), &definitions, &query, &view.sql, &view.columns, closes)
}

/// A plain view's columns, planned anew, begin with those that it has.
fn check_columns(definitions: &Definitions, view: &View) -> Result<()> {
    let query = definitions.rewritten(&*parse_query(&view.sql)?)?;
    let plan = plan_query(definitions.state(), definitions, &query, &view.sql)?;
    let types = plan.schema().fields().iter().map(|field| SqlType::from_arrow(field.data_type()));
    match types.take(view.columns.len()).eq(view.columns.iter().map(|column| Some(column.sql_type.clone()))) {
        true => Ok(()),
        false => Err(other_columns()),
    }
}

fn other_columns() -> Error {
    Error::new(SqlState::DEPENDENT_OBJECTS, "its query would have other columns or rows")
}

/// The relation as it is, under another name.
pub fn under_name(relation: &Relation, name: &str) -> CatalogChange {
    let name = name.to_owned();
    match relation {
        Relation::Table(table) => CatalogChange::AlterTable(Arc::new(Table { name, ..table.as_ref().clone() })),
        Relation::View(view) => CatalogChange::CreateView(Arc::new(View { name, ..view.as_ref().clone() })),
        Relation::MaterializedView(view) => {
            CatalogChange::AlterMaterializedView(Arc::new(MaterializedView { name, ..view.as_ref().clone() }))
        }
    }
}

/// The relation with another text of its query.
fn with_text(reader: &Relation, rewrite: impl FnOnce(&str) -> Result<String>) -> Result<CatalogChange> {
    match reader {
        Relation::View(view) => {
            let sql = rewrite(&view.sql)?;
            Ok(CatalogChange::CreateView(Arc::new(View { sql, ..view.as_ref().clone() })))
        }
        Relation::MaterializedView(view) => {
            let sql = rewrite(&view.sql)?;
            Ok(CatalogChange::AlterMaterializedView(Arc::new(MaterializedView { sql, ..view.as_ref().clone() })))
        }
        Relation::Table(_) => Err(Error::internal("a table that reads another relation")),
    }
}

/// The query with `former AS former` read from the relation's present name, so that what names its columns stays right.
fn with_relation_renamed(sql: &str, former: &str, present: &str) -> Result<String> {
    let mut query = parse_query(sql)?;
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let from = parse_query(&format!("SELECT 1 FROM {} AS {}", quoted(present), quoted(former)))?;
    let replacement = match from.body.as_ref() {
        ast::SetExpr::Select(select) => select.from.first().map(|from| from.relation.clone()),
        _ => None,
    };
    let replacement = replacement.ok_or_else(|| Error::internal("a FROM that does not read back"))?;
    let mut renaming = Renaming { former, present, replacement };
    match ast::VisitMut::visit(&mut *query, &mut renaming) {
        ControlFlow::Continue(()) => Ok(query.to_string()),
        ControlFlow::Break(error) => Err(error),
    }
}

struct Renaming<'a> {
    former: &'a str,
    present: &'a str,
    replacement: ast::TableFactor,
}

impl ast::VisitorMut for Renaming<'_> {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &mut ast::Query) -> ControlFlow<Error> {
        let expressions = query.with.iter().flat_map(|with| &with.cte_tables);
        let mut names = expressions.map(|expression| folded(&expression.alias.name));
        match names.any(|name| name == self.former || name == self.present) {
            true => ControlFlow::Break(Error::not_built("a WITH query of the same name")),
            false => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_table_factor(&mut self, factor: &mut ast::TableFactor) -> ControlFlow<Error> {
        if let ast::TableFactor::Table { name, alias, args: None, .. } = factor
            && name.0.last().and_then(|part| part.as_ident()).is_some_and(|part| folded(part) == self.former)
            && is_public(name)
        {
            let written = alias.take();
            *factor = self.replacement.clone();
            if let (ast::TableFactor::Table { alias, .. }, Some(written)) = (factor, written) {
                *alias = Some(written);
            }
        }
        ControlFlow::Continue(())
    }
}

fn folded(name: &ast::Ident) -> String {
    if name.quote_style.is_some() { name.value.clone() } else { name.value.to_lowercase() }
}

fn is_public(name: &ast::ObjectName) -> bool {
    let parts: Vec<String> = name.0.iter().filter_map(|part| part.as_ident()).map(folded).collect();
    parts.len() == 1 || parts[parts.len() - 2] == "public"
}

/// Who depends on a relation and cannot go on.
struct InTheWay {
    /// For example `materialized view minutes`.
    subject: String,
    /// Each once, with the first reason.
    lines: Vec<(RelationId, String)>,
}

impl InTheWay {
    fn of(catalog: &Catalog, relation: RelationId) -> Self {
        let subject = catalog.get(relation).map(|relation| format!("{} {}", relation.kind_name(), relation.name()));
        InTheWay { subject: subject.unwrap_or_default(), lines: Vec::new() }
    }

    fn add(&mut self, reader: &Relation, why: &Error) {
        if self.lines.iter().all(|(known, _)| *known != reader.id()) {
            let (kind, name) = (reader.kind_name(), reader.name());
            self.lines.push((reader.id(), format!("{kind} {name} depends on {}: {}", self.subject, why.message())));
        }
    }

    fn refuse(self, verb: &str, hint: &str) -> Result<()> {
        if self.lines.is_empty() {
            return Ok(());
        }
        let lines: Vec<String> = self.lines.into_iter().map(|(_, line)| line).collect();
        let message = format!("cannot {verb} {} because other objects depend on it", self.subject);
        Err(Error::new(SqlState::DEPENDENT_OBJECTS, message).with_detail(lines.join("\n")).with_hint(hint))
    }
}
