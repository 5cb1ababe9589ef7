//! How long tasks take, by name: what decides whether jobs may be sent ahead to a busy child.

use std::collections::HashMap;
use std::time::Duration;

/// Weight of the newest measurement.
const WEIGHT: f64 = 0.2;
/// Names beyond this many are not measured, which only means that their jobs are never sent ahead.
const MOST_NAMES: usize = 65_536;

/// A task's name, as a small number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kind(usize);

/// A moving average per task name.
#[derive(Debug, Default)]
pub(super) struct Runtimes {
    kinds: HashMap<Box<str>, Kind>,
    averages: Vec<Option<f64>>,
}

impl Runtimes {
    pub(super) fn kind(&mut self, task: &str) -> Kind {
        if let Some(kind) = self.kinds.get(task) {
            return *kind;
        }
        let kind = Kind(self.averages.len());
        if self.averages.len() < MOST_NAMES {
            self.averages.push(None);
            self.kinds.insert(task.into(), kind);
        }
        kind
    }

    /// How long such a job will take; [`Duration::MAX`] where none has ended yet.
    pub(super) fn estimate(&self, kind: Kind) -> Duration {
        let average = self.averages.get(kind.0).copied().flatten();
        average.map_or(Duration::MAX, Duration::from_secs_f64)
    }

    /// A job has taken so many seconds.
    pub(super) fn observe(&mut self, kind: Kind, seconds: f64) {
        if !seconds.is_finite() {
            return;
        }
        let seconds = seconds.clamp(0.0, 1e9);
        if let Some(average) = self.averages.get_mut(kind.0) {
            let before = average.unwrap_or(seconds);
            *average = Some(before + WEIGHT * (seconds - before));
        }
    }

    /// A job has been running for so long and has not ended.
    pub(super) fn at_least(&mut self, kind: Kind, running: Duration) {
        if let Some(average) = self.averages.get_mut(kind.0) {
            *average = Some(average.unwrap_or(0.0).max(running.as_secs_f64()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_never_ran_counts_as_long() {
        let mut runtimes = Runtimes::default();
        let kind = runtimes.kind("proj.add");
        assert_eq!(runtimes.estimate(kind), Duration::MAX);
        runtimes.observe(kind, f64::NAN);
        assert_eq!(runtimes.estimate(kind), Duration::MAX);
    }

    #[test]
    fn one_long_run_is_enough_to_count_as_long() {
        let mut runtimes = Runtimes::default();
        let kind = runtimes.kind("proj.add");
        runtimes.observe(kind, 0.000_1);
        assert_eq!(runtimes.estimate(kind), Duration::from_micros(100));
        runtimes.at_least(kind, Duration::from_millis(5));
        assert_eq!(runtimes.estimate(kind), Duration::from_millis(5));
        assert_eq!(runtimes.kind("proj.add"), kind);
    }
}
