//! Each example is a statement of its kind, and the list is in order.

use super::*;
use crate::sql::parse_statements;

#[test]
fn examples_are_statements_of_their_kind() {
    for entry in STATEMENTS {
        let parsed = parse_statements(entry.example).unwrap();
        assert_eq!(parsed.len(), 1, "{}", entry.name);
        assert_eq!(parsed[0].statement.entry().name, entry.name);
    }
}

#[test]
fn entries_stand_by_name_with_all_that_the_page_needs() {
    assert!(STATEMENTS.is_sorted_by_key(|entry| entry.name));
    for entry in STATEMENTS {
        assert!(entry.sentence.ends_with('.'), "{}", entry.name);
        assert!(entry.example.to_uppercase().starts_with(entry.name.split(' ').next().unwrap()), "{}", entry.name);
    }
}
