//! `jsonb`: input rules, the one text that a value has, and walking through that text.
//!
//! A value is kept as PostgreSQL prints it: `{"a": 1, "bb": [true, null]}`. Keys stand by their length, then their bytes, each once;
//! of equal keys the last one counts. Numbers are numerics, with the digits that they were written with; strings hold no more
//! escapes than they need. [`Json`] walks through such a text without a tree.
//!
//! Does not know: Arrow, SQL's operators.

mod input;
mod walk;

pub use input::parse_jsonb;
pub use walk::{Elements, Json, Kind, Members};

use std::borrow::Cow;
use std::collections::BTreeMap;

/// A text as a JSON string.
pub fn write_string(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c < ' ' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
}

/// An object of keys and the texts of their values; a key that comes again takes the place of the former.
#[derive(Debug, Default)]
pub struct ObjectBuilder<'a> {
    /// By length, then bytes.
    members: BTreeMap<(usize, Cow<'a, str>), Cow<'a, str>>,
}

impl<'a> ObjectBuilder<'a> {
    pub fn insert(&mut self, key: Cow<'a, str>, value: Cow<'a, str>) {
        self.members.insert((key.len(), key), value);
    }

    pub fn write(&self, out: &mut String) {
        out.push('{');
        for (index, ((_, key), value)) in self.members.iter().enumerate() {
            if index > 0 {
                out.push_str(", ");
            }
            write_string(key, out);
            out.push_str(": ");
            out.push_str(value);
        }
        out.push('}');
    }
}

/// An array of the texts of values.
pub fn write_array<T: AsRef<str>>(elements: impl IntoIterator<Item = T>, out: &mut String) {
    out.push('[');
    for (index, element) in elements.into_iter().enumerate() {
        if index > 0 {
            out.push_str(", ");
        }
        out.push_str(element.as_ref());
    }
    out.push(']');
}

/// The value in the form in which equal values have equal texts: numbers without zeros at the end of their fraction.
pub fn comparable(text: &str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    if !bytes.contains(&b'.') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let (mut copied, mut at) = (0, 0);
    while at < bytes.len() {
        match bytes[at] {
            b'"' => at = walk::string_end(bytes, at),
            b'-' | b'0'..=b'9' => {
                let end = walk::scalar_end(bytes, at);
                let number = &text[at..end];
                if number.contains('.') {
                    out.push_str(&text[copied..at]);
                    let short = number.trim_end_matches('0').trim_end_matches('.');
                    // Zero has no sign.
                    out.push_str(if short == "-0" { "0" } else { short });
                    copied = end;
                }
                at = end;
            }
            _ => at += 1,
        }
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(&text[copied..]);
    Cow::Owned(out)
}

#[cfg(test)]
mod tests;
