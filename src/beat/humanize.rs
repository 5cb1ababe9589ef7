//! Seconds for people (`celery/utils/time.py:humanize_seconds`).

const UNITS: [(&str, f64); 4] = [("day", 86_400.0), ("hour", 3600.0), ("minute", 60.0), ("second", 1.0)];

/// `5.00 minutes`, with a prefix; less than a second is `now`.
pub(super) fn humanize(seconds: f64, prefix: &str) -> String {
    let seconds: f64 = format!("{seconds:.2}").parse().unwrap_or(seconds);
    let Some((unit, length)) = UNITS.into_iter().find(|(_, length)| seconds >= *length) else {
        return "now".to_owned();
    };
    let count = seconds / length;
    let plural = if count == 1.0 { "" } else { "s" };
    format!("{prefix}{count:.2} {unit}{plural}")
}

#[cfg(test)]
mod tests {
    use super::humanize;

    #[test]
    fn seconds_are_told_in_the_greatest_unit() {
        for (seconds, text) in [
            (0.0, "now"),
            (0.994, "now"),
            (0.999, "in 1.00 second"),
            (4.99, "in 4.99 seconds"),
            (60.0, "in 1.00 minute"),
            (300.0, "in 5.00 minutes"),
            (3600.0 * 36.0, "in 1.50 days"),
        ] {
            assert_eq!(humanize(seconds, "in "), text);
        }
    }
}
