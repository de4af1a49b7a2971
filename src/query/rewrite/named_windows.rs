//! `OVER (w ORDER BY n)`: a window that begins with one of the WINDOW clause, written out. DataFusion would take the rest alone.

use std::ops::ControlFlow;

use sqlparser::ast::{Expr, NamedWindowExpr, Query, Select, VisitMut, VisitorMut, WindowSpec, WindowType};

use super::names::folded;
use crate::error::{Error, Result, SqlState};

/// Errors: 42704 for a window that is not defined, 42P20 for one that has already what stands behind its name.
pub fn write_out(select: &mut Select) -> Result<()> {
    let mut known: Vec<(String, WindowSpec)> = Vec::new();
    for definition in &mut select.named_window {
        if let NamedWindowExpr::WindowSpec(window) = &mut definition.1 {
            complete(window, &known)?;
            known.push((folded(&definition.0), window.clone()));
        }
    }
    match VisitMut::visit(select, &mut WriteOut { known, depth: 0 }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

struct WriteOut {
    known: Vec<(String, WindowSpec)>,
    /// Of subqueries around the current place, which have windows of their own.
    depth: usize,
}

impl VisitorMut for WriteOut {
    type Break = Error;

    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<Error> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<Error> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        if let Expr::Function(function) = expr
            && let Some(WindowType::WindowSpec(window)) = &mut function.over
            && self.depth == 0
            && let Err(error) = complete(window, &self.known)
        {
            return ControlFlow::Break(error);
        }
        ControlFlow::Continue(())
    }
}

fn complete(window: &mut WindowSpec, known: &[(String, WindowSpec)]) -> Result<()> {
    let Some(name) = window.window_name.take().map(|name| folded(&name)) else { return Ok(()) };
    let Some((_, base)) = known.iter().find(|(other, _)| *other == name) else {
        return Err(Error::new(SqlState::UNDEFINED_OBJECT, format!("window \"{name}\" does not exist")));
    };
    let refused = if !window.partition_by.is_empty() {
        format!("cannot override PARTITION BY clause of window \"{name}\"")
    } else if !window.order_by.is_empty() && !base.order_by.is_empty() {
        format!("cannot override ORDER BY clause of window \"{name}\"")
    } else if base.window_frame.is_some() {
        format!("cannot copy window \"{name}\" because it has a frame clause")
    } else {
        window.partition_by.clone_from(&base.partition_by);
        if window.order_by.is_empty() {
            window.order_by.clone_from(&base.order_by);
        }
        return Ok(());
    };
    Err(Error::new(SqlState::WINDOWING_ERROR, refused))
}
