//! Unions: rows of both inputs under one set of names, a table that is read twice.

use datafusion::logical_expr::{col, lit};

use crate::dataflow::tests::views::*;
use crate::testing::oracle::Value;

#[test]
fn rows_of_all_inputs_with_their_weights() {
    let left = project(source(READINGS, &readings_schema()), vec![col("device"), col("site")]);
    let right = source(DEVICES, &devices_schema());
    let small = project(
        filter(source(READINGS, &readings_schema()), col("n").lt(lit(5_i64))),
        vec![col("device"), col("site")],
    );
    let mut stepper = Stepper::new(union(vec![left, right, small]));
    let changes = [(1, reading(1, 0.5, 3)), (-2, reading(2, 0.5, 9))];
    assert_eq!(stepper.step(READINGS, &changes), ["+1 | 1 | NULL", "+1 | 1 | NULL", "-2 | 2 | NULL"]);
    let device = vec![Value::Integer(7), Value::Text("a".to_string())];
    assert_eq!(stepper.step(DEVICES, &[(1, device)]), ["+1 | 7 | 'a'"]);
}
