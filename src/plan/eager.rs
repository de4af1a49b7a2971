//! Eager aggregation: `GROUP BY` over a join becomes an aggregate below the join and one above it.
//!
//! ```text
//! Aggregate by d.site [count(*), sum(r.x)]          Aggregate by d.site [merge_count(n), merge_sum(s)]
//!   Join r.device = d.id                       ->     Join r.device = d.id
//!     Source r                                          Aggregate by r.device [count(*) n, partial_sum(r.x) s]
//!     Source d                                            Source r
//!                                                       Source d
//! ```
//!
//! The join then keeps a row per key instead of all history, and a change of the registry costs its key's groups alone.
//! A row of the join counts as often as its weights say, products included, so that the sums above come out the same
//! (Yan and Larson, Eager Aggregation and Lazy Aggregation, VLDB 1995).
//!
//! Only what cannot raise is evaluated below the join: there it sees rows that the join drops, and the view would have
//! errors that its query does not have. Partial sums are exact, so that nothing is rounded twice.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, DFSchemaRef, TableReference};
use datafusion::logical_expr::{Expr, ExprSchemable};

use super::explain::shown;
use super::view_plan::{AggregateCall, AggregateFunction, Node};
use crate::error::{Error, Result};
use crate::functions::is_total_bucket;

/// The plan with every aggregate that allows it split in two.
pub fn aggregate_eagerly(node: Node) -> Result<Node> {
    let node = node.map_inputs(&mut aggregate_eagerly)?;
    if matches!(node, Node::Aggregate { .. }) { split(node) } else { Ok(node) }
}

/// An aggregate over a join, taken apart.
struct Parts {
    group: Vec<Expr>,
    aggregates: Vec<AggregateCall>,
    schema: DFSchemaRef,
    left: Node,
    right: Node,
    on: Vec<(Expr, Expr)>,
}

/// The aggregate below the join while it is put together.
struct Below {
    input: DFSchemaRef,
    group: Vec<Expr>,
    group_fields: Vec<(Option<TableReference>, FieldRef)>,
    calls: Vec<AggregateCall>,
    call_fields: Vec<(Option<TableReference>, FieldRef)>,
}

fn split(aggregate: Node) -> Result<Node> {
    let Some(parts) = take_apart(&aggregate)? else { return Ok(aggregate) };
    let Some(is_left) = side_to_aggregate(&parts) else { return Ok(aggregate) };
    let own = if is_left { &parts.left } else { &parts.right };
    let mut below = Below::new(own.schema());
    let keys = parts.on.iter().map(|(left, right)| if is_left { left } else { right });
    for key in keys {
        below.group_by(key)?;
    }
    let mut group = Vec::with_capacity(parts.group.len());
    for expr in &parts.group {
        group.push(if is_over(expr, own.schema()) { below.group_by(expr)? } else { expr.clone() });
    }
    let mut aggregates = Vec::with_capacity(parts.aggregates.len());
    for call in &parts.aggregates {
        aggregates.push(below.aggregate(call)?);
    }
    let Parts { schema, left, right, on, .. } = parts;
    let (left, right) = if is_left { (below.over(left)?, right) } else { (left, below.over(right)?) };
    let joined = Arc::new(left.schema().join(right.schema())?);
    let join = Node::Join { id: 0, left: Box::new(left), right: Box::new(right), on, filter: None, schema: joined };
    Ok(Node::Aggregate { id: 0, input: Box::new(join), group, aggregates, schema })
}

/// `None` unless it is an aggregate over a join, with nothing between but projections of columns.
fn take_apart(node: &Node) -> Result<Option<Parts>> {
    let Node::Aggregate { input, group, aggregates, schema, .. } = node else { return Ok(None) };
    let (mut group, mut aggregates) = (group.clone(), aggregates.clone());
    let mut input = &**input;
    while let Node::Project { input: below, exprs, schema, .. } = input {
        if !exprs.iter().all(|expr| matches!(expr, Expr::Column(_))) {
            return Ok(None);
        }
        let through = |expr: &mut Expr| -> Result<()> {
            *expr = std::mem::take(expr)
                .transform_up(|expr| match &expr {
                    Expr::Column(column) => Ok(Transformed::yes(exprs[schema.index_of_column(column)?].clone())),
                    _ => Ok(Transformed::no(expr)),
                })?
                .data;
            Ok(())
        };
        group.iter_mut().try_for_each(through)?;
        aggregates.iter_mut().flat_map(|call| &mut call.args).try_for_each(through)?;
        input = below;
    }
    let Node::Join { left, right, on, filter: None, .. } = input else { return Ok(None) };
    // Without a key, an aggregate below would have a row even where the join has none.
    if on.is_empty() {
        return Ok(None);
    }
    Ok(Some(Parts {
        group,
        aggregates,
        schema: Arc::clone(schema),
        left: (**left).clone(),
        right: (**right).clone(),
        on: on.clone(),
    }))
}

/// Whether the left side is to be aggregated below the join, or the right one; `None` if it cannot be.
fn side_to_aggregate(parts: &Parts) -> Option<bool> {
    let own = |is_left: bool| if is_left { parts.left.schema() } else { parts.right.schema() };
    let grouped_by = |is_left: bool| parts.group.iter().filter(|expr| is_over(expr, own(is_left))).count();
    let mut args = parts.aggregates.iter().flat_map(|call| &call.args);
    let is_left = match args.next() {
        Some(arg) => is_over(arg, own(true)),
        // There are only counts: of the many rows, not of the registry that the groups are named by.
        None => grouped_by(true) <= grouped_by(false),
    };
    can_aggregate(parts, is_left).then_some(is_left)
}

fn can_aggregate(parts: &Parts, is_left: bool) -> bool {
    let (own, other) = if is_left { (&parts.left, &parts.right) } else { (&parts.right, &parts.left) };
    let (own, other) = (own.schema(), other.schema());
    let keys = parts.on.iter().map(|(left, right)| if is_left { left } else { right });
    let is_group = |expr: &Expr| {
        let groups_rows = is_over(expr, own) && (is_bucket(expr) || is_column(expr) && names_a_few(expr, own));
        groups_rows || is_over(expr, other)
    };
    keys.into_iter().all(is_column)
        && parts.group.iter().all(is_group)
        && parts
            .aggregates
            .iter()
            .all(|call| call.args.iter().all(|arg| is_column(arg) && is_over(arg, own)) && has_partial(call, own))
}

fn is_column(expr: &Expr) -> bool {
    matches!(expr, Expr::Column(_))
}

fn is_bucket(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarFunction(call) if is_total_bucket(call))
}

/// Groups by moments or measurements have a row each; nothing would be gained.
fn names_a_few(expr: &Expr, schema: &DFSchema) -> bool {
    let data_type = expr.get_type(schema);
    !matches!(data_type, Err(_) | Ok(DataType::Timestamp(..) | DataType::Float32 | DataType::Float64))
}

/// Whether the expression reads only columns of this schema, and at least one.
fn is_over(expr: &Expr, schema: &DFSchema) -> bool {
    let columns = expr.column_refs();
    !columns.is_empty() && columns.into_iter().all(|column| schema.index_of_column(column).is_ok())
}

/// Sums of numerics may be wider than what a partial sum holds.
fn has_partial(call: &AggregateCall, schema: &DFSchema) -> bool {
    use AggregateFunction as F;
    match call.function {
        F::Sum | F::Avg => {
            let input = call.args.first().and_then(|arg| arg.get_type(schema).ok());
            matches!(
                input,
                Some(DataType::Int16 | DataType::Int32 | DataType::Int64 | DataType::Float32 | DataType::Float64)
            )
        }
        F::CountAll | F::Count | F::Min | F::Max | F::First | F::Last => true,
        F::PartialSum | F::MergeCount | F::MergeSum | F::MergeAvg => false,
        F::VarSamp | F::VarPop | F::StddevSamp | F::StddevPop | F::StringAgg | F::SingleValue => false,
        F::Bits(_) | F::Regression(_) | F::Set(_) => false,
    }
}

impl Below {
    fn new(input: &DFSchemaRef) -> Self {
        Below {
            input: Arc::clone(input),
            group: Vec::new(),
            group_fields: Vec::new(),
            calls: Vec::new(),
            call_fields: Vec::new(),
        }
    }

    /// The column that holds `expr` above; columns keep their names.
    fn group_by(&mut self, expr: &Expr) -> Result<Expr> {
        let (qualifier, field) = match expr {
            Expr::Column(column) => {
                let (qualifier, field) = self.input.qualified_field_from_column(column)?;
                (qualifier.cloned(), Arc::clone(field))
            }
            expr => {
                let data_type = expr.get_type(&self.input)?;
                (None, Arc::new(Field::new(shown(expr), data_type, true)))
            }
        };
        let column = Expr::Column(Column::new(qualifier.clone(), field.name()));
        if !self.group.contains(expr) {
            self.group.push(expr.clone());
            self.group_fields.push((qualifier, field));
        }
        Ok(column)
    }

    /// The column that holds the call's value for the rows of one key.
    fn call(&mut self, function: AggregateFunction, args: &[Expr], return_type: DataType) -> Expr {
        let call = AggregateCall { function, args: args.to_vec(), return_type };
        let args: Vec<String> = args.iter().map(shown).collect();
        let args = if function == AggregateFunction::CountAll { "*".to_owned() } else { args.join(", ") };
        let name = format!("{}({args})", function.name());
        if !self.calls.contains(&call) {
            let field = Field::new(&name, call.return_type.clone(), true);
            self.call_fields.push((None, Arc::new(field)));
            self.calls.push(call);
        }
        Expr::Column(Column::new_unqualified(name))
    }

    /// What the aggregate above does in place of `call`.
    fn aggregate(&mut self, call: &AggregateCall) -> Result<AggregateCall> {
        use AggregateFunction as F;
        let (function, args) = match (call.function, &call.args[..]) {
            (F::CountAll | F::Count, args) => (F::MergeCount, vec![self.call(call.function, args, DataType::Int64)]),
            (F::Sum, args) => (F::MergeSum, vec![self.call(F::PartialSum, args, DataType::Binary)]),
            (F::Avg, args) => {
                let sum = self.call(F::PartialSum, args, DataType::Binary);
                (F::MergeAvg, vec![sum, self.call(F::Count, args, DataType::Int64)])
            }
            (function @ (F::Min | F::Max), args) => {
                (function, vec![self.call(function, args, call.return_type.clone())])
            }
            (function @ (F::First | F::Last), [_, time]) => {
                let value = self.call(function, &call.args, call.return_type.clone());
                let nearest = if function == F::First { F::Min } else { F::Max };
                let time_type = time.get_type(&self.input)?;
                (function, vec![value, self.call(nearest, std::slice::from_ref(time), time_type)])
            }
            (function, _) => return Err(Error::internal(format!("{function:?} has no partial form"))),
        };
        Ok(AggregateCall { function, args, return_type: call.return_type.clone() })
    }

    fn over(self, input: Node) -> Result<Node> {
        let fields = self.group_fields.into_iter().chain(self.call_fields).collect();
        let schema = Arc::new(DFSchema::new_with_metadata(fields, Default::default())?);
        Ok(Node::Aggregate { id: 0, input: Box::new(input), group: self.group, aggregates: self.calls, schema })
    }
}
