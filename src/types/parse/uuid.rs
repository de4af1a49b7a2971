//! UUIDs from text, by PostgreSQL's rules.

use super::invalid;
use crate::error::Result;

/// 32 hexadecimal digits in any case, perhaps with hyphens behind groups of four, perhaps in braces.
pub fn parse_uuid(text: &str) -> Result<[u8; 16]> {
    read(text.as_bytes()).ok_or_else(|| invalid("uuid", text))
}

fn read(text: &[u8]) -> Option<[u8; 16]> {
    let mut rest = match text {
        [b'{', inside @ .., b'}'] => inside,
        [b'{', ..] => return None,
        plain => plain,
    };
    let mut value = [0; 16];
    for (index, byte) in value.iter_mut().enumerate() {
        let [high, low, after @ ..] = rest else { return None };
        let digit = |byte: u8| (byte as char).to_digit(16).map(|digit| digit as u8);
        *byte = digit(*high)? << 4 | digit(*low)?;
        rest = match after {
            [b'-', after @ ..] if index % 2 == 1 && index < 15 => after,
            after => after,
        };
    }
    rest.is_empty().then_some(value)
}
