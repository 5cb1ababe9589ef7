//! [`TaskMetrics`]: what is counted of each task. Atomics only; whoever shows them reads them while they change.

use std::sync::atomic::{AtomicU64, Ordering};

/// Upper bounds of the histograms' buckets, in seconds; one more bucket has no bound.
pub const BOUNDS: [f64; 16] =
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 3600.0];

/// How a request has ended here, in the words of `celery.states`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndState {
    /// It returned, or had succeeded before.
    Success,
    /// It raised, was lost, or ran into its hard limit.
    Failure,
    /// Another attempt was sent.
    Retry,
    /// Revoked, expired or terminated.
    Revoked,
    /// Refused by the task, or given back after its child died.
    Rejected,
    /// The task wants nobody to know.
    Ignored,
}

impl EndState {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Success, Self::Failure, Self::Retry, Self::Revoked, Self::Rejected, Self::Ignored];

    /// Celery's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "SUCCESS",
            Self::Failure => "FAILURE",
            Self::Retry => "RETRY",
            Self::Revoked => "REVOKED",
            Self::Rejected => "REJECTED",
            Self::Ignored => "IGNORED",
        }
    }
}

/// The numbers of one task since the worker started.
#[derive(Debug, Default)]
pub struct TaskMetrics {
    /// Messages taken from the broker.
    pub received: Counter,
    /// Runs that have begun.
    pub started: Counter,
    finished: [Counter; EndState::ALL.len()],
    /// Seconds from beginning to end, of those that have begun.
    pub run: Histogram,
    /// Seconds that it waited in this worker, from its receipt or its ETA to its beginning.
    pub wait: Histogram,
}

impl TaskMetrics {
    /// How often it has ended so.
    pub fn finished(&self, state: EndState) -> &Counter {
        &self.finished[state as usize]
    }
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// How many.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How many of what length.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BOUNDS.len() + 1],
    microseconds: AtomicU64,
}

/// What a [`Histogram`] said at one time.
#[derive(Debug, Clone, PartialEq)]
pub struct Distribution {
    /// Upper bound and how many lie between it and the one before; the last bound is infinite.
    pub buckets: Vec<(f64, u64)>,
    /// All of them together, in seconds.
    pub sum: f64,
    /// How many.
    pub count: u64,
}

impl Histogram {
    /// Notes one. Less than nothing, as clocks that were set have it, counts as nothing.
    pub fn observe(&self, seconds: f64) {
        let seconds = if seconds > 0.0 { seconds } else { 0.0 };
        let bucket = BOUNDS.iter().position(|bound| seconds <= *bound).unwrap_or(BOUNDS.len());
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.microseconds.fetch_add((seconds * 1e6) as u64, Ordering::Relaxed);
    }

    /// What was noted so far.
    pub fn read(&self) -> Distribution {
        let bounds = BOUNDS.into_iter().chain([f64::INFINITY]);
        let counts = self.buckets.iter().map(|count| count.load(Ordering::Relaxed));
        let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        Distribution { buckets, sum: self.microseconds.load(Ordering::Relaxed) as f64 / 1e6, count }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_sorts_by_upper_bounds() {
        let histogram = Histogram::default();
        [0.005, 0.0051, -3.0, f64::NAN, 3600.0, 1e9].into_iter().for_each(|seconds| histogram.observe(seconds));
        let read = histogram.read();
        let filled: Vec<_> = read.buckets.iter().filter(|(_, count)| *count > 0).copied().collect();
        assert_eq!(filled, [(0.005, 3), (0.01, 1), (3600.0, 1), (f64::INFINITY, 1)]);
        assert_eq!(read.count, 6);
        assert!((read.sum - 1_000_003_600.010_1).abs() < 1e-3, "{}", read.sum);
    }

    #[test]
    fn each_end_has_a_count_of_its_own() {
        let metrics = TaskMetrics::default();
        EndState::ALL.into_iter().for_each(|state| metrics.finished(state).add());
        assert!(EndState::ALL.into_iter().all(|state| metrics.finished(state).get() == 1));
    }
}
