//! What a server answered, as the lines of a golden, and the comparison with what was expected.

use sqllogictest::SortMode;

/// See [`compare`].
pub const ANY: &str = "<any>";

/// A statement's answer.
#[derive(Debug, Clone)]
pub enum Answer {
    Rows { columns: usize, lines: Vec<String> },
    Done { rows: u64 },
}

/// An error with all that a client shows of it, each field on its line.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// SQLSTATE, empty if the connection broke.
    pub code: String,
    pub text: String,
}

/// One row as a line: values separated by a space, white space within values made visible or single.
pub fn line_of<'a>(values: impl Iterator<Item = Option<&'a str>>) -> String {
    let shown: Vec<String> = values
        .map(|value| match value {
            None => "NULL".to_owned(),
            Some("") => "(empty)".to_owned(),
            Some(text) => text.replace('\n', "\\n"),
        })
        .collect();
    normal(&shown.join(" "))
}

/// Runs of white space count as one space, so that goldens may be aligned.
fn normal(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Compares in the golden's order, or sorted; `<any>` in a golden stands for any one word.
pub fn compare(expected: &[String], actual: &[String], sort: Option<SortMode>) -> Result<(), String> {
    let mut expected: Vec<String> = expected.iter().map(|line| normal(line)).collect();
    let mut actual = actual.to_vec();
    if sort == Some(SortMode::RowSort) {
        expected.sort();
        actual.sort();
    }
    let equal =
        expected.len() == actual.len() && expected.iter().zip(&actual).all(|(left, right)| matches(left, right));
    if equal { Ok(()) } else { Err(difference(&expected, &actual)) }
}

/// `<any>` stands for one word that differs from run to run: a commit number, a size, an address.
fn matches(expected: &str, actual: &str) -> bool {
    if !expected.contains(ANY) {
        return expected == actual;
    }
    let (expected, actual): (Vec<_>, Vec<_>) = (expected.split(' ').collect(), actual.split(' ').collect());
    expected.len() == actual.len() && expected.iter().zip(&actual).all(|(left, right)| *left == ANY || left == right)
}

/// Compares as bags.
pub fn compare_bags(expected: &[String], actual: &[String]) -> Result<(), String> {
    compare(expected, actual, Some(SortMode::RowSort))
}

fn difference(expected: &[String], actual: &[String]) -> String {
    let mut text = String::from("rows differ (- expected, + got):");
    for index in 0..expected.len().max(actual.len()) {
        match (expected.get(index), actual.get(index)) {
            (Some(left), Some(right)) if matches(left, right) => text.push_str(&format!("\n    {left}")),
            (left, right) => {
                left.into_iter().for_each(|line| text.push_str(&format!("\n  - {line}")));
                right.into_iter().for_each(|line| text.push_str(&format!("\n  + {line}")));
            }
        }
    }
    text
}
