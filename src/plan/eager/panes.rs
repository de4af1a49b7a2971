//! `GROUP BY` over hopping windows: an aggregate by pane, the part of the time between one start and the next, and one by
//! window above it.
//!
//! ```text
//! Aggregate by d, w [count(*)]                       Aggregate by d, w [merge_count(n)]
//!   Unnest w                                   ->      Unnest w
//!     Project d, hop_starts(t, slide, size) w            Project d, n, hop_starts(pane, slide, size) w
//!       input                                              Aggregate by d, tumble_start(t, slide) pane [count(*) n]
//!                                                            input
//! ```
//!
//! A row is counted once and not once for each of its windows (Li, Maier, Tufte, Papadimos, Tucker, No Pane, No Gain,
//! SIGMOD Record 2005). A window's size is a multiple of its slide, so that every row of a pane is in the same windows.

use std::sync::Arc;

use arrow::datatypes::FieldRef;
use datafusion::common::{Column, DFSchema, DFSchemaRef, TableReference};
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::expr::ScalarFunction;

use super::below::{Below, has_partial, is_bucket, is_column, is_over, names_a_few};
use super::through;
use crate::error::{Error, Result};
use crate::functions::Window;
use crate::plan::view_plan::{AggregateCall, Node};

type NamedField = (Option<TableReference>, FieldRef);

/// An aggregate over hopping windows, taken apart: its expressions are over the columns of `input`, or of the windows' starts.
struct Parts {
    group: Vec<Expr>,
    aggregates: Vec<AggregateCall>,
    schema: DFSchemaRef,
    /// The starts, as a list of each row and one by one.
    list: NamedField,
    start: NamedField,
    /// `hop_starts(time, slide, size)`.
    hop_starts: ScalarFunction,
    input: Node,
}

/// The aggregate split in two, if it is one over hopping windows that allows it.
pub fn split(node: Node) -> Result<Node> {
    let Some(parts) = take_apart(&node)? else { return Ok(node) };
    if !parts.can_be_split() {
        return Ok(node);
    }
    let Parts { group, aggregates, schema, list, start, hop_starts, input } = parts;
    let [time, slide, size] = &hop_starts.args[..] else {
        return Err(Error::internal("hop_starts of other arguments"));
    };
    let start_column = Column::new(start.0.clone(), start.1.name());
    let mut below = Below::new(input.schema());
    let of_input = |expr: &Expr| if is_of(expr, &start_column) { Ok(expr.clone()) } else { below.group_by(expr) };
    let group = group.iter().map(of_input).collect::<Result<Vec<_>>>()?;
    let pane = below.group_by(&tumble_start(time, slide)?)?;
    let aggregates = aggregates.iter().map(|call| below.aggregate(call)).collect::<Result<Vec<_>>>()?;
    let panes = below.over(input)?;

    let others: Vec<NamedField> =
        panes.schema().iter().map(|(qualifier, field)| (qualifier.cloned(), field.clone())).collect();
    let with = |last: NamedField| -> Result<DFSchemaRef> {
        let fields = others.iter().cloned().chain([last]).collect();
        Ok(Arc::new(DFSchema::new_with_metadata(fields, Default::default())?))
    };
    let hop_starts = ScalarFunction::new_udf(hop_starts.func, vec![pane, slide.clone(), size.clone()]);
    let columns = panes.schema().columns().into_iter().map(Expr::Column);
    let exprs: Vec<Expr> = columns.chain([Expr::ScalarFunction(hop_starts)]).collect();
    let column = others.len();
    let project = Node::Project { id: 0, input: Box::new(panes), exprs, schema: with(list)? };
    let unnest = Node::Unnest { id: 0, input: Box::new(project), column, schema: with(start)? };
    Ok(Node::Aggregate { id: 0, input: Box::new(unnest), group, aggregates, schema })
}

/// `None` unless it is an aggregate over the starts of hopping windows, with nothing between but projections.
fn take_apart(node: &Node) -> Result<Option<Parts>> {
    let Node::Aggregate { input, group, aggregates, schema, .. } = node else { return Ok(None) };
    let (mut group, mut aggregates) = (group.clone(), aggregates.clone());
    let mut over = |projection: &[Expr], schema: &DFSchemaRef| {
        let exprs = group.iter_mut().chain(aggregates.iter_mut().flat_map(|call| &mut call.args));
        exprs.into_iter().try_for_each(|expr| through(expr, projection, schema))
    };
    let mut input = &**input;
    while let Node::Project { input: below, exprs, schema, .. } = input {
        over(exprs, schema)?;
        input = below;
    }
    let Node::Unnest { input, column, schema: unnested, .. } = input else { return Ok(None) };
    let Node::Project { input, exprs, schema: listed, .. } = &**input else { return Ok(None) };
    let hop_starts = match exprs.get(*column).map(|expr| expr.clone().unalias_nested().data) {
        Some(Expr::ScalarFunction(call)) if call.name() == "hop_starts" => call,
        _ => return Ok(None),
    };
    let field = |schema: &DFSchemaRef| {
        let (qualifier, field) = schema.qualified_field(*column);
        (qualifier.cloned(), Arc::clone(field))
    };
    let (list, start) = (field(listed), field(unnested));
    let mut exprs = exprs.clone();
    exprs[*column] = Expr::Column(Column::new(start.0.clone(), start.1.name()));
    over(&exprs, unnested)?;
    let input = (**input).clone();
    Ok(Some(Parts { group, aggregates, schema: Arc::clone(schema), list, start, hop_starts, input }))
}

impl Parts {
    fn can_be_split(&self) -> bool {
        let own = self.input.schema();
        let start = Column::new(self.start.0.clone(), self.start.1.name());
        let has_windows = match &self.hop_starts.args[..] {
            [_, slide @ Expr::Literal(..), size @ Expr::Literal(..)] => slide != size,
            _ => false,
        };
        let is_group = |expr: &Expr| {
            let groups_rows = is_over(expr, own) && (is_bucket(expr) || is_column(expr) && names_a_few(expr, own));
            groups_rows || is_of(expr, &start)
        };
        let is_split = |call: &AggregateCall| {
            call.args.iter().all(|arg| is_column(arg) && is_over(arg, own)) && has_partial(call, own)
        };
        has_windows && self.group.iter().all(is_group) && self.aggregates.iter().all(is_split)
    }
}

/// Whether the expression reads this column alone.
fn is_of(expr: &Expr, column: &Column) -> bool {
    let columns = expr.column_refs();
    !columns.is_empty() && columns.into_iter().all(|read| read == column)
}

fn tumble_start(time: &Expr, slide: &Expr) -> Result<Expr> {
    let function = Window::functions().into_iter().find(|function| function.name() == "tumble_start");
    let function = function.ok_or_else(|| Error::internal("there is no tumble_start"))?;
    Ok(function.call(vec![time.clone(), slide.clone()]))
}
