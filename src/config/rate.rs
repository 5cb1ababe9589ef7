//! Rate limits as written: `10/m`, `100/h`, `0.5`, a number (`celery/utils/time.py`).

use crate::{config::ConfigError, serialization::Value};

/// Tasks per second. None, zero and negative rates are no limit.
///
/// # Errors
/// When the text is not a number, with or without `/s`, `/m` or `/h`.
pub fn parse(text: &str) -> Result<Option<f64>, ConfigError> {
    let error = || ConfigError::Rate(text.to_owned());
    let (number, unit) = text.trim().split_once('/').unwrap_or((text.trim(), "s"));
    let seconds = match unit {
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(error()),
    };
    let number: f64 = number.trim().parse().map_err(|_| error())?;
    Ok(Some(number / seconds).filter(|rate| rate.is_finite() && *rate > 0.0))
}

/// Tasks per second, from a setting or a remote control argument.
///
/// # Errors
/// As [`parse`], and for anything that is neither text, nor a number, nor `None`.
pub fn from_value(value: &Value) -> Result<Option<f64>, ConfigError> {
    match value {
        Value::Null => Ok(None),
        Value::Str(text) if text.is_empty() => Ok(None),
        Value::Str(text) => parse(text),
        Value::Int(_) | Value::Float(_) => Ok(value.as_f64().filter(|rate| rate.is_finite() && *rate > 0.0)),
        other => Err(ConfigError::Rate(format!("{other:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_celerys_spellings() {
        for (text, rate) in [("10", 10.0), ("10/s", 10.0), ("6/m", 0.1), ("36/h", 0.01), ("0.5/s", 0.5)] {
            assert_eq!(parse(text).unwrap(), Some(rate), "{text}");
        }
        assert_eq!(parse("0").unwrap(), None);
        assert_eq!(from_value(&Value::Null).unwrap(), None);
        assert_eq!(from_value(&Value::Float(2.5)).unwrap(), Some(2.5));
        for text in ["fast", "1/d", "/m"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
