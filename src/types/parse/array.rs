//! Arrays from PostgreSQL's text of them, `{1,NULL,"two words"}`.

use datafusion::common::ScalarValue;

use crate::error::{Error, Result, SqlState};

/// The elements of an array of one dimension; `None` if the text is not one.
pub fn parse_array(text: &str) -> Option<Vec<Option<String>>> {
    let inside = text.trim().strip_prefix('{')?.strip_suffix('}')?;
    let mut elements = Vec::new();
    if inside.trim().is_empty() {
        return Some(elements);
    }
    let mut characters = inside.chars().peekable();
    loop {
        while characters.next_if(|c| c.is_whitespace()).is_some() {}
        let mut element = String::new();
        let quoted = characters.next_if_eq(&'"').is_some();
        loop {
            match characters.next() {
                Some('\\') => element.push(characters.next()?),
                Some('"') if quoted => break,
                Some('{' | '}' | '"') if !quoted => return None,
                Some(',') if !quoted => {
                    elements.push(unquoted(&element));
                    element.clear();
                    while characters.next_if(|c| c.is_whitespace()).is_some() {}
                    if characters.peek() == Some(&'"') {
                        break;
                    }
                }
                Some(c) => element.push(c),
                None if quoted => return None,
                None => {
                    elements.push(unquoted(&element));
                    return Some(elements);
                }
            }
        }
        if !quoted {
            continue;
        }
        elements.push(Some(element));
        while characters.next_if(|c| c.is_whitespace()).is_some() {}
        match characters.next() {
            Some(',') => {}
            Some(_) => return None,
            None => return Some(elements),
        }
    }
}

fn unquoted(element: &str) -> Option<String> {
    let element = element.trim();
    (!element.eq_ignore_ascii_case("null")).then(|| element.to_owned())
}

/// The same, with an error in its place: 22P02.
pub fn parse_elements(text: &str) -> Result<Vec<Option<String>>> {
    parse_array(text).ok_or_else(|| {
        Error::new(SqlState::INVALID_TEXT_REPRESENTATION, format!("malformed array literal: \"{text}\""))
            .with_detail("Array value must start with \"{\" and have one dimension.")
    })
}

/// The NULL of an array type whose elements are such as `null`.
pub(super) fn null_array(null: &ScalarValue) -> ScalarValue {
    let lists = arrow::array::ListArray::new_null(
        std::sync::Arc::new(arrow::datatypes::Field::new_list_field(null.data_type(), true)),
        1,
    );
    ScalarValue::List(std::sync::Arc::new(lists))
}
