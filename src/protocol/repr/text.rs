//! `repr` of strings and bytes: quotes, and escapes for what is not printable.

/// Double quotes only for text with single ones and no double ones.
fn quote(has_single: bool, has_double: bool) -> char {
    if has_single && !has_double { '"' } else { '\'' }
}

pub(super) fn write_str(out: &mut String, text: &str) {
    let quote = quote(text.contains('\''), text.contains('"'));
    out.push(quote);
    text.chars().for_each(|char| write_char(out, char, quote));
    out.push(quote);
}

pub(super) fn write_wide(out: &mut String, units: &[u16]) {
    let has = |char: char| units.contains(&(char as u16));
    let quote = quote(has('\''), has('"'));
    out.push(quote);
    for char in char::decode_utf16(units.iter().copied()) {
        match char {
            Ok(char) => write_char(out, char, quote),
            Err(lone) => out.push_str(&format!("\\u{:04x}", lone.unpaired_surrogate())),
        }
    }
    out.push(quote);
}

pub(super) fn write_bytes(out: &mut String, bytes: &[u8]) {
    let quote = quote(bytes.contains(&b'\''), bytes.contains(&b'"'));
    out.push('b');
    out.push(quote);
    for &byte in bytes {
        match byte {
            0x80.. => out.push_str(&format!("\\x{byte:02x}")),
            _ => write_char(out, char::from(byte), quote),
        }
    }
    out.push(quote);
}

fn write_char(out: &mut String, char: char, quote: char) {
    match char {
        '\\' => out.push_str("\\\\"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        _ if char == quote => out.extend(['\\', char]),
        ' '..='~' => out.push(char),
        _ if is_printable(char) => out.push(char),
        _ => match u32::from(char) {
            code @ ..0x100 => out.push_str(&format!("\\x{code:02x}")),
            code @ ..0x10000 => out.push_str(&format!("\\u{code:04x}")),
            code => out.push_str(&format!("\\U{code:08x}")),
        },
    }
}

/// `str.isprintable`. Rust's own debug escapes follow the same Unicode categories, once combining marks have a base.
fn is_printable(char: char) -> bool {
    let mut text = [b'a'; 5];
    let length = 1 + char.encode_utf8(&mut text[1..]).len();
    let text = std::str::from_utf8(&text[..length]).unwrap_or_default();
    text.escape_debug().eq(text.chars())
}
