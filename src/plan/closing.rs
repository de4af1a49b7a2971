//! `EMIT ON WINDOW CLOSE`: a query that groups by windows of a table's time, as one that leaves late rows out, and shows a group
//! when no row can come to it any more.
//!
//! ```text
//! Close: window_start < tumble_start(watermark, '1 minute')
//!   Aggregate by tumble_start(time, '1 minute') AS window_start
//!     Late: tumble_start(time, '1 minute') < tumble_start(_watermark, '1 minute')
//!       Source: readings (time, _watermark)
//! ```
//!
//! A window is any expression that rises with the time. A row is late where the watermark that it was marked with had passed its
//! window; a group is closed where the table's watermark has. Since that is never behind what rows are marked with, a closed
//! group gets no row. All groups of a window close in one step: what looks at the groups of one window alone, as the first of each,
//! may stand above.
//!
//! Does not know: how rows are marked, what becomes of late ones.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema};
use datafusion::functions_nested::expr_fn::array_element;
use datafusion::logical_expr::{
    Aggregate, Distinct, DistinctOn, Expr, Filter, LogicalPlan, Projection, SubqueryAlias, TableScan, Unnest, Window,
    col, lit,
};

use super::lower::refuse;
use super::rising::rises;
use super::view_plan::Node;
use crate::catalog::{Catalog, Relation, Table};
use crate::error::{Error, Result};
use crate::functions::on_time;
use crate::types::{RelationId, WATERMARK};

/// Name of the column that stands for a table's watermark in a bound.
pub const TABLE_WATERMARK: &str = "watermark";

/// When groups are closed.
#[derive(Debug, Clone, PartialEq)]
pub struct Closing {
    /// The table with the watermark.
    pub relation: RelationId,
    /// Which of the group's expressions is the window.
    pub key: usize,
    /// Of the column [`TABLE_WATERMARK`]: groups whose window is before it are closed.
    pub bound: Expr,
}

/// An analyzed plan without late rows, and when its groups are closed.
///
/// Errors: 0A000 where it does not group one table with a watermark by windows of its time.
pub fn close_windows(plan: LogicalPlan, catalog: &Catalog) -> Result<(LogicalPlan, Closing)> {
    let mut closing = None;
    let plan = above(plan, catalog, &mut closing)?;
    match closing {
        Some(closing) => Ok((plan, closing)),
        None => Err(Error::internal("windows that are not closed")),
    }
}

/// The same plan with its aggregate's groups only where `bound` has passed them: for whoever runs it as a query.
pub fn only_closed(plan: LogicalPlan, closing: &Closing, bound: Expr) -> Result<LogicalPlan> {
    let closed = plan.transform_down(|node| match node {
        LogicalPlan::Aggregate(aggregate) => {
            let window = Expr::Column(Column::from(aggregate.schema.qualified_field(closing.key)));
            let closed = Filter::try_new(window.lt(bound.clone()), Arc::new(LogicalPlan::Aggregate(aggregate)))?;
            // What is below is not looked at: there is one aggregate.
            Ok(Transformed::new(
                LogicalPlan::Filter(closed),
                true,
                datafusion::common::tree_node::TreeNodeRecursion::Stop,
            ))
        }
        other => Ok(Transformed::no(other)),
    })?;
    Ok(closed.data)
}

/// The operator that closes groups, over the aggregate at the top of a view's plan.
pub fn close(node: Node, closing: &Closing) -> Result<Node> {
    match node {
        aggregate @ Node::Aggregate { .. } => {
            let passed = passed(&aggregate).ok_or_else(|| Error::internal("closed groups without late rows"))?;
            let bound = passed.transform_up(|expr| match &expr {
                Expr::Column(column) if column.name == WATERMARK => Ok(Transformed::yes(col(TABLE_WATERMARK))),
                _ => Ok(Transformed::no(expr)),
            })?;
            let closing = Closing { bound: bound.data, ..closing.clone() };
            Ok(Node::Close { id: 0, input: Box::new(aggregate), closing })
        }
        above @ (Node::Filter { .. } | Node::Project { .. } | Node::Temporal { .. }) => {
            above.map_inputs(&mut |input| close(input, closing))
        }
        above @ (Node::Top { .. } | Node::Window { .. }) => {
            let above = above.map_inputs(&mut |input| close(input, closing))?;
            match come_at_once(&above) {
                true => Ok(above),
                false => Err(refuse("a window function or DISTINCT ON beyond the window of EMIT ON WINDOW CLOSE")
                    .with_hint("Name the window in PARTITION BY, or in DISTINCT ON; or rank in a view over this one.")),
            }
        }
        _ => Err(refuse("EMIT ON WINDOW CLOSE of this query")),
    }
}

/// Of window functions, and of first rows: whether all rows of a partition are groups of one closed window, so that they come in one
/// step, and none afterwards.
pub fn come_at_once(node: &Node) -> bool {
    let (input, partition): (_, &[Expr]) = match node {
        Node::Top { input, partition, .. } => (input, partition),
        Node::Window { input, calls, .. } => match calls.first() {
            Some(Expr::WindowFunction(call)) => (input, &call.params.partition_by),
            _ => return false,
        },
        _ => return false,
    };
    let Some(window) = closed_window(input) else { return false };
    partition.iter().any(|expr| column_of(expr, input.schema()) == Some(window))
}

/// The column that is the window of closed groups.
fn closed_window(node: &Node) -> Option<usize> {
    match node {
        Node::Close { closing, .. } => Some(closing.key),
        Node::Filter { input, .. } => closed_window(input),
        Node::Project { input, exprs, .. } => {
            let window = closed_window(input)?;
            exprs.iter().position(|expr| column_of(expr, input.schema()) == Some(window))
        }
        // The input's columns are the first ones.
        Node::Top { input, .. } | Node::Window { input, .. } if come_at_once(node) => closed_window(input),
        _ => None,
    }
}

fn column_of(expr: &Expr, schema: &DFSchema) -> Option<usize> {
    match expr {
        Expr::Alias(alias) => column_of(&alias.expr, schema),
        Expr::Column(column) => schema.maybe_index_of_column(column),
        _ => None,
    }
}

/// The window that the mark of a row has reached, as the plan has come to compute it.
fn passed(node: &Node) -> Option<Expr> {
    match node {
        Node::Late { passed, .. } => Some(passed.clone()),
        _ => node.inputs().into_iter().find_map(passed),
    }
}

/// Down to the aggregate.
fn above(plan: LogicalPlan, catalog: &Catalog, closing: &mut Option<Closing>) -> Result<LogicalPlan> {
    match plan {
        LogicalPlan::Aggregate(aggregate) => close_groups(aggregate, catalog, closing),
        LogicalPlan::Projection(Projection { expr, input, .. }) => {
            let input = above(Arc::unwrap_or_clone(input), catalog, closing)?;
            Ok(LogicalPlan::Projection(Projection::try_new(expr, Arc::new(input))?))
        }
        LogicalPlan::Filter(filter) => {
            let input = above(Arc::unwrap_or_clone(filter.input), catalog, closing)?;
            Ok(LogicalPlan::Filter(Filter::try_new(filter.predicate, Arc::new(input))?))
        }
        LogicalPlan::SubqueryAlias(SubqueryAlias { input, alias, .. }) => {
            let input = above(Arc::unwrap_or_clone(input), catalog, closing)?;
            Ok(LogicalPlan::SubqueryAlias(SubqueryAlias::try_new(Arc::new(input), alias)?))
        }
        LogicalPlan::Window(window) => {
            let input = above(Arc::unwrap_or_clone(window.input), catalog, closing)?;
            Ok(LogicalPlan::Window(Window::try_new(window.window_expr, Arc::new(input))?))
        }
        LogicalPlan::Distinct(Distinct::On(DistinctOn { on_expr, select_expr, sort_expr, input, .. })) => {
            let input = Arc::new(above(Arc::unwrap_or_clone(input), catalog, closing)?);
            let distinct = DistinctOn::try_new(on_expr, select_expr, sort_expr, input)?;
            Ok(LogicalPlan::Distinct(Distinct::On(distinct)))
        }
        LogicalPlan::Sort(sort) if sort.fetch.is_none() => above(Arc::unwrap_or_clone(sort.input), catalog, closing),
        _ => Err(no_windows()),
    }
}

fn no_windows() -> Error {
    Error::not_built("EMIT ON WINDOW CLOSE of a query that is not a GROUP BY of one table").with_hint(
        "Group a table with a WATERMARK by a window of its time, as in GROUP BY time_bucket('1 minute', time), or by window_start \
         of TUMBLE or HOP; join in views over that view.",
    )
}

fn close_groups(aggregate: Aggregate, catalog: &Catalog, closing: &mut Option<Closing>) -> Result<LogicalPlan> {
    let marked = marked(&aggregate.input, catalog)?;
    let is_time = |expr: &Expr| matches!(expr, Expr::Column(column) if *column == marked.time);
    let mut window = None;
    for (index, expr) in aggregate.group_expr.iter().enumerate() {
        let origin = origin(expr, &aggregate.input)?.filter(|origin| rises(origin, &is_time));
        if let Some(origin) = origin {
            // One that is named twice is one key.
            let before = &aggregate.group_expr[..index];
            let key = before.iter().enumerate().filter(|(at, other)| !before[..*at].contains(other)).count();
            window = Some((expr.clone(), origin, key));
            break;
        }
    }
    let Some((expr, origin, key)) = window else {
        let time = &marked.time.name;
        return Err(Error::not_built("EMIT ON WINDOW CLOSE without a window of the watermark's column in GROUP BY")
            .with_hint(format!(
                "Group by an expression that rises with {time}, such as time_bucket('1 minute', {time}), date_trunc in UTC, or \
                 window_start of TUMBLE or HOP."
            )));
    };
    let of_mark = with_time(&origin, &marked.time, Expr::Column(marked.mark))?;
    let bound = with_time(&origin, &marked.time, col(TABLE_WATERMARK))?;
    *closing = Some(Closing { relation: marked.table.id, key, bound });
    let punctual = Filter::try_new(
        on_time().call(vec![expr.unalias(), of_mark, Expr::Column(marked.moment)]),
        Arc::new(marked.plan),
    )?;
    let input = Arc::new(LogicalPlan::Filter(punctual));
    Ok(LogicalPlan::Aggregate(Aggregate::try_new(input, aggregate.group_expr, aggregate.aggr_expr)?))
}

/// An input with what its rows were marked with.
struct Marked {
    plan: LogicalPlan,
    mark: Column,
    /// The row's time, to tell of a row that is late.
    moment: Column,
    /// The time, as the scan names it.
    time: Column,
    table: Arc<Table>,
}

impl Marked {
    /// `places`: of mark and moment among the columns of `plan`.
    fn over(self, plan: LogicalPlan, places: (usize, usize)) -> Marked {
        let at = |place: usize| Column::from(plan.schema().qualified_field(place));
        let (mark, moment) = (at(places.0), at(places.1));
        Marked { plan, mark, moment, ..self }
    }

    /// Where mark and moment are among the columns.
    fn places(&self) -> Result<(usize, usize)> {
        let schema = self.plan.schema();
        Ok((schema.index_of_column(&self.mark)?, schema.index_of_column(&self.moment)?))
    }
}

/// The plan with the mark and the time of each row, behind its columns where they are not among them.
fn marked(plan: &LogicalPlan, catalog: &Catalog) -> Result<Marked> {
    match plan {
        LogicalPlan::TableScan(scan) => marked_scan(scan, catalog),
        LogicalPlan::Projection(projection) => {
            let below = marked(&projection.input, catalog)?;
            let mut exprs = projection.expr.clone();
            let mut place = |column: &Column| {
                let wanted = Expr::Column(column.clone());
                let is_it = |expr: &Expr| expr.clone().unalias_nested().data == wanted;
                exprs.iter().position(is_it).unwrap_or_else(|| {
                    // A query may call something else so.
                    let is_taken = exprs.iter().any(|expr| expr.schema_name().to_string() == column.name);
                    exprs.push(if is_taken { wanted.alias(format!("__{}", column.name)) } else { wanted });
                    exprs.len() - 1
                })
            };
            let places = (place(&below.mark), place(&below.moment));
            let plan = Projection::try_new(exprs, Arc::new(below.plan.clone()))?;
            Ok(below.over(LogicalPlan::Projection(plan), places))
        }
        LogicalPlan::Filter(filter) => {
            let below = marked(&filter.input, catalog)?;
            let plan = Filter::try_new(filter.predicate.clone(), Arc::new(below.plan.clone()))?;
            let places = below.places()?;
            Ok(below.over(LogicalPlan::Filter(plan), places))
        }
        LogicalPlan::SubqueryAlias(alias) => {
            let below = marked(&alias.input, catalog)?;
            let plan = SubqueryAlias::try_new(Arc::new(below.plan.clone()), alias.alias.clone())?;
            let places = below.places()?;
            Ok(below.over(LogicalPlan::SubqueryAlias(plan), places))
        }
        LogicalPlan::Unnest(unnest) => {
            let below = marked(&unnest.input, catalog)?;
            let input = Arc::new(below.plan.clone());
            let plan = Unnest::try_new(input, unnest.exec_columns.clone(), unnest.options.clone())?;
            let of = |place: usize| {
                let found = plan.dependency_indices.iter().position(|of| *of == place);
                found.ok_or_else(|| Error::internal("a column that UNNEST does not hand on"))
            };
            let (mark, moment) = below.places()?;
            let places = (of(mark)?, of(moment)?);
            Ok(below.over(LogicalPlan::Unnest(plan), places))
        }
        LogicalPlan::Sort(sort) if sort.fetch.is_none() => marked(&sort.input, catalog),
        LogicalPlan::Join(_) => Err(refuse("a join under EMIT ON WINDOW CLOSE").with_hint(
            "What changes on the other side after a window closed would change what was shown. Group the table with the WATERMARK by \
             its window and the join's columns, and join in a view over that view.",
        )),
        _ => Err(no_windows()),
    }
}

fn marked_scan(scan: &TableScan, catalog: &Catalog) -> Result<Marked> {
    let table = match catalog.find(scan.table_name.table()) {
        Some(Relation::Table(table)) => table,
        _ => return Err(no_windows()),
    };
    let Some(watermark) = &table.watermark else {
        return Err(Error::not_built(format!(
            "EMIT ON WINDOW CLOSE over table \"{}\", which has no WATERMARK",
            table.name
        ))
        .with_hint("CREATE TABLE ... (..., WATERMARK FOR time AS time - INTERVAL '5 seconds') APPEND ONLY."));
    };
    let named = |name: &str| -> Result<Column> {
        let index = scan.projected_schema.fields().iter().position(|field| field.name() == name);
        let index = index.ok_or_else(|| Error::internal("a scan of a table without its watermark"))?;
        Ok(Column::from(scan.projected_schema.qualified_field(index)))
    };
    Ok(Marked {
        mark: named(WATERMARK)?,
        moment: named(&watermark.column)?,
        time: named(&watermark.column)?,
        table: table.clone(),
        plan: LogicalPlan::TableScan(scan.clone()),
    })
}

/// The expression in the columns of the scan below; `None` where it has no such form.
fn origin(expr: &Expr, plan: &LogicalPlan) -> Result<Option<Expr>> {
    let mut complete = true;
    let origin = expr.clone().unalias_nested().data.transform_up(|expr| match &expr {
        Expr::Column(column) => {
            match plan.schema().maybe_index_of_column(column).and_then(|at| column_origin(plan, at)) {
                Some(origin) => Ok(Transformed::yes(origin)),
                None => {
                    complete = false;
                    Ok(Transformed::no(expr))
                }
            }
        }
        _ => Ok(Transformed::no(expr)),
    })?;
    Ok(complete.then_some(origin.data))
}

fn column_origin(plan: &LogicalPlan, at: usize) -> Option<Expr> {
    match plan {
        LogicalPlan::TableScan(scan) => field(&scan.projected_schema, at),
        LogicalPlan::Projection(projection) => origin(projection.expr.get(at)?, &projection.input).ok()?,
        LogicalPlan::SubqueryAlias(alias) => column_origin(&alias.input, at),
        LogicalPlan::Filter(filter) => column_origin(&filter.input, at),
        LogicalPlan::Sort(sort) => column_origin(&sort.input, at),
        LogicalPlan::Unnest(unnest) => {
            let below = *unnest.dependency_indices.get(at)?;
            let origin = column_origin(&unnest.input, below)?;
            match unnest.list_type_columns.iter().any(|(list, _)| *list == below) {
                true => Some(Expr::Unnest(datafusion::logical_expr::expr::Unnest::new(origin))),
                false => Some(origin),
            }
        }
        _ => None,
    }
}

fn field(schema: &DFSchema, at: usize) -> Option<Expr> {
    (at < schema.fields().len()).then(|| Expr::Column(Column::from(schema.qualified_field(at))))
}

/// The expression of another time; of several windows the first.
fn with_time(expr: &Expr, time: &Column, other: Expr) -> Result<Expr> {
    let replaced = expr.clone().transform_up(|expr| match expr {
        Expr::Column(column) if column == *time => Ok(Transformed::yes(other.clone())),
        Expr::Unnest(unnest) => Ok(Transformed::yes(array_element(*unnest.expr, lit(1_i64)))),
        expr => Ok(Transformed::no(expr)),
    })?;
    Ok(replaced.data)
}
