//! Settings given on the command line as `key=value` (`BaseLoader.cmdline_config_parser`).

use crate::{
    config::{
        ConfigError,
        keys::{self, Kind},
    },
    serialization::Value,
};

/// A setting by its full name, and its value.
pub type Setting = (String, Value);

/// Parses `ns.key=value`, or `.key=value` for the namespace `worker`, converted to the setting's type.
/// A value may start with its type: `(int)3`.
///
/// # Errors
/// When there is no `=`, no such setting, or the value does not convert; the text is Celery's.
pub fn parse(argument: &str) -> Result<Setting, ConfigError> {
    let (key, value) =
        argument.split_once('=').ok_or_else(|| error("not enough values to unpack (expected 2, got 1)"))?;
    let key = key.to_lowercase().replace('.', "_");
    let name = if key.starts_with('_') { format!("worker{key}") } else { key };
    let value = match explicit_type(value) {
        Some((kind, rest)) => convert(kind, rest),
        None => {
            let kind = keys::find(&name).map(|row| row.kind).ok_or_else(|| unknown(&name))?;
            convert(kind, value)
        }
    };
    value.map(|value| (name.clone(), value)).map_err(|reason| error(&format!("'{name}': {reason}")))
}

fn explicit_type(value: &str) -> Option<(Kind, &str)> {
    let (kind, rest) = value.strip_prefix('(')?.split_once(')')?;
    let kind = match kind {
        "string" => Kind::Str,
        "int" => Kind::Int,
        "float" => Kind::Float,
        "bool" => Kind::Bool,
        "any" => Kind::Any,
        _ => return None,
    };
    Some((kind, rest))
}

fn convert(kind: Kind, text: &str) -> Result<Value, String> {
    match kind {
        Kind::Str | Kind::Any => Ok(text.into()),
        Kind::Int => {
            let number: Result<i64, _> = text.trim().parse();
            number.map(Value::from).map_err(|_| format!("invalid literal for int() with base 10: '{text}'"))
        }
        Kind::Float => {
            let number: Result<f64, _> = text.trim().parse();
            number.map(Value::from).map_err(|_| format!("could not convert string to float: '{text}'"))
        }
        Kind::Bool => truth(text).map(Value::from).ok_or_else(|| format!("Cannot coerce '{text}' to type bool")),
        Kind::List => Ok(Value::List(text.split(',').map(Value::from).collect())),
        Kind::Dict => Err("a dict cannot be given on the command line".to_owned()),
    }
}

/// Celery's `strtobool`.
fn truth(text: &str) -> Option<bool> {
    match text.to_lowercase().as_str() {
        "true" | "yes" | "1" | "on" => Some(true),
        "false" | "no" | "0" | "off" => Some(false),
        _ => None,
    }
}

fn unknown(name: &str) -> ConfigError {
    error(&format!("'{}'", name.split_once('_').map_or(name, |(_, key)| key)))
}

fn error(reason: &str) -> ConfigError {
    ConfigError::Override(reason.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn converts_to_the_type_of_the_setting() {
        for (argument, name, value) in [
            (".prefetch_multiplier=7", "worker_prefetch_multiplier", Value::Int(7)),
            ("task.acks_late=1", "task_acks_late", Value::Bool(true)),
            ("result_expires=1.5", "result_expires", Value::Float(1.5)),
            ("Broker.URL=redis://h?a=b", "broker_url", "redis://h?a=b".into()),
            (".concurrency=(int)3", "worker_concurrency", Value::Int(3)),
        ] {
            assert_eq!(parse(argument).unwrap(), (name.to_owned(), value), "{argument}");
        }
    }

    #[test]
    fn refuses_with_celerys_words() {
        for (argument, words) in [
            ("zz", "not enough values to unpack (expected 2, got 1)"),
            (".prefetch_multiplier=x", "'worker_prefetch_multiplier': invalid literal for int() with base 10: 'x'"),
            ("task.nosuch=1", "'nosuch'"),
            ("task.acks_late=maybe", "'task_acks_late': Cannot coerce 'maybe' to type bool"),
        ] {
            assert_eq!(parse(argument).unwrap_err().to_string(), words, "{argument}");
        }
    }
}
