//! PostgreSQL's array text.

use super::*;

#[test]
fn quotes_what_needs_quoting() {
    let mut out = String::new();
    for text in ["plain", "", "NULL", "a,b", "say \"hi\""] {
        write_quoted(text, &mut out);
        out.push(' ');
    }
    assert_eq!(out, r#"plain "" "NULL" "a,b" "say \"hi\"" "#);
}
