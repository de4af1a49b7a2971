//! LATERAL over the first rows of those that are tied to the outer row by equalities:
//! `FROM trucks t, LATERAL (SELECT ... FROM readings r WHERE r.truck = t.id ORDER BY at DESC LIMIT 1) AS l`.
//!
//! ```text
//! Join                                   Projection: t's columns, the subquery's
//!   t                                      Join: t.id = key
//!   Subquery                      ->         t
//!     Limit: 1                               Filter: place <= 1
//!       Sort: at DESC                          Window: row_number() OVER (PARTITION BY key ORDER BY at DESC) AS place
//!         Projection: ...                        Projection: ..., key
//!           Filter: r.truck = outer(t.id)          Projection: r's columns, r.truck AS key
//!             r                                      r
//! ```
//!
//! So it is the first rows of each group, joined. What is tied otherwise, or limited below a GROUP BY, stays as it is.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, Result, ScalarValue, TableReference, internal_err};
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::expr::{Sort, WindowFunction, WindowFunctionDefinition, WindowFunctionParams};
use datafusion::logical_expr::utils::split_conjunction_owned;
use datafusion::logical_expr::{
    BinaryExpr, Expr, ExprSchemable, FetchType, Filter, Join, JoinType, Limit, LogicalPlan, LogicalPlanBuilder,
    Operator, Projection, SkipType, Subquery, SubqueryAlias, WindowFrame, WindowUDF, cast, lit, when,
};

use super::filters::is_infallible;
use super::lateral::is_lateral;
use super::relations::{RelationLookup, relation_of};
use crate::functions::OnlyRow;

/// The subquery without its ties: its columns, and behind them those of the keys.
struct Tied {
    plan: LogicalPlan,
    keys: Vec<Column>,
    /// What each key is equal to, over the outer row.
    outer: Vec<Expr>,
    is_limited: bool,
    /// No outer row is tied to two rows.
    is_unique: bool,
}

/// What lowering needs to know.
pub(super) struct Known<'a> {
    pub functions: &'a HashMap<String, Arc<WindowUDF>>,
    pub relations: &'a dyn RelationLookup,
}

/// `number` tells this join's names from others'. `None`: it is not of this form.
pub(super) fn first_rows(join: &Join, known: &Known<'_>, number: usize) -> Result<Option<LogicalPlan>> {
    if !is_lateral(&join.right) || !join.on.is_empty() {
        return Ok(None);
    }
    let qualifier = TableReference::bare(format!("__first_{number}"));
    let lowering = Lowering { outer: join.left.schema(), known, qualifier };
    let Some(tied) = lowering.tied(&join.right)?.filter(|tied| tied.is_limited) else { return Ok(None) };
    let columns = join.left.schema().columns().into_iter().chain(join.right.schema().columns());
    let columns: Vec<Expr> = columns.map(Expr::Column).collect();
    let ties = tied.outer.into_iter().zip(tied.keys).map(|(outer, key)| outer.eq(Expr::Column(key)));
    let conditions: Vec<Expr> = ties.chain(join.filter.clone()).collect();
    let joined = LogicalPlanBuilder::from(join.left.as_ref().clone()).join_on(tied.plan, join.join_type, conditions)?;
    joined.project(columns)?.build().map(Some)
}

/// The outer rows with the one value that a subquery has for each behind them, NULL where it has none, and an error where it has
/// two. `None`: it is not of this form.
///
/// What the subquery computes of its row is computed of those that were joined: for the others it might raise. `is_conditional`: the subquery
/// is not asked for all outer rows, so that what it is tied to may raise for some.
pub(super) fn first_value(
    outer: &LogicalPlan,
    subquery: &Subquery,
    known: &Known<'_>,
    number: usize,
    is_conditional: bool,
) -> Result<Option<(LogicalPlan, Expr)>> {
    let qualifier = TableReference::bare(format!("__first_{number}"));
    let lowering = Lowering { outer: outer.schema(), known, qualifier: qualifier.clone() };
    let (computed, rows) = without_list(&subquery.subquery)?;
    if computed.as_ref().is_some_and(has_subquery) {
        return Ok(None);
    }
    let Some(tied) = lowering.tied(&rows)? else { return Ok(None) };
    if is_conditional && !tied.outer.iter().all(|tie| is_infallible(tie, outer.schema())) {
        return Ok(None);
    }
    let (tied, second) = match tied.is_unique {
        true => (tied, None),
        false => lowering.only_first(tied).map(|(tied, second)| (tied, Some(second)))?,
    };
    let own = Expr::Column(Column::from(tied.plan.schema().qualified_field(0)));
    let value = computed.clone().unwrap_or(own);
    let mut used: Vec<Column> = value.column_refs().into_iter().cloned().collect();
    used.sort_unstable();
    let name = |place: usize| format!("column_{place}");
    let named = used
        .iter()
        .enumerate()
        .map(|(place, column)| Expr::Column(column.clone()).alias_qualified(Some(qualifier.clone()), name(place)));
    let found = lit(true).alias_qualified(Some(qualifier.clone()), "found");
    let is_guarded = second.is_some();
    let second = second.map(|second| Expr::Column(second).alias_qualified(Some(qualifier.clone()), "second"));
    let exprs: Vec<Expr> = named.chain([found]).chain(second).chain(tied.named_keys(&qualifier)).collect();
    let values = LogicalPlanBuilder::from(tied.plan.clone()).project(exprs)?.build()?;
    let column = |name: String| Expr::Column(Column::new(Some(qualifier.clone()), name));
    let conditions: Vec<Expr> = tied.ties(&qualifier).collect();
    let joined = LogicalPlanBuilder::from(outer.clone()).join_on(values, JoinType::Left, conditions)?.build()?;
    let mut is_of_outer_row = true;
    let value = value.transform(|expr| match &expr {
        Expr::Column(own) => Ok(match used.iter().position(|used| used == own) {
            Some(place) => Transformed::yes(column(name(place))),
            None => Transformed::no(expr),
        }),
        Expr::OuterReferenceColumn(_, read) => {
            is_of_outer_row &= outer.schema().has_column(read);
            Ok(Transformed::new(Expr::Column(read.clone()), true, TreeNodeRecursion::Jump))
        }
        _ => Ok(Transformed::no(expr)),
    })?;
    if !is_of_outer_row {
        return Ok(None);
    }
    let value = match computed {
        Some(_) => when(column("found".to_owned()), value.data).end()?,
        None => value.data,
    };
    let value = match is_guarded {
        true => OnlyRow::function().call(vec![value, column("second".to_owned())]),
        false => value,
    };
    Ok(Some((joined, value)))
}

/// What a subquery's list computes of its rows, where that may raise or reads the outer row, and the subquery without it.
fn without_list(plan: &LogicalPlan) -> Result<(Option<Expr>, LogicalPlan)> {
    let computed = |list: &Projection| match list.expr.as_slice() {
        [expr] if expr.contains_outer() || !is_infallible(expr, list.input.schema()) => Some(expr.clone().unalias()),
        _ => None,
    };
    Ok(match plan {
        LogicalPlan::Projection(list) => match computed(list) {
            Some(expr) => (Some(expr), list.input.as_ref().clone()),
            None => (None, plan.clone()),
        },
        LogicalPlan::Limit(limit) => match limit.input.as_ref() {
            LogicalPlan::Projection(list) => match computed(list) {
                Some(expr) => {
                    let limit = Limit { input: Arc::clone(&list.input), ..limit.clone() };
                    (Some(expr), LogicalPlan::Limit(limit))
                }
                None => (None, plan.clone()),
            },
            _ => (None, plan.clone()),
        },
        _ => (None, plan.clone()),
    })
}

/// The outer rows with what it takes behind them to say whether `value` is among the rows of a subquery, as IN says it: NULL where it is
/// not, and might be. `None`: the subquery is not of this form.
///
/// ```text
/// outer
///   LEFT JOIN the distinct values of each group        whether it is among them
///   LEFT JOIN how many rows each group has, and values whether it might be
/// ```
pub(super) fn is_among(
    outer: &LogicalPlan,
    value: &Expr,
    subquery: &Subquery,
    known: &Known<'_>,
    number: usize,
) -> Result<Option<(LogicalPlan, Expr)>> {
    let [values, groups] = ["values", "groups"].map(|of| TableReference::bare(format!("__{of}_{number}")));
    let lowering = Lowering { outer: outer.schema(), known, qualifier: values.clone() };
    let Some(tied) = lowering.tied_or_free(subquery)? else { return Ok(None) };
    let member = Expr::Column(Column::from(tied.plan.schema().qualified_field(0)));
    // Ad hoc too they are computed for rows that nobody asks for: none may raise.
    let is_free = subquery.outer_ref_columns.is_empty();
    if !is_free && without_list(&subquery.subquery)?.0.is_some() {
        return Ok(None);
    }
    let (own, other) = (member.get_type(tied.plan.schema())?, value.get_type(outer.schema())?);
    let Some((member, value)) = as_group_key((member, &own), (value.clone(), &other)) else { return Ok(None) };
    let of = |qualifier: &TableReference, name: &str| Expr::Column(Column::new(Some(qualifier.clone()), name));
    let column = [member.clone().alias_qualified(Some(values.clone()), "member")];
    let distinct = LogicalPlanBuilder::from(tied.plan.clone())
        .filter(member.clone().is_not_null())?
        .project(column.into_iter().chain(tied.named_keys(&values)))?
        .distinct()?;
    let found = [lit(true).alias_qualified(Some(values.clone()), "found")];
    let all: Vec<Expr> = distinct.schema().columns().into_iter().map(Expr::Column).chain(found).collect();
    let same = value.clone().eq(of(&values, "member"));
    let joined = LogicalPlanBuilder::from(outer.clone()).join_on(
        distinct.project(all)?.build()?,
        JoinType::Left,
        tied.ties(&values).chain([same]),
    )?;
    let joined = tied.with_counts(joined, &groups, Some(member))?;
    let (rows, members) = (of(&groups, "rows"), of(&groups, "members"));
    let has_none = rows.clone().is_null().or(rows.clone().eq(lit(0_i64)));
    let is_among = when(of(&values, "found"), lit(true))
        .when(has_none, lit(false))
        .when(value.is_null().or(members.lt(rows)), lit(ScalarValue::Boolean(None)))
        .otherwise(lit(false))?;
    Ok(Some((joined, is_among)))
}

/// The outer rows with how many rows a subquery has for each behind them, as EXISTS asks. `None`: it is not of this form.
pub(super) fn has_rows(
    outer: &LogicalPlan,
    subquery: &Subquery,
    known: &Known<'_>,
    number: usize,
) -> Result<Option<(LogicalPlan, Expr)>> {
    let qualifier = TableReference::bare(format!("__groups_{number}"));
    let lowering = Lowering { outer: outer.schema(), known, qualifier: qualifier.clone() };
    let Some(tied) = lowering.tied_or_free(subquery)? else { return Ok(None) };
    let joined = tied.with_counts(LogicalPlanBuilder::from(outer.clone()), &qualifier, None)?;
    let rows = Expr::Column(Column::new(Some(qualifier), "rows"));
    Ok(Some((joined, rows.clone().is_not_null().and(rows.gt(lit(0_i64))))))
}

impl Tied {
    fn named_keys(&self, qualifier: &TableReference) -> impl Iterator<Item = Expr> {
        self.keys.iter().enumerate().map(move |(place, key)| {
            Expr::Column(key.clone()).alias_qualified(Some(qualifier.clone()), format!("key_{place}"))
        })
    }

    /// What makes rows those of the outer row.
    fn ties(&self, qualifier: &TableReference) -> impl Iterator<Item = Expr> {
        self.outer.iter().enumerate().map(move |(place, outer)| {
            outer.clone().eq(Expr::Column(Column::new(Some(qualifier.clone()), format!("key_{place}"))))
        })
    }

    /// Outer rows with how many rows there are for each, and how many of them have a `member`.
    fn with_counts(
        &self,
        outer: LogicalPlanBuilder,
        qualifier: &TableReference,
        member: Option<Expr>,
    ) -> Result<LogicalPlan> {
        let counts = [("rows", Some(lit(1_i64))), ("members", member)];
        let counts = counts.into_iter().filter_map(|(name, of)| Some((name, count(of?).alias(name))));
        let (names, counts): (Vec<&str>, Vec<Expr>) = counts.unzip();
        let keys: Vec<Expr> = self.keys.iter().cloned().map(Expr::Column).collect();
        let grouped = LogicalPlanBuilder::from(self.plan.clone()).aggregate(keys, counts)?.build()?;
        let given = grouped.schema().columns();
        let counted = given.iter().skip(self.keys.len()).zip(names);
        let counted =
            counted.map(|(count, name)| Expr::Column(count.clone()).alias_qualified(Some(qualifier.clone()), name));
        let counted: Vec<Expr> = self.named_keys(qualifier).chain(counted).collect();
        let groups = LogicalPlanBuilder::from(grouped).project(counted)?.build()?;
        match self.keys.is_empty() {
            true => outer.cross_join(groups)?.build(),
            false => outer.join_on(groups, JoinType::Left, self.ties(qualifier))?.build(),
        }
    }
}

struct Lowering<'a> {
    outer: &'a DFSchema,
    known: &'a Known<'a>,
    /// Of columns that no relation has.
    qualifier: TableReference,
}

impl Lowering<'_> {
    /// Also one that reads nothing of the outer row.
    fn tied_or_free(&self, subquery: &Subquery) -> Result<Option<Tied>> {
        if !subquery.outer_ref_columns.is_empty() {
            return self.tied(&subquery.subquery);
        }
        let plan = subquery.subquery.as_ref().clone();
        Ok(Some(Tied { plan, keys: Vec::new(), outer: Vec::new(), is_limited: false, is_unique: false }))
    }

    fn tied(&self, plan: &LogicalPlan) -> Result<Option<Tied>> {
        match plan {
            LogicalPlan::Subquery(subquery) => self.tied(&subquery.subquery),
            LogicalPlan::SubqueryAlias(alias) => self.aliased(alias, self.tied(&alias.input)?),
            LogicalPlan::Projection(projection) => self.projected(projection, self.tied(&projection.input)?),
            LogicalPlan::Sort(sort) if sort.fetch.is_none() => self.tied(&sort.input),
            LogicalPlan::Limit(limit) => {
                let (SkipType::Literal(skip), FetchType::Literal(fetch)) =
                    (limit.get_skip_type()?, limit.get_fetch_type()?)
                else {
                    return Ok(None);
                };
                self.limited(&limit.input, skip, fetch)
            }
            LogicalPlan::Filter(filter) => self.filtered(filter),
            _ => Ok(None),
        }
    }

    fn aliased(&self, alias: &SubqueryAlias, below: Option<Tied>) -> Result<Option<Tied>> {
        let Some(Tied { plan, keys, outer, is_limited, is_unique }) = below else { return Ok(None) };
        let keys = keys.into_iter().map(|key| Column::new(Some(alias.alias.clone()), key.name)).collect();
        let plan = LogicalPlan::SubqueryAlias(SubqueryAlias::try_new(Arc::new(plan), alias.alias.clone())?);
        Ok(Some(Tied { plan, keys, outer, is_limited, is_unique }))
    }

    fn projected(&self, projection: &Projection, below: Option<Tied>) -> Result<Option<Tied>> {
        let Some(Tied { plan, keys, outer, is_limited, is_unique }) = below else { return Ok(None) };
        if projection.expr.iter().any(reads_outer) {
            return Ok(None);
        }
        let exprs = projection.expr.iter().cloned().chain(keys.iter().cloned().map(Expr::Column));
        let plan = LogicalPlan::Projection(Projection::try_new(exprs.collect(), Arc::new(plan))?);
        Ok(Some(Tied { plan, keys, outer, is_limited, is_unique }))
    }

    /// The rows of each group from the `skip`th on, `fetch` of them, in the order that is said below.
    fn limited(&self, plan: &LogicalPlan, skip: usize, fetch: Option<usize>) -> Result<Option<Tied>> {
        match plan {
            LogicalPlan::Projection(projection) => {
                self.projected(projection, self.limited(&projection.input, skip, fetch)?)
            }
            LogicalPlan::Sort(sort) if sort.fetch.is_none() && !sort.expr.iter().any(|by| reads_outer(&by.expr)) => {
                let Some(below) = self.tied(&sort.input)? else { return Ok(None) };
                self.numbered(below, sort.expr.clone(), skip, fetch).map(Some)
            }
            other => {
                let Some(below) = self.tied(other)? else { return Ok(None) };
                self.numbered(below, Vec::new(), skip, fetch).map(Some)
            }
        }
    }

    fn numbered(&self, below: Tied, order_by: Vec<Sort>, skip: usize, fetch: Option<usize>) -> Result<Tied> {
        let Tied { plan, keys, outer, is_unique, .. } = below;
        let is_unique = is_unique || fetch.is_some_and(|rows| rows <= 1);
        let columns: Vec<Expr> = plan.schema().columns().into_iter().map(Expr::Column).collect();
        let number = self.over_group("row_number", Vec::new(), &keys, order_by)?;
        let numbered = self.with_calls(plan, [("place", number)])?;
        let place = Expr::Column(self.own("place"));
        let first = i64::try_from(skip).unwrap_or(i64::MAX);
        let last = fetch.map(|fetch| first.saturating_add(i64::try_from(fetch).unwrap_or(i64::MAX)));
        let conditions = (skip > 0).then(|| place.clone().gt(lit(first))).into_iter();
        let conditions = conditions.chain(last.map(|last| place.clone().lt_eq(lit(last))));
        let kept = match conditions.reduce(Expr::and) {
            Some(condition) => numbered.filter(condition)?,
            None => numbered,
        };
        Ok(Tied { plan: kept.project(columns)?.build()?, keys, outer, is_limited: true, is_unique })
    }

    /// The first row of each group, and a column that says whether there is a second.
    fn only_first(&self, below: Tied) -> Result<(Tied, Column)> {
        let Tied { plan, keys, outer, is_limited, .. } = below;
        let columns: Vec<Expr> = plan.schema().columns().into_iter().map(Expr::Column).collect();
        let number = self.over_group("row_number", Vec::new(), &keys, Vec::new())?;
        let second = self.over_group("lead", vec![lit(true)], &keys, Vec::new())?;
        let numbered = self.with_calls(plan, [("place", number), ("second", second)])?;
        let first = numbered.filter(Expr::Column(self.own("place")).lt_eq(lit(1_i64)))?;
        let second = self.own("second");
        let plan = first.project(columns.into_iter().chain([Expr::Column(second.clone())]))?.build()?;
        Ok((Tied { plan, keys, outer, is_limited, is_unique: true }, second))
    }

    /// A window function over the rows of one group.
    fn over_group(&self, name: &str, args: Vec<Expr>, keys: &[Column], order_by: Vec<Sort>) -> Result<Expr> {
        let Some(function) = self.known.functions.get(name) else { return internal_err!("no function {name}") };
        let params = WindowFunctionParams {
            args,
            partition_by: keys.iter().cloned().map(Expr::Column).collect(),
            window_frame: WindowFrame::new((!order_by.is_empty()).then_some(false)),
            order_by,
            filter: None,
            null_treatment: None,
            distinct: false,
        };
        let fun = WindowFunctionDefinition::WindowUDF(Arc::clone(function));
        Ok(Expr::WindowFunction(Box::new(WindowFunction { fun, params })))
    }

    /// The rows with what these calls give behind them, under names of our own.
    fn with_calls<const N: usize>(&self, plan: LogicalPlan, calls: [(&str, Expr); N]) -> Result<LogicalPlanBuilder> {
        let (names, calls): (Vec<&str>, Vec<Expr>) = calls.into_iter().unzip();
        let columns = plan.schema().columns().len();
        let called = LogicalPlanBuilder::from(plan).window(calls)?.build()?;
        let given = called.schema().columns();
        let own = given.iter().skip(columns).zip(names);
        let own =
            own.map(|(call, name)| Expr::Column(call.clone()).alias_qualified(Some(self.qualifier.clone()), name));
        let all: Vec<Expr> = given.iter().take(columns).cloned().map(Expr::Column).chain(own).collect();
        LogicalPlanBuilder::from(called).project(all)
    }

    fn own(&self, name: &str) -> Column {
        Column::new(Some(self.qualifier.clone()), name)
    }

    /// The ties are the conditions that read the outer row.
    fn filtered(&self, filter: &Filter) -> Result<Option<Tied>> {
        let conditions = split_conjunction_owned(filter.predicate.clone());
        if conditions.iter().any(|condition| holds_tied_subquery(condition, filter.input.schema())) {
            return Ok(None);
        }
        let (ties, rest): (Vec<Expr>, Vec<Expr>) = conditions.into_iter().partition(Expr::contains_outer);
        if ties.is_empty() {
            let Some(below) = self.tied(&filter.input)? else { return Ok(None) };
            let plan = LogicalPlan::Filter(Filter::try_new(filter.predicate.clone(), Arc::new(below.plan))?);
            return Ok(Some(Tied { plan, ..below }));
        }
        if is_tied(&filter.input)? {
            return Ok(None);
        }
        let Some(pairs) = ties.into_iter().map(|tie| self.pair(tie)).collect::<Option<Vec<_>>>() else {
            return Ok(None);
        };
        let is_unique = self.have_key(&filter.input, &pairs)?;
        let schema = filter.input.schema();
        let comparable = pairs.into_iter().map(|(inner, outer)| {
            let (own, other) = (inner.get_type(schema).ok()?, outer.get_type(self.outer).ok()?);
            as_group_key((inner, &own), (outer, &other))
        });
        let Some(pairs) = comparable.collect::<Option<Vec<_>>>() else { return Ok(None) };
        let mut exprs: Vec<Expr> = filter.input.schema().columns().into_iter().map(Expr::Column).collect();
        let (mut keys, mut outer) = (Vec::new(), Vec::new());
        for (place, (inner, other)) in pairs.into_iter().enumerate() {
            let name = format!("key_{place}");
            exprs.push(inner.alias_qualified(Some(self.qualifier.clone()), &name));
            keys.push(Column::new(Some(self.qualifier.clone()), name));
            outer.push(other);
        }
        let mut source = LogicalPlanBuilder::from(filter.input.as_ref().clone());
        if let Some(rest) = rest.into_iter().reduce(Expr::and) {
            source = source.filter(rest)?;
        }
        Ok(Some(Tied { plan: source.project(exprs)?.build()?, keys, outer, is_limited: false, is_unique }))
    }

    /// Whether the ties are to all columns of a table's primary key, as values of the same kind: a comparison that rounds could take
    /// two for one.
    fn have_key(&self, plan: &LogicalPlan, pairs: &[(Expr, Expr)]) -> Result<bool> {
        let scan = match plan {
            LogicalPlan::SubqueryAlias(alias) => &*alias.input,
            other => other,
        };
        let LogicalPlan::TableScan(scan) = scan else { return Ok(false) };
        let key = relation_of(&scan.source).and_then(|relation| self.known.relations.primary_key(relation.id));
        let Some(key) = key else { return Ok(false) };
        let schema = plan.schema();
        for name in key {
            let tie = pairs.iter().find(|(inner, _)| matches!(inner, Expr::Column(column) if column.name == name));
            let Some((inner, outer)) = tie else { return Ok(false) };
            let (inner, outer) = (inner.get_type(schema)?, outer.get_type(self.outer)?);
            if inner != outer && !(inner.is_integer() && outer.is_integer()) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What is equal: an expression over the subquery's rows, and one over the outer row.
    fn pair(&self, tie: Expr) -> Option<(Expr, Expr)> {
        let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = tie else { return None };
        let is_inner = |side: &Expr| !reads_outer(side) && !side.column_refs().is_empty();
        let (inner, outer) = if is_inner(&left) { (*left, *right) } else { (*right, *left) };
        if !is_inner(&inner) || !outer.column_refs().is_empty() || has_subquery(&inner) || has_subquery(&outer) {
            return None;
        }
        let mut is_of_outer_row = true;
        let over_outer = outer.transform(|expr| match expr {
            Expr::OuterReferenceColumn(_, column) => {
                is_of_outer_row &= self.outer.has_column(&column);
                Ok(Transformed::yes(Expr::Column(column)))
            }
            other => Ok(Transformed::no(other)),
        });
        over_outer.ok().filter(|_| is_of_outer_row).map(|outer| (inner, outer.data))
    }
}

fn reads_outer(expr: &Expr) -> bool {
    let mut reads = expr.contains_outer();
    let found = expr.apply(|part| {
        // What a subquery within reads is not looked at.
        reads |= matches!(part, Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_));
        Ok(if reads { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    found.is_err() || reads
}

/// One of another row than those of `schema`.
fn holds_tied_subquery(expr: &Expr, schema: &DFSchema) -> bool {
    let is_own = |outer: &Expr| matches!(outer, Expr::OuterReferenceColumn(_, column) if schema.has_column(column));
    let is_tied = |expr: &Expr| {
        let outer = match expr {
            Expr::ScalarSubquery(subquery) => &subquery.outer_ref_columns,
            Expr::Exists(exists) => &exists.subquery.outer_ref_columns,
            Expr::InSubquery(within) => &within.subquery.outer_ref_columns,
            Expr::SetComparison(set) => &set.subquery.outer_ref_columns,
            _ => return Ok(false),
        };
        Ok(!outer.iter().all(is_own))
    };
    expr.exists(is_tied).unwrap_or(true)
}

pub(super) fn has_subquery(expr: &Expr) -> bool {
    let is_one = |expr: &Expr| {
        Ok(matches!(expr, Expr::ScalarSubquery(_) | Expr::InSubquery(_) | Expr::SetComparison(_) | Expr::Exists(_)))
    };
    expr.exists(is_one).unwrap_or(true)
}

/// Two sides of an equality, in types in which those of `inner` that are equal to one of `outer` are one value: a comparison that rounds would
/// take several for it. `None` where no such types are known.
fn as_group_key((inner, own): (Expr, &DataType), (outer, other): (Expr, &DataType)) -> Option<(Expr, Expr)> {
    use DataType::{Date32, Float32, Float64, Null, Timestamp, Utf8, Utf8View};
    let is_float = |found: &DataType| matches!(found, Float32 | Float64);
    let as_double = |expr: Expr, found: &DataType| if *found == Float64 { expr } else { cast(expr, Float64) };
    match (own, other) {
        (own, other) if own == other => Some((inner, outer)),
        (Null, _) | (_, Null) | (Utf8 | Utf8View, Utf8 | Utf8View) => Some((inner, outer)),
        (Date32, Timestamp(_, None)) | (Timestamp(_, None), Date32) => Some((inner, outer)),
        (own, other) if own.is_numeric() && other.is_numeric() => match is_float(own) || is_float(other) {
            true => Some((as_double(inner, own), as_double(outer, other))),
            false => Some((inner, outer)),
        },
        _ => None,
    }
}

fn is_tied(plan: &LogicalPlan) -> Result<bool> {
    let mut reads = false;
    plan.apply_with_subqueries(|node| {
        reads |= node.contains_outer_reference();
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(reads)
}
