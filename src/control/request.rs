//! [`ControlRequest`]: one message on the fanout exchange, and whether it is for us (`kombu/pidbox.py`).

use regex::{Regex, RegexBuilder};

use crate::serialization::{Map, Value};

/// Bytes that a compiled pattern may take.
const PATTERN_SIZE: usize = 1 << 20;

/// A request as read; nothing in it is trusted.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ControlRequest {
    /// Name of the command.
    pub method: String,
    /// Its keyword arguments.
    pub arguments: Map,
    /// The nodes it is for; empty says that the pattern decides.
    destination: Vec<String>,
    pattern: Option<String>,
    matcher: Option<String>,
    /// By which the asker knows the reply.
    pub ticket: Value,
    /// Exchange and routing key for the reply; none wants none.
    pub reply_to: Option<(String, String)>,
}

impl ControlRequest {
    /// Reads a decoded body.
    ///
    /// # Errors
    /// When it is no object, or a part of it is of another type.
    pub fn from_value(value: Value) -> Result<Self, String> {
        let Value::Map(mut body) = value else { return Err("it is not an object".to_owned()) };
        let mut take = |name: &str| body.swap_remove(name).unwrap_or_default();
        Ok(Self {
            method: text(take("method")).ok_or("it names no method")?,
            arguments: arguments(take("arguments"))?,
            destination: destination(take("destination"))?,
            pattern: text(take("pattern")).filter(|pattern| !pattern.is_empty()),
            matcher: text(take("matcher")).filter(|matcher| !matcher.is_empty()),
            ticket: take("ticket"),
            reply_to: reply_to(&take("reply_to"))?,
        })
    }

    /// Whether the node is meant: by name, by pattern, or because everyone is.
    ///
    /// # Errors
    /// A pattern that cannot be read, or a matcher that is neither `glob` nor `pcre`.
    pub fn is_for(&self, hostname: &str) -> Result<bool, String> {
        if !self.destination.is_empty() {
            return Ok(self.destination.iter().any(|name| name == hostname));
        }
        match (&self.pattern, self.matcher.as_deref()) {
            (Some(pattern), Some("glob")) => Ok(compile(&regex_of_glob(pattern))?.is_match(hostname)),
            (Some(pattern), Some("pcre")) => Ok(compile(&format!("^(?:{pattern})"))?.is_match(hostname)),
            (Some(_), Some(matcher)) => Err(format!("no matcher installed for {matcher}")),
            _ => Ok(true),
        }
    }
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::Str(text) => Some(text),
        _ => None,
    }
}

fn arguments(value: Value) -> Result<Map, String> {
    match value {
        Value::Map(arguments) => Ok(arguments),
        other if !other.is_truthy() => Ok(Map::new()),
        _ => Err("its arguments are not an object".to_owned()),
    }
}

fn destination(value: Value) -> Result<Vec<String>, String> {
    match value {
        Value::List(names) => Ok(names.into_iter().filter_map(text).collect()),
        Value::Str(name) if !name.is_empty() => Ok(vec![name]),
        other if !other.is_truthy() => Ok(Vec::new()),
        _ => Err("its destination is not a list".to_owned()),
    }
}

fn reply_to(value: &Value) -> Result<Option<(String, String)>, String> {
    if !value.is_truthy() {
        return Ok(None);
    }
    let part = |name: &str| value.as_map().and_then(|map| map.get(name)).and_then(Value::as_str).map(str::to_owned);
    let parts = part("exchange").zip(part("routing_key"));
    parts.map(Some).ok_or_else(|| "its reply_to has no exchange and routing key".to_owned())
}

fn compile(pattern: &str) -> Result<Regex, String> {
    let built = RegexBuilder::new(pattern).size_limit(PATTERN_SIZE).build();
    built.map_err(|error| format!("the pattern cannot be read: {error}"))
}

/// Python's `fnmatch.translate`.
fn regex_of_glob(glob: &str) -> String {
    let mut out = String::from("(?s)^");
    let mut rest = glob;
    while let Some(next) = rest.chars().next() {
        let tail = &rest[next.len_utf8()..];
        rest = match next {
            '*' => push(&mut out, ".*", tail),
            '?' => push(&mut out, ".", tail),
            '[' => match class(tail) {
                Some((class, tail)) => push(&mut out, &class, tail),
                None => push(&mut out, "\\[", tail),
            },
            other => push(&mut out, &regex::escape(other.encode_utf8(&mut [0; 4])), tail),
        };
    }
    out.push('$');
    out
}

fn push<'a>(out: &mut String, text: &str, tail: &'a str) -> &'a str {
    out.push_str(text);
    tail
}

/// What follows a `[`, up to its `]`.
fn class(tail: &str) -> Option<(String, &str)> {
    let (not, set) = tail.strip_prefix('!').map_or(("", tail), |set| ("^", set));
    // A `]` that comes first is one of the set.
    let end = set.char_indices().skip(1).find(|(_, c)| *c == ']')?.0;
    let escaped: String = set[..end]
        .chars()
        .flat_map(|c| ['\\'].into_iter().filter(move |_| c != '-' && !c.is_alphanumeric()).chain([c]))
        .collect();
    Some((format!("[{not}{escaped}]"), &set[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serialization::json;

    fn is_for(parts: &str, hostname: &str) -> Result<bool, String> {
        let body = json::parse(format!("{{\"method\": \"ping\"{parts}}}").as_bytes()).unwrap();
        ControlRequest::from_value(body)?.is_for(hostname)
    }

    #[test]
    fn destinations_and_patterns_choose() {
        let table = [
            ("", true),
            (r#", "destination": null, "pattern": null, "matcher": null"#, true),
            (r#", "destination": ["a@b", "w1@test"]"#, true),
            (r#", "destination": ["w1"]"#, false),
            (r#", "destination": ["x"], "pattern": "*", "matcher": "glob""#, false),
            (r#", "pattern": "w?@t*t", "matcher": "glob""#, true),
            (r#", "pattern": "w[!1]@*", "matcher": "glob""#, false),
            (r#", "pattern": "w[0-3]@*", "matcher": "glob""#, true),
            (r#", "pattern": "w1", "matcher": "glob""#, false),
            (r#", "pattern": "w\\d", "matcher": "pcre""#, true),
            (r#", "pattern": "test", "matcher": "pcre""#, false),
            (r#", "pattern": "x|w1", "matcher": "pcre""#, true),
        ];
        for (parts, expected) in table {
            assert_eq!(is_for(parts, "w1@test"), Ok(expected), "{parts}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_an_error() {
        for parts in [
            r#", "pattern": "(", "matcher": "pcre""#,
            r#", "pattern": "a", "matcher": "soundex""#,
            r#", "arguments": [1]"#,
            r#", "destination": 7"#,
            r#", "reply_to": {"exchange": "x"}"#,
        ] {
            assert!(is_for(parts, "w1@test").is_err(), "{parts}");
        }
        assert!(ControlRequest::from_value(Value::Null).is_err());
    }
}
