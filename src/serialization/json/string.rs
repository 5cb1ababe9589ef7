//! Strings: found in strides of eight bytes, copied once, escapes undone only where there are any.

use super::parser::{Parser, Text};
use crate::serialization::DecodeError;

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// Text so far: UTF-8 until a lone surrogate turns up, UTF-16 from then on.
enum Buffer {
    Plain(String),
    Wide(Vec<u16>),
}

impl Parser<'_> {
    /// Reads a string; `at` is at its opening quote.
    pub(super) fn string(&mut self) -> Result<Text, DecodeError> {
        let begin = self.at;
        let start = begin + 1;
        let end = start + plain_length(&self.text.as_bytes()[start..]);
        if self.text.as_bytes().get(end) == Some(&b'"') {
            self.at = end + 1;
            return Ok(Text::Plain(self.text[start..end].to_owned()));
        }
        self.at = start;
        self.escaped_string(begin)
    }

    fn escaped_string(&mut self, begin: usize) -> Result<Text, DecodeError> {
        let mut buffer = Buffer::Plain(String::with_capacity(32));
        loop {
            let start = self.at;
            self.at += plain_length(&self.text.as_bytes()[start..]);
            buffer.push_str(&self.text[start..self.at]);
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(buffer.finish());
                }
                Some(b'\\') => self.escape(begin, &mut buffer)?,
                Some(_) => return Err(self.error("Invalid control character at", self.at)),
                None => return Err(self.error("Unterminated string starting at", begin)),
            }
        }
    }

    fn escape(&mut self, begin: usize, buffer: &mut Buffer) -> Result<(), DecodeError> {
        let backslash = self.at;
        self.at += 2;
        let char = match self.text.as_bytes().get(backslash + 1) {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode_escape(backslash, buffer),
            Some(_) => return Err(self.error("Invalid \\escape", backslash)),
            None => return Err(self.error("Unterminated string starting at", begin)),
        };
        buffer.push(char);
        Ok(())
    }

    fn unicode_escape(&mut self, backslash: usize, buffer: &mut Buffer) -> Result<(), DecodeError> {
        let Some(unit) = self.hex() else {
            return Err(self.error("Invalid \\uXXXX escape", backslash + 1));
        };
        if let Some(char) = char::from_u32(unit.into()) {
            buffer.push(char);
            return Ok(());
        }
        if (0xD800..0xDC00).contains(&unit) && self.text.as_bytes()[self.at..].starts_with(b"\\u") {
            let after = self.at;
            self.at += 2;
            if let Some(low @ 0xDC00..0xE000) = self.hex() {
                let code = 0x10000 + ((u32::from(unit) - 0xD800) << 10) + (u32::from(low) - 0xDC00);
                buffer.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
                return Ok(());
            }
            self.at = after;
        }
        buffer.push_surrogate(unit);
        Ok(())
    }

    fn hex(&mut self) -> Option<u16> {
        let digits = self.text.as_bytes().get(self.at..self.at + 4)?;
        let mut unit = 0u32;
        for &digit in digits {
            unit = unit << 4 | char::from(digit).to_digit(16)?;
        }
        self.at += 4;
        u16::try_from(unit).ok()
    }
}

impl Buffer {
    fn push_str(&mut self, text: &str) {
        match self {
            Buffer::Plain(out) => out.push_str(text),
            Buffer::Wide(units) => units.extend(text.encode_utf16()),
        }
    }

    fn push(&mut self, char: char) {
        self.push_str(char.encode_utf8(&mut [0; 4]));
    }

    fn push_surrogate(&mut self, unit: u16) {
        if let Buffer::Plain(text) = self {
            *self = Buffer::Wide(text.encode_utf16().collect());
        }
        if let Buffer::Wide(units) = self {
            units.push(unit);
        }
    }

    fn finish(self) -> Text {
        match self {
            Buffer::Plain(text) => Text::Plain(text),
            Buffer::Wide(units) => Text::Wide(units.into_boxed_slice()),
        }
    }
}

/// How many bytes there are before a quote, a backslash, a control character, or the end.
#[inline]
fn plain_length(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(stride) = bytes.get(at..at + 8) {
        let word = u64::from_le_bytes([
            stride[0], stride[1], stride[2], stride[3], stride[4], stride[5], stride[6], stride[7],
        ]);
        let found = special(word);
        if found != 0 {
            return at + (found.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    let tail = bytes[at..].iter().position(|&byte| byte < 0x20 || byte == b'"' || byte == b'\\');
    tail.map_or(bytes.len(), |offset| at + offset)
}

/// The high bit of each byte that is special. Borrows may mark bytes above the first one, which is the only one used.
#[inline]
fn special(word: u64) -> u64 {
    let zero = |x: u64| x.wrapping_sub(ONES) & !x;
    let quote = zero(word ^ (ONES * u64::from(b'"')));
    let backslash = zero(word ^ (ONES * u64::from(b'\\')));
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    (quote | backslash | control) & HIGHS
}
