//! `--autoscale` as the app and the environment have it, or why there is none.

use std::time::Duration;

use crate::{
    app::{AppError, boot::Resolved},
    config::{ConfigError, Strings, WorkerArgs},
    serialization::Value,
    worker::AutoscaleRange,
};

const KEEPALIVE: &str = "AUTOSCALE_KEEPALIVE";
const DEFAULT_KEEPALIVE: Duration = Duration::from_secs(30);

/// The range that was asked for, if any.
pub(super) fn range(
    resolved: &Resolved,
    has_python: bool,
    args: &WorkerArgs,
    environment: &dyn Strings,
) -> Result<Option<AutoscaleRange>, AppError> {
    let numbers = resolved.list("autoscale").map(|pair| pair.iter().filter_map(Value::as_i64).collect::<Vec<i64>>());
    let Some(&[max, min]) = numbers.as_deref() else {
        return match args.autoscale {
            Some(_) if !has_python => {
                Err(AppError::refused("--autoscale is for Python children, and there are none", "use -c"))
            }
            _ => Ok(None),
        };
    };
    if resolved.text("pool") != Some("prefork") {
        return Err(AppError::refused("--autoscale works with the prefork pool only", "use -c, or -P prefork"));
    }
    let count =
        |number: i64| usize::try_from(number).map_err(|_| AppError::unsupported("--autoscale: a negative number"));
    Ok(Some(AutoscaleRange { max: count(max)?, min: count(min)?, keepalive: keepalive(environment)? }))
}

/// `AUTOSCALE_KEEPALIVE`, seconds, which is no setting. Zero is as impossible as in Celery.
fn keepalive(environment: &dyn Strings) -> Result<Duration, ConfigError> {
    let Some(text) = environment.string(KEEPALIVE) else { return Ok(DEFAULT_KEEPALIVE) };
    let seconds = text.trim().parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let invalid = ConfigError::Environment { name: KEEPALIVE, expected: "a number of seconds greater than 0" };
    seconds.filter(|seconds| !seconds.is_zero()).ok_or(invalid)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn patience_comes_from_the_environment() {
        let read = |text: &str| keepalive(&HashMap::from([(KEEPALIVE.to_owned(), text.to_owned())]));
        assert_eq!(keepalive(&()).unwrap(), DEFAULT_KEEPALIVE);
        assert_eq!(read("0.5").unwrap(), Duration::from_millis(500));
        for text in ["0", "-1", "long", "inf", "nan"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
