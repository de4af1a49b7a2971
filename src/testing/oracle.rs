//! The naive oracle: filter, project, join and group by loops over rows and exact numbers.
//!
//! Nothing here is shared with the engines that it judges: no DataFusion, no arrow, no state. It is slow on purpose, and
//! short enough to be read as the definition of what a query means.

mod aggregates;

use std::cmp::Ordering;

pub use self::aggregates::{Call, Of, Order, value_of};

/// One value. Integers and numerics are exact; text renders them alike, so that `5` of any type is `5`.
#[derive(Debug, Clone)]
pub enum Value {
    Null,
    Boolean(bool),
    Integer(i64),
    Numeric { unscaled: i128, scale: u8 },
    Float(f64),
    Text(String),
    List(Vec<Value>),
}

pub type Row = Vec<Value>;

pub fn filter(rows: &[Row], predicate: impl Fn(&Row) -> Option<bool>) -> Vec<Row> {
    rows.iter().filter(|row| predicate(row) == Some(true)).cloned().collect()
}

pub fn project(rows: &[Row], expressions: impl Fn(&Row) -> Row) -> Vec<Row> {
    rows.iter().map(expressions).collect()
}

/// Inner join on equal columns; NULL equals nothing.
pub fn join(left: &[Row], right: &[Row], on: &[(usize, usize)]) -> Vec<Row> {
    let mut joined = Vec::new();
    for left in left {
        for right in right {
            let equal = |(l, r): &(usize, usize)| !left[*l].is_null() && left[*l].compare(&right[*r]).is_eq();
            if on.iter().all(equal) {
                joined.push(left.iter().chain(right).cloned().collect());
            }
        }
    }
    joined
}

/// Each pair of rows with equal columns, not NULL, for which `matches` is true; and left rows without any such pair, with
/// `right_columns` times NULL.
pub fn left_join(
    left: &[Row],
    right: &[Row],
    on: &[(usize, usize)],
    right_columns: usize,
    matches: impl Fn(&Row) -> Option<bool>,
) -> Vec<Row> {
    let mut joined = Vec::new();
    for row in left {
        let pairs = filter(&join(std::slice::from_ref(row), right, on), &matches);
        if pairs.is_empty() {
            joined.push(row.iter().cloned().chain(std::iter::repeat_n(Value::Null, right_columns)).collect());
        }
        joined.extend(pairs);
    }
    joined
}

/// As [`left_join`], and right rows without any such pair, with `left_columns` times NULL.
pub fn full_join(
    left: &[Row],
    right: &[Row],
    on: &[(usize, usize)],
    (left_columns, right_columns): (usize, usize),
    matches: impl Fn(&Row) -> Option<bool>,
) -> Vec<Row> {
    let mut joined = left_join(left, right, on, right_columns, &matches);
    for row in right {
        if filter(&join(left, std::slice::from_ref(row), on), &matches).is_empty() {
            joined.push(std::iter::repeat_n(Value::Null, left_columns).chain(row.iter().cloned()).collect());
        }
    }
    joined
}

/// Left rows that match at least one right row, or, for an anti-join, none.
pub fn semi_join(
    left: &[Row],
    right: &[Row],
    on: &[(usize, usize)],
    is_anti: bool,
    matches: impl Fn(&Row) -> Option<bool>,
) -> Vec<Row> {
    let matched = |row: &Row| !filter(&join(std::slice::from_ref(row), right, on), &matches).is_empty();
    left.iter().filter(|row| matched(row) != is_anti).cloned().collect()
}

/// Whether `value` is IN `values`, by the standard's three answers.
pub fn is_in(value: &Value, values: &[Value]) -> Option<bool> {
    let equal = |other: &Value| match value.is_null() || other.is_null() {
        true => None,
        false => Some(value.compare(other).is_eq()),
    };
    let answers: Vec<Option<bool>> = values.iter().map(equal).collect();
    match answers.contains(&Some(true)) {
        true => Some(true),
        false if answers.contains(&None) => None,
        false => Some(false),
    }
}

fn count(rows: &[Row], row: &Row) -> usize {
    rows.iter().filter(|other| same_row(other, row)).count()
}

fn same_row(left: &Row, right: &Row) -> bool {
    left.iter().zip(right).all(|(left, right)| left.compare(right).is_eq())
}

/// Each distinct row so often as `times` makes of its number on the left and on the right.
pub fn set_operation(left: &[Row], right: &[Row], times: fn(usize, usize) -> usize) -> Vec<Row> {
    let mut found: Vec<Row> = Vec::new();
    let mut result = Vec::new();
    for row in left {
        if count(&found, row) == 0 {
            found.push(row.clone());
            let row: Row = row.iter().map(Value::canonical).collect();
            result.extend(std::iter::repeat_n(row.clone(), times(count(left, &row), count(right, &row))));
        }
    }
    result
}

/// A key of an order: the column, whether it descends, whether NULL is first.
pub type OrderKey = (usize, bool, bool);

fn compare_keys(left: &Row, right: &Row, order: &[OrderKey]) -> Ordering {
    let one = |(column, descending, nulls_first): &OrderKey| {
        let (left, right) = (&left[*column], &right[*column]);
        match (left.is_null(), right.is_null()) {
            (true, true) => Ordering::Equal,
            (true, false) => {
                if *nulls_first {
                    Ordering::Less
                } else {
                    Ordering::Greater
                }
            }
            (false, true) => {
                if *nulls_first {
                    Ordering::Greater
                } else {
                    Ordering::Less
                }
            }
            (false, false) if *descending => right.compare(left),
            (false, false) => left.compare(right),
        }
    };
    order.iter().map(one).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}

/// The rows of each partition in their order, equal ones in the order of the whole row.
pub fn partitions(rows: &[Row], partition: &[usize], order: &[OrderKey]) -> Vec<Vec<Row>> {
    let mut found: Vec<Vec<Row>> = Vec::new();
    for row in rows {
        let same =
            |other: &&mut Vec<Row>| partition.iter().all(|column| other[0][*column].compare(&row[*column]).is_eq());
        match found.iter_mut().find(same) {
            Some(members) => members.push(row.clone()),
            None => found.push(vec![row.clone()]),
        }
    }
    for members in &mut found {
        members.sort_by(|left, right| {
            let whole = |compare: fn(&Value, &Value) -> Ordering| {
                let columns = left.iter().zip(right).map(|(left, right)| compare(left, right));
                columns.fold(Ordering::Equal, Ordering::then)
            };
            compare_keys(left, right, order)
                .then_with(|| whole(Value::compare))
                .then_with(|| whole(Value::compare_bits))
        });
    }
    found
}

/// Row number, rank and dense rank of each row of a partition.
pub fn ranks(members: &[Row], order: &[OrderKey]) -> Vec<[i64; 3]> {
    let (mut ranks, mut rank, mut dense): (Vec<[i64; 3]>, i64, i64) = (Vec::new(), 0, 0);
    for (place, row) in members.iter().enumerate() {
        if place == 0 || compare_keys(&members[place - 1], row, order).is_ne() {
            (rank, dense) = (place as i64 + 1, dense + 1);
        }
        ranks.push([place as i64 + 1, rank, dense]);
    }
    ranks
}

/// Of each partition the rows whose rank is above `skip` and at most `skip + fetch`; `kind` is a place in [`ranks`].
pub fn top(
    rows: &[Row],
    partition: &[usize],
    order: &[OrderKey],
    (kind, skip, fetch): (usize, i64, i64),
    shows_rank: bool,
) -> Vec<Row> {
    let mut result = Vec::new();
    for members in partitions(rows, partition, order) {
        for (row, ranks) in members.iter().zip(ranks(&members, order)) {
            if ranks[kind] > skip && ranks[kind] <= skip + fetch {
                let rank = shows_rank.then_some(Value::Integer(ranks[kind]));
                result.push(row.iter().cloned().chain(rank).collect());
            }
        }
    }
    result
}

/// Each row of each partition with what `values` makes of it: of the partition's rows in order, and the row's place.
pub fn window(
    rows: &[Row],
    partition: &[usize],
    order: &[OrderKey],
    values: impl Fn(&[Row], usize) -> Row,
) -> Vec<Row> {
    let mut result = Vec::new();
    for members in partitions(rows, partition, order) {
        for (place, row) in members.iter().enumerate() {
            result.push(row.iter().cloned().chain(values(&members, place)).collect());
        }
    }
    result
}

pub fn union(parts: &[Vec<Row>]) -> Vec<Row> {
    parts.iter().flatten().cloned().collect()
}

/// Each row with each number of the list that `expand` makes of it behind it.
pub fn unnest(rows: &[Row], expand: impl Fn(&Row) -> Vec<i64>) -> Vec<Row> {
    let mut expanded = Vec::new();
    for row in rows {
        for element in expand(row) {
            expanded.push(row.iter().cloned().chain([Value::Integer(element)]).collect());
        }
    }
    expanded
}

/// Groups' keys, then the calls. Without keys, one row even over nothing.
pub fn group(rows: &[Row], keys: &[usize], calls: &[Call]) -> Vec<Row> {
    let mut groups: Vec<(Row, Vec<&Row>)> = Vec::new();
    if keys.is_empty() {
        groups.push((Vec::new(), Vec::new()));
    }
    for row in rows {
        let key: Row = keys.iter().map(|key| row[*key].canonical()).collect();
        let same = |(other, _): &&mut (Row, Vec<&Row>)| {
            other.iter().zip(&key).all(|(left, right)| left.compare(right).is_eq())
        };
        match groups.iter_mut().find(same) {
            Some((_, members)) => members.push(row),
            None => groups.push((key, vec![row])),
        }
    }
    let finish = |(mut key, members): (Row, Vec<&Row>)| {
        key.extend(calls.iter().map(|call| aggregates::aggregate(&members, *call)));
        key
    };
    groups.into_iter().map(finish).collect()
}

impl Value {
    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }

    /// -0 as 0, every NaN as one.
    pub fn canonical(&self) -> Value {
        match self {
            Value::Float(value) if value.is_nan() => Value::Float(f64::NAN),
            Value::Float(value) => Value::Float(value + 0.0),
            other => other.clone(),
        }
    }

    /// PostgreSQL's order: NULL after everything, NaN after every number, -0 equal to 0.
    pub fn compare(&self, other: &Value) -> Ordering {
        match (self.canonical(), other.canonical()) {
            (Value::Null, Value::Null) => Ordering::Equal,
            (Value::Null, _) => Ordering::Greater,
            (_, Value::Null) => Ordering::Less,
            (Value::Boolean(left), Value::Boolean(right)) => left.cmp(&right),
            (Value::Integer(left), Value::Integer(right)) => left.cmp(&right),
            (Value::Numeric { unscaled: left, .. }, Value::Numeric { unscaled: right, .. }) => left.cmp(&right),
            (Value::Float(left), Value::Float(right)) => left.total_cmp(&right),
            (Value::Text(left), Value::Text(right)) => left.as_bytes().cmp(right.as_bytes()),
            (left, right) => left.render().cmp(&right.render()),
        }
    }

    /// As [`Value::compare`], and floats that are equal in SQL by their bits.
    pub fn compare_bits(&self, other: &Value) -> Ordering {
        match (self, other) {
            (Value::Float(left), Value::Float(right)) => left.total_cmp(right),
            (left, right) => left.compare(right),
        }
    }

    fn compare_pair(left: &Value, right: &Value) -> Ordering {
        left.compare(right)
    }

    pub fn render(&self) -> String {
        match self {
            Value::Null => "NULL".to_string(),
            Value::Boolean(value) => value.to_string(),
            Value::Integer(value) => value.to_string(),
            Value::Numeric { unscaled, scale: 0 } => unscaled.to_string(),
            Value::Numeric { unscaled, scale } => format!("{unscaled}e-{scale}"),
            Value::Float(value) if value.is_nan() => "NaN".to_string(),
            Value::Float(value) => format!("{:?}", value + 0.0),
            Value::Text(value) => format!("'{value}'"),
            Value::List(values) => {
                format!("{{{}}}", values.iter().map(Value::render).collect::<Vec<_>>().join(","))
            }
        }
    }
}

/// The multiset as sorted text: equal multisets give equal text.
pub fn render(rows: &[Row]) -> Vec<String> {
    let line = |row: &Row| row.iter().map(Value::render).collect::<Vec<_>>().join(" | ");
    let mut lines: Vec<String> = rows.iter().map(line).collect();
    lines.sort();
    lines
}

#[cfg(test)]
mod tests;
