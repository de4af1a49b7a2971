//! Texts of queries over a relation that is called otherwise, or whose columns are.
//!
//! ```text
//! FROM readings                             FROM measurements AS readings (device, temp)
//! FROM readings r                           FROM measurements r (device, temp)
//! FROM TUMBLE(readings, time, ...) AS t     FROM (SELECT *, ... FROM measurements AS readings (device, temp)) AS t
//! ```
//!
//! The query goes on with the names that it was written with. Columns are listed where the text may name one that was renamed; a list
//! follows the columns from then on.

use std::ops::ControlFlow;

use sqlparser::ast::{Ident, ObjectName, Query, TableAlias, TableAliasColumnDef, TableFactor, VisitMut, VisitorMut};

use crate::error::{Error, Result};
use crate::query::rewrite::{folded, rewrite_window, window_input};
use crate::sql::parse_query;

/// A relation's names before and after.
#[derive(Debug, Clone, Copy)]
pub struct Renamed<'a> {
    pub former: &'a str,
    pub present: &'a str,
    /// The user's columns before and after.
    pub former_columns: &'a [String],
    pub present_columns: &'a [String],
    /// Where each of the former columns is now.
    pub moved: &'a [Option<usize>],
}

impl Renamed<'_> {
    /// The query over the relation as it is now; it means what it meant.
    ///
    /// Errors: 0A000 where a WITH query has the relation's name.
    pub fn in_query(&self, sql: &str) -> Result<String> {
        let mut query = parse_query(sql)?;
        let mut renaming =
            Renaming { names: *self, lists_columns: self.concerns(sql), is_hidden: false, has_changed: false };
        if let ControlFlow::Break(error) = VisitMut::visit(&mut *query, &mut renaming) {
            return Err(error);
        }
        match renaming {
            Renaming { has_changed: false, .. } => Ok(sql.to_owned()),
            Renaming { is_hidden: true, .. } => Err(Error::not_built("a WITH query of the same name")),
            _ => Ok(query.to_string()),
        }
    }

    /// Whether the text may name a column that is called otherwise, or is called as one was. NATURAL joins name all of them.
    fn concerns(&self, sql: &str) -> bool {
        let named = |name: &str| may_name(sql, name);
        self.kept().any(|(former, present)| former != present && (named(former) || named(present) || named("natural")))
    }

    /// Whether the query may read a column that is gone as another one, which has its name now.
    pub fn mistakes_a_column(&self, sql: &str) -> bool {
        let gone = self.former_columns.iter().zip(self.moved).filter(|(_, place)| place.is_none());
        gone.map(|(name, _)| name)
            .any(|name| self.present_columns.contains(name) && (may_name(sql, name) || sql.contains('*')))
    }

    /// The names before and after of the columns that are still there.
    fn kept(&self) -> impl Iterator<Item = (&str, &str)> {
        let pairs = self.former_columns.iter().zip(self.moved);
        pairs.filter_map(|(former, place)| Some((former.as_str(), self.present_columns.get((*place)?)?.as_str())))
    }

    /// What the query calls the present columns, if it calls the first of the former ones as `listed` says.
    fn names(&self, listed: &[TableAliasColumnDef]) -> Vec<String> {
        let called = |former: usize| match listed.get(former) {
            Some(column) => folded(&column.name),
            None => self.former_columns[former].clone(),
        };
        let former_of = |place: usize| self.moved.iter().position(|moved| *moved == Some(place));
        let kept: Vec<Option<String>> =
            (0..self.present_columns.len()).map(|place| former_of(place).map(called)).collect();
        let mut names: Vec<String> = Vec::with_capacity(kept.len());
        for (place, own) in kept.iter().enumerate() {
            let mut name = own.clone().unwrap_or_else(|| self.present_columns[place].clone());
            // A new column has a name that the query does not know.
            while own.is_none() && (kept.iter().flatten().any(|kept| *kept == name) || names.contains(&name)) {
                name.push_str("_1");
            }
            names.push(name);
        }
        names
    }
}

fn may_name(sql: &str, name: &str) -> bool {
    name.contains('"') || sql.to_lowercase().contains(&name.to_lowercase())
}

struct Renaming<'a> {
    names: Renamed<'a>,
    lists_columns: bool,
    /// A WITH query has one of the relation's names.
    is_hidden: bool,
    has_changed: bool,
}

impl Renaming<'_> {
    fn rename(&mut self, name: &mut ObjectName, alias: &mut Option<TableAlias>) {
        let listed = alias.as_ref().map(|alias| alias.columns.as_slice()).unwrap_or_default();
        let names = self.names.names(listed);
        let is_renamed = self.names.former != self.names.present;
        let is_listed = match listed {
            [] => self.lists_columns && names != self.names.present_columns,
            listed => !listed.iter().map(|column| folded(&column.name)).eq(names.iter().cloned()),
        };
        if !is_renamed && !is_listed {
            return;
        }
        self.has_changed = true;
        let own = Ident::with_quote('"', self.names.former);
        let alias =
            alias.get_or_insert_with(|| TableAlias { explicit: true, name: own, columns: Vec::new(), at: None });
        if is_renamed {
            *name = ObjectName::from(vec![Ident::with_quote('"', self.names.present)]);
        }
        if is_listed {
            let column = |name: String| TableAliasColumnDef { name: Ident::with_quote('"', name), data_type: None };
            alias.columns = names.into_iter().map(column).collect();
        }
    }

    fn is_former(&self, name: &ObjectName) -> bool {
        let parts: Vec<String> = name.0.iter().filter_map(|part| part.as_ident()).map(folded).collect();
        match parts.as_slice() {
            [name] => name == self.names.former,
            [.., schema, name] => schema == "public" && name == self.names.former,
            [] => false,
        }
    }
}

impl VisitorMut for Renaming<'_> {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        let expressions = query.with.iter().flat_map(|with| &with.cte_tables);
        let mut names = expressions.map(|expression| folded(&expression.alias.name));
        self.is_hidden |= names.any(|name| name == self.names.former || name == self.names.present);
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Error> {
        // A window's table has no place for names: the query that it stands for has. That one is visited next.
        if window_input(factor).is_some_and(|table| self.is_former(&table))
            && (self.lists_columns || self.names.former != self.names.present)
            && let Err(error) = rewrite_window(factor)
        {
            return ControlFlow::Break(error);
        }
        if let TableFactor::Table { name, alias, args: None, .. } = factor
            && self.is_former(name)
        {
            self.rename(name, alias);
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests;
