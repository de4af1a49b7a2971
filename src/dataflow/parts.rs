//! A step's input, in one piece or in several: between pieces state can leave memory. Nobody can tell them from the whole,
//! because nothing is answered or sent in between.
//!
//! Invariant: after every piece each relation holds every row at least zero times, as operators may assume: in a cut step,
//! what comes stands before what goes.

use std::collections::VecDeque;

use arrow::array::BooleanArray;
use arrow::compute::not;

use super::tree::StepInput;
use crate::delta::{DeltaBatch, Weights};
use crate::error::Result;
use crate::types::RelationId;

/// What is left of a step's input.
pub enum Parts {
    Whole(Option<StepInput>),
    /// By relation, what comes before what goes.
    Cut(VecDeque<(RelationId, DeltaBatch)>),
}

impl Parts {
    pub fn whole(input: StepInput) -> Self {
        Parts::Whole(Some(input))
    }

    pub fn cut(input: StepInput) -> Result<Self> {
        let mut relations: Vec<_> = input.into_iter().collect();
        relations.sort_by_key(|(relation, _)| *relation);
        let mut parts = VecDeque::new();
        for (relation, deltas) in relations {
            let mut gone = Vec::new();
            for delta in deltas {
                match delta.weights() {
                    Weights::AllOne => parts.push_back((relation, delta)),
                    Weights::Each(weights) => {
                        let comes = BooleanArray::from_unary(weights, |weight| weight > 0);
                        parts.push_back((relation, delta.filter(&comes)?));
                        gone.push((relation, delta.filter(&not(&comes)?)?));
                    }
                }
            }
            parts.extend(gone);
        }
        parts.retain(|(_, delta)| !delta.is_empty());
        // What brings no rows brings the time.
        Ok(if parts.is_empty() { Parts::whole(StepInput::default()) } else { Parts::Cut(parts) })
    }

    /// The next piece, of at most `rows_max` rows if the step is cut.
    pub fn next(&mut self, rows_max: usize) -> Option<StepInput> {
        let rest = match self {
            Parts::Whole(input) => return input.take(),
            Parts::Cut(rest) => rest,
        };
        let mut part = StepInput::default();
        let mut room = rows_max.max(1);
        while room > 0
            && let Some((relation, delta)) = rest.pop_front()
        {
            let taken = room.min(delta.num_rows());
            if taken < delta.num_rows() {
                rest.push_front((relation, delta.slice(taken, delta.num_rows() - taken)));
            }
            room -= taken;
            part.entry(relation).or_default().push(delta.slice(0, taken));
        }
        (!part.is_empty()).then_some(part)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, RecordBatch};

    use super::*;

    #[test]
    fn parts_are_the_whole() {
        let batch = |rows: i64| {
            let column = Arc::new(Int64Array::from_iter_values(0..rows)) as _;
            DeltaBatch::inserts(RecordBatch::try_from_iter([("n", column)]).unwrap())
        };
        let input =
            || StepInput::from_iter([(RelationId(2), vec![batch(5), batch(9)]), (RelationId(1), vec![batch(3)])]);
        let rows = |part: StepInput| {
            let mut rows: Vec<_> =
                part.iter().map(|(id, deltas)| (id.0, deltas.iter().map(DeltaBatch::num_rows).sum())).collect();
            rows.sort_unstable();
            rows
        };
        let mut cut = Parts::cut(input()).unwrap();
        let parts: Vec<Vec<(u32, usize)>> = std::iter::from_fn(|| cut.next(7)).map(rows).collect();
        assert_eq!(parts, [vec![(1, 3), (2, 4)], vec![(2, 7)], vec![(2, 3)]]);
        let mut nothing = Parts::cut(StepInput::default()).unwrap();
        assert!(nothing.next(7).is_some_and(|part| part.is_empty()));
        assert!(nothing.next(7).is_none());
        let mut whole = Parts::whole(input());
        assert_eq!(whole.next(1).map(rows), Some(vec![(1, 3), (2, 14)]));
        assert!(whole.next(1).is_none());
    }

    #[test]
    fn what_comes_stands_before_what_goes() {
        let delta = |weights: &[i64]| {
            let column = Arc::new(Int64Array::from_iter_values(0..weights.len() as i64)) as _;
            DeltaBatch::new(RecordBatch::try_from_iter([("n", column)]).unwrap(), weights.to_vec().into()).unwrap()
        };
        let input = StepInput::from_iter([(RelationId(1), vec![delta(&[-1, 2, -1]), delta(&[1, -1])])]);
        let mut cut = Parts::cut(input).unwrap();
        let weights: Vec<i64> =
            std::iter::from_fn(|| cut.next(1)).map(|part| part[&RelationId(1)][0].weight(0)).collect();
        assert_eq!(weights, [2, 1, -1, -1, -1]);
    }
}
