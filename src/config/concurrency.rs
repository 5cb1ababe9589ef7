//! [`Concurrency`]: how many seats the pool is to have.

use std::{fs, thread};

use crate::{config::Pool, serialization::Value};

/// `-c` and `worker_concurrency`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Concurrency {
    /// So many.
    Number(u32),
    /// `auto`: what the cgroup's quota and the affinity mask leave.
    Auto,
    /// One per CPU of the host, as Celery does by default; quotas are not looked at.
    #[default]
    Cpus,
}

impl Concurrency {
    /// What a command line or a setting says; none when it is neither a number nor `auto`. Zero is [`Cpus`](Self::Cpus).
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.eq_ignore_ascii_case("auto") {
            return Some(Concurrency::Auto);
        }
        text.parse().ok().map(Self::number)
    }

    /// A number of seats; zero is [`Cpus`](Self::Cpus).
    pub fn number(number: u32) -> Self {
        if number == 0 { Concurrency::Cpus } else { Concurrency::Number(number) }
    }

    /// The number of seats on this machine, at least one.
    pub fn seats(self, pool: &Pool) -> u32 {
        if *pool == Pool::Solo {
            return 1;
        }
        match self {
            Concurrency::Number(number) => number,
            Concurrency::Auto => thread::available_parallelism().map_or(2, |n| clamp(n.get())),
            Concurrency::Cpus => host_cpus(),
        }
    }

    /// As a setting; none when nothing was asked for.
    pub fn to_value(self) -> Option<Value> {
        match self {
            Concurrency::Number(number) => Some(number.into()),
            Concurrency::Auto => Some("auto".into()),
            Concurrency::Cpus => None,
        }
    }
}

/// Python's `os.cpu_count()`: the CPUs that are online, whoever may use them.
fn host_cpus() -> u32 {
    fs::read_to_string("/sys/devices/system/cpu/online")
        .ok()
        .and_then(|ranges| count_ranges(ranges.trim()))
        .or_else(|| thread::available_parallelism().ok().map(|n| clamp(n.get())))
        .unwrap_or(2)
}

/// The size of a kernel CPU list such as `0-3,8`.
fn count_ranges(ranges: &str) -> Option<u32> {
    let mut total = 0u32;
    for range in ranges.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        total = total.checked_add(last.checked_sub(first)?.checked_add(1)?)?;
    }
    (total > 0).then_some(total)
}

fn clamp(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_numbers_and_auto() {
        assert_eq!(Concurrency::parse("8"), Some(Concurrency::Number(8)));
        assert_eq!(Concurrency::parse(" AUTO "), Some(Concurrency::Auto));
        assert_eq!(Concurrency::parse("0"), Some(Concurrency::Cpus));
        assert_eq!(Concurrency::parse("-1"), None);
        assert_eq!(Concurrency::parse("many"), None);
    }

    #[test]
    fn counts_cpu_lists() {
        assert_eq!(count_ranges("0-3,8"), Some(5));
        assert_eq!(count_ranges("0"), Some(1));
        assert_eq!(count_ranges("3-1"), None);
        assert_eq!(count_ranges(""), None);
    }

    #[test]
    fn solo_has_one_seat() {
        assert_eq!(Concurrency::Number(8).seats(&Pool::Solo), 1);
        assert!(Concurrency::Cpus.seats(&Pool::Prefork) >= 1);
    }
}
