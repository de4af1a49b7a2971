//! LATERAL over rows that are computed from the row before it: `FROM t, LATERAL (SELECT unnest(t.a) AS e WHERE ...)`.
//!
//! ```text
//! Join                                       Projection: t's columns, e
//!   t                                          Unnest: list
//!   Subquery                          ->         Projection: t's columns, t.a AS list
//!     Projection: e                                t
//!       Unnest: list
//!         Projection: outer(t.a) AS list
//!           EmptyRelation: one row
//! ```
//!
//! The subquery has one row to begin with, so that its steps can be done on the outer row itself. The first rows of a table
//! are `lateral_first`'s; what reads tables otherwise or groups stays as it is, for DataFusion.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{
    Column, DFSchema, DataFusionError, ExprSchema, JoinType, Result, ScalarValue, TableReference,
};
use datafusion::functions_nested::expr_fn::cardinality;
use datafusion::logical_expr::{
    Distinct, EmptyRelation, Expr, Filter, Join, LogicalPlan, LogicalPlanBuilder, Projection, Subquery, SubqueryAlias,
    Unnest, lit, when,
};

use super::lateral_first::{Known, first_rows};
use super::scalar_first::lower_scalars;
use crate::error::Error;

/// The same plan with such joins as steps over their left side, and those of `lateral_first` and `scalar_first` as joins with the first
/// rows.
///
/// Errors: 0A000 for a subquery that DataFusion would compute over the rows of all outer rows together.
pub fn lower_lateral(plan: LogicalPlan, known: &Known<'_>) -> Result<LogicalPlan> {
    let mut names = 0;
    let lowered = plan
        .transform_up_with_subqueries(|node| match node {
            LogicalPlan::Join(join) => {
                if let Some(plan) = lowered(&join, &mut names)? {
                    return Ok(Transformed::yes(plan));
                }
                names += 1;
                match first_rows(&join, known, names)? {
                    Some(plan) => Ok(Transformed::yes(plan)),
                    None => with_scalars(LogicalPlan::Join(join), known, &mut names),
                }
            }
            node => with_scalars(node, known, &mut names),
        })?
        .data;
    check_ties(&lowered)?;
    Ok(lowered)
}

fn with_scalars(node: LogicalPlan, known: &Known<'_>, names: &mut usize) -> Result<Transformed<LogicalPlan>> {
    Ok(match lower_scalars(&node, known, names)? {
        Some(plan) => Transformed::yes(plan),
        None => Transformed::no(node),
    })
}

/// Conditions on the outer row are drawn out of subqueries by DataFusion (55.2), also past what they choose the rows of: a window function, DISTINCT ON,
/// the far side of an outer join, an aggregate of an aggregate.
fn check_ties(plan: &LogicalPlan) -> Result<()> {
    let mut unsound = false;
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::Subquery(subquery) = node {
            unsound |= is_tied_below(&subquery.subquery, false)?;
        }
        node.apply_subqueries(|subquery| {
            if let LogicalPlan::Subquery(subquery) = subquery {
                unsound |= is_tied_below(&subquery.subquery, false)?;
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(TreeNodeRecursion::Continue)
    })?;
    match unsound {
        true => {
            let refused = Error::not_built(
                "a subquery whose condition on the outer row is below a window function, DISTINCT ON, an outer join or two aggregates",
            );
            let hint =
                "Join the rows first, and put the columns that tie them into PARTITION BY, DISTINCT ON or GROUP BY.";
            Err(DataFusionError::External(Box::new(refused.with_hint(hint))))
        }
        false => Ok(()),
    }
}

/// Whether a condition reads the outer row below something that it must not be drawn past; `is_below`: such a thing is above `plan`.
fn is_tied_below(plan: &LogicalPlan, is_below: bool) -> Result<bool> {
    if is_below && plan.contains_outer_reference() {
        return Ok(true);
    }
    let is_barrier = |plan: &LogicalPlan| match plan {
        LogicalPlan::Window(_) | LogicalPlan::Distinct(Distinct::On(_)) => true,
        LogicalPlan::Join(join) => join.join_type != JoinType::Inner,
        _ => false,
    };
    let is_aggregate =
        |plan: &LogicalPlan| matches!(plan, LogicalPlan::Aggregate(aggregate) if aggregate.group_expr.is_empty());
    let mut is_below = is_below || is_barrier(plan);
    if is_aggregate(plan) {
        let mut under = false;
        for input in plan.inputs() {
            under |= input.exists(|below| Ok(is_aggregate(below)))?;
        }
        is_below |= under;
    }
    for input in plan.inputs() {
        if is_tied_below(input, is_below)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The subquery's columns by what stands for them over the outer rows.
type Places = HashMap<Column, Expr>;

struct Steps<'a> {
    outer: &'a LogicalPlan,
    /// An outer row without rows of the subquery stays, with NULL for them.
    keeps_outer: bool,
    names: &'a mut usize,
}

fn lowered(join: &Join, names: &mut usize) -> Result<Option<LogicalPlan>> {
    let keeps_outer = match join.join_type {
        JoinType::Inner => false,
        JoinType::Left => true,
        _ => return Ok(None),
    };
    let is_true = |filter: &Expr| matches!(filter, Expr::Literal(ScalarValue::Boolean(Some(true)), _));
    let filter = join.filter.clone().filter(|filter| !is_true(filter));
    if !join.on.is_empty() || (keeps_outer && filter.is_some()) || !is_lateral(&join.right) {
        return Ok(None);
    }
    let mut steps = Steps { outer: &join.left, keeps_outer, names };
    let Some((plan, places)) = steps.over(&join.right)? else { return Ok(None) };
    let own = join.left.schema().columns().into_iter().map(Expr::Column);
    let given = join.right.schema().iter().map(|(qualifier, field)| {
        let column = Column::new(qualifier.cloned(), field.name());
        let place = places.get(&column).cloned().unwrap_or(Expr::Column(column));
        place.alias_qualified(qualifier.cloned(), field.name())
    });
    let exprs: Vec<Expr> = own.chain(given).collect();
    let plan = LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(plan))?);
    Ok(Some(match filter {
        Some(filter) => LogicalPlan::Filter(Filter::try_new(filter, Arc::new(plan))?),
        None => plan,
    }))
}

pub(super) fn is_lateral(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Subquery(_) => true,
        LogicalPlan::SubqueryAlias(alias) => is_lateral(&alias.input),
        LogicalPlan::Projection(projection) => is_lateral(&projection.input),
        _ => false,
    }
}

impl Steps<'_> {
    /// The steps of `plan` over the outer rows. `None`: it is not made of such steps alone.
    fn over(&mut self, plan: &LogicalPlan) -> Result<Option<(LogicalPlan, Places)>> {
        match plan {
            LogicalPlan::EmptyRelation(EmptyRelation { produce_one_row: true, .. }) => {
                Ok(Some((self.outer.clone(), Places::new())))
            }
            LogicalPlan::Subquery(Subquery { subquery, .. }) => self.over(subquery),
            LogicalPlan::SubqueryAlias(SubqueryAlias { input, schema, .. }) => {
                let Some((below, places)) = self.over(input)? else { return Ok(None) };
                Ok(Some((below, renamed(places, input.schema(), schema))))
            }
            LogicalPlan::Projection(projection) => self.projected(projection),
            LogicalPlan::Filter(filter) if !self.keeps_outer => {
                let Some((below, places)) = self.over(&filter.input)? else { return Ok(None) };
                let predicate = self.placed(&filter.predicate, &places)?;
                Ok(Some((LogicalPlan::Filter(Filter::try_new(predicate, Arc::new(below))?), places)))
            }
            LogicalPlan::Unnest(unnest) => self.unnested(unnest),
            _ => Ok(None),
        }
    }

    fn projected(&mut self, projection: &Projection) -> Result<Option<(LogicalPlan, Places)>> {
        if self.keeps_outer && unnests(&projection.input) && !projection.expr.iter().all(is_null_of_null) {
            return Ok(None);
        }
        let Some((below, places)) = self.over(&projection.input)? else { return Ok(None) };
        let qualifier = self.qualifier();
        let mut exprs: Vec<Expr> = self.outer.schema().columns().into_iter().map(Expr::Column).collect();
        let mut own = Places::new();
        for (place, (expr, column)) in projection.expr.iter().zip(projection.schema.columns()).enumerate() {
            let name = format!("c{place}");
            exprs.push(self.placed(expr, &places)?.unalias().alias_qualified(Some(qualifier.clone()), &name));
            own.insert(column, Expr::Column(Column::new(Some(qualifier.clone()), name)));
        }
        Ok(Some((LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(below))?), own)))
    }

    fn unnested(&mut self, unnest: &Unnest) -> Result<Option<(LogicalPlan, Places)>> {
        let [list] = unnest.exec_columns.as_slice() else { return Ok(None) };
        if !unnest.struct_type_columns.is_empty() {
            return Ok(None);
        }
        let Some((mut below, places)) = self.over(&unnest.input)? else { return Ok(None) };
        let Some(Expr::Column(column)) = places.get(list).cloned() else { return Ok(None) };
        if self.keeps_outer {
            below = with_one_element(below, &column)?;
        }
        let before = below.schema().clone();
        let plan = LogicalPlanBuilder::from(below)
            .unnest_columns_with_options(vec![column.clone()], unnest.options.clone())?
            .build()?;
        // Columns keep their places, and the list loses its qualifier.
        let after = plan.schema().columns();
        let moved = |place: Expr| match &place {
            Expr::Column(column) => before.maybe_index_of_column(column).and_then(|at| after.get(at)).cloned(),
            _ => None,
        };
        let places = places.into_iter().filter_map(|(own, place)| Some((own, Expr::Column(moved(place)?)))).collect();
        Ok(Some((plan, renamed(places, unnest.input.schema(), &unnest.schema))))
    }

    /// An expression of the subquery over the outer rows with its columns behind them.
    fn placed(&self, expr: &Expr, places: &Places) -> Result<Expr> {
        let placed = expr.clone().transform_up(|expr| match &expr {
            Expr::Column(column) => match places.get(column) {
                Some(place) => Ok(Transformed::yes(place.clone())),
                None => Ok(Transformed::no(expr)),
            },
            Expr::OuterReferenceColumn(_, column) if self.outer.schema().has_column(column) => {
                Ok(Transformed::yes(Expr::Column(column.clone())))
            }
            _ => Ok(Transformed::no(expr)),
        })?;
        Ok(placed.data)
    }

    /// One that no relation has.
    fn qualifier(&mut self) -> TableReference {
        *self.names += 1;
        TableReference::bare(format!("__lateral_{}", self.names))
    }
}

/// The same places under the names of `new`, whose columns are those of `old` in order.
fn renamed(places: Places, old: &DFSchema, new: &DFSchema) -> Places {
    let pairs = old.columns().into_iter().zip(new.columns());
    pairs.filter_map(|(old, new)| Some((new, places.get(&old)?.clone()))).collect()
}

/// A list without an element has NULL as its one.
fn with_one_element(plan: LogicalPlan, list: &Column) -> Result<LogicalPlan> {
    let DataType::List(element) = plan.schema().data_type(list)?.clone() else { return Ok(plan) };
    let null = ScalarValue::try_from(element.data_type())?;
    let one = ScalarValue::List(ScalarValue::new_list_nullable(&[null], element.data_type()));
    let column = Expr::Column(list.clone());
    let filled = when(cardinality(column.clone()).gt(lit(0_u64)), column).otherwise(lit(one))?;
    let exprs = plan.schema().columns().into_iter().map(|own| match own == *list {
        true => filled.clone().alias_qualified(list.relation.clone(), &list.name),
        false => Expr::Column(own),
    });
    Ok(LogicalPlan::Projection(Projection::try_new(exprs.collect(), Arc::new(plan))?))
}

fn unnests(plan: &LogicalPlan) -> bool {
    matches!(plan, LogicalPlan::Unnest(_)) || plan.inputs().into_iter().any(unnests)
}

/// Whether it is NULL where the columns that it reads are.
fn is_null_of_null(expr: &Expr) -> bool {
    match expr {
        Expr::Alias(alias) => is_null_of_null(&alias.expr),
        Expr::Cast(cast) => is_null_of_null(&cast.expr),
        Expr::Column(_) => true,
        Expr::BinaryExpr(binary) => is_null_of_null(&binary.left) && matches!(*binary.right, Expr::Literal(..)),
        Expr::ScalarFunction(call) => {
            matches!(call.name(), "jsonb_get" | "jsonb_get_text" | "array_element")
                && call.args.iter().any(is_null_of_null)
        }
        _ => false,
    }
}
