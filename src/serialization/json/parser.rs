//! The recursive descent, in the order of Python's `json/scanner.py`.

use indexmap::IndexMap;

use super::{MAX_DEPTH, envelope, malformed};
use crate::serialization::{DecodeError, Map, Value};

pub(super) struct Parser<'a> {
    pub(super) text: &'a str,
    pub(super) at: usize,
    depth: usize,
}

/// A key, which may have lone surrogates.
pub(super) enum Text {
    Plain(String),
    Wide(Box<[u16]>),
}

impl<'a> Parser<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0, depth: 0 }
    }

    pub(super) fn document(mut self) -> Result<Value, DecodeError> {
        if self.text.starts_with('\u{feff}') {
            return Err(malformed("Unexpected UTF-8 BOM (decode using utf-8-sig)"));
        }
        self.skip_space();
        let value = self.value()?;
        self.skip_space();
        if self.at < self.text.len() { Err(self.error("Extra data", self.at)) } else { Ok(value) }
    }

    fn value(&mut self) -> Result<Value, DecodeError> {
        match self.peek() {
            Some(b'"') => self.string_value(),
            Some(b'{') => self.nested(Self::object),
            Some(b'[') => self.nested(Self::list),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b'n') => self.literal("null", Value::Null),
            Some(b't') => self.literal("true", Value::Bool(true)),
            Some(b'f') => self.literal("false", Value::Bool(false)),
            Some(b'N') => self.literal("NaN", Value::Float(f64::NAN)),
            Some(b'I') => self.literal("Infinity", Value::Float(f64::INFINITY)),
            _ => Err(self.error("Expecting value", self.at)),
        }
    }

    fn string_value(&mut self) -> Result<Value, DecodeError> {
        Ok(match self.string()? {
            Text::Plain(text) => Value::Str(text),
            Text::Wide(units) => Value::WideStr(units),
        })
    }

    fn nested(&mut self, read: fn(&mut Self) -> Result<Value, DecodeError>) -> Result<Value, DecodeError> {
        if self.depth == MAX_DEPTH {
            return Err(DecodeError::TooLarge { what: "json nesting", limit: MAX_DEPTH });
        }
        self.depth += 1;
        self.at += 1;
        self.skip_space();
        let value = read(self);
        self.depth -= 1;
        value
    }

    #[inline(never)]
    fn list(&mut self) -> Result<Value, DecodeError> {
        let mut items = Vec::new();
        if self.take(b']') {
            return Ok(Value::List(items));
        }
        loop {
            items.push(self.value()?);
            self.skip_space();
            if self.take(b']') {
                return Ok(Value::List(items));
            }
            self.comma()?;
        }
    }

    #[inline(never)]
    fn object(&mut self) -> Result<Value, DecodeError> {
        let mut map = Map::new();
        if self.take(b'}') {
            return Ok(Value::Map(map));
        }
        map.reserve(4);
        loop {
            match self.key()? {
                Text::Plain(key) => {
                    let value = self.value()?;
                    map.insert(key, value);
                }
                Text::Wide(key) => return self.wide_object(map, key),
            }
            self.skip_space();
            if self.take(b'}') {
                return envelope::open(map);
            }
            self.comma()?;
        }
    }

    /// The rest of an object, once a key has turned up that no `String` can hold.
    #[cold]
    fn wide_object(&mut self, map: Map, key: Box<[u16]>) -> Result<Value, DecodeError> {
        let mut entries: IndexMap<Box<[u16]>, Value> =
            map.into_iter().map(|(key, value)| (wide(&key), value)).collect();
        let mut key = key;
        loop {
            let value = self.value()?;
            entries.insert(key, value);
            self.skip_space();
            if self.take(b'}') {
                return Ok(Value::Pairs(entries.into_iter().map(|(key, value)| (narrow(key), value)).collect()));
            }
            self.comma()?;
            key = match self.key()? {
                Text::Plain(key) => wide(&key),
                Text::Wide(key) => key,
            };
        }
    }

    fn key(&mut self) -> Result<Text, DecodeError> {
        if self.peek() != Some(b'"') {
            return Err(self.error("Expecting property name enclosed in double quotes", self.at));
        }
        let key = self.string()?;
        self.skip_space();
        if !self.take(b':') {
            return Err(self.error("Expecting ':' delimiter", self.at));
        }
        self.skip_space();
        Ok(key)
    }

    fn comma(&mut self) -> Result<(), DecodeError> {
        if !self.take(b',') {
            return Err(self.error("Expecting ',' delimiter", self.at));
        }
        self.skip_space();
        Ok(())
    }

    pub(super) fn literal(&mut self, word: &str, value: Value) -> Result<Value, DecodeError> {
        if !self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            return Err(self.error("Expecting value", self.at));
        }
        self.at += word.len();
        Ok(value)
    }

    #[inline]
    pub(super) fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    #[inline]
    pub(super) fn take(&mut self, byte: u8) -> bool {
        let met = self.peek() == Some(byte);
        self.at += usize::from(met);
        met
    }

    #[inline]
    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    /// Python's message: what, and where in lines, columns and characters.
    #[cold]
    pub(super) fn error(&self, what: &str, at: usize) -> DecodeError {
        let before = &self.text.as_bytes()[..at.min(self.text.len())];
        let before = String::from_utf8_lossy(before);
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|&c| c != '\n').count() + 1;
        malformed(format!("{what}: line {line} column {column} (char {})", before.chars().count()))
    }
}

fn wide(key: &str) -> Box<[u16]> {
    key.encode_utf16().collect()
}

fn narrow(key: Box<[u16]>) -> Value {
    String::from_utf16(&key).map_or(Value::WideStr(key), Value::Str)
}
