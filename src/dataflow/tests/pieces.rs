//! What a step gives in pieces: together it is the view's change, no row goes before it is there, and little of it is held at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::logical_expr::{Expr, col, lit};
use proptest::prelude::*;

use super::by_sql::sql;
use super::views::*;
use super::{Case, Change, Tables, cases, change, devices, readings};
use crate::dataflow::build::Dataflow;
use crate::dataflow::errors::ErrorDelta;
use crate::dataflow::state::Residence;
use crate::dataflow::tree::StepInput;
use crate::delta::{DeltaBatch, batch_bytes};
use crate::error::SqlState;
use crate::io::{Inline, Parallel, ScopedThreads};
use crate::plan::{MatchKind, Node};
use crate::testing::oracle::{self, Row, Value};
use crate::types::RelationId;

fn dataflow(root: Node, parallel: Arc<dyn Parallel>) -> Dataflow {
    Dataflow::build(&plan(root), &BTreeMap::new(), &Default::default(), parallel).unwrap()
}

fn in_pieces_of(bytes: usize) -> Residence {
    let residence = Residence::default();
    residence.set_piece_bytes_max(bytes);
    residence
}

fn check(case: &Case, history: &[Change]) -> Result<(), TestCaseError> {
    let mut dataflow = dataflow(case.plan.root.clone(), Arc::new(Inline));
    let residence = in_pieces_of(1);
    let mut tables = Tables::default();
    let mut view: BTreeMap<String, i64> = BTreeMap::new();
    let mut went_too_early = None;
    // The first step brings no row, as a view's does.
    for change in [Change::Commit].iter().chain(history).chain([&Change::Commit]) {
        if !matches!(change, Change::Commit | Change::Read) {
            tables.apply(change.clone());
            continue;
        }
        let input: StepInput = tables.deltas().into_iter().map(|(table, delta)| (table, vec![delta])).collect();
        let mut add = |piece: Vec<DeltaBatch>| {
            for delta in &piece {
                for (row, values) in rows_of(delta.rows()).into_iter().enumerate() {
                    let line = oracle::render(&[values]).remove(0);
                    *view.entry(line).or_default() += delta.weight(row);
                }
            }
            let negative = view.iter().find(|(_, weight)| **weight < 0);
            went_too_early = went_too_early.take().or(negative.map(|(line, _)| line.clone()));
            Ok(())
        };
        dataflow.step(&input, true, &residence, &mut ErrorDelta::default(), &mut add).unwrap();
    }
    prop_assert_eq!(went_too_early, None, "{}", case.name);
    let lines = view.iter().flat_map(|(line, weight)| std::iter::repeat_n(line.clone(), *weight as usize));
    let expected = oracle::render(&(case.oracle)(&tables.readings, &tables.devices));
    prop_assert_eq!(lines.collect::<Vec<_>>(), expected, "{}", case.name);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn pieces_add_up_and_no_row_goes_before_it_is_there(history in prop::collection::vec(change(), 0..60)) {
        cases().iter().try_for_each(|case| check(case, &history))?;
    }
}

const ROWS: i64 = 400;

/// Of one key, but for one row.
fn many() -> [(RelationId, DeltaBatch); 2] {
    let reading = |n: i64| reading(i64::from(n == 7), n as f64, n);
    let device = |n: i64| vec![Value::Integer(0), Value::Text(format!("device {n}"))];
    let inserts = |schema, rows: Vec<Row>| DeltaBatch::inserts(batch_of(&schema, &rows));
    [
        (READINGS, inserts(readings_schema(), (0..ROWS).map(reading).collect())),
        (DEVICES, inserts(devices_schema(), (0..ROWS).map(device).collect())),
    ]
}

/// The pieces of a step in which both tables come, in bytes; and all rows together.
fn pieces_of(root: Node, piece_bytes: usize, parallel: Arc<dyn Parallel>) -> (Vec<usize>, usize) {
    let input: StepInput = many().into_iter().map(|(table, delta)| (table, vec![delta])).collect();
    let (mut pieces, mut rows) = (Vec::new(), 0);
    let mut add = |piece: Vec<DeltaBatch>| {
        pieces.push(piece.iter().map(|delta| batch_bytes(delta.rows())).sum());
        rows += piece.iter().map(DeltaBatch::num_rows).sum::<usize>();
        Ok(())
    };
    let residence = in_pieces_of(piece_bytes);
    let mut dataflow = dataflow(root, parallel);
    dataflow.step(&input, true, &residence, &mut ErrorDelta::default(), &mut add).unwrap();
    (pieces, rows)
}

/// Two tables of 400 rows have 160,000 pairs, of which not more than a little is held at once.
#[test]
fn a_step_with_many_pairs_holds_few_of_them() {
    const PIECE: usize = 1 << 16;
    let on = || vec![(col("device"), col("id"))];
    let even = || Some((col("n") % lit(2_i64)).eq(lit(0_i64)));
    let pairs = (ROWS - 1) * ROWS;
    let even_pairs = pairs / 2 + ROWS / 2;
    let joins: [(&str, Node, i64); 6] = [
        ("inner", join(readings(), devices(), on(), None), pairs),
        ("residual", join(readings(), devices(), on(), even()), even_pairs),
        ("left", left_join(readings(), devices(), on(), None), pairs + 1),
        ("left, residual", left_join(readings(), devices(), on(), even()), even_pairs + ROWS / 2),
        ("full", match_join(MatchKind::Full, readings(), devices(), on(), None), pairs + 1),
        ("above one another", join(join(readings(), devices(), on(), None), again(), key_and_name(), None), pairs),
    ];
    for (name, root, expected) in joins {
        for parallel in [Arc::new(Inline) as Arc<dyn Parallel>, Arc::new(ScopedThreads::new(3))] {
            let (whole, rows) = pieces_of(numbered(root.clone()), 1 << 30, parallel.clone());
            assert_eq!((whole.len(), rows as i64), (1, expected), "{name}");
            let (pieces, rows) = pieces_of(numbered(root.clone()), PIECE, parallel);
            assert_eq!(rows as i64, expected, "{name}, in pieces");
            assert!(pieces.len() > whole[0] / PIECE / 4, "{name}: {} pieces", pieces.len());
            let largest = pieces.iter().max().unwrap();
            // A batch more than it was may be in a piece, and a row may be wider than was thought.
            assert!(*largest < 4 * PIECE, "{name}: a piece of {largest} bytes");
        }
    }
}

fn again() -> Node {
    project(devices(), vec![col("id").alias("id2"), col("name").alias("name2")])
}

fn key_and_name() -> Vec<(Expr, Expr)> {
    vec![(col("device"), col("id2")), (col("name"), col("name2"))]
}

/// Groups that are wide change together: what each of them was and is comes chunk of state by chunk.
#[test]
fn a_step_that_changes_many_groups_holds_few_of_their_rows() {
    const GROUPS: i64 = 3000;
    let root = sql("SELECT n, string_agg(site, '' ORDER BY time) AS sites FROM readings GROUP BY n").root;
    let (mut dataflow, residence) = (dataflow(root, Arc::new(ScopedThreads::new(3))), in_pieces_of(1 << 16));
    for (step, changed) in [(0, GROUPS), (1, 2 * GROUPS)] {
        let site = |n: i64| Value::Text(format!("{step} of {n} {}", "-".repeat(1000)));
        let rows: Vec<Row> = (0..GROUPS)
            .map(|n| vec![Value::Null, site(n), Value::Null, Value::Integer(n), Value::Integer(step)])
            .collect();
        let delta = DeltaBatch::inserts(batch_of(&readings_schema(), &rows));
        let (mut rows, mut pieces) = (0, Vec::new());
        let mut add = |piece: Vec<DeltaBatch>| {
            rows += piece.iter().map(DeltaBatch::num_rows).sum::<usize>();
            pieces.push(piece.iter().map(|delta| batch_bytes(delta.rows())).sum::<usize>());
            Ok(())
        };
        let input = StepInput::from_iter([(READINGS, vec![delta])]);
        dataflow.step(&input, true, &residence, &mut ErrorDelta::default(), &mut add).unwrap();
        assert_eq!(rows as i64, changed);
        let (largest, all) = (pieces.iter().max().unwrap(), pieces.iter().sum::<usize>());
        assert!(step == 0 || largest * 8 < all, "{} pieces, {largest} bytes the largest of {all}", pieces.len());
    }
}

/// The list of a group may be long, and not longer than what fits.
#[test]
fn what_a_group_puts_together_is_bounded() {
    let residence = in_pieces_of(1 << 20);
    residence.set_bytes_max(1);
    for call in ["string_agg(site, '')", "array_agg(site)"] {
        let root = sql(&format!("SELECT device, {call} AS all_of_them FROM readings GROUP BY device")).root;
        let mut dataflow = dataflow(root, Arc::new(Inline));
        let mut step = |number: i64| {
            let site = |n: i64| Value::Text(format!("{number} {n} {}", "-".repeat(1 << 16)));
            let rows = (0..200).map(|n| vec![Value::Integer(1), site(n), Value::Null, Value::Null, Value::Null]);
            let delta = DeltaBatch::inserts(batch_of(&readings_schema(), &rows.collect::<Vec<_>>()));
            let (input, mut errors) = (StepInput::from_iter([(READINGS, vec![delta])]), ErrorDelta::default());
            let stepped = dataflow.step(&input, true, &residence, &mut errors, &mut |_| Ok(()));
            assert!(errors.is_empty(), "it is no error of the rows");
            stepped
        };
        step(0).unwrap();
        step(1).unwrap();
        let error = step(2).unwrap_err();
        assert_eq!(error.state(), SqlState::OUT_OF_MEMORY, "{call}: {error}");
        assert!(error.to_string().contains("for one group"), "{call}: {error}");
    }
}

/// A list of all rows for each row: of few rows it is made, of many it would be more than fits.
#[test]
fn what_a_window_function_puts_together_is_bounded() {
    let residence = in_pieces_of(1 << 20);
    residence.set_bytes_max(1);
    let step = |rows: i64| {
        let mut dataflow =
            dataflow(sql("SELECT n, array_agg(n) OVER () AS all_of_them FROM readings").root, Arc::new(Inline));
        let rows: Vec<Row> = (0..rows).map(|n| reading(1, 0.0, n)).collect();
        let delta = DeltaBatch::inserts(batch_of(&readings_schema(), &rows));
        let (input, mut errors) = (StepInput::from_iter([(READINGS, vec![delta])]), ErrorDelta::default());
        let stepped = dataflow.step(&input, true, &residence, &mut errors, &mut |_| Ok(()));
        assert!(errors.is_empty(), "it is no error of the rows");
        stepped
    };
    step(500).unwrap();
    let error = step(2500).unwrap_err();
    assert_eq!(error.state(), SqlState::OUT_OF_MEMORY, "{error}");
    assert!(error.to_string().contains("window function"), "{error}");
}
