//! `to_number(text, pattern)`.
//!
//! Follows PostgreSQL 15's numeric_to_number and NUM_numpart_from_char (src/backend/utils/adt/formatting.c) in the C
//! locale. The result has as many digits behind the point as a constant pattern has places there.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Decimal128Array};
use arrow::compute::cast;
use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, Field, FieldRef, i256};
use datafusion::common::{Result, ScalarValue, internal_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};

use super::external;
use super::number_pattern::{NumberKey, NumberPattern, NumberPiece, SignPlace};
use crate::error::{Error, SqlState};
use crate::functions::numeric::{divide_rounded, in_precision};

/// Digits behind the point where the pattern is not constant.
const SCALE_DEFAULT: i8 = 10;

#[derive(Debug, PartialEq, Eq, Hash)]
pub struct ToNumber {
    signature: Signature,
}

impl ToNumber {
    pub fn function() -> Arc<ScalarUDF> {
        let texts = TypeSignature::Exact(vec![DataType::Utf8, DataType::Utf8]);
        Arc::new(ScalarUDF::from(ToNumber { signature: Signature::new(texts, Volatility::Immutable) }))
    }
}

impl ScalarUDFImpl for ToNumber {
    fn name(&self) -> &str {
        "to_number"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Decimal128(DECIMAL128_MAX_PRECISION, SCALE_DEFAULT))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let scale = match args.scalar_arguments.get(1) {
            Some(Some(ScalarValue::Utf8(Some(pattern)))) => {
                let pattern = NumberPattern::parse(pattern).map_err(external)?;
                i8::try_from(pattern.fraction + pattern.shifted).unwrap_or(i8::MAX).min(DECIMAL128_MAX_PRECISION as i8)
            }
            _ => SCALE_DEFAULT,
        };
        Ok(Arc::new(Field::new(self.name(), DataType::Decimal128(DECIMAL128_MAX_PRECISION, scale), true)))
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [text, pattern] = args.args.as_slice() else { return internal_err!("to_number takes two arguments") };
        let DataType::Decimal128(precision, scale) = *args.return_field.data_type() else {
            return internal_err!("to_number gives a numeric");
        };
        let is_scalar = matches!((text, pattern), (ColumnarValue::Scalar(_), ColumnarValue::Scalar(_)));
        let rows = if is_scalar { 1 } else { args.number_rows };
        let texts = cast(&text.to_array(rows)?, &DataType::Utf8)?;
        let patterns = cast(&pattern.to_array(rows)?, &DataType::Utf8)?;
        let mut last: Option<(&str, NumberPattern)> = None;
        let mut numbers = Vec::with_capacity(rows);
        for (text, pattern) in texts.as_string::<i32>().iter().zip(patterns.as_string::<i32>()) {
            let (Some(text), Some(pattern)) = (text, pattern.filter(|pattern| !pattern.is_empty())) else {
                numbers.push(None);
                continue;
            };
            // A pattern that is the same for all rows is taken apart once.
            let (_, parsed) = match last.take() {
                Some(same) if same.0 == pattern => last.insert(same),
                _ => last.insert((pattern, NumberPattern::parse(pattern).map_err(external)?)),
            };
            numbers.push(Some(read(text, parsed, scale).map_err(external)?));
        }
        let numbers: ArrayRef = Arc::new(Decimal128Array::from(numbers).with_precision_and_scale(precision, scale)?);
        match is_scalar {
            true => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&numbers, 0)?)),
            false => Ok(ColumnarValue::Array(numbers)),
        }
    }
}

/// The number as an integer of 10^-`scale`.
fn read(text: &str, pattern: &NumberPattern, scale: i8) -> Result<i128, Error> {
    if pattern.exponent {
        return Err(Error::new(SqlState::FEATURE_NOT_SUPPORTED, "\"EEEE\" not supported for input"));
    }
    if pattern.roman {
        return Err(Error::new(SqlState::FEATURE_NOT_SUPPORTED, "\"RN\" not supported for input"));
    }
    let mut reader =
        Reader { pattern, text: text.as_bytes(), at: 0, sign: None, whole: 0, fraction: None, digits: vec![] };
    reader.read();
    let invalid = || {
        let shown = String::from_utf8_lossy(&reader.digits).into_owned();
        let message = format!("invalid input syntax for type numeric: \"{}{shown}\"", reader.sign.unwrap_or(' '));
        Error::new(SqlState::INVALID_TEXT_REPRESENTATION, message)
    };
    let overflow = || {
        Error::new(SqlState::NUMERIC_OUT_OF_RANGE, "numeric field overflow").with_detail(format!(
            "A field with precision {DECIMAL128_MAX_PRECISION}, scale {scale} must round to an absolute value less than 10^{}.",
            DECIMAL128_MAX_PRECISION as i8 - scale
        ))
    };
    if reader.digits.is_empty() {
        return Err(invalid());
    }
    let mut unscaled = i256::ZERO;
    for digit in &reader.digits {
        let digit = i256::from_i128(i128::from(digit - b'0'));
        unscaled = unscaled
            .checked_mul(i256::from_i128(10))
            .and_then(|shifted| shifted.checked_add(digit))
            .ok_or_else(overflow)?;
    }
    let has = reader.fraction.unwrap_or(0) + pattern.shifted;
    let wanted = usize::try_from(scale).unwrap_or(0);
    let power = |exponent: usize| i256::from_i128(10).wrapping_pow(exponent as u32);
    let scaled = match wanted.checked_sub(has) {
        Some(more) => unscaled.checked_mul(power(more)),
        None => divide_rounded(unscaled, power(has - wanted)),
    };
    let number = scaled.and_then(in_precision).ok_or_else(overflow)?;
    Ok(if reader.sign == Some('-') { -number } else { number })
}

struct Reader<'a> {
    pattern: &'a NumberPattern,
    text: &'a [u8],
    at: usize,
    sign: Option<char>,
    /// Digits read before the point.
    whole: usize,
    /// Digits read behind it, once it was read.
    fraction: Option<usize>,
    digits: Vec<u8>,
}

impl Reader<'_> {
    fn read(&mut self) {
        for piece in &self.pattern.pieces {
            if self.at >= self.text.len() {
                break;
            }
            match piece {
                NumberPiece::Text(_) => self.skip_character(),
                NumberPiece::Key(key) => self.key(*key),
            }
        }
    }

    fn next(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn skip_character(&mut self) {
        self.at += 1;
        while self.next().is_some_and(|byte| byte & 0xc0 == 0x80) {
            self.at += 1;
        }
    }

    /// Skips so many characters, unless one may be part of the number.
    fn skip_unless_number(&mut self, characters: usize) {
        for _ in 0..characters {
            match self.next() {
                Some(byte) if !(byte.is_ascii_digit() || matches!(byte, b'.' | b',' | b'+' | b'-')) => {
                    self.skip_character();
                }
                _ => return,
            }
        }
    }

    fn key(&mut self, key: NumberKey) {
        match key {
            NumberKey::Digit | NumberKey::Zero | NumberKey::Point => {
                self.place(key);
                self.at += 1;
            }
            NumberKey::Group if self.next() == Some(b',') && !self.pattern.fills => self.at += 1,
            NumberKey::Currency => self.skip_unless_number(1),
            NumberKey::Ordinal { .. } if self.sign != Some('-') && !self.pattern.has_point => {
                self.skip_unless_number(2);
            }
            NumberKey::Minus | NumberKey::Plus | NumberKey::PlusOrMinus => {
                let sign = match self.next() {
                    Some(b'-') if key != NumberKey::Plus => Some('-'),
                    Some(b'+') if key != NumberKey::Minus => Some('+'),
                    _ => None,
                };
                match sign {
                    Some(_) => {
                        self.sign = sign;
                        self.at += 1;
                    }
                    None => self.skip_unless_number(1),
                }
            }
            _ => {}
        }
    }

    /// A digit, a sign beside it, or the point. Stands at the last character that it takes.
    fn place(&mut self, key: NumberKey) {
        if self.next() == Some(b' ') {
            self.at += 1;
        }
        let Some(byte) = self.next() else { return };
        let nothing_read = self.whole + self.fraction.unwrap_or(0) == 0;
        if self.sign.is_none() && key != NumberKey::Point && nothing_read {
            let reads = match self.pattern.sign {
                Some(place) => place == SignPlace::Before,
                None => true,
            };
            match byte {
                b'-' if reads => self.take_sign('-'),
                b'<' if reads && self.pattern.brackets => self.take_sign('-'),
                b'+' if reads => self.take_sign('+'),
                _ => {}
            }
        }
        let Some(byte) = self.next() else { return };
        let mut is_read = false;
        if byte.is_ascii_digit() {
            match &mut self.fraction {
                Some(read) if *read == self.pattern.fraction => return,
                Some(read) => *read += 1,
                None => self.whole += 1,
            }
            self.digits.push(byte);
            is_read = true;
        } else if self.pattern.has_point && self.fraction.is_none() && byte == b'.' {
            self.fraction = Some(0);
            is_read = true;
        }
        if self.sign.is_none() && self.whole + self.fraction.unwrap_or(0) > 0 {
            self.sign_behind(byte, is_read);
        }
    }

    fn take_sign(&mut self, sign: char) {
        self.sign = Some(sign);
        self.at += 1;
    }

    fn sign_behind(&mut self, byte: u8, is_read: bool) {
        let has_signs = self.pattern.plus || self.pattern.minus;
        match self.pattern.sign {
            Some(_) if is_read => match self.text.get(self.at + 1) {
                Some(b'-') => self.take_sign('-'),
                Some(b'+') => self.take_sign('+'),
                _ => {}
            },
            None if !is_read && has_signs => match byte {
                b'-' => self.sign = Some('-'),
                b'+' => self.sign = Some('+'),
                _ => {}
            },
            _ => {}
        }
    }
}
