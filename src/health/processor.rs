//! Processor time, as Linux tells it.

use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeValLike,
};

/// Seconds of processor time that this process has used.
pub(super) fn cpu_seconds() -> Option<f64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    let microseconds = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Some(microseconds as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_used_some() {
        assert!(cpu_seconds().unwrap() >= 0.0);
    }
}
