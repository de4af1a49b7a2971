//! What becomes of those that read a relation when its definition changes.
//!
//! A table that is altered, or a relation that is renamed, leaves the rows of a view as they are if the view's query, planned
//! again, is the same plan but for where columns stand. It goes on with the names that it was written with ([`super::renamed`]). A materialized view that is replaced has other rows, so that those
//! that read it are filled anew. Who would mean something else, or nothing, is in the way and is named.
//!
//! As in PostgreSQL, a view keeps the columns that it was made with: `*` does not grow.

use std::sync::Arc;

use super::define::with_dependents;
use super::definitions::Definitions;
use super::renamed::Renamed;
use super::scope::{Environment, direct_dependencies};
use super::verify::expired_rows;
use crate::catalog::{Catalog, CatalogChange, Column, MaterializedView, Relation, Table, View};
use crate::error::{Error, Result, SqlState};
use crate::plan::{ViewPlan, plan_query, plan_view_again};
use crate::sql::parse_query;
use crate::types::{RelationId, SqlType};

/// The definitions that go with `change`, which alters or renames `altered`. `moved` has for each of its former columns the
/// present position. Views that read a column which is wider now are filled again, and those that read them.
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
    let (Some(before), Some(after)) = (catalog.get(altered), next.get(altered)) else { return Ok(Vec::new()) };
    let widens = is_widened(before, after, moved);
    let (former_columns, present_columns) = (user_columns(before), user_columns(after));
    let compared_columns = names_after(&former_columns, &present_columns, moved);
    let (former, present) = (before.name().to_owned(), after.name().to_owned());
    let stays: Vec<Option<usize>> = (0..former_columns.len()).map(Some).collect();
    let of_query = Renamed {
        former: &former,
        present: &present,
        former_columns: &former_columns,
        present_columns: &present_columns,
        moved,
    };
    let of_compared = Renamed { present_columns: &compared_columns, moved: &stays, ..of_query };
    let mut in_the_way = InTheWay::of(catalog, altered);
    let mut changes = Vec::new();
    // What is compared: the names are the present ones on both sides.
    let mut renamed = catalog.as_ref().clone();
    renamed.apply(&under_names(before, &present, &compared_columns));
    let readers: Vec<Relation> =
        readers(catalog, altered).into_iter().filter_map(|id| catalog.get(id).cloned()).collect();
    for reader in readers.iter().filter(|reader| reader.depends_on().contains(&altered)) {
        // Of a materialized view the plans tell.
        if matches!(reader, Relation::View(view) if of_query.mistakes_a_column(&view.sql)) {
            in_the_way.add(reader, &other_columns());
        }
        let texts = with_text(reader, |sql| of_compared.in_query(sql))
            .and_then(|compared| Ok((compared, with_text(reader, |sql| of_query.in_query(sql))?)));
        match texts {
            Ok((compared, change)) => {
                renamed.apply(&compared);
                next.apply(&change);
                let is_changed = next.get(reader.id()) != Some(reader);
                changes.extend(is_changed.then_some(change));
            }
            Err(error) => in_the_way.add(reader, &error),
        }
    }
    let (renamed, next) = (Arc::new(renamed), Arc::new(next));
    let mut refilled: Vec<RelationId> = Vec::new();
    for reader in &readers {
        match carried(environment, reader, (&renamed, &next), (altered, &present, moved), now_us) {
            Ok(Carried::On(change)) => changes.extend(change),
            Ok(Carried::Retyped(view)) if widens => changes.push(CatalogChange::CreateView(Arc::new(view))),
            Ok(Carried::Refilled) if widens => refilled.push(reader.id()),
            Ok(Carried::Retyped(_) | Carried::Refilled) => in_the_way.add(reader, &other_columns()),
            Err(error) => in_the_way.add(reader, &error),
        }
    }
    let mut next = next.as_ref().clone();
    changes.iter().for_each(|change| next.apply(change));
    changes.extend(filled_again(environment, &mut next, &refilled, &mut in_the_way, now_us));
    in_the_way.refuse("alter", "DROP them, alter it, and CREATE them again.")?;
    Ok(changes)
}

/// What becomes of a reader.
enum Carried {
    /// It goes on, by another definition or by the one that it has.
    On(Option<CatalogChange>),
    /// A plain view whose columns have other types.
    Retyped(View),
    /// A materialized view that reads the same columns and gives others.
    Refilled,
}

/// Errors: why it cannot go on.
fn carried(
    environment: &Environment<'_>,
    reader: &Relation,
    (renamed, next): (&Arc<Catalog>, &Arc<Catalog>),
    altered: (RelationId, &str, &[Option<usize>]),
    now_us: i64,
) -> Result<Carried> {
    match (reader, next.get(reader.id())) {
        (Relation::MaterializedView(before), Some(Relation::MaterializedView(after))) => {
            let Some(plan) = same_rows(environment, after, (renamed, next), altered, now_us)? else {
                return Ok(Carried::Refilled);
            };
            let view = MaterializedView { plan, ..after.as_ref().clone() };
            let is_changed = view != **before;
            Ok(Carried::On(is_changed.then(|| CatalogChange::AlterMaterializedView(Arc::new(view)))))
        }
        (Relation::View(_), Some(Relation::View(after))) => {
            let view = retyped(&Definitions::new(environment, next.clone(), now_us), after)?;
            Ok(if view == **after { Carried::On(None) } else { Carried::Retyped(view) })
        }
        _ => Ok(Carried::On(None)),
    }
}

/// These views and those that read them, over the columns' wider types. What a view learned of rows that are gone, no other one
/// would know.
fn filled_again(
    environment: &Environment<'_>,
    next: &mut Catalog,
    refilled: &[RelationId],
    in_the_way: &mut InTheWay,
    now_us: i64,
) -> Vec<CatalogChange> {
    let mut waiting = with_dependents(next, refilled);
    waiting.reverse();
    for reader in waiting.iter().filter_map(|id| next.get(*id)) {
        if matches!(reader, Relation::MaterializedView(_)) && expired_rows(next, reader.id()).is_some() {
            let learned = "it cannot be filled again, because rows that it saw have expired";
            in_the_way.add(reader, &Error::new(SqlState::DEPENDENT_OBJECTS, learned));
        }
    }
    made_again(environment, next, waiting, Types::MayWiden, in_the_way, now_us)
}

/// Whether a column has another type than it had.
fn is_widened(before: &Relation, after: &Relation, moved: &[Option<usize>]) -> bool {
    let (Relation::Table(before), Relation::Table(after)) = (before, after) else { return false };
    let mut pairs = before.columns.iter().zip(moved);
    pairs.any(|(column, place)| {
        place.and_then(|place| after.columns.get(place)).is_some_and(|present| present.sql_type != column.sql_type)
    })
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
    changes.extend(made_again(environment, &mut next, waiting, Types::Stay, &mut in_the_way, now_us));
    in_the_way.refuse("replace", "DROP them, replace it, and CREATE them again.")?;
    Ok(changes)
}

/// Whether a view that is made again may have columns of other types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Types {
    Stay,
    MayWiden,
}

/// Definitions over what their names stand for in `next`, each after those that it reads.
fn made_again(
    environment: &Environment<'_>,
    next: &mut Catalog,
    mut waiting: Vec<RelationId>,
    types: Types,
    in_the_way: &mut InTheWay,
    now_us: i64,
) -> Vec<CatalogChange> {
    let before = next.clone();
    let mut changes = Vec::new();
    while let Some(at) = waiting.iter().position(|id| {
        before.get(*id).is_some_and(|relation| !relation.depends_on().iter().any(|on| waiting.contains(on)))
    }) {
        let Some(reader) = before.get(waiting.remove(at)) else { continue };
        match again(environment, &Arc::new(next.clone()), reader, types, now_us) {
            Ok(change) => {
                next.apply(&change);
                changes.push(change);
            }
            Err(error) => in_the_way.add(reader, &error),
        }
    }
    changes
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
fn again(
    environment: &Environment<'_>,
    next: &Arc<Catalog>,
    reader: &Relation,
    types: Types,
    now_us: i64,
) -> Result<CatalogChange> {
    match reader {
        Relation::View(view) => {
            let retyped = retyped(&Definitions::new(environment, next.clone(), now_us), view)?;
            if types == Types::Stay && retyped != **view {
                return Err(other_columns());
            }
            let depends_on = direct_dependencies(next, &*parse_query(&view.sql)?);
            Ok(CatalogChange::CreateView(Arc::new(View { depends_on, ..retyped })))
        }
        Relation::MaterializedView(view) => {
            let plan = plan_again(environment, next, view, now_us)?;
            if types == Types::Stay && plan.columns != view.columns {
                return Err(other_columns());
            }
            let mut depends_on = direct_dependencies(next, &*parse_query(&view.sql)?);
            depends_on.extend(plan.sources());
            depends_on.sort_unstable();
            depends_on.dedup();
            let (id, columns, plan) = (next.next_id(), plan.columns.clone(), plan.to_bytes()?);
            let made = MaterializedView { id, columns, plan, depends_on, ..view.as_ref().clone() };
            Ok(CatalogChange::ReplaceMaterializedView { former: view.id, view: Arc::new(made) })
        }
        Relation::Table(_) => Err(Error::internal("a table that reads another relation")),
    }
}

/// The stored plan over the altered relation, if the query means the same rows as before; `None` where it reads the same columns
/// and gives others.
///
/// Errors: 2BP01 where it reads other columns.
fn same_rows(
    environment: &Environment<'_>,
    view: &MaterializedView,
    (before, after): (&Arc<Catalog>, &Arc<Catalog>),
    (altered, name, moved): (RelationId, &str, &[Option<usize>]),
    now_us: i64,
) -> Result<Option<Vec<u8>>> {
    let present = plan_again(environment, after, view, now_us)?;
    let Some(Relation::MaterializedView(compared)) = before.get(view.id) else { return Err(other_columns()) };
    let former = plan_again(environment, before, compared, now_us)?;
    let former = former.over_altered(altered, name, moved).ok_or_else(other_columns)?;
    if former != present {
        let is_of_same = former.columns_read() == present.columns_read();
        return if is_of_same { Ok(None) } else { Err(other_columns()) };
    }
    let registry = Definitions::new(environment, before.clone(), now_us);
    let stored = ViewPlan::from_bytes(&view.plan, registry.state())?;
    let reads = stored.sources().contains(&altered);
    match stored.over_altered(altered, name, moved) {
        Some(plan) if reads => plan.to_bytes().map(Some),
        Some(_) => Ok(Some(view.plan.clone())),
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

/// A plain view with the types that its columns have when it is planned anew.
///
/// Errors: 2BP01 where there are fewer of them.
fn retyped(definitions: &Definitions, view: &View) -> Result<View> {
    let query = definitions.rewritten(&*parse_query(&view.sql)?)?;
    let plan = plan_query(definitions.state(), definitions, &query, &view.sql)?;
    let types = plan.schema().fields().iter().map(|field| SqlType::from_arrow(field.data_type()));
    let mut retyped = view.clone();
    if plan.schema().fields().len() < view.columns.len() {
        return Err(other_columns());
    }
    for (column, sql_type) in retyped.columns.iter_mut().zip(types) {
        column.sql_type = sql_type.ok_or_else(other_columns)?;
    }
    Ok(retyped)
}

fn other_columns() -> Error {
    Error::new(SqlState::DEPENDENT_OBJECTS, "its query would have other columns or rows")
}

fn user_columns(relation: &Relation) -> Vec<String> {
    let names = |columns: &[Column]| columns.iter().map(|column| column.name.clone()).collect();
    match relation {
        Relation::Table(table) => names(table.user_columns()),
        Relation::View(view) => view.columns.iter().map(|column| column.name.clone()).collect(),
        Relation::MaterializedView(view) => view.columns.iter().map(|column| column.name.clone()).collect(),
    }
}

/// The former columns under their present names; those that are gone under names that no column has.
fn names_after(former: &[String], present: &[String], moved: &[Option<usize>]) -> Vec<String> {
    let name = |(former, place): (&String, &Option<usize>)| match place.and_then(|place| present.get(place)) {
        Some(name) => name.clone(),
        None if present.contains(former) => format!("{former}#gone"),
        None => former.clone(),
    };
    former.iter().zip(moved).map(name).collect()
}

/// The relation with other names for itself and its columns.
fn under_names(relation: &Relation, name: &str, columns: &[String]) -> CatalogChange {
    let Relation::Table(table) = relation else { return under_name(relation, name) };
    let mut renamed = Table { name: name.to_owned(), ..table.as_ref().clone() };
    if let Some((watermark, place)) = renamed.watermark.as_mut().zip(table.watermark_column())
        && let Some(column) = columns.get(place)
    {
        watermark.column.clone_from(column);
    }
    for (column, name) in renamed.columns.iter_mut().zip(columns) {
        column.name.clone_from(name);
    }
    CatalogChange::AlterTable(Arc::new(renamed))
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
