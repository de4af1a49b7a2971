//! From sqlparser's line and column to the character position that PostgreSQL's error messages carry.

use sqlparser::tokenizer::Location;

/// 1-based character position of a location in `sql`; `None` for sqlparser's empty location.
pub fn char_position(sql: &str, location: Location) -> Option<usize> {
    if location.line == 0 {
        return None;
    }
    let mut position = 0;
    for (index, line) in sql.split_inclusive('\n').enumerate() {
        if index as u64 + 1 == location.line {
            return Some(position + location.column as usize);
        }
        position += line.chars().count();
    }
    Some(position + 1)
}

/// Byte offset of a location in `sql`, at most its length.
pub fn offset_of_location(sql: &str, location: Location) -> usize {
    match char_position(sql, location) {
        Some(position) => sql.char_indices().nth(position.saturating_sub(1)).map_or(sql.len(), |(offset, _)| offset),
        None => 0,
    }
}
