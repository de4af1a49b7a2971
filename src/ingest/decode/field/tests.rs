//! Fields as PostgreSQL cuts and unescapes them.

use memchr::memchr;

use super::*;

fn fields(options: &CopyOptions, record: &str) -> Result<Vec<String>> {
    let mut fields = Vec::new();
    let quoted = memchr(options.quote, record.as_bytes()).is_some();
    FieldSplitter::new(options).split(record, quoted, &mut |field| {
        let mark = match (field.is_null_string, field.quoted) {
            (true, false) => "NULL:",
            (true, true) => "null:",
            _ => "",
        };
        fields.push(format!("{mark}{}", field.text));
        Ok(())
    })?;
    Ok(fields)
}

fn check(options: &CopyOptions, record: &str, expected: &[&str]) {
    assert_eq!(fields(options, record).unwrap(), expected, "{record:?}");
}

#[test]
fn text_fields() {
    let text = CopyOptions::text();
    check(&text, "a\tb\t", &["a", "b", ""]);
    check(&text, "\\N\ta\\tb\t\\\\N", &["NULL:\\N", "a\tb", "\\N"]);
    check(&text, "a\\\tb\t\\b\\f\\n\\r\\v", &["a\tb", "\x08\x0c\n\r\x0b"]);
    check(&text, "\\101\\x42\\x4\\7\\q\\xg", &["AB\x04\x07qxg"]);
    check(&text, "a\\\nb", &["a\nb"]);
    check(&text, "ü\\\\", &["ü\\"]);
    check(&text, "\\", &[""]);
    let error = fields(&text, "\\xff").unwrap_err();
    assert_eq!(error.message(), "invalid byte sequence for encoding \"UTF8\": 0xff");
    assert_eq!(fields(&text, "a\rb").unwrap_err().hint(), Some("Use \"\\r\" to represent carriage return."));
    let custom = CopyOptions { null: "NA".to_owned(), delimiter: b'|', ..CopyOptions::text() };
    check(&custom, "NA|N\\A|a", &["NULL:NA", "NA", "a"]);
}

#[test]
fn csv_fields() {
    let csv = CopyOptions::csv();
    check(&csv, "a,,b", &["a", "NULL:", "b"]);
    check(&csv, "\"a,b\",\"\",\"c\"\"d\"", &["a,b", "null:", "c\"d"]);
    check(&csv, "x\"a,b\"y,\"p\"\"q\"r", &["xa,by", "p\"qr"]);
    check(&csv, "\"a\r\nb\",c", &["a\r\nb", "c"]);
    check(&csv, "\"ü\",", &["ü", "NULL:"]);
    check(&csv, "", &["NULL:"]);
    assert_eq!(fields(&csv, "\"abc").unwrap_err().message(), "unterminated CSV quoted field");
    assert_eq!(fields(&csv, "\"").unwrap_err().message(), "unterminated CSV quoted field");
    assert!(fields(&csv, "\"a\",b\rc").is_err());
    let escaped = CopyOptions { escape: b'\\', ..CopyOptions::csv() };
    check(&escaped, "\"a\\\"b\",\"c\\\\\",\"d\\e\"", &["a\"b", "c\\", "d\\e"]);
    let apostrophes = CopyOptions { quote: b'\'', escape: b'\'', delimiter: b';', ..CopyOptions::csv() };
    check(&apostrophes, "'a;b';\"c\"", &["a;b", "\"c\""]);
}
