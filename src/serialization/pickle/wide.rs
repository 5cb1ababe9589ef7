//! UTF-8 in which lone surrogates may stand (Python's `surrogatepass`).

use crate::serialization::Value;

pub(super) fn decode(bytes: &[u8]) -> Option<Value> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Some(Value::Str(text.to_owned()));
    }
    let mut units = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while !rest.is_empty() {
        let valid = match std::str::from_utf8(rest) {
            Ok(text) => text,
            Err(error) => std::str::from_utf8(&rest[..error.valid_up_to()]).ok()?,
        };
        units.extend(valid.encode_utf16());
        rest = &rest[valid.len()..];
        if let Some(([a @ 0xed, b @ 0xa0..=0xbf, c @ 0x80..=0xbf], after)) = rest.split_first_chunk() {
            units.push(u16::from(a & 0xf) << 12 | u16::from(b & 0x3f) << 6 | u16::from(c & 0x3f));
            rest = after;
        } else if !rest.is_empty() {
            return None;
        }
    }
    Some(Value::WideStr(units.into()))
}

pub(super) fn encode(units: &[u16]) -> Vec<u8> {
    let mut out = Vec::with_capacity(units.len() * 3);
    for char in char::decode_utf16(units.iter().copied()) {
        match char {
            Ok(char) => out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes()),
            Err(lone) => {
                let unit = lone.unpaired_surrogate();
                out.extend([0xed, (unit >> 6 & 0x3f) as u8 | 0x80, (unit & 0x3f) as u8 | 0x80]);
            }
        }
    }
    out
}
