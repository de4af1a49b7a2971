//! The aggregates of the oracle: from all rows of a group, by definition, in exact numbers.

use std::cmp::Ordering;

use num_bigint::BigUint;

use super::{Row, Value};

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
    /// Variance of integers, with 16 digits.
    Variance(usize, Of),
    /// Standard deviation of integers, with 16 digits.
    Deviation(usize, Of),
    /// The first value in descending order at which this many of a hundred are reached.
    Percentile(usize, i64),
    /// The least of the most frequent values.
    Mode(usize),
    /// At this many of a hundred of the way from the first to the last float in order, between two in proportion.
    Between(usize, i64, Order),
    /// The first float at which this many of a hundred are reached, with eight binary digits behind its first.
    Approximate(usize, i64),
    /// Bits of integers that are in all of them, in any, or in an odd number of them.
    BitAnd(usize),
    BitOr(usize),
    BitXor(usize),
    /// Of integers y and x, by the name that SQL has for it.
    Regression(&'static str, usize, usize),
    /// Texts in ascending order of a column, NULL last, then of the text, with ", " between them.
    StringAgg(usize, usize),
    /// Values, NULL too, in descending order of a column, then in ascending order.
    ArrayAgg(usize, usize),
    /// Each value once, in order.
    ArrayAggDistinct(usize),
}

/// What a variance is of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Of {
    Population,
    Sample,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Order {
    Ascending,
    Descending,
}

/// Digits after the point of an average of integers.
const AVERAGE_SCALE: u32 = 16;

/// One aggregate of rows.
pub fn value_of(rows: &[Row], call: Call) -> Value {
    aggregate(&rows.iter().collect::<Vec<_>>(), call)
}

pub(super) fn aggregate(rows: &[&Row], call: Call) -> Value {
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
        Call::Variance(column, of) => spread(&present(rows, column), of, false),
        Call::Deviation(column, of) => spread(&present(rows, column), of, true),
        Call::Between(column, hundredths, order) => between(floats(&present(rows, column)), hundredths, order),
        Call::Approximate(column, hundredths) => {
            let values = present(rows, column).into_iter().map(|value| in_nine_digits(&value));
            percentile(values.collect(), hundredths, Order::Ascending)
        }
        Call::BitAnd(column) => bits(&present(rows, column), |set, count| set == count),
        Call::BitOr(column) => bits(&present(rows, column), |set, _| set > 0),
        Call::BitXor(column) => bits(&present(rows, column), |set, _| set % 2 == 1),
        Call::Regression(name, y, x) => regression(rows, name, y, x),
        Call::StringAgg(text, key) => texts(rows, text, key),
        Call::ArrayAgg(value, key) => array(rows, value, key),
        Call::ArrayAggDistinct(column) => {
            let mut values: Vec<Value> = rows.iter().map(|row| row[column].canonical()).collect();
            values.sort_by(Value::compare);
            values.dedup_by(|left, right| left.compare(right).is_eq());
            if values.is_empty() { Value::Null } else { Value::List(values) }
        }
        Call::Percentile(column, hundredths) => percentile(present(rows, column), hundredths, Order::Descending),
        Call::Mode(column) => mode(present(rows, column)),
        Call::First(value, time) => end(rows, value, time, Ordering::Less),
        Call::Last(value, time) => end(rows, value, time, Ordering::Greater),
    }
}

fn present(rows: &[&Row], column: usize) -> Vec<Value> {
    rows.iter().map(|row| row[column].canonical()).filter(|value| !value.is_null()).collect()
}

/// From the definition: half of all squared differences of pairs, over n^2 or n (n - 1); of the deviation the root.
fn spread(values: &[Value], of: Of, is_root: bool) -> Value {
    let numbers = integers(values);
    let count = numbers.len() as i128;
    let others = if of == Of::Population { count } else { count - 1 };
    if count * others <= 0 {
        return Value::Null;
    }
    let squares: i128 = numbers.iter().flat_map(|left| numbers.iter().map(move |right| (left - right).pow(2))).sum();
    let one = 10_i128.pow(16);
    // Each pair is counted in both orders.
    let divisor = 2 * count * others;
    let unscaled = match is_root {
        false => (squares * one * 2 / divisor + 1) / 2,
        true => {
            let root = (squares * one * one / divisor).isqrt();
            if (2 * root + 1).pow(2) * divisor <= squares * one * one * 4 { root + 1 } else { root }
        }
    };
    Value::Numeric { unscaled, scale: 16 }
}

fn integers(values: &[Value]) -> Vec<i128> {
    let integer = |value: &Value| if let Value::Integer(value) = value { Some(i128::from(*value)) } else { None };
    values.iter().filter_map(integer).collect()
}

/// Whether each of 64 bits is set, by how many of the values have it and how many there are.
fn bits(values: &[Value], is_set: fn(usize, usize) -> bool) -> Value {
    let numbers = integers(values);
    let set = |bit: &u32| is_set(numbers.iter().filter(|number| *number >> bit & 1 == 1).count(), numbers.len());
    match numbers.is_empty() {
        true => Value::Null,
        false => Value::Integer((0..64).filter(set).fold(0_i64, |bits, bit| bits | 1 << bit)),
    }
}

/// Every result is a quotient of sums of integers, or the root of one.
fn regression(rows: &[&Row], name: &str, y: usize, x: usize) -> Value {
    let pairs: Vec<[i128; 2]> =
        rows.iter().filter_map(|row| integers(&[row[y].clone(), row[x].clone()]).try_into().ok()).collect();
    let sum = |of: fn(&[i128; 2]) -> i128| pairs.iter().map(of).sum::<i128>();
    let (n, sy, sx) = (pairs.len() as i128, sum(|[y, _]| *y), sum(|[_, x]| *x));
    let (syy, sxx, sxy) = (sum(|[y, _]| y * y), sum(|[_, x]| x * x), sum(|[y, x]| y * x));
    let (yy, xx, xy) = (n * syy - sy * sy, n * sxx - sx * sx, n * sxy - sx * sy);
    let quotient = |above: i128, below: i128| Value::Float(above as f64 / below as f64);
    match name {
        "regr_count" => Value::Integer(n as i64),
        _ if n == 0 => Value::Null,
        "covar_pop" => quotient(xy, n * n),
        "covar_samp" if n > 1 => quotient(xy, n * (n - 1)),
        "regr_avgx" => quotient(sx, n),
        "regr_avgy" => quotient(sy, n),
        "regr_sxx" => quotient(xx, n),
        "regr_syy" => quotient(yy, n),
        "regr_sxy" => quotient(xy, n),
        "regr_slope" if xx != 0 => quotient(xy, xx),
        "regr_intercept" if xx != 0 => quotient(sy * sxx - sx * sxy, xx),
        "regr_r2" if xx != 0 && yy == 0 => Value::Float(1.0),
        "regr_r2" if xx != 0 => quotient(xy * xy, xx * yy),
        "corr" if xx != 0 && yy != 0 => Value::Float(xy.signum() as f64 * root(xy * xy, xx * yy)),
        _ => Value::Null,
    }
}

/// The float nearest to the root of a quotient of at most 1: of its digits 80 behind the point, what follows only told.
fn root(above: i128, below: i128) -> f64 {
    let (above, below) = (BigUint::from(above.unsigned_abs()) << 160, BigUint::from(below.unsigned_abs()));
    let quotient: BigUint = &above / &below;
    let root = quotient.sqrt();
    let is_exact = &root * &root * &below == above;
    let digits = root.iter_u64_digits().rev().fold(0_u128, |digits, next| digits << 64 | u128::from(next));
    (digits | u128::from(!is_exact)) as f64 / 2_f64.powi(80)
}

fn between(mut values: Vec<f64>, hundredths: i64, order: Order) -> Value {
    values.sort_by(f64::total_cmp);
    if order == Order::Descending {
        values.reverse();
    }
    if values.is_empty() {
        return Value::Null;
    }
    let place = hundredths as f64 / 100.0 * (values.len() - 1) as f64;
    let (low, high) = (values[place.floor() as usize], values[place.ceil() as usize]);
    Value::Float(if low.total_cmp(&high).is_eq() { low } else { low + (place - place.floor()) * (high - low) })
}

/// The first nine binary digits of a float, the others 0.
fn in_nine_digits(value: &Value) -> Value {
    let Value::Float(value) = value else { return Value::Null };
    if *value == 0.0 || !value.is_finite() {
        return Value::Float(*value);
    }
    let (mut digits, mut unit) = (value.abs(), 1.0);
    while digits >= 512.0 {
        (digits, unit) = (digits / 2.0, unit * 2.0);
    }
    while digits < 256.0 {
        (digits, unit) = (digits * 2.0, unit / 2.0);
    }
    Value::Float(digits.floor() * unit * value.signum())
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

fn array(rows: &[&Row], value: usize, key: usize) -> Value {
    let mut found: Vec<(Value, Value)> = rows.iter().map(|row| (row[key].canonical(), row[value].clone())).collect();
    found.sort_by(|left, right| right.0.compare(&left.0).then(left.1.compare_bits(&right.1)));
    match found.is_empty() {
        true => Value::Null,
        false => Value::List(found.into_iter().map(|(_, value)| value).collect()),
    }
}

fn percentile(mut values: Vec<Value>, hundredths: i64, order: Order) -> Value {
    values.sort_by(Value::compare);
    if order == Order::Descending {
        values.reverse();
    }
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
