//! Where the parts of a JSON text lie, without building values.
//!
//! Not a parser: what lies in the parts is checked by whoever reads them. Iterative, so that depth costs nothing.

use std::ops::Range;

use memchr::memchr2;

/// Where the text stops being JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not JSON at byte {0}")]
pub(in crate::broker) struct NotJson(pub usize);

/// Calls `visit` with the key (without quotes, as written) and the place of every member of the object in `text`.
pub(in crate::broker) fn object(text: &[u8], mut visit: impl FnMut(&[u8], Range<usize>)) -> Result<(), NotJson> {
    let mut at = expect(text, space(text, 0), b'{')?;
    at = space(text, at);
    if text.get(at) == Some(&b'}') {
        return end(text, at + 1);
    }
    loop {
        at = space(text, at);
        let key_end = string(text, at)?;
        let key = &text[at + 1..key_end - 1];
        at = expect(text, space(text, key_end), b':')?;
        let start = space(text, at);
        let stop = value(text, start)?;
        visit(key, start..stop);
        at = space(text, stop);
        match text.get(at) {
            Some(b',') => at += 1,
            Some(b'}') => return end(text, at + 1),
            _ => return Err(NotJson(at)),
        }
    }
}

/// The places of the elements of the array in `text`.
#[cfg(feature = "redis")]
pub(in crate::broker) fn array(text: &[u8]) -> Result<Vec<Range<usize>>, NotJson> {
    let mut found = Vec::with_capacity(3);
    let mut at = expect(text, space(text, 0), b'[')?;
    at = space(text, at);
    if text.get(at) == Some(&b']') {
        return end(text, at + 1).map(|()| found);
    }
    loop {
        let start = space(text, at);
        let stop = value(text, start)?;
        found.push(start..stop);
        at = space(text, stop);
        match text.get(at) {
            Some(b',') => at += 1,
            Some(b']') => return end(text, at + 1).map(|()| found),
            _ => return Err(NotJson(at)),
        }
    }
}

fn space(text: &[u8], at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    at + rest.iter().take_while(|b| b.is_ascii_whitespace()).count()
}

fn expect(text: &[u8], at: usize, byte: u8) -> Result<usize, NotJson> {
    if text.get(at) == Some(&byte) { Ok(at + 1) } else { Err(NotJson(at)) }
}

fn end(text: &[u8], at: usize) -> Result<(), NotJson> {
    let at = space(text, at);
    if at == text.len() { Ok(()) } else { Err(NotJson(at)) }
}

/// The place behind the string that begins at `at`.
fn string(text: &[u8], at: usize) -> Result<usize, NotJson> {
    let mut at = expect(text, at, b'"')?;
    while let Some(found) = memchr2(b'"', b'\\', text.get(at..).unwrap_or_default()) {
        if text[at + found] == b'"' {
            return Ok(at + found + 1);
        }
        at += found + 2;
    }
    Err(NotJson(text.len()))
}

/// The place behind the value that begins at `at`.
fn value(text: &[u8], at: usize) -> Result<usize, NotJson> {
    match text.get(at) {
        Some(b'"') => string(text, at),
        Some(b'{' | b'[') => container(text, at),
        Some(_) => scalar(text, at),
        None => Err(NotJson(at)),
    }
}

fn container(text: &[u8], start: usize) -> Result<usize, NotJson> {
    let mut depth = 0_usize;
    let mut at = start;
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => {
                at = string(text, at)?;
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        at += 1;
        if depth == 0 {
            return Ok(at);
        }
    }
    Err(NotJson(at))
}

fn scalar(text: &[u8], start: usize) -> Result<usize, NotJson> {
    let rest = &text[start..];
    let length = rest.iter().take_while(|b| !matches!(b, b',' | b'}' | b']') && !b.is_ascii_whitespace()).count();
    if length == 0 { Err(NotJson(start)) } else { Ok(start + length) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(text: &str) -> Result<Vec<(String, String)>, NotJson> {
        let mut found = Vec::new();
        object(text.as_bytes(), |key, place| {
            found.push((String::from_utf8_lossy(key).into_owned(), text[place].to_owned()));
        })?;
        Ok(found)
    }

    #[test]
    fn members_of_every_kind_are_found() {
        let found = members(r#" { "a" : "x\"}" , "b":[1,{"c":"]"}],"d":-1.5e3, "e": NaN } "#).unwrap();
        let found: Vec<_> = found.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(found, [("a", r#""x\"}""#), ("b", r#"[1,{"c":"]"}]"#), ("d", "-1.5e3"), ("e", "NaN")]);
        assert_eq!(members("{}").unwrap(), []);
    }

    #[cfg(feature = "redis")]
    #[test]
    fn elements_are_found() {
        let text = br#"[{"a": [1]}, "", "q"]"#;
        let found: Vec<_> = array(text).unwrap().into_iter().map(|place| text[place].to_vec()).collect();
        assert_eq!(found, [br#"{"a": [1]}"#.to_vec(), b"\"\"".to_vec(), b"\"q\"".to_vec()]);
    }

    #[test]
    fn whatever_is_cut_off_or_followed_by_more_is_refused() {
        let whole = br#"{"a": "b\\", "c": [{}]}"#;
        assert!(object(whole, |_, _| {}).is_ok());
        for length in 0..whole.len() {
            assert!(object(&whole[..length], |_, _| {}).is_err(), "{length}");
        }
        for text in ["{} x", "[]", "{\"a\"}", "{\"a\":}", "{,}", "nonsense"] {
            assert!(members(text).is_err(), "{text}");
        }
        #[cfg(feature = "redis")]
        assert!(array(b"[1,").is_err() && array(b"{}").is_err());
    }
}
