//! Events to values: collections, anchors and aliases.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, StrInput};

use super::{MAX_DEPTH, MAX_GROWTH, MAX_WEIGHT, construct, malformed, resolve};
use crate::serialization::{DecodeError, Value};

/// Kinds of YAML's tags, without their common prefix.
pub(super) type Tag = Option<String>;

pub(super) fn document(text: &str) -> Result<Value, DecodeError> {
    let limit = MAX_WEIGHT.max(text.len().saturating_mul(MAX_GROWTH));
    let mut composer = Composer { parser: Parser::new_from_str(text), anchors: HashMap::new(), left: limit, limit };
    let mut value = None;
    loop {
        match composer.event()? {
            Event::StreamEnd => return Ok(value.unwrap_or_default()),
            Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing => {}
            _ if value.is_some() => return Err(malformed("expected a single document in the stream")),
            event => value = Some(composer.node(event, 0)?),
        }
    }
}

struct Composer<'a> {
    parser: Parser<'a, StrInput<'a>>,
    anchors: HashMap<usize, Value>,
    left: usize,
    limit: usize,
}

impl<'a> Composer<'a> {
    fn event(&mut self) -> Result<Event<'a>, DecodeError> {
        match self.parser.next_event() {
            Some(Ok((event, _))) => Ok(event),
            Some(Err(error)) => Err(malformed(error.to_string())),
            None => Ok(Event::StreamEnd),
        }
    }

    fn node(&mut self, event: Event<'a>, depth: usize) -> Result<Value, DecodeError> {
        if depth > MAX_DEPTH {
            return Err(DecodeError::TooLarge { what: "yaml nesting", limit: MAX_DEPTH });
        }
        let (anchor, value) = match event {
            Event::Alias(anchor) => return self.alias(anchor),
            Event::Scalar(text, style, anchor, tag) => {
                self.spend(size_of::<Value>() + text.len())?;
                (anchor, resolve::scalar(&text, style, tag_name(tag.as_deref())?)?)
            }
            Event::SequenceStart(anchor, tag) => {
                self.spend(size_of::<Value>())?;
                let items = self.items(depth)?;
                (anchor, construct::sequence(items, tag_name(tag.as_deref())?)?)
            }
            Event::MappingStart(anchor, tag) => {
                self.spend(size_of::<Value>())?;
                let entries = self.entries(depth)?;
                (anchor, construct::mapping(entries, tag_name(tag.as_deref())?)?)
            }
            other => return Err(malformed(format!("unexpected {other:?}"))),
        };
        if anchor != 0 {
            self.anchors.insert(anchor, value.clone());
        }
        Ok(value)
    }

    fn items(&mut self, depth: usize) -> Result<Vec<Value>, DecodeError> {
        let mut items = Vec::new();
        loop {
            match self.event()? {
                Event::SequenceEnd => return Ok(items),
                event => items.push(self.node(event, depth + 1)?),
            }
        }
    }

    fn entries(&mut self, depth: usize) -> Result<Vec<(construct::Key, Value)>, DecodeError> {
        let mut entries = Vec::new();
        loop {
            let key = match self.event()? {
                Event::MappingEnd => return Ok(entries),
                event if resolve::is_merge(&event) => construct::Key::Merge,
                Event::Scalar(text, ScalarStyle::Plain, _, None) if text == "=" => {
                    construct::Key::Plain(text.as_ref().into())
                }
                event => construct::Key::Plain(self.node(event, depth + 1)?),
            };
            let event = self.event()?;
            entries.push((key, self.node(event, depth + 1)?));
        }
    }

    /// An alias within its own anchor has no value yet, nor would it ever end.
    fn alias(&mut self, anchor: usize) -> Result<Value, DecodeError> {
        let value = self.anchors.get(&anchor).ok_or_else(|| malformed("an alias to something that is not complete"))?;
        let value = value.clone();
        self.spend(weight(&value))?;
        Ok(value)
    }

    fn spend(&mut self, bytes: usize) -> Result<(), DecodeError> {
        let too_large = DecodeError::TooLarge { what: "value of a yaml document", limit: self.limit };
        self.left = self.left.checked_sub(bytes).ok_or(too_large)?;
        Ok(())
    }
}

/// The tag without YAML's own prefix; none for `!` alone and for no tag.
fn tag_name(tag: Option<&saphyr_parser::Tag>) -> Result<Tag, DecodeError> {
    let Some(tag) = tag else { return Ok(None) };
    let full = format!("{}{}", tag.handle, tag.suffix);
    if full == "!" {
        return Ok(None);
    }
    match full.strip_prefix("tag:yaml.org,2002:").or_else(|| full.strip_prefix("!!")) {
        Some(name) => Ok(Some(name.to_owned())),
        None => Err(malformed(format!("could not determine a constructor for the tag {full:?}"))),
    }
}

fn weight(value: &Value) -> usize {
    let inner = match value {
        Value::Str(text) => text.len(),
        Value::BigInt(text) => text.len(),
        Value::List(items) => items.iter().map(weight).sum(),
        Value::Map(map) => map.iter().map(|(key, value)| key.len() + weight(value)).sum(),
        Value::Pairs(pairs) => pairs.iter().map(|(key, value)| weight(key) + weight(value)).sum(),
        _ => 0,
    };
    size_of::<Value>() + inner
}
