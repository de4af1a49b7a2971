//! Lines as PostgreSQL writes them.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, StringArray};

use super::*;

fn batch(texts: Vec<Option<&str>>) -> RecordBatch {
    let numbers = Int32Array::from_iter((0..texts.len() as i32).map(|n| (n != 1).then_some(n)));
    let texts: ArrayRef = Arc::new(StringArray::from(texts));
    RecordBatch::try_from_iter([("n", Arc::new(numbers) as ArrayRef), ("text", texts)]).unwrap()
}

fn encode(options: CopyOptions, texts: Vec<Option<&str>>) -> String {
    let names = vec!["n".to_owned(), "text".to_owned()];
    let encoder = CopyEncoder::new(names, options, EncodeSettings::default()).unwrap();
    let mut out = encoder.header().unwrap_or_default().to_vec();
    out.extend_from_slice(&encoder.encode(&batch(texts)).unwrap());
    String::from_utf8(out).unwrap()
}

#[test]
fn text_lines_escape_what_would_break_them() {
    assert_eq!(
        encode(CopyOptions::text(), vec![Some("a\tb\\c\nd\re"), None, Some("\\N"), Some("ü")]),
        "0\ta\\tb\\\\c\\nd\\re\n\\N\t\\N\n2\t\\\\N\n3\tü\n",
    );
    let bars = CopyOptions { delimiter: b'|', header: CopyHeader::Present, ..CopyOptions::text() };
    assert_eq!(encode(bars, vec![Some("a|b")]), "n|text\n0|a\\|b\n");
}

#[test]
fn csv_lines_quote_what_would_break_them() {
    assert_eq!(
        encode(CopyOptions::csv(), vec![Some("a,b"), None, Some(""), Some("say \"hi\""), Some("x\ny"), Some("plain")]),
        "0,\"a,b\"\n,\n2,\"\"\n3,\"say \"\"hi\"\"\"\n4,\"x\ny\"\n5,plain\n",
    );
    let zero_is_null = CopyOptions { null: "0".to_owned(), ..CopyOptions::csv() };
    assert_eq!(encode(zero_is_null, vec![Some("a")]), "\"0\",a\n");
    let forced = CopyOptions { force_quote: ForceQuote::All, ..CopyOptions::csv() };
    assert_eq!(encode(forced, vec![Some("a"), None]), "\"0\",\"a\"\n,\n");
    let escaped = CopyOptions { escape: b'\\', ..CopyOptions::csv() };
    assert_eq!(encode(escaped, vec![Some("a\"b\\,")]), "0,\"a\\\"b\\\\,\"\n");
}

#[test]
fn unknown_forced_columns_are_refused() {
    let options =
        CopyOptions { force_quote: ForceQuote::Columns(vec!["nope".to_owned()]), ..CopyOptions::csv() };
    let error = CopyEncoder::new(vec!["n".to_owned()], options, EncodeSettings::default()).err().unwrap();
    assert_eq!(error.state(), SqlState::UNDEFINED_COLUMN);
}
