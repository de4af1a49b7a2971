//! Walking through a value's text, which is known to be well formed.

use std::borrow::Cow;

/// A value within a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Json<'a>(&'a str);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Object,
    Array,
    String,
    Number,
    Boolean,
    Null,
}

impl Kind {
    /// As `jsonb_typeof` names it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Object => "object",
            Kind::Array => "array",
            Kind::String => "string",
            Kind::Number => "number",
            Kind::Boolean => "boolean",
            Kind::Null => "null",
        }
    }
}

impl<'a> Json<'a> {
    /// `text` as [`super::parse_jsonb`] gives it.
    pub fn new(text: &'a str) -> Self {
        Json(text)
    }

    pub fn text(self) -> &'a str {
        self.0
    }

    pub fn kind(self) -> Kind {
        match self.0.as_bytes().first() {
            Some(b'{') => Kind::Object,
            Some(b'[') => Kind::Array,
            Some(b'"') => Kind::String,
            Some(b't' | b'f') => Kind::Boolean,
            Some(b'n') | None => Kind::Null,
            Some(_) => Kind::Number,
        }
    }

    pub fn is_scalar(self) -> bool {
        !matches!(self.kind(), Kind::Object | Kind::Array)
    }

    /// A string's characters, of others their text; `None` for null.
    pub fn unquoted(self) -> Option<Cow<'a, str>> {
        match self.kind() {
            Kind::Null => None,
            Kind::String => Some(unescape(self.0)),
            _ => Some(Cow::Borrowed(self.0)),
        }
    }

    /// Of an object; nothing of others.
    pub fn members(self) -> Members<'a> {
        Members(Parts { text: self.0, at: if self.kind() == Kind::Object { 1 } else { self.0.len() } })
    }

    /// Of an array; nothing of others.
    pub fn elements(self) -> Elements<'a> {
        Elements(Parts { text: self.0, at: if self.kind() == Kind::Array { 1 } else { self.0.len() } })
    }

    /// The value of a key of an object.
    pub fn get(self, key: &str) -> Option<Json<'a>> {
        for (raw, value) in self.members().raw() {
            let inside = &raw[1..raw.len() - 1];
            if inside == key && !inside.contains('\\') || inside.contains('\\') && unescape(raw) == key {
                return Some(value);
            }
        }
        None
    }

    /// An element of an array, from 0; from -1 backwards.
    pub fn at(self, index: i64) -> Option<Json<'a>> {
        let index = match index < 0 {
            true => i64::try_from(self.elements().count()).ok()?.checked_add(index)?,
            false => index,
        };
        self.elements().nth(usize::try_from(index).ok()?)
    }

    /// A step of a path: a key of an object, or the place of an array's element as a text.
    pub fn step(self, step: &str) -> Option<Json<'a>> {
        match self.kind() {
            Kind::Object => self.get(step),
            Kind::Array => self.at(step.trim().parse().ok()?),
            _ => None,
        }
    }

    /// Whether `other` is contained in it, as `@>` has it: objects by their keys, arrays by their elements in any order.
    pub fn contains(self, other: Json<'_>) -> bool {
        match (self.kind(), other.kind()) {
            (Kind::Object, Kind::Object) => {
                other.members().all(|(key, value)| self.get(&key).is_some_and(|own| own.holds(value)))
            }
            (Kind::Array, Kind::Array) => other.elements().all(|value| self.elements().any(|own| own.holds(value))),
            // An array may hold a value that is no array.
            (Kind::Array, _) if other.is_scalar() => self.elements().any(|own| own.is_scalar() && own.equals(other)),
            _ => self.equals(other),
        }
    }

    fn holds(self, other: Json<'_>) -> bool {
        match other.is_scalar() {
            true => self.is_scalar() && self.equals(other),
            false => self.kind() == other.kind() && self.contains(other),
        }
    }

    fn equals(self, other: Json<'_>) -> bool {
        super::comparable(self.0) == super::comparable(other.0)
    }
}

/// The parts of an object or array, from `at` on.
#[derive(Debug, Clone, Copy)]
struct Parts<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parts<'a> {
    fn next(&mut self) -> Option<&'a str> {
        let bytes = self.text.as_bytes();
        while matches!(bytes.get(self.at), Some(b' ' | b',' | b':')) {
            self.at += 1;
        }
        if matches!(bytes.get(self.at), None | Some(b']' | b'}')) {
            self.at = bytes.len();
            return None;
        }
        let start = self.at;
        self.at = value_end(bytes, start);
        Some(&self.text[start..self.at])
    }
}

/// Keys and values.
#[derive(Debug, Clone)]
pub struct Members<'a>(Parts<'a>);

impl<'a> Members<'a> {
    /// Keys with their quotes and escapes.
    fn raw(mut self) -> impl Iterator<Item = (&'a str, Json<'a>)> {
        std::iter::from_fn(move || Some((self.0.next()?, Json(self.0.next()?))))
    }
}

impl<'a> Iterator for Members<'a> {
    type Item = (Cow<'a, str>, Json<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        Some((unescape(self.0.next()?), Json(self.0.next()?)))
    }
}

#[derive(Debug, Clone)]
pub struct Elements<'a>(Parts<'a>);

impl<'a> Iterator for Elements<'a> {
    type Item = Json<'a>;

    fn next(&mut self) -> Option<Json<'a>> {
        self.0.next().map(Json)
    }
}

/// Where the value ends that begins at `start`.
fn value_end(bytes: &[u8], start: usize) -> usize {
    match bytes[start] {
        b'"' => string_end(bytes, start),
        b'{' | b'[' => {
            let (mut at, mut depth) = (start, 0_usize);
            while at < bytes.len() {
                match bytes[at] {
                    b'"' => {
                        at = string_end(bytes, at);
                        continue;
                    }
                    b'{' | b'[' => depth += 1,
                    b'}' | b']' => {
                        depth -= 1;
                        if depth == 0 {
                            return at + 1;
                        }
                    }
                    _ => {}
                }
                at += 1;
            }
            at
        }
        _ => scalar_end(bytes, start),
    }
}

/// Behind the closing quote of the string that begins at `start`.
pub(super) fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

pub(super) fn scalar_end(bytes: &[u8], start: usize) -> usize {
    let ends = |byte: &u8| matches!(byte, b',' | b']' | b'}' | b' ' | b':');
    bytes[start..].iter().position(ends).map_or(bytes.len(), |length| start + length)
}

/// The characters of a string with its quotes.
fn unescape(quoted: &str) -> Cow<'_, str> {
    let inside = quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default();
    if !inside.contains('\\') {
        return Cow::Borrowed(inside);
    }
    let mut out = String::with_capacity(inside.len());
    let mut characters = inside.chars();
    while let Some(c) = characters.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match characters.next() {
            Some('b') => out.push('\u{8}'),
            Some('f') => out.push('\u{c}'),
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('t') => out.push('\t'),
            // What is kept has \u for control characters alone.
            Some('u') => {
                let digits: String = characters.by_ref().take(4).collect();
                out.extend(u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32));
            }
            Some(other) => out.push(other),
            None => {}
        }
    }
    Cow::Owned(out)
}
