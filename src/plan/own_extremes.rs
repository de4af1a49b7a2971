//! Rows joined with the least or greatest value of their own group are the first rows of each group.
//!
//! ```text
//! Join t.device = m.device, t.time = m.last          Project t.*, device, time
//!   t                                          ->      Top: rank 1 by device, order time DESC
//!   Aggregate by device [max(time) last]                 Filter device IS NOT NULL AND time IS NOT NULL
//!     t                                                    t
//! ```
//!
//! People write the latest row of each device so, or with IN, or with a subquery that reads the outer row. The rows are then kept once
//! and not twice, and of rows that only come the first ones alone.
//!
//! Does not know: how first rows are kept.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, DFSchemaRef};
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{Expr, ExprSchemable, Operator};

use super::eager::through;
use super::origin::Origin;
use super::view_plan::{AggregateFunction, MatchKind, Node, RankKind, SortDirection, SortKey};
use crate::error::Result;
use crate::functions::floats::{CANONICAL_FLOAT, CanonicalFloat};

/// The plan with first rows in the place of such joins.
pub fn rank_by_own_extremes(node: Node) -> Result<Node> {
    let node = node.map_inputs(&mut rank_by_own_extremes)?;
    for is_right in [true, false] {
        if let Some(joined) = Joined::of(&node, is_right)?
            && let Some(ranked) = joined.rank()?
        {
            return Ok(ranked);
        }
    }
    Ok(node)
}

/// A join of rows with what may be extremes of theirs.
struct Joined<'a> {
    own: &'a Node,
    extremes: &'a Node,
    /// Over the rows, and over the extremes.
    on: Vec<(Expr, Expr)>,
    /// Rows that match nothing are there too, until the filter leaves them out.
    is_padded: bool,
    /// Over both.
    filter: Vec<Expr>,
    /// Left, then right.
    pairs: DFSchemaRef,
    /// Whether the columns of the extremes are shown.
    shows_extremes: bool,
    extremes_are_right: bool,
    /// Which of both are shown, in the order from the join up.
    above: Vec<(Vec<Expr>, DFSchemaRef)>,
}

/// What the extremes are.
struct Extremes<'a> {
    rows: &'a Node,
    group: &'a [Expr],
    value: &'a Expr,
    is_greatest: bool,
    schema: &'a DFSchemaRef,
    /// For each column of the join's side what it is over `schema`: the group's expressions, then the extreme.
    columns: Vec<Expr>,
}

impl<'a> Joined<'a> {
    fn of(node: &'a Node, is_right: bool) -> Result<Option<Joined<'a>>> {
        let (mut join, mut predicate, mut above) = (node, None, Vec::new());
        if let Node::Filter { input, predicate: written, .. } = node {
            let mut written = written.clone();
            join = input;
            while let Node::Project { input, exprs, schema, .. } = join
                && exprs.iter().all(|expr| matches!(expr, Expr::Column(_)))
            {
                through(&mut written, exprs, schema)?;
                above.insert(0, (exprs.clone(), Arc::clone(schema)));
                join = input;
            }
            predicate = Some(written);
        }
        let (left, right, on, filter, schema, kind) = match join {
            Node::Join { left, right, on, filter, schema, .. } => (left, right, on, filter, schema, None),
            Node::MatchJoin { kind, left, right, on, filter, schema, null_aware: false, .. } => {
                (left, right, on, filter, schema, Some(*kind))
            }
            _ => return Ok(None),
        };
        let is_one = match kind {
            None => true,
            // What compares with the extreme lets no row through that found none.
            Some(MatchKind::Left) => is_right && filter.is_none() && predicate.is_some(),
            Some(MatchKind::Semi) => is_right && filter.is_none() && predicate.is_none(),
            Some(_) => false,
        };
        if !is_one {
            return Ok(None);
        }
        let (own, extremes) = if is_right { (left, right) } else { (right, left) };
        let on = on.iter().cloned();
        Ok(Some(Joined {
            own,
            extremes,
            on: if is_right { on.collect() } else { on.map(|(left, right)| (right, left)).collect() },
            is_padded: kind == Some(MatchKind::Left),
            filter: filter.iter().cloned().chain(predicate).flat_map(split_conjunction_owned).collect(),
            pairs: Arc::clone(schema),
            shows_extremes: kind != Some(MatchKind::Semi),
            extremes_are_right: is_right,
            above,
        }))
    }

    fn rank(self) -> Result<Option<Node>> {
        let Some(extremes) = Extremes::of(self.extremes)? else { return Ok(None) };
        let (origin, grouped) = (Origin::of(self.own)?, Origin::of(extremes.rows)?);
        let (mut rows, mut later) = (self.own, Vec::new());
        while !Origin::of(rows)?.has_rows_of(&grouped) {
            // What leaves out rows, and not the groups' rows, is said of first rows.
            let (Node::Filter { input, .. } | Node::Project { input, .. }) = rows else { return Ok(None) };
            later.push(rows);
            rows = input;
        }
        let own = self.own.schema();
        let trace_grouped =
            |expr: &Expr| -> Result<Expr> { Ok(plain_float(grouped.trace(expr, extremes.rows.schema())?)) };
        let is_traced_to =
            |expr: &Expr, wanted: &Expr| -> Result<bool> { Ok(plain_float(origin.trace(expr, own)?) == *wanted) };
        let wanted = extremes.group.iter().chain([extremes.value]).map(trace_grouped).collect::<Result<Vec<Expr>>>()?;
        let value_place = extremes.group.len();
        // The greatest of a constant orders nothing.
        if wanted[value_place].column_refs().is_empty() {
            return Ok(None);
        }

        // The row's own expression for each of the group's, where a constant is one in both, and for the value.
        let constant = |expr: &Expr| matches!(expr, Expr::Literal(..)).then(|| expr.clone());
        let mut found: Vec<Option<Expr>> = wanted.iter().take(value_place).map(constant).collect();
        found.push(None);
        for (own_key, key) in &self.on {
            match extremes.place(key, self.extremes.schema())? {
                Some(place) if place == value_place && self.is_padded => return Ok(None),
                Some(place) if found[place].is_none() && is_traced_to(own_key, &wanted[place])? => {
                    found[place] = Some(plain_float(own_key.clone()));
                }
                _ => return Ok(None),
            }
        }
        let mut rest = Vec::new();
        for condition in self.filter.iter().cloned() {
            match self.own_value(&condition, &extremes)? {
                Some(value) if found[value_place].is_none() && is_traced_to(&value, &wanted[value_place])? => {
                    found[value_place] = Some(value);
                }
                _ => rest.push(condition),
            }
        }
        let Some(found) = found.into_iter().collect::<Option<Vec<Expr>>>() else { return Ok(None) };
        for expr in &found {
            if !has_one_order(&expr.get_type(own)?) {
                return Ok(None);
            }
        }
        let mut below = found.clone();
        for node in &later {
            if let Node::Project { exprs, schema, .. } = node {
                below.iter_mut().try_for_each(|expr| through(expr, exprs, schema))?;
            }
        }
        let mut ranked = first_rows(rows, below, extremes.is_greatest)?;
        for node in later.into_iter().rev() {
            ranked = node.clone().map_inputs(&mut |_| Ok(ranked.clone()))?;
        }
        self.with_extremes(ranked, &extremes, found, rest).map(Some)
    }

    /// `ranked` are the first rows; `found` is what the group's expressions and the value are of them.
    fn with_extremes(
        self,
        mut ranked: Node,
        extremes: &Extremes<'_>,
        found: Vec<Expr>,
        rest: Vec<Expr>,
    ) -> Result<Node> {
        let own = self.own.schema();
        if self.shows_extremes {
            let rows: Vec<Expr> = own.columns().into_iter().map(Expr::Column).collect();
            let canonical = found.into_iter().map(|expr| canonical(expr, own)).collect::<Result<Vec<Expr>>>()?;
            let shown = extremes.columns.iter().map(|column| over(column, extremes.schema, &canonical));
            let shown = shown.collect::<Result<Vec<Expr>>>()?;
            let exprs = if self.extremes_are_right { [rows, shown].concat() } else { [shown, rows].concat() };
            ranked = Node::Project { id: 0, input: Box::new(ranked), exprs, schema: Arc::clone(&self.pairs) };
        }
        if let Some(predicate) = conjunction(rest) {
            ranked = Node::Filter { id: 0, input: Box::new(ranked), predicate };
        }
        self.above.into_iter().try_fold(ranked, |ranked, (exprs, schema)| projected(ranked, exprs, schema))
    }

    /// The row's own side of a condition that holds for its group's extreme and for no other value: none is beyond it.
    fn own_value(&self, condition: &Expr, extremes: &Extremes<'_>) -> Result<Option<Expr>> {
        let Expr::BinaryExpr(binary) = condition else { return Ok(None) };
        let reached = if extremes.is_greatest { Operator::GtEq } else { Operator::LtEq };
        let (left, right) = (plain_float(*binary.left.clone()), plain_float(*binary.right.clone()));
        for (own, op, other) in [(&left, Some(binary.op), &right), (&right, binary.op.swap(), &left)] {
            if op != Some(Operator::Eq) && op != Some(reached) {
                continue;
            }
            let own_columns = self.own.schema().fields().len();
            let count = self.pairs.fields().len();
            let (own_places, places) = match self.extremes_are_right {
                true => (0..own_columns, own_columns..count),
                false => (count - own_columns..count, 0..count - own_columns),
            };
            let own = within(own, &self.pairs, own_places, self.own.schema())?;
            let other = within(other, &self.pairs, places, self.extremes.schema())?;
            if let (Some(own), Some(other)) = (own, other)
                && extremes.place(&other, self.extremes.schema())? == Some(extremes.group.len())
            {
                return Ok(Some(own));
            }
        }
        Ok(None)
    }
}

impl<'a> Extremes<'a> {
    fn of(node: &'a Node) -> Result<Option<Extremes<'a>>> {
        let mut columns: Vec<Expr> = node.schema().columns().into_iter().map(Expr::Column).collect();
        let mut node = node;
        while let Node::Project { input, exprs, schema, .. } = node {
            columns.iter_mut().try_for_each(|column| through(column, exprs, schema))?;
            node = input;
        }
        let Node::Aggregate { input, group, aggregates, schema, .. } = node else { return Ok(None) };
        let [call] = aggregates.as_slice() else { return Ok(None) };
        let is_greatest = match call.function {
            AggregateFunction::Max => true,
            AggregateFunction::Min => false,
            _ => return Ok(None),
        };
        let [value] = call.args.as_slice() else { return Ok(None) };
        Ok(Some(Extremes { rows: input, group, value, is_greatest, schema, columns }))
    }

    /// Which of the aggregate's columns an expression over the side's columns is.
    fn place(&self, expr: &Expr, side: &DFSchema) -> Result<Option<usize>> {
        let over_aggregate = over(expr, side, &self.columns)?;
        match plain_float(over_aggregate) {
            Expr::Column(column) => Ok(self.schema.maybe_index_of_column(&column)),
            _ => Ok(None),
        }
    }
}

/// The rows that nothing is before in their group: `found` is the group's expressions, then the value.
fn first_rows(rows: &Node, mut found: Vec<Expr>, is_greatest: bool) -> Result<Node> {
    let own = rows.schema();
    found.retain(|expr| !matches!(expr, Expr::Literal(..)));
    let mut not_null = Vec::new();
    for expr in &found {
        if expr.nullable(own)? {
            not_null.push(expr.clone().is_not_null());
        }
    }
    let mut input = rows.clone();
    if let Some(predicate) = conjunction(not_null) {
        input = Node::Filter { id: 0, input: Box::new(input), predicate };
    }
    let mut partition = found.into_iter().map(|expr| canonical(expr, own)).collect::<Result<Vec<Expr>>>()?;
    let direction = SortDirection { descending: is_greatest, nulls_first: false };
    let order = partition.pop().map(|expr| SortKey { expr, direction });
    Ok(Node::Top {
        id: 0,
        input: Box::new(input),
        partition,
        order: order.into_iter().collect(),
        kind: RankKind::Rank,
        skip: 0,
        fetch: 1,
        shows_rank: false,
        schema: Arc::clone(own),
    })
}

fn canonical(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    let is_float = expr.get_type(schema)?.is_floating();
    Ok(if is_float { CanonicalFloat::function().call(vec![expr]) } else { expr })
}

/// A projection of columns, one with a projection that it is over.
fn projected(input: Node, mut exprs: Vec<Expr>, schema: DFSchemaRef) -> Result<Node> {
    let input = match input {
        Node::Project { input, exprs: below, schema: own, .. } => {
            exprs.iter_mut().try_for_each(|expr| through(expr, &below, &own))?;
            input
        }
        other => Box::new(other),
    };
    Ok(Node::Project { id: 0, input, exprs, schema })
}

/// The expression with `columns` in the place of those that `schema` names.
fn over(expr: &Expr, schema: &DFSchema, columns: &[Expr]) -> Result<Expr> {
    let replaced = expr.clone().transform_up(|expr| match &expr {
        Expr::Column(column) => Ok(Transformed::yes(columns[schema.index_of_column(column)?].clone())),
        _ => Ok(Transformed::no(expr)),
    })?;
    Ok(replaced.data)
}

/// An expression over `pairs` that reads only the columns at `places`, as one over the side whose columns these are.
fn within(expr: &Expr, pairs: &DFSchema, places: std::ops::Range<usize>, side: &DFSchema) -> Result<Option<Expr>> {
    for column in expr.column_refs() {
        if !places.contains(&pairs.index_of_column(column)?) {
            return Ok(None);
        }
    }
    let columns: Vec<Expr> = side.columns().into_iter().map(Expr::Column).collect();
    let moved = expr.clone().transform_up(|expr| match &expr {
        Expr::Column(column) => Ok(Transformed::yes(columns[pairs.index_of_column(column)? - places.start].clone())),
        _ => Ok(Transformed::no(expr)),
    })?;
    Ok(Some(moved.data))
}

/// Without what makes one value of floats that are equal: a comparison, a group and an order do that anyway.
fn plain_float(expr: Expr) -> Expr {
    match expr {
        Expr::Alias(alias) => plain_float(*alias.expr),
        Expr::ScalarFunction(mut call) if call.name() == CANONICAL_FLOAT && call.args.len() == 1 => {
            plain_float(call.args.remove(0))
        }
        other => other,
    }
}

/// Types whose values are equal, grouped and in order by one rule.
fn has_one_order(data_type: &DataType) -> bool {
    data_type.is_integer()
        || data_type.is_floating()
        || matches!(
            data_type,
            DataType::Boolean
                | DataType::Decimal128(..)
                | DataType::Timestamp(..)
                | DataType::Date32
                | DataType::Utf8
                | DataType::Utf8View
        )
}

#[cfg(test)]
mod tests;
