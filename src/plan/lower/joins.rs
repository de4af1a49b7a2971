//! Joins, also those that subqueries become, INTERSECT and EXCEPT.

use std::sync::Arc;

use datafusion::common::{DFSchema, DFSchemaRef, NullEquality};
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{Distinct, Expr, Join, JoinType, LogicalPlan, Operator};

use super::{lower_node, plain, pure, refuse, with_types};
use crate::error::{Error, Result};
use crate::functions::floats::CANONICAL_FLOAT;
use crate::functions::null_safe;
use crate::plan::view::same_type;
use crate::plan::view_plan::{MatchKind, Node, SetKind};

pub fn lower_join(join: &Join) -> Result<Node> {
    let is_null_safe = join.null_equality == NullEquality::NullEqualsNull;
    if is_null_safe && let Some(kind) = set_operation(join) {
        return lower_set_operation(join, kind);
    }
    let kind = match join.join_type {
        JoinType::Inner => None,
        JoinType::Left | JoinType::Right => Some(MatchKind::Left),
        JoinType::Full => Some(MatchKind::Full),
        JoinType::LeftSemi => Some(MatchKind::Semi),
        JoinType::LeftAnti => Some(MatchKind::Anti),
        JoinType::LeftMark => Some(MatchKind::Mark),
        JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => {
            return Err(refuse("a semi-join or anti-join of the right side"));
        }
    };
    let (mut on, mut filter) = conditions(join)?;
    if is_null_safe {
        on = null_safe(on, join.left.schema())?;
    }
    let mut null_aware = join.null_aware;
    if null_aware && (on.len() != 1 || filter.is_some()) {
        filter = Some(not_in(join, &mut on, filter)?);
        null_aware = false;
    }
    let (left, right) = (Box::new(lower_node(&join.left)?), Box::new(lower_node(&join.right)?));
    let schema = plain(&join.schema)?;
    match kind {
        None => Ok(Node::Join { id: 0, left, right, on, filter, schema }),
        Some(_) if join.join_type == JoinType::Right => mirrored(left, right, on, filter, schema),
        Some(kind) => Ok(Node::MatchJoin { id: 0, kind, left, right, on, filter, null_aware, schema }),
    }
}

/// Expressions over left and right that are equal where rows match.
type Keys = Vec<(Expr, Expr)>;

/// The keys, and what else decides whether a pair matches.
fn conditions(join: &Join) -> Result<(Keys, Option<Expr>)> {
    let mut on = Vec::with_capacity(join.on.len());
    for (left, right) in &join.on {
        pure(left)?;
        pure(right)?;
        if !same_type((left, &join.left), (right, &join.right))? {
            return Err(Error::internal("join keys of different types"));
        }
        on.push((left.clone().unalias_nested().data, right.clone().unalias_nested().data));
    }
    if let Some(filter) = &join.filter {
        pure(filter)?;
    }
    let is_true = |expr: &Expr| matches!(expr, Expr::Literal(value, _) if *value == true.into());
    let filters = join.filter.clone().map(split_conjunction_owned).unwrap_or_default();
    Ok((on, conjunction(filters.into_iter().filter(|expr| !is_true(expr)))))
}

/// `x NOT IN (SELECT y ... WHERE c)` with a condition `c` on the outer row: no row of those that meet `c` may be equal to
/// x, nor perhaps equal. So an ordinary anti-join by `c`, whose pairs match where `x = y` is true or NULL.
fn not_in(join: &Join, on: &mut Vec<(Expr, Expr)>, filter: Option<Expr>) -> Result<Expr> {
    let first = join.right.schema().columns().into_iter().next().map(Expr::Column);
    let is_value = |expr: &Expr| Some(stripped(expr)) == first.as_ref();
    let unknown_matches = |left: Expr, right: Expr| Expr::IsNotFalse(Box::new(left.eq(right)));
    if let Some(place) = on.iter().position(|(_, right)| is_value(right)) {
        let (left, right) = on.remove(place);
        let matches = unknown_matches(left, right);
        return Ok(filter.into_iter().fold(matches, Expr::and));
    }
    // x has no column of the outer row, so that the comparison is the first of the conditions.
    let mut filters = filter.map(split_conjunction_owned).unwrap_or_default().into_iter();
    match filters.next() {
        Some(Expr::BinaryExpr(binary)) if binary.op == Operator::Eq && is_value(&binary.right) => {
            Ok(filters.fold(unknown_matches(*binary.left, *binary.right), Expr::and))
        }
        _ => Err(refuse("this NOT IN")),
    }
}

/// Without what makes floats and types comparable.
fn stripped(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => stripped(&alias.expr),
        Expr::Cast(cast) => stripped(&cast.expr),
        Expr::ScalarFunction(call) if call.name() == CANONICAL_FLOAT => call.args.first().map_or(expr, stripped),
        other => other,
    }
}

/// DataFusion plans INTERSECT and EXCEPT as joins of all columns in which NULL equals NULL; without ALL, the left side is
/// made distinct first. `None`: it is a join that somebody wrote.
fn set_operation(join: &Join) -> Option<SetKind> {
    let kind = match (join.join_type, &*join.left) {
        (JoinType::LeftSemi, LogicalPlan::Distinct(Distinct::All(_))) => SetKind::Intersect,
        (JoinType::LeftSemi, _) => SetKind::IntersectAll,
        (JoinType::LeftAnti, LogicalPlan::Distinct(Distinct::All(_))) => SetKind::Except,
        (JoinType::LeftAnti, _) => SetKind::ExceptAll,
        _ => return None,
    };
    let (left_columns, right_columns) = (join.left.schema().columns(), join.right.schema().columns());
    let is_column = |expr: &Expr, column| matches!(stripped(expr), Expr::Column(found) if found == column);
    let all_columns = join.filter.is_none()
        && join.on.len() == left_columns.len()
        && left_columns.len() == right_columns.len()
        && join
            .on
            .iter()
            .enumerate()
            .all(|(i, (left, right))| is_column(left, &left_columns[i]) && is_column(right, &right_columns[i]));
    (all_columns && !is_subquery(&join.right)).then_some(kind)
}

fn lower_set_operation(join: &Join, kind: SetKind) -> Result<Node> {
    let left = match &*join.left {
        LogicalPlan::Distinct(Distinct::All(input)) => input,
        _ => &join.left,
    };
    let schema = plain(&join.schema)?;
    let same = |(left, right): (&Expr, &Expr)| same_type((left, &join.left), (right, &join.right));
    for (left, right) in &join.on {
        if !same((left, right))? {
            return Err(Error::internal("set operations of different types"));
        }
    }
    let left = Box::new(with_types(lower_node(left)?, &schema)?);
    let right = Box::new(with_types(lower_node(&join.right)?, &schema)?);
    Ok(Node::SetOperation { id: 0, kind, left, right, schema })
}

/// Whether it is what EXISTS or IN reads.
fn is_subquery(plan: &LogicalPlan) -> bool {
    matches!(plan, LogicalPlan::SubqueryAlias(alias) if alias.alias.table().starts_with("__correlated_sq"))
}

/// A right join: a left join of the sides in turn, with the columns put back in their order.
fn mirrored(
    left: Box<Node>,
    right: Box<Node>,
    on: Vec<(Expr, Expr)>,
    filter: Option<Expr>,
    schema: DFSchemaRef,
) -> Result<Node> {
    let left_columns = left.schema().fields().len();
    let columns: Vec<_> = schema.iter().map(|(qualifier, field)| (qualifier.cloned(), Arc::clone(field))).collect();
    let (own, others) = columns.split_at(left_columns);
    let swapped = DFSchema::new_with_metadata([others, own].concat(), Default::default())?;
    let join = Node::MatchJoin {
        id: 0,
        kind: MatchKind::Left,
        left: right,
        right: left,
        on: on.into_iter().map(|(left, right)| (right, left)).collect(),
        filter,
        null_aware: false,
        schema: Arc::new(swapped),
    };
    let exprs = schema.columns().into_iter().map(Expr::Column).collect();
    Ok(Node::Project { id: 0, input: Box::new(join), exprs, schema })
}
