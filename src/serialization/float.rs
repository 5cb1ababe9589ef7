//! Python's `repr` of floats, which is also how `json.dumps` writes them.

use std::fmt::Write;

/// Writes a finite float with the fewest digits that read back as the same number, in exponent form from `1e+16` up and
/// below `0.0001`. NaN and the infinities have other names in each format and are the caller's affair.
///
/// Not `std`'s digits: where two shortest ones are equally near, it takes the larger and Python the even one.
pub(crate) fn write_finite(out: &mut String, float: f64) {
    let mut buffer = zmij::Buffer::new();
    let text = buffer.format_finite(float);
    let size = float.abs();
    if (size == 0.0 || (1e-4..1e16).contains(&size)) && !text.contains('e') {
        return out.push_str(text);
    }
    write_shifted(out, text);
}

/// Another spelling of the same digits.
fn write_shifted(out: &mut String, text: &str) {
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let unsigned = mantissa.trim_start_matches('-');
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let digits = [whole, fraction].concat();
    let zeros = digits.len() - digits.trim_start_matches('0').len();
    let digits = digits.trim_matches('0');
    let exponent = exponent.parse::<i32>().unwrap_or_default() + whole.len() as i32 - 1 - zeros as i32;
    if mantissa.starts_with('-') {
        out.push('-');
    }
    if (-4..16).contains(&exponent) {
        return write_plain(out, digits, exponent);
    }
    let (first, rest) = digits.split_at(1);
    let point = if rest.is_empty() { "" } else { "." };
    let sign = if exponent < 0 { '-' } else { '+' };
    let _ = write!(out, "{first}{point}{rest}e{sign}{:02}", exponent.abs());
}

fn write_plain(out: &mut String, digits: &str, exponent: i32) {
    let point = usize::try_from(exponent + 1).unwrap_or_default();
    if point == 0 {
        let _ = write!(out, "0.{}{digits}", "0".repeat(exponent.unsigned_abs() as usize - 1));
    } else if digits.len() <= point {
        let _ = write!(out, "{digits}{}.0", "0".repeat(point - digits.len()));
    } else {
        let _ = write!(out, "{}.{}", &digits[..point], &digits[point..]);
    }
}

/// `repr(float)`: `nan`, `inf`, `-inf` and the finite ones.
pub(crate) fn repr(float: f64) -> String {
    if float.is_nan() {
        return "nan".to_owned();
    }
    if float.is_infinite() {
        return if float > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let mut out = String::new();
    write_finite(&mut out, float);
    out
}

#[cfg(test)]
mod tests {
    use super::repr;

    #[test]
    fn floats_look_as_in_python() {
        let table: &[(f64, &str)] = &[
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (0.1, "0.1"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (1.5e16, "1.5e+16"),
            (123456789012345680.0, "1.2345678901234568e+17"),
            (9999999999999998.0, "9999999999999998.0"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1.25e-7, "1.25e-07"),
            (1e100, "1e+100"),
            (5e-324, "5e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
            (-2.5e-5, "-2.5e-05"),
            (1e-4, "0.0001"),
            (2862996016428041.0 / 4.0, "715749004107010.2"),
            (8524529723853269.0 / 4.0, "2131132430963317.2"),
            (f64::NAN, "nan"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
        ];
        for (float, expected) in table {
            assert_eq!(repr(*float), *expected);
        }
    }
}
