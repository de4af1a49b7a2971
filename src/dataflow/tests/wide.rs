//! Views against the oracle once more, over wider ground: every type, the ends of their ranges, views on views of
//! three levels, joins whose sides change in one commit, rows that come and go within one commit, random cuts.

use datafusion::logical_expr::{Expr, col, lit};
use proptest::prelude::*;

use super::views::*;
use crate::delta::DeltaBatch;
use crate::plan::AggregateFunction::{Avg, Count, CountAll, First, Last, Max, Min, Sum};
use crate::plan::{AggregateFunction, Node, ViewPlan};
use crate::settings::DataflowSettings;
use crate::testing::oracle::{self, Call, Row, Value};
use crate::types::RelationId;
use arrow::datatypes::{DataType, SchemaRef, TimeUnit};

const SAMPLES: RelationId = READINGS;
const LIMITS: RelationId = DEVICES;
const PRICE_SCALE: u8 = 6;

/// Columns: 0 key int2, 1 flag, 2 large int8, 3 price numeric(20,6), 4 wide numeric(38,0), 5 narrow float4, 6 x float8,
/// 7 name text, 8 day date, 9 at timestamptz.
fn samples_schema() -> SchemaRef {
    schema(&[
        ("key", DataType::Int16),
        ("flag", DataType::Boolean),
        ("large", DataType::Int64),
        ("price", DataType::Decimal128(20, PRICE_SCALE as i8)),
        ("wide", DataType::Decimal128(38, 0)),
        ("narrow", DataType::Float32),
        ("x", DataType::Float64),
        ("name", DataType::Utf8),
        ("day", DataType::Date32),
        ("at", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))),
    ])
}

/// Columns: 0 l_day date, 1 l_price numeric(20,6), 2 l_x float8, 3 l_flag boolean, 4 bound int8.
fn limits_schema() -> SchemaRef {
    schema(&[
        ("l_day", DataType::Date32),
        ("l_price", DataType::Decimal128(20, PRICE_SCALE as i8)),
        ("l_x", DataType::Float64),
        ("l_flag", DataType::Boolean),
        ("bound", DataType::Int64),
    ])
}

fn schemas() -> [(RelationId, SchemaRef); 2] {
    [(SAMPLES, samples_schema()), (LIMITS, limits_schema())]
}

fn samples() -> Node {
    source(SAMPLES, &samples_schema())
}

fn limits() -> Node {
    source(LIMITS, &limits_schema())
}

/// Views that read tables and the views before them, and what each must hold.
struct Stack {
    name: &'static str,
    plans: Vec<ViewPlan>,
    oracle: fn(&[Row], &[Row]) -> Vec<Vec<Row>>,
}

/// Of the level-th view of a stack.
fn view_id(level: usize) -> RelationId {
    RelationId(VIEW.0 + level as u32)
}

/// A source over a view of the stack.
fn level(level: usize, below: &ViewPlan) -> Node {
    source(view_id(level), &std::sync::Arc::new(below.root.schema().as_arrow().clone()))
}

const WIDE_CALLS: [Call; 16] = [
    Call::CountAll,
    Call::Count(1),
    Call::Sum(0),
    Call::Sum(2),
    Call::Avg(2),
    Call::Sum(3),
    Call::Avg(3),
    Call::Sum(4),
    Call::Min(4),
    Call::Max(5),
    Call::Sum(6),
    Call::Avg(6),
    Call::Min(7),
    Call::Max(8),
    Call::First(7, 9),
    Call::Last(3, 9),
];

fn wide_calls(input: Node, group: Vec<Expr>) -> Node {
    let one = |function: AggregateFunction, column: &str| (function, vec![col(column)]);
    let calls = vec![
        (CountAll, vec![]),
        one(Count, "flag"),
        one(Sum, "key"),
        one(Sum, "large"),
        one(Avg, "large"),
        one(Sum, "price"),
        one(Avg, "price"),
        one(Sum, "wide"),
        one(Min, "wide"),
        one(Max, "narrow"),
        one(Sum, "x"),
        one(Avg, "x"),
        one(Min, "name"),
        one(Max, "day"),
        (First, vec![col("name"), col("at")]),
        (Last, vec![col("price"), col("at")]),
    ];
    aggregate(input, group, calls)
}

fn grouped(name: &'static str, columns: &[&str], oracle: fn(&[Row], &[Row]) -> Vec<Vec<Row>>) -> Stack {
    let group = columns.iter().map(|column| col(*column)).collect();
    Stack { name, plans: vec![plan(wide_calls(samples(), group))], oracle }
}

fn stacks() -> Vec<Stack> {
    vec![
        grouped("by smallint and boolean", &["key", "flag"], |s, _| vec![oracle::group(s, &[0, 1], &WIDE_CALLS)]),
        grouped("by numeric and date", &["price", "day"], |s, _| vec![oracle::group(s, &[3, 8], &WIDE_CALLS)]),
        grouped("by floats", &["narrow", "x"], |s, _| vec![oracle::group(s, &[5, 6], &WIDE_CALLS)]),
        grouped("by timestamptz and a wide numeric", &["at", "wide"], |s, _| {
            vec![oracle::group(s, &[9, 4], &WIDE_CALLS)]
        }),
        grouped("over everything", &[], |s, _| vec![oracle::group(s, &[], &WIDE_CALLS)]),
        join_on_many_types(),
        join_with_itself(),
        groups_joined_with_their_rows(),
        three_levels(),
    ]
}

/// Both sides change, also within one commit; keys are a date, a numeric, a float and a boolean.
fn join_on_many_types() -> Stack {
    let on = vec![
        (col("day"), col("l_day")),
        (col("price"), col("l_price")),
        (col("x"), col("l_x")),
        (col("flag"), col("l_flag")),
    ];
    Stack {
        name: "join on date, numeric, float and boolean",
        plans: vec![plan(join(samples(), limits(), on, None))],
        oracle: |s, l| vec![oracle::join(s, l, &[(8, 0), (3, 1), (6, 2), (1, 3)])],
    }
}

/// A change meets itself: the delta stands on both sides of the join in one step.
fn join_with_itself() -> Stack {
    let pairs = |node: Node| project(node, vec![col("key"), col("large"), col("at")]);
    let right =
        project(samples(), vec![col("key").alias("key2"), col("large").alias("large2"), col("at").alias("at2")]);
    let joined = join(pairs(samples()), right, vec![(col("key"), col("key2"))], Some(col("large").lt(col("large2"))));
    Stack {
        name: "join with itself",
        plans: vec![plan(aggregate(joined, vec![col("key")], vec![(CountAll, vec![]), (Sum, vec![col("large2")])]))],
        oracle: |s, _| {
            let side = oracle::project(s, |row| vec![row[0].clone(), row[2].clone(), row[9].clone()]);
            let joined = oracle::join(&side, &side, &[(0, 0)]);
            let below = oracle::filter(&joined, |row| Some(integer(&row[1])? < integer(&row[4])?));
            vec![oracle::group(&below, &[0], &[Call::CountAll, Call::Sum(4)])]
        },
    }
}

/// A view of groups, and above it its join with the rows that it is made of: both change by the same commit.
fn groups_joined_with_their_rows() -> Stack {
    let groups = plan(aggregate(samples(), vec![col("name")], vec![(Max, vec![col("large")]), (CountAll, vec![])]));
    let of_group =
        project(level(0, &groups), vec![col("name").alias("of"), col("a0").alias("top"), col("a1").alias("n")]);
    let joined = join(samples(), of_group, vec![(col("name"), col("of"))], Some(col("large").eq(col("top"))));
    let top = plan(aggregate(joined, vec![col("day")], vec![(CountAll, vec![]), (Sum, vec![col("n")])]));
    Stack {
        name: "groups joined with their rows",
        plans: vec![groups, top],
        oracle: |s, _| {
            let groups = oracle::group(s, &[7], &[Call::Max(2), Call::CountAll]);
            let joined = oracle::join(s, &groups, &[(7, 0)]);
            let top = oracle::filter(&joined, |row| Some(integer(&row[2])? == integer(&row[11])?));
            vec![groups, oracle::group(&top, &[8], &[Call::CountAll, Call::Sum(12)])]
        },
    }
}

/// Groups, of them those with more than one row joined with limits, of these a count: each level above the other.
fn three_levels() -> Stack {
    let groups =
        plan(aggregate(samples(), vec![col("day"), col("flag")], vec![(CountAll, vec![]), (Sum, vec![col("price")])]));
    let large = filter(level(0, &groups), col("a0").gt(lit(1_i64)));
    let joined = plan(join(large, limits(), vec![(col("day"), col("l_day"))], None));
    let counts = plan(aggregate(
        level(1, &joined),
        vec![col("l_flag")],
        vec![(CountAll, vec![]), (Min, vec![col("a1")]), (Max, vec![col("bound")])],
    ));
    Stack {
        name: "three levels",
        plans: vec![groups, joined, counts],
        oracle: |s, l| {
            let groups = oracle::group(s, &[8, 1], &[Call::CountAll, Call::Sum(3)]);
            let large = oracle::filter(&groups, |row| integer(&row[2]).map(|count| count > 1));
            let joined = oracle::join(&large, l, &[(0, 0)]);
            let counts = oracle::group(&joined, &[7], &[Call::CountAll, Call::Min(3), Call::Max(8)]);
            vec![groups, joined, counts]
        },
    }
}

fn integer(value: &Value) -> Option<i64> {
    if let Value::Integer(value) = value { Some(*value) } else { None }
}

fn one_of<T: Clone + std::fmt::Debug + 'static>(values: &[T], make: fn(T) -> Value) -> BoxedStrategy<Value> {
    prop_oneof![1 => Just(Value::Null), 5 => prop::sample::select(values.to_vec()).prop_map(make)].boxed()
}

fn float() -> BoxedStrategy<Value> {
    let values = [
        f64::NAN,
        -f64::NAN,
        -0.0,
        0.0,
        f64::INFINITY,
        f64::NEG_INFINITY,
        1e300,
        -1e300,
        5e-324,
        1e-300,
        0.1,
        0.2,
        1e16,
        1.0,
    ];
    one_of(&values, Value::Float)
}

fn price() -> BoxedStrategy<Value> {
    const MAX: i128 = 99_999_999_999_999_999_999;
    one_of(&[MAX, -MAX, 0, 1, -1, 1_500_000, 2_500_000], |unscaled| Value::Numeric { unscaled, scale: PRICE_SCALE })
}

fn wide() -> BoxedStrategy<Value> {
    // A thousand of them fit 38 digits.
    const MAX: i128 = 10_i128.pow(35) - 1;
    one_of(&[MAX, -MAX, 0, 7, i128::from(i64::MAX) * 3], |unscaled| Value::Numeric { unscaled, scale: 0 })
}

fn large() -> BoxedStrategy<Value> {
    one_of(&[i64::MAX, i64::MIN, 0, -1, 1, 2, 1 << 53], Value::Integer)
}

fn day() -> BoxedStrategy<Value> {
    one_of(&[-2_440_588, 0, 20_454, 20_455, 106_751], Value::Integer)
}

fn time() -> BoxedStrategy<Value> {
    one_of(&[i64::MIN / 4, -1, 0, 1, 1_767_225_600_000_000], Value::Integer)
}

fn text() -> BoxedStrategy<Value> {
    one_of(&["", "a", "A", "ä", "truck_1", "truck_10", "a\u{0}b", "🌊"], |text| Value::Text(text.to_string()))
}

fn flag() -> BoxedStrategy<Value> {
    one_of(&[true, false], Value::Boolean)
}

fn sample() -> impl Strategy<Value = Row> {
    let key = one_of(&[i16::MIN, -1, 0, 1, i16::MAX], |key| Value::Integer(key.into()));
    let narrow = one_of(&[f32::NAN, -0.0, 0.0, 1.5, f32::MAX, f32::MIN_POSITIVE], |narrow| Value::Float(narrow.into()));
    let first = (key, flag(), large(), price(), wide());
    let second = (narrow, float(), text(), day(), time());
    (first, second).prop_map(|((key, flag, large, price, wide), (narrow, x, name, day, at))| {
        vec![key, flag, large, price, wide, narrow, x, name, day, at]
    })
}

fn limit() -> impl Strategy<Value = Row> {
    (day(), price(), float(), flag(), large()).prop_map(|(day, price, x, flag, bound)| vec![day, price, x, flag, bound])
}

#[derive(Debug, Clone)]
enum Change {
    Insert(usize, Row),
    Delete(usize, usize),
    Update(usize, usize, Row),
    /// Comes and goes within one commit, the deletion first in the batch: its weight is negative on the way.
    Flicker(usize, Row),
    /// The same row so many times, as one row of that weight.
    Repeat(usize, Row, usize),
    Commit,
    Read,
}

fn change() -> impl Strategy<Value = Change> {
    let row = || prop_oneof![3 => sample().prop_map(|row| (0, row)), 2 => limit().prop_map(|row| (1, row))];
    prop_oneof![
        6 => row().prop_map(|(table, row)| Change::Insert(table, row)),
        2 => (0..2_usize, any::<usize>()).prop_map(|(table, place)| Change::Delete(table, place)),
        3 => (row(), any::<usize>()).prop_map(|((table, row), place)| Change::Update(table, place, row)),
        1 => row().prop_map(|(table, row)| Change::Flicker(table, row)),
        1 => (row(), 2..4_usize).prop_map(|((table, row), times)| Change::Repeat(table, row, times)),
        4 => Just(Change::Commit),
        1 => Just(Change::Read),
    ]
}

/// The two tables, and their changes since the last commit.
#[derive(Default)]
struct Tables {
    rows: [Vec<Row>; 2],
    pending: [Vec<(i64, Row)>; 2],
}

impl Tables {
    fn apply(&mut self, change: &Change) {
        match change {
            Change::Insert(table, row) => self.insert(*table, row, 1),
            Change::Repeat(table, row, times) => self.insert(*table, row, *times),
            Change::Delete(table, place) => self.delete(*table, *place),
            Change::Update(table, place, row) if !self.rows[*table].is_empty() => {
                self.delete(*table, *place);
                self.insert(*table, row, 1);
            }
            Change::Flicker(table, row) => {
                self.pending[*table].push((-1, row.clone()));
                self.pending[*table].push((1, row.clone()));
            }
            Change::Update(..) | Change::Commit | Change::Read => {}
        }
    }

    fn insert(&mut self, table: usize, row: &Row, times: usize) {
        self.rows[table].extend(std::iter::repeat_n(row.clone(), times));
        self.pending[table].push((times as i64, row.clone()));
    }

    fn delete(&mut self, table: usize, place: usize) {
        if !self.rows[table].is_empty() {
            let row = self.rows[table].swap_remove(place % self.rows[table].len());
            self.pending[table].push((-1, row));
        }
    }

    fn deltas(&mut self) -> Vec<(RelationId, DeltaBatch)> {
        let pending = std::mem::take(&mut self.pending);
        let delta = |((relation, schema), changes): ((RelationId, SchemaRef), Vec<(i64, Row)>)| {
            let (weights, rows): (Vec<i64>, Vec<Row>) = changes.into_iter().unzip();
            (relation, DeltaBatch::new(batch_of(&schema, &rows), weights.into()).unwrap())
        };
        schemas().into_iter().zip(pending).map(delta).filter(|(_, delta)| !delta.is_empty()).collect()
    }

    fn backfill(&self, plan: &ViewPlan) -> Vec<(RelationId, arrow::array::RecordBatch)> {
        let all =
            schemas().into_iter().zip(&self.rows).map(|((relation, schema), rows)| (relation, batch_of(&schema, rows)));
        all.filter(|(relation, _)| reads(&plan.root, *relation)).collect()
    }
}

fn reads(node: &Node, wanted: RelationId) -> bool {
    match node {
        Node::Source { relation, .. } => *relation == wanted,
        _ => node.inputs().into_iter().any(|input| reads(input, wanted)),
    }
}

/// The views of a stack join one after the other while the history runs; all that live are compared at every read.
fn check(stack: &Stack, history: &[Change], settings: DataflowSettings) -> Result<(), TestCaseError> {
    let mut worker = TestWorker::with_settings(settings);
    let mut tables = Tables::default();
    let mut alive = 0;
    for (index, change) in history.iter().chain([&Change::Read]).enumerate() {
        tables.apply(change);
        let is_due = alive < stack.plans.len() && index >= alive * history.len() / stack.plans.len();
        if matches!(change, Change::Commit | Change::Read) || is_due {
            let deltas = tables.deltas();
            worker.commit(deltas);
        }
        if is_due {
            let plan = &stack.plans[alive];
            worker.create(view_id(alive), plan, &tables.backfill(plan), false).unwrap();
            alive += 1;
        }
        if matches!(change, Change::Read) {
            let expected = (stack.oracle)(&tables.rows[0], &tables.rows[1]);
            for (level, rows) in expected.iter().enumerate().take(alive) {
                let actual = oracle::render(&worker.rows(view_id(level)));
                prop_assert_eq!(actual, oracle::render(rows), "{}, level {}", stack.name, level);
            }
        }
    }
    worker.finish();
    Ok(())
}

fn cuts() -> impl Strategy<Value = DataflowSettings> {
    let of = |commits_per_step_max, step_cuts_seed| DataflowSettings {
        commits_per_step_max,
        step_cuts_seed,
        ..DataflowSettings::default()
    };
    prop_oneof![
        (0..3_usize).prop_map(move |commits| of(commits, 0)),
        (1..u64::from(u32::MAX)).prop_map(move |seed| of(0, seed)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn stacked_views_over_every_type_are_their_queries(
        stack in 0..stacks().len(),
        history in prop::collection::vec(change(), 0..80),
        cuts in cuts(),
    ) {
        check(&stacks()[stack], &history, cuts)?;
    }
}
