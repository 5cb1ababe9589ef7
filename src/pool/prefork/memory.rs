//! `worker_max_memory_per_child` while a child is idle: what threads of its own have made it grow by.
//!
//! After a task the child itself says how much it uses. A child that is over the limit from the start is left alone here:
//! the next one would be too, and so on for ever.

use std::fs;

use tokio::time::Instant;

use super::child::{Life, Serial};
use super::supervisor::Supervisor;

impl Supervisor {
    /// A child has come up.
    pub(super) fn weigh_newcomer(&mut self, serial: Serial, pid: i32, now: Instant) {
        let Some(most) = self.options.max_memory_per_child else {
            return;
        };
        let is_small = peak_rss(pid).is_some_and(|rss| rss <= most);
        self.with(serial, |child| child.began_small = is_small);
        let due = *self.next_weighing.get_or_insert(now + self.options.idle_weighing);
        self.wake(due);
    }

    /// Replaces idle children that have grown beyond the limit, if it is time to look.
    pub(super) fn weigh_idle(&mut self, now: Instant) {
        let (Some(most), Some(due)) = (self.options.max_memory_per_child, self.next_weighing) else {
            return;
        };
        if due <= now && !self.stopping {
            let idle = |child: &&mut super::child::Child| {
                child.life == Life::Ready && child.given.is_empty() && child.began_small
            };
            for child in self.roster.iter_mut().filter(idle) {
                if peak_rss(child.target()).is_some_and(|rss| rss > most) {
                    child.outgrow();
                    child.leave_if_done();
                }
            }
            self.next_weighing = Some(now + self.options.idle_weighing);
            self.show();
        }
        if let Some(due) = self.next_weighing {
            self.wake(due);
        }
    }
}

/// The most memory that a process had in RAM so far, KiB: what billiard's `mem_rss` gives in the process itself.
fn peak_rss(pid: i32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches("kB").trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_are_weighed() {
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(peak_rss(own).unwrap() > 500);
        assert_eq!(peak_rss(0), None);
    }
}
