//! The text of a `decimal.Decimal`: what its constructor takes, and what `str()` gives back.

/// Digits that a number may have, as Python limits them for integers.
const MAX_DIGITS: usize = 4300;

/// `str(Decimal(text))`, or none where Python raises `InvalidOperation`.
pub(crate) fn canonical(text: &str) -> Option<String> {
    let text = text.trim().replace('_', "");
    let (sign, unsigned) = match text.as_bytes().first()? {
        b'-' => ("-", &text[1..]),
        b'+' => ("", &text[1..]),
        _ => ("", &text[..]),
    };
    special(unsigned).or_else(|| finite(unsigned)).map(|number| format!("{sign}{number}"))
}

fn special(text: &str) -> Option<String> {
    let lower = text.to_ascii_lowercase();
    if lower == "inf" || lower == "infinity" {
        return Some("Infinity".to_owned());
    }
    let (name, payload) =
        lower.strip_prefix("snan").map(|p| ("sNaN", p)).or_else(|| lower.strip_prefix("nan").map(|p| ("NaN", p)))?;
    let digits = payload.bytes().all(|b| b.is_ascii_digit()) && payload.len() <= MAX_DIGITS;
    digits.then(|| format!("{name}{}", payload.trim_start_matches('0')))
}

fn finite(text: &str) -> Option<String> {
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => (&text[..at], text[at + 1..].parse::<i64>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = [whole, fraction].concat();
    if digits.is_empty() || digits.len() > MAX_DIGITS || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let coefficient = digits.trim_start_matches('0');
    let coefficient = if coefficient.is_empty() { "0" } else { coefficient };
    let exponent = exponent.checked_sub(fraction.len() as i64)?;
    exponent.checked_add(coefficient.len() as i64)?;
    Some(scientific(coefficient, exponent))
}

/// The General Decimal Arithmetic's to-scientific-string.
fn scientific(coefficient: &str, exponent: i64) -> String {
    let adjusted = exponent + coefficient.len() as i64 - 1;
    if exponent > 0 || adjusted < -6 {
        let (first, rest) = coefficient.split_at(1);
        let point = if rest.is_empty() { "" } else { "." };
        return format!("{first}{point}{rest}E{}{}", if adjusted < 0 { "" } else { "+" }, adjusted);
    }
    if exponent == 0 {
        return coefficient.to_owned();
    }
    let point = coefficient.len() as i64 + exponent;
    if point > 0 {
        let (whole, fraction) = coefficient.split_at(point as usize);
        return format!("{whole}.{fraction}");
    }
    format!("0.{}{coefficient}", "0".repeat(point.unsigned_abs() as usize))
}

#[cfg(test)]
mod tests {
    use super::canonical;

    #[test]
    fn decimals_read_and_write_as_in_python() {
        let table: &[(&str, Option<&str>)] = &[
            ("1.10", Some("1.10")),
            ("-0.00", Some("-0.00")),
            ("1e3", Some("1E+3")),
            ("1E-7", Some("1E-7")),
            ("0.000001", Some("0.000001")),
            ("0.0000001", Some("1E-7")),
            ("123.456e2", Some("12345.6")),
            ("+007", Some("7")),
            (".5", Some("0.5")),
            ("5.", Some("5")),
            ("1_000", Some("1000")),
            ("nan", Some("NaN")),
            ("-sNaN012", Some("-sNaN12")),
            ("inf", Some("Infinity")),
            ("", None),
            ("e5", None),
            ("1e", None),
            ("0x1", None),
        ];
        for (text, expected) in table {
            assert_eq!(canonical(text).as_deref(), *expected, "{text}");
        }
    }
}
