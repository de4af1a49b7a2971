//! Window functions as they may be written: what PostgreSQL does not take is refused with its words.

use std::ops::ControlFlow;

use sqlparser::ast::{
    DuplicateTreatment, Expr, Function, FunctionArgumentClause, FunctionArguments, GroupByExpr, JoinConstraint,
    JoinOperator, NamedWindowExpr, Query, Select, UnaryOperator, Visit, Visitor, WindowFrame, WindowFrameBound,
    WindowFrameUnits, WindowType,
};

use super::names::parts;
use crate::error::{Error, Result, SqlState};
use crate::functions::{FunctionKind, registered_functions};

/// Errors: 42809 for a function that has no OVER or must not have one; 0A000 for DISTINCT and ORDER BY among the arguments, and for FILTER
/// behind a function that is no aggregate; those of [`check_frame`].
pub fn check_call(expr: &Expr) -> Result<()> {
    let Expr::Function(function) = expr else { return Ok(()) };
    let names = parts(&function.name);
    let [name] = names.as_slice() else { return Ok(()) };
    let is = |kind| registered_functions().iter().any(|known| known.kind == kind && known.name == *name);
    match &function.over {
        None if function.within_group.is_empty() && is(FunctionKind::Window) => {
            Err(wrong_object(format!("window function {name} requires an OVER clause")))
        }
        None => Ok(()),
        Some(_) if is(FunctionKind::Plain) && !is(FunctionKind::Aggregate) && !is(FunctionKind::Window) => {
            let words = format!("OVER specified, but {name} is not a window function nor an aggregate function");
            Err(wrong_object(words))
        }
        Some(over) => {
            check_arguments(function, is(FunctionKind::Window))?;
            match over {
                WindowType::WindowSpec(window) => window.window_frame.as_ref().map_or(Ok(()), check_frame),
                WindowType::NamedWindow(_) => Ok(()),
            }
        }
    }
}

/// Errors: 42P20 for a window function where rows are not grouped yet, and those of the frames of named windows.
pub fn check_select(select: &Select) -> Result<()> {
    for definition in &select.named_window {
        if let NamedWindowExpr::WindowSpec(window) = &definition.1 {
            window.window_frame.as_ref().map_or(Ok(()), check_frame)?;
        }
    }
    let groups: &[Expr] = match &select.group_by {
        GroupByExpr::Expressions(groups, _) => groups,
        GroupByExpr::All(_) => &[],
    };
    let joins = select.from.iter().flat_map(|from| &from.joins).filter_map(|join| condition_of(&join.join_operator));
    let places = select.selection.iter().map(|expr| ("WHERE", expr));
    let places = places.chain(select.having.iter().map(|expr| ("HAVING", expr)));
    let places = places.chain(groups.iter().map(|expr| ("GROUP BY", expr)));
    for (place, expr) in places.chain(joins.map(|expr| ("JOIN conditions", expr))) {
        if calls_window(expr) {
            return Err(windowing(format!("window functions are not allowed in {place}")));
        }
    }
    Ok(())
}

fn check_arguments(function: &Function, is_of_rows: bool) -> Result<()> {
    let FunctionArguments::List(list) = &function.args else { return Ok(()) };
    let refused = if list.duplicate_treatment == Some(DuplicateTreatment::Distinct) {
        "DISTINCT is not implemented for window functions"
    } else if list.clauses.iter().any(|clause| matches!(clause, FunctionArgumentClause::OrderBy(_))) {
        "aggregate ORDER BY is not implemented for window functions"
    } else if function.filter.is_some() && is_of_rows {
        "FILTER is not implemented for non-aggregate window functions"
    } else {
        return Ok(());
    };
    Err(Error::new(SqlState::FEATURE_NOT_SUPPORTED, refused))
}

/// Errors: 42P20 for ends that stand in the wrong order, 22013 for a negative offset, 42P10 for one that is not constant.
fn check_frame(frame: &WindowFrame) -> Result<()> {
    use WindowFrameBound::{CurrentRow, Following, Preceding};
    let refused = match (&frame.start_bound, frame.end_bound.as_ref()) {
        (Following(None), _) => Some("frame start cannot be UNBOUNDED FOLLOWING"),
        (_, Some(Preceding(None))) => Some("frame end cannot be UNBOUNDED PRECEDING"),
        (CurrentRow, Some(Preceding(_))) => Some("frame starting from current row cannot have preceding rows"),
        (Following(_), Some(Preceding(_) | CurrentRow)) => {
            Some("frame starting from following row cannot have preceding rows")
        }
        (Following(_), None) => Some("frame starting from following row cannot end with current row"),
        _ => None,
    };
    if let Some(refused) = refused {
        return Err(windowing(refused));
    }
    check_offset(&frame.start_bound, frame.units, "starting")?;
    frame.end_bound.as_ref().map_or(Ok(()), |end| check_offset(end, frame.units, "ending"))
}

fn check_offset(bound: &WindowFrameBound, units: WindowFrameUnits, which: &str) -> Result<()> {
    let (WindowFrameBound::Preceding(Some(offset)) | WindowFrameBound::Following(Some(offset))) = bound else {
        return Ok(());
    };
    match &**offset {
        Expr::UnaryOp { op: UnaryOperator::Minus, .. } => {
            let message = match units {
                WindowFrameUnits::Range => "invalid preceding or following size in window function".to_owned(),
                _ => format!("frame {which} offset must not be negative"),
            };
            Err(Error::new(SqlState::INVALID_FRAME_OFFSET, message))
        }
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) => {
            let message = format!("argument of {units} must not contain variables");
            Err(Error::new(SqlState::INVALID_COLUMN_REFERENCE, message))
        }
        _ => Ok(()),
    }
}

fn condition_of(operator: &JoinOperator) -> Option<&Expr> {
    match operator {
        JoinOperator::Join(JoinConstraint::On(expr))
        | JoinOperator::Inner(JoinConstraint::On(expr))
        | JoinOperator::Left(JoinConstraint::On(expr))
        | JoinOperator::LeftOuter(JoinConstraint::On(expr))
        | JoinOperator::Right(JoinConstraint::On(expr))
        | JoinOperator::RightOuter(JoinConstraint::On(expr))
        | JoinOperator::FullOuter(JoinConstraint::On(expr)) => Some(expr),
        _ => None,
    }
}

/// Whether the expression has a window function of its own, not of a subquery.
fn calls_window(expr: &Expr) -> bool {
    expr.visit(&mut Finder { depth: 0 }).is_break()
}

struct Finder {
    /// Of subqueries around the current place.
    depth: usize,
}

impl Visitor for Finder {
    type Break = ();

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::Function(function) if self.depth == 0 && function.over.is_some() => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    }
}

fn wrong_object(message: String) -> Error {
    Error::new(SqlState::WRONG_OBJECT_TYPE, message)
}

fn windowing(message: impl Into<String>) -> Error {
    Error::new(SqlState::WINDOWING_ERROR, message)
}
