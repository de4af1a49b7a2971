//! The analyzer rule for what PostgreSQL decides by how an expression is written, before types are made to fit.
//!
//! ```text
//! ts BETWEEN '2026-01-01 12:00' AND now()   ->   ts BETWEEN CAST('2026-01-01 12:00' AS timestamptz) AND now()
//! CAST(n AS numeric)                        ->   CAST(n AS numeric(38, as many digits as n has))
//! round(n, 2)                               ->   the 2 as an integer, which tells how many digits the result has
//! ```
//!
//! A text that is written out beside a time or a UUID is one, in BETWEEN, IN, CASE and IS DISTINCT FROM: DataFusion's coercion would
//! compare nanoseconds and read the text in UTC. A date beside timestamps is one of them, where PostgreSQL gives both one type. The casts are read by our rules and in the session's zone later.
//! Comparisons by `=`, `<` and the like are given the same cast as they are planned.

use std::cell::Cell;

use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::expr::Sort as SortExpr;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Cast, Expr, ExprSchemable, LogicalPlan, Operator, cast, lit, when};
use datafusion::optimizer::AnalyzerRule;

use super::aggregate::ORDERED_ARRAY_AGG;
use super::floats::CANONICAL_FLOAT;
use super::jsonb::{JSONB, JsonFunction, no_order};
use super::operators::is_read;
use super::peer_frames;
use super::set_types::{check_set_operation, common_type, union_as_written};
use super::sql_types::is_open_numeric;
use super::type_name;
use crate::error::{Error, SqlState};

#[derive(Debug)]
pub struct AsWritten;

impl AnalyzerRule for AsWritten {
    fn name(&self) -> &str {
        "as_written"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let changed = Cell::new(false);
        Ok(plan.transform_up_with_subqueries(|plan| rewrite_plan(plan, &changed))?.data)
    }
}

/// `changed`: a node so far, perhaps below, so that types may have changed.
fn rewrite_plan(plan: LogicalPlan, changed: &Cell<bool>) -> Result<Transformed<LogicalPlan>> {
    check_set_operation(&plan)?;
    let plan = match &plan {
        LogicalPlan::Union(union) => {
            let as_written = union_as_written(union, &mut |input| Ok(rewrite_plan(input, changed)?.data))?;
            changed.set(changed.get() || as_written.is_some());
            as_written.unwrap_or(plan)
        }
        _ => plan,
    };
    let mut schema = merge_schema(&plan.inputs());
    if let LogicalPlan::TableScan(scan) = &plan {
        schema.merge(&scan.projected_schema);
    }
    let names = NamePreserver::new(&plan);
    let rewritten = plan.map_expressions(|expr| {
        let name = names.save(&expr);
        let rewritten = expr.transform_up(|expr| {
            check_filter(&expr, &schema)?;
            check_jsonb(&expr, &schema)?;
            if let Expr::WindowFunction(call) = &expr {
                peer_frames::check_distances(call, &schema)?;
            }
            rewrite_expr(expr, &schema)
        })?;
        Ok(rewritten.update_data(|expr| name.restore(expr)))
    })?;
    if let LogicalPlan::Sort(sort) = &rewritten.data {
        check_order(&sort.expr, sort.input.schema())?;
    }
    changed.set(changed.get() || rewritten.transformed);
    if changed.get() { Ok(Transformed::yes(rewritten.data.recompute_schema()?)) } else { Ok(rewritten) }
}

/// Errors: 42804 for a condition of FILTER that is no boolean; coercion would make one of a number.
fn check_filter(expr: &Expr, schema: &DFSchema) -> Result<()> {
    let filter = match expr {
        Expr::AggregateFunction(call) => &call.params.filter,
        Expr::WindowFunction(call) => &call.params.filter,
        _ => return Ok(()),
    };
    match filter.as_ref().and_then(|filter| filter.get_type(schema).ok()) {
        None | Some(DataType::Boolean | DataType::Null) => Ok(()),
        Some(found) => {
            let message = format!("argument of FILTER must be type boolean, not type {}", type_name(&found));
            Err(DataFusionError::External(Box::new(Error::new(SqlState::DATATYPE_MISMATCH, message))))
        }
    }
}

/// DataFusion takes a jsonb for a text. Errors: 42883 for functions that take texts, 0A000 where an order is needed.
fn check_jsonb(expr: &Expr, schema: &DFSchema) -> Result<()> {
    let is_jsonb = |expr: &Expr| expr.get_type(schema).is_ok_and(|found| found == JSONB);
    let (name, args, fits): (&str, &[Expr], bool) = match expr {
        Expr::ScalarFunction(call) => (call.name(), call.args.as_slice(), takes_jsonb(call.name())),
        Expr::AggregateFunction(call) => {
            let (name, args) = (call.func.name(), call.params.args.as_slice());
            let fits = matches!(name, "count" | "array_agg" | ORDERED_ARRAY_AGG | "first" | "last" | "single_value");
            (name, args, fits)
        }
        Expr::WindowFunction(call) => {
            let name = call.fun.name();
            let takes = ["count", "lag", "lead", "first_value", "last_value", "nth_value", "array_agg"];
            (name, call.params.args.as_slice(), takes.contains(&name) || name.starts_with("ordered_"))
        }
        Expr::Like(like) | Expr::SimilarTo(like) if is_jsonb(&like.expr) => {
            return Err(no_such("operator does not exist: jsonb ~~ text".to_owned()));
        }
        Expr::Between(between) if is_jsonb(&between.expr) => return Err(external(no_order())),
        _ => return Ok(()),
    };
    if fits || !args.iter().any(is_jsonb) {
        return Ok(());
    }
    let types: Vec<String> =
        args.iter().map(|arg| arg.get_type(schema).map_or("unknown".to_owned(), |found| type_name(&found))).collect();
    Err(no_such(format!("function {name}({}) does not exist", types.join(", "))))
}

/// How the names of functions begin that evaluate an expression over its columns, whatever their types are.
pub const ATTEMPT: &str = "attempt: ";

fn takes_jsonb(name: &str) -> bool {
    JsonFunction::named(name).is_some()
        || name.starts_with("ordered_")
        || name.starts_with(ATTEMPT)
        || matches!(
            name,
            "coalesce" | "nullif" | "from_text" | "canonical_float" | "pg_typeof" | "make_array" | "array_append"
        )
}

/// An ORDER BY that completes another one for the sake of ties names a jsonb twice.
fn check_order(keys: &[SortExpr], schema: &DFSchema) -> Result<()> {
    let named = |key: &SortExpr| match &key.expr {
        Expr::ScalarFunction(call) if call.name() == CANONICAL_FLOAT && call.args.len() == 1 => call.args[0].clone(),
        expr => expr.clone(),
    };
    for key in keys {
        let is_jsonb = key.expr.get_type(schema).is_ok_and(|found| found == JSONB);
        if is_jsonb && keys.iter().filter(|other| named(other) == named(key)).count() == 1 {
            return Err(external(no_order()));
        }
    }
    Ok(())
}

fn no_such(message: String) -> DataFusionError {
    external(Error::new(SqlState::UNDEFINED_FUNCTION, message).with_hint(
        "No operator or function matches the given name and argument types. You might need to add explicit type casts.",
    ))
}

fn external(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

fn rewrite_expr(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let mut rewritten = texts_beside_times(expr, schema).transform_data(|expr| nullif_of_the_first(expr, schema))?;
    rewritten.transformed |= dates_beside_times(&mut rewritten.data, schema);
    Ok(rewritten)
}

/// `nullif(a, b)` has the type of `a`, where there is an `=` of the two types as they are.
fn nullif_of_the_first(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let Expr::ScalarFunction(call) = &expr else { return Ok(Transformed::no(expr)) };
    let ("nullif", [first, second]) = (call.name(), call.args.as_slice()) else { return Ok(Transformed::no(expr)) };
    let (Ok(own), Ok(other)) = (first.get_type(schema), second.get_type(schema)) else {
        return Ok(Transformed::no(expr));
    };
    let is_time = |found: &DataType| matches!(found, DataType::Date32 | DataType::Timestamp(..));
    let of_one_kind: [fn(&DataType) -> bool; 3] = [DataType::is_integer, DataType::is_floating, is_time];
    let has_own_equality = own != other && of_one_kind.iter().any(|is_of_it| is_of_it(&own) && is_of_it(&other));
    if !has_own_equality || first.is_volatile() {
        return Ok(Transformed::no(expr));
    }
    let null = lit(ScalarValue::try_from(&own)?);
    Ok(Transformed::yes(when(first.clone().eq(second.clone()), null).otherwise(first.clone())?))
}

/// Dates as the timestamps that they stand beside. Whether there are some.
fn dates_beside_times(expr: &mut Expr, schema: &DFSchema) -> bool {
    let beside: Vec<&mut Expr> = match expr {
        Expr::Between(between) => vec![&mut between.expr, &mut between.low, &mut between.high],
        Expr::InList(list) => std::iter::once(&mut *list.expr).chain(&mut list.list).collect(),
        Expr::Case(case) => {
            let (whens, thens): (Vec<&mut Expr>, Vec<&mut Expr>) =
                case.when_then_expr.iter_mut().map(|(when, then)| (&mut **when, &mut **then)).unzip();
            let results = thens.into_iter().chain(case.else_expr.as_deref_mut()).collect();
            let compared = case.expr.as_deref_mut().map(|value| std::iter::once(value).chain(whens).collect());
            let changed = compared.is_some_and(|compared| in_one_time(compared, schema));
            return in_one_time(results, schema) || changed;
        }
        Expr::BinaryExpr(binary) if binary.op.supports_propagation() => vec![&mut binary.left, &mut binary.right],
        Expr::BinaryExpr(binary) if matches!(binary.op, Operator::IsDistinctFrom | Operator::IsNotDistinctFrom) => {
            vec![&mut binary.left, &mut binary.right]
        }
        Expr::ScalarFunction(call) if matches!(call.name(), "coalesce" | "greatest" | "least" | "make_array") => {
            call.args.iter_mut().collect()
        }
        _ => return false,
    };
    in_one_time(beside, schema)
}

fn in_one_time(beside: Vec<&mut Expr>, schema: &DFSchema) -> bool {
    let is_time = |found: &DataType| matches!(found, DataType::Date32 | DataType::Timestamp(..));
    let times: Vec<(&mut Expr, DataType)> = beside
        .into_iter()
        .filter_map(|expr| expr.get_type(schema).ok().filter(is_time).map(|found| (expr, found)))
        .collect();
    let common =
        times.iter().map(|(_, found)| found.clone()).reduce(|left, right| common_type(&left, &right).unwrap_or(left));
    let is_mixed = times.iter().any(|(_, found)| *found == DataType::Date32) && common != Some(DataType::Date32);
    let Some(common) = common.filter(|_| is_mixed) else { return false };
    for (expr, _) in times.into_iter().filter(|(_, found)| *found != common) {
        *expr = cast(std::mem::take(expr), common.clone());
    }
    true
}

fn texts_beside_times(mut expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    // Some functions of texts give views of texts; a text has one type here. Found again, it has its cast already.
    match &expr {
        Expr::ScalarFunction(_) if matches!(expr.get_type(schema), Ok(DataType::Utf8View)) => {
            return Transformed::yes(cast(expr, DataType::Utf8));
        }
        Expr::Cast(outer) if *outer.field.data_type() == DataType::Utf8 && outer.field.metadata().is_empty() => {
            if let Expr::Cast(Cast { expr: call, field }) = outer.expr.as_ref()
                && *field == outer.field
                && matches!(**call, Expr::ScalarFunction(_))
            {
                return Transformed::yes(outer.expr.as_ref().clone());
            }
        }
        _ => {}
    }
    let compared: Vec<&mut Expr> = match &mut expr {
        Expr::Cast(cast) if is_open_numeric(&cast.field) => {
            let numeric = DataType::Decimal128(DECIMAL128_MAX_PRECISION, scale_of(&cast.expr, schema));
            return Transformed::yes(Expr::Cast(Cast::new(cast.expr.clone(), numeric)));
        }
        Expr::WindowFunction(call) => {
            let changed = peer_frames::to_groups(call, schema);
            return if changed { Transformed::yes(expr) } else { Transformed::no(expr) };
        }
        // Known before types are made to fit, so that the result has that many digits from the start.
        Expr::ScalarFunction(call) if matches!(call.name(), "round" | "trunc") => {
            return match call.args.as_mut_slice() {
                [_, Expr::Literal(digits @ ScalarValue::Int64(Some(_)), _)] => match digits.cast_to(&DataType::Int32) {
                    Ok(narrow) => {
                        *digits = narrow;
                        Transformed::yes(expr)
                    }
                    Err(_) => Transformed::no(expr),
                },
                _ => Transformed::no(expr),
            };
        }
        Expr::Between(between) => vec![&mut between.expr, &mut between.low, &mut between.high],
        Expr::InList(list) => std::iter::once(&mut *list.expr).chain(&mut list.list).collect(),
        Expr::Case(case) => match &mut case.expr {
            Some(value) => {
                let whens = case.when_then_expr.iter_mut().map(|(when, _)| &mut **when);
                std::iter::once(&mut **value).chain(whens).collect()
            }
            None => return Transformed::no(expr),
        },
        Expr::BinaryExpr(binary) if matches!(binary.op, Operator::IsDistinctFrom | Operator::IsNotDistinctFrom) => {
            vec![&mut binary.left, &mut binary.right]
        }
        _ => return Transformed::no(expr),
    };
    let Some(read) = compared.iter().find_map(|expr| read_type(expr, schema)) else { return Transformed::no(expr) };
    let mut changed = false;
    for text in compared.into_iter().filter(|expr| written_text(expr).is_some()) {
        *text = cast(std::mem::take(text), read.clone());
        changed = true;
    }
    if changed { Transformed::yes(expr) } else { Transformed::no(expr) }
}

fn written_text(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Literal(ScalarValue::Utf8(Some(text)), _) => Some(text),
        _ => None,
    }
}

fn read_type(expr: &Expr, schema: &DFSchema) -> Option<DataType> {
    match expr.get_type(schema).ok()? {
        read if is_read(&read) => Some(read),
        _ => None,
    }
}

/// Digits behind the point of a numeric without modifiers, by what it is made of.
fn scale_of(expr: &Expr, schema: &DFSchema) -> i8 {
    const SCALE_DEFAULT: i8 = 10;
    if let Some(text) = written_text(expr) {
        let text = text.trim();
        let fraction = text.split_once('.').map_or("", |(_, fraction)| fraction);
        let is_plain = text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'+'));
        return i8::try_from(fraction.len()).ok().filter(|scale| is_plain && *scale <= 38).unwrap_or(SCALE_DEFAULT);
    }
    match expr.get_type(schema) {
        Ok(DataType::Decimal128(_, scale)) => scale,
        Ok(integer) if integer.is_integer() => 0,
        _ => SCALE_DEFAULT,
    }
}
