//! The naive oracle: filter, project, join and group by loops over rows and exact numbers.
//!
//! Nothing here is shared with the engines that it judges: no DataFusion, no arrow, no state. It is slow on purpose, and
//! short enough to be read as the definition of what a query means.

use std::cmp::Ordering;

/// One value. Integers and numerics are exact; text renders them alike, so that `5` of any type is `5`.
#[derive(Debug, Clone)]
pub enum Value {
    Null,
    Boolean(bool),
    Integer(i64),
    Numeric { unscaled: i128, scale: u8 },
    Float(f64),
    Text(String),
}

pub type Row = Vec<Value>;

/// Aggregates over columns of the input.
#[derive(Debug, Clone, Copy)]
pub enum Call {
    CountAll,
    Count(usize),
    Sum(usize),
    Avg(usize),
    Min(usize),
    Max(usize),
    /// Value, time.
    First(usize, usize),
    Last(usize, usize),
    CountDistinct(usize),
    SumDistinct(usize),
    AvgDistinct(usize),
    /// Of integers, with 16 digits.
    Variance(usize),
    /// The population's, of integers, with 16 digits.
    Deviation(usize),
    /// The first value in descending order at which this many of a hundred are reached.
    Percentile(usize, i64),
    /// The least of the most frequent values.
    Mode(usize),
    /// Texts in ascending order of a column, NULL last, then of the text, with ", " between them.
    StringAgg(usize, usize),
}

/// Digits after the point of an average of integers.
const AVERAGE_SCALE: u32 = 16;

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

/// One aggregate of rows.
pub fn value_of(rows: &[Row], call: Call) -> Value {
    aggregate(&rows.iter().collect::<Vec<_>>(), call)
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
        key.extend(calls.iter().map(|call| aggregate(&members, *call)));
        key
    };
    groups.into_iter().map(finish).collect()
}

fn aggregate(rows: &[&Row], call: Call) -> Value {
    match call {
        Call::CountAll => Value::Integer(rows.len() as i64),
        Call::Count(column) => Value::Integer(present(rows, column).len() as i64),
        Call::Sum(column) => sum(&present(rows, column)),
        Call::Avg(column) => average(&present(rows, column)),
        Call::Min(column) => present(rows, column).into_iter().min_by(Value::compare_pair).unwrap_or(Value::Null),
        Call::Max(column) => present(rows, column).into_iter().max_by(Value::compare_pair).unwrap_or(Value::Null),
        Call::CountDistinct(column) => Value::Integer(distinct(&present(rows, column)).len() as i64),
        Call::SumDistinct(column) => sum(&distinct(&present(rows, column))),
        Call::AvgDistinct(column) => average(&distinct(&present(rows, column))),
        Call::Variance(column) => spread(&present(rows, column), false),
        Call::Deviation(column) => spread(&present(rows, column), true),
        Call::StringAgg(text, key) => texts(rows, text, key),
        Call::Percentile(column, hundredths) => percentile(present(rows, column), hundredths),
        Call::Mode(column) => mode(present(rows, column)),
        Call::First(value, time) => end(rows, value, time, Ordering::Less),
        Call::Last(value, time) => end(rows, value, time, Ordering::Greater),
    }
}

fn present(rows: &[&Row], column: usize) -> Vec<Value> {
    rows.iter().map(|row| row[column].canonical()).filter(|value| !value.is_null()).collect()
}

/// From the definition: half of all squared differences of pairs, over n (n - 1); the population's root over n^2.
fn spread(values: &[Value], deviation: bool) -> Value {
    let numbers: Vec<i128> = values
        .iter()
        .filter_map(|value| if let Value::Integer(value) = value { Some(i128::from(*value)) } else { None })
        .collect();
    let count = numbers.len() as i128;
    if count < if deviation { 1 } else { 2 } {
        return Value::Null;
    }
    let squares: i128 = numbers.iter().flat_map(|left| numbers.iter().map(move |right| (left - right).pow(2))).sum();
    let one = 10_i128.pow(16);
    // Twice the numerator, because each pair is counted in both orders.
    let unscaled = match deviation {
        false => (squares * one * 2 / (count * (count - 1) * 2) + 1) / 2,
        true => {
            let target = squares * one * one / (2 * count * count);
            let root = target.isqrt();
            if (2 * root + 1).pow(2) * 2 * count * count <= squares * one * one * 4 { root + 1 } else { root }
        }
    };
    Value::Numeric { unscaled, scale: 16 }
}

fn texts(rows: &[&Row], text: usize, key: usize) -> Value {
    let mut found: Vec<(Value, String)> = Vec::new();
    for row in rows {
        if let Value::Text(text) = &row[text] {
            found.push((row[key].canonical(), text.clone()));
        }
    }
    found.sort_by(|left, right| left.0.compare(&right.0).then(left.1.cmp(&right.1)));
    match found.is_empty() {
        true => Value::Null,
        false => Value::Text(found.into_iter().map(|(_, text)| text).collect::<Vec<_>>().join(", ")),
    }
}

fn percentile(mut values: Vec<Value>, hundredths: i64) -> Value {
    values.sort_by(|left, right| right.compare(left));
    let reached = |place: &usize| (*place as i64 + 1) * 100 >= hundredths * values.len() as i64;
    (0..values.len()).find(reached).map_or(Value::Null, |place| values[place].clone())
}

fn mode(mut values: Vec<Value>) -> Value {
    values.sort_by(Value::compare);
    let frequency = |value: &Value| values.iter().filter(|other| other.compare(value).is_eq()).count();
    let most = values.iter().map(frequency).max().unwrap_or_default();
    values.iter().find(|value| frequency(value) == most).cloned().unwrap_or(Value::Null)
}

fn distinct(values: &[Value]) -> Vec<Value> {
    let mut kept: Vec<Value> = Vec::new();
    for value in values {
        if kept.iter().all(|other| other.compare(value).is_ne()) {
            kept.push(value.clone());
        }
    }
    kept
}

fn end(rows: &[&Row], value: usize, time: usize, wanted: Ordering) -> Value {
    let mut best: Option<(Value, Value)> = None;
    for row in rows.iter().filter(|row| !row[time].is_null()) {
        let candidate = (row[time].canonical(), row[value].canonical());
        let better =
            best.as_ref().is_none_or(|best| candidate.0.compare(&best.0).then(candidate.1.compare(&best.1)) == wanted);
        if better {
            best = Some(candidate);
        }
    }
    best.map_or(Value::Null, |(_, value)| value)
}

fn sum(values: &[Value]) -> Value {
    match values.first() {
        None => Value::Null,
        Some(Value::Float(_)) => Value::Float(special(values).unwrap_or_else(|| exact_float_sum(&floats(values)))),
        Some(_) => Value::Numeric { unscaled: exact_sum(values).0, scale: exact_sum(values).1 },
    }
}

fn average(values: &[Value]) -> Value {
    let count = values.len() as i128;
    match values.first() {
        None => Value::Null,
        Some(Value::Float(_)) => Value::Float(special(values).unwrap_or_else(|| exact_float_mean(&floats(values)))),
        Some(_) => {
            let (sum, scale) = exact_sum(values);
            let shift = AVERAGE_SCALE.saturating_sub(u32::from(scale));
            let scaled = sum * 10_i128.pow(shift);
            let (quotient, remainder) = (scaled / count, scaled % count);
            let away = if remainder.abs() * 2 >= count { scaled.signum() } else { 0 };
            Value::Numeric { unscaled: quotient + away, scale: scale + shift as u8 }
        }
    }
}

fn exact_sum(values: &[Value]) -> (i128, u8) {
    values.iter().fold((0, 0), |(sum, _), value| match value {
        Value::Integer(value) => (sum + i128::from(*value), 0),
        Value::Numeric { unscaled, scale } => (sum + unscaled, *scale),
        _ => (sum, 0),
    })
}

fn floats(values: &[Value]) -> Vec<f64> {
    values.iter().filter_map(|value| if let Value::Float(value) = value { Some(*value) } else { None }).collect()
}

/// NaN and infinities decide a sum by themselves.
fn special(values: &[Value]) -> Option<f64> {
    let specials: Vec<f64> = floats(values).into_iter().filter(|value| !value.is_finite()).collect();
    (!specials.is_empty()).then(|| specials.iter().sum())
}

/// Shewchuk's expansions (Adaptive precision floating-point arithmetic, 1997): the sum as parts that do not overlap.
fn expansion(values: &[f64]) -> Vec<f64> {
    let mut parts: Vec<f64> = Vec::new();
    for value in values {
        let (mut carried, mut kept) = (*value, Vec::new());
        for part in parts {
            let (large, small) = if carried.abs() < part.abs() { (part, carried) } else { (carried, part) };
            let high = large + small;
            let low = small - (high - large);
            if low != 0.0 {
                kept.push(low);
            }
            carried = high;
        }
        kept.push(carried);
        parts = kept;
    }
    parts
}

/// The nearest float to the exact sum, as Python's `math.fsum`.
fn exact_float_sum(values: &[f64]) -> f64 {
    let mut parts = expansion(values);
    let Some(mut high) = parts.pop() else { return 0.0 };
    let mut low = 0.0;
    while let Some(part) = parts.pop() {
        let before = high;
        high = before + part;
        low = part - (high - before);
        if low != 0.0 {
            break;
        }
    }
    // Half a unit in the last place is a tie only if nothing follows it.
    if let Some(next) = parts.last()
        && ((low < 0.0 && *next < 0.0) || (low > 0.0 && *next > 0.0))
    {
        let doubled = low * 2.0;
        let rounded = high + doubled;
        if doubled == rounded - high {
            high = rounded;
        }
    }
    high + 0.0
}

/// The float nearest to the exact mean: of the quotient and its neighbours, the one with the least exact error.
fn exact_float_mean(values: &[f64]) -> f64 {
    let count = values.len() as f64;
    let guess = exact_float_sum(values) / count;
    let error = |candidate: f64| {
        let product = candidate * count;
        let rest = candidate.mul_add(count, -product);
        let terms: Vec<f64> = values.iter().copied().chain([-product, -rest]).collect();
        exact_float_sum(&terms).abs()
    };
    let even = |candidate: &f64| candidate.to_bits() & 1;
    let by_error = |left: &f64, right: &f64| error(*left).total_cmp(&error(*right)).then(even(left).cmp(&even(right)));
    [guess, guess.next_up(), guess.next_down()].into_iter().min_by(by_error).unwrap_or(guess) + 0.0
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
    fn compare_bits(&self, other: &Value) -> Ordering {
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
