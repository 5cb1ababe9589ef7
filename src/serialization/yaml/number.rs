//! YAML 1.1 numbers: underscores, binary, octal with a leading zero, sexagesimal; and floats only with a point.

use num_bigint::BigInt;

use crate::serialization::Value;

/// Digits that Python is willing to convert.
const MAX_DIGITS: usize = 4300;

/// An integer by PyYAML's expression; none for text that does not look like one.
pub(super) fn integer(text: &str) -> Option<Value> {
    let (negative, unsigned) = sign(text);
    if unsigned.len() > MAX_DIGITS {
        return None;
    }
    let magnitude = if let Some(bits) = unsigned.strip_prefix("0b") {
        digits(bits, 2)?
    } else if let Some(hex) = unsigned.strip_prefix("0x") {
        digits(hex, 16)?
    } else if unsigned == "0" {
        BigInt::ZERO
    } else if let Some(octal) = unsigned.strip_prefix('0') {
        digits(octal, 8)?
    } else {
        sexagesimal(unsigned)?
    };
    let number = if negative { -magnitude } else { magnitude };
    Some(i64::try_from(&number).map_or_else(|_| Value::BigInt(number.to_string().into()), Value::Int))
}

/// A float by PyYAML's expression: with a point, and with a sign in its exponent. `1e3` is a string.
pub(super) fn float(text: &str) -> Option<f64> {
    let (negative, unsigned) = sign(text);
    let signed = unsigned.len() < text.len();
    let magnitude = match unsigned {
        ".inf" | ".Inf" | ".INF" => f64::INFINITY,
        ".nan" | ".NaN" | ".NAN" if !signed => f64::NAN,
        _ if unsigned.contains(':') => sexagesimal_float(unsigned)?,
        _ if unsigned.starts_with('.') && signed => return None,
        _ => decimal(unsigned)?,
    };
    Some(if negative { -magnitude } else { magnitude })
}

fn sign(text: &str) -> (bool, &str) {
    match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    }
}

/// Digits of a base, with underscores anywhere among them.
fn digits(text: &str, base: u32) -> Option<BigInt> {
    let plain = text.replace('_', "");
    let valid = !plain.is_empty() && plain.chars().all(|digit| digit.is_digit(base));
    if valid { BigInt::parse_bytes(plain.as_bytes(), base) } else { None }
}

/// Decimal digits, and further groups below sixty after colons. The first digit is no zero.
fn sexagesimal(text: &str) -> Option<BigInt> {
    let mut groups = text.split(':');
    let first = groups.next()?;
    if !first.starts_with(|digit: char| digit.is_ascii_digit()) {
        return None;
    }
    groups.try_fold(digits(first, 10)?, |sum, group| Some(sum * 60 + sixtieth(group)?))
}

fn sexagesimal_float(text: &str) -> Option<f64> {
    let (whole, fraction) = text.split_once('.')?;
    let mut groups = whole.split(':');
    let first = groups.next().filter(|first| first.starts_with(|digit: char| digit.is_ascii_digit()))?;
    let whole = groups.try_fold(decimal_digits(first)?.parse::<f64>().ok()?, |sum, group| {
        Some(sum * 60.0 + f64::from(sixtieth(group)?))
    })?;
    let fraction = decimal_digits(fraction)?;
    Some(whole + format!("0.{fraction}").parse::<f64>().ok()?)
}

fn sixtieth(group: &str) -> Option<u8> {
    let valid = matches!(group.as_bytes(), [b'0'..=b'9'] | [b'0'..=b'5', b'0'..=b'9']);
    if valid { group.parse().ok() } else { None }
}

fn decimal(text: &str) -> Option<f64> {
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => (&text[..at], exponent(&text[at + 1..])?),
        None => (text, ""),
    };
    let (whole, fraction) = mantissa.split_once('.')?;
    let starts = |part: &str| part.starts_with(|digit: char| digit.is_ascii_digit());
    if !(starts(whole) || (whole.is_empty() && starts(fraction))) {
        return None;
    }
    let (whole, fraction) = (decimal_digits(whole)?, decimal_digits(fraction)?);
    format!("0{whole}.{fraction}0e{}", if exponent.is_empty() { "0" } else { exponent }).parse().ok()
}

fn exponent(text: &str) -> Option<&str> {
    let digits = text.strip_prefix(['+', '-'])?;
    let valid = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
    valid.then_some(text)
}

fn decimal_digits(text: &str) -> Option<String> {
    let plain = text.replace('_', "");
    plain.bytes().all(|digit| digit.is_ascii_digit()).then_some(plain)
}
