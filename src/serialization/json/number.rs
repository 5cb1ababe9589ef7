//! Numbers: integers of any length, floats as IEEE 754 doubles.

use super::{malformed, parser::Parser};
use crate::serialization::{DecodeError, Value};

/// Python refuses integers of more digits (`sys.int_info.default_max_str_digits`).
const MAX_DIGITS: usize = 4300;

impl Parser<'_> {
    /// Reads a number, or `-Infinity`; `at` is at its sign or first digit.
    pub(super) fn number(&mut self) -> Result<Value, DecodeError> {
        let start = self.at;
        let negative = self.take(b'-');
        match self.peek() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits(),
            Some(b'I') if negative => return self.literal("Infinity", Value::Float(f64::NEG_INFINITY)),
            _ => return Err(self.error("Expecting value", start)),
        }
        let whole = self.at;
        self.fraction();
        self.exponent();
        let text = &self.text[start..self.at];
        if self.at == whole {
            return integer(text);
        }
        text.parse().map(Value::Float).map_err(|_| self.error("Expecting value", start))
    }

    fn fraction(&mut self) {
        if self.peek() == Some(b'.') && self.digit_at(self.at + 1) {
            self.at += 1;
            self.digits();
        }
    }

    fn exponent(&mut self) {
        if !matches!(self.peek(), Some(b'e' | b'E')) {
            return;
        }
        let sign = matches!(self.text.as_bytes().get(self.at + 1), Some(b'+' | b'-'));
        let first = self.at + 1 + usize::from(sign);
        if self.digit_at(first) {
            self.at = first;
            self.digits();
        }
    }

    fn digits(&mut self) {
        while self.digit_at(self.at) {
            self.at += 1;
        }
    }

    fn digit_at(&self, at: usize) -> bool {
        self.text.as_bytes().get(at).is_some_and(u8::is_ascii_digit)
    }
}

fn integer(text: &str) -> Result<Value, DecodeError> {
    if let Ok(number) = text.parse() {
        return Ok(Value::Int(number));
    }
    if text.trim_start_matches('-').len() > MAX_DIGITS {
        return Err(malformed(format!("Exceeds the limit ({MAX_DIGITS} digits) for integer string conversion")));
    }
    Ok(Value::BigInt(text.into()))
}
