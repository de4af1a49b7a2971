//! Record ends, with the bytes cut at every place.

use super::*;

/// All records of `bytes`, given in pieces of `piece` bytes.
fn records(options: &CopyOptions, bytes: &[u8], piece: usize) -> Vec<(String, u64)> {
    let mut scanner = RecordScanner::new(options);
    let mut records = Vec::new();
    let mut start = 0;
    for end in (0..bytes.len()).step_by(piece).skip(1).chain([bytes.len()]) {
        while let Some(record) = scanner.next(&bytes[..end], start) {
            let text = String::from_utf8_lossy(&bytes[start..record.end]).into_owned();
            records.push((text, record.embedded_lines));
            start = record.next;
        }
    }
    if let Some(record) = scanner.last(bytes, start) {
        records.push((String::from_utf8_lossy(&bytes[start..record.end]).into_owned(), record.embedded_lines));
    }
    records
}

fn check(options: &CopyOptions, bytes: &str, expected: &[(&str, u64)]) {
    for piece in 1..=bytes.len().max(1) {
        let found = records(options, bytes.as_bytes(), piece);
        let found: Vec<_> = found.iter().map(|(text, lines)| (text.as_str(), *lines)).collect();
        assert_eq!(found, expected, "pieces of {piece}");
    }
}

#[test]
fn text_lines() {
    let text = CopyOptions::text();
    check(&text, "", &[]);
    check(&text, "a\tb\nc\r\nd", &[("a\tb", 0), ("c", 0), ("d", 0)]);
    check(&text, "a\\\nb\nc\\\\\nd\n", &[("a\\\nb", 1), ("c\\\\", 0), ("d", 0)]);
    check(&text, "\n\n", &[("", 0), ("", 0)]);
}

#[test]
fn csv_lines() {
    let csv = CopyOptions::csv();
    check(&csv, "a,b\r\nc", &[("a,b", 0), ("c", 0)]);
    check(&csv, "\"a\nb\",1\nc\n", &[("\"a\nb\",1", 1), ("c", 0)]);
    check(&csv, "\"a\"\"\nb\",1\nc\n", &[("\"a\"\"\nb\",1", 1), ("c", 0)]);
    let escaped = CopyOptions { escape: b'\\', ..CopyOptions::csv() };
    check(&escaped, "\"a\\\"\nb\",1\nc\\\n", &[("\"a\\\"\nb\",1", 1), ("c\\", 0)]);
    check(&escaped, "\"a\\\\\"\nb\n", &[("\"a\\\\\"", 0), ("b", 0)]);
}
