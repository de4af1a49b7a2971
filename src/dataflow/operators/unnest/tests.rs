//! Unnesting: elements with the weight of their row, lists that are empty or NULL.

use std::sync::Arc;

use arrow::array::{AsArray, Int64Array, ListArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};

use super::Unnest;
use crate::delta::DeltaBatch;

#[test]
fn an_element_has_the_weight_of_its_row() {
    let lists = ListArray::from_iter_primitive::<Int64Type, _, _>([
        Some(vec![Some(1), None]),
        None,
        Some(vec![]),
        Some(vec![Some(4)]),
    ]);
    let numbers = Int64Array::from(vec![10, 20, 30, 40]);
    let list = DataType::new_list(DataType::Int64, true);
    let fields = [Field::new("n", DataType::Int64, true), Field::new("list", list, true)];
    let rows = RecordBatch::try_new(Arc::new(Schema::new(fields.to_vec())), vec![Arc::new(numbers), Arc::new(lists)]);
    let delta = DeltaBatch::new(rows.unwrap(), vec![2, 1, 1, -1].into()).unwrap();
    let fields = [Field::new("n", DataType::Int64, true), Field::new("list", DataType::Int64, true)];
    let mut unnest = Unnest::new(1, Arc::new(Schema::new(fields.to_vec())), Arc::new(crate::io::Inline));
    let output = unnest.step(vec![delta]).unwrap().remove(0);
    let column = |index: usize| output.rows().column(index).as_primitive::<Int64Type>().iter().collect::<Vec<_>>();
    assert_eq!(column(0), [Some(10), Some(10), Some(40)]);
    assert_eq!(column(1), [Some(1), None, Some(4)]);
    assert_eq!(output.weights_array().values(), &[2, 2, -1]);
    assert_eq!(unnest.counters.rows_emitted, 3);
}
