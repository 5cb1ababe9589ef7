//! [`Qos`]: how many deliveries may be held, as arithmetic (`kombu/common.py:QoS`, `celery/worker/consumer/tasks.py`).

/// The prefetch window. Owned by the dispatcher; the connection is told when [`Qos::changed`] says so.
#[derive(Debug)]
pub struct Qos {
    base: u32,
    /// Less than `base` after a reconnect, while much is still active from before.
    reduced: Option<u32>,
    waiting: u32,
    limit: Option<u32>,
    told: Option<u32>,
}

impl Qos {
    /// `base` deliveries for what can run soon (0 is unlimited); `limit` caps the window once ETA tasks have widened it.
    pub fn new(base: u32, limit: Option<u32>) -> Self {
        Self { base, reduced: None, waiting: 0, limit, told: None }
    }

    /// A task waits for its time: it must not keep others out.
    pub fn increment(&mut self) {
        self.waiting += 1;
    }

    /// A task's time has come.
    pub fn decrement(&mut self) {
        self.waiting = self.waiting.saturating_sub(1);
    }

    /// The pool has another size.
    pub fn resize(&mut self, base: u32) {
        self.base = base;
    }

    /// A fresh connection knows nothing of the window.
    pub fn reset(&mut self) {
        self.waiting = 0;
        self.told = None;
    }

    /// After a loss: leaves room for so many tasks that are still active, each with its share of the window. Gives back the
    /// new base, if it is smaller (`Consumer.on_connection_error_after_connected`).
    pub fn reduce(&mut self, active: usize, multiplier: u32) -> Option<u32> {
        let active = u32::try_from(active).unwrap_or(u32::MAX);
        let reduced = self.base.saturating_sub(active.saturating_mul(multiplier)).max(multiplier);
        self.reduced = Some(reduced).filter(|reduced| *reduced < self.base);
        self.reduced
    }

    /// A message has been settled: what was reduced grows by one task's share. Gives back the base once it is whole again.
    pub fn restore(&mut self, multiplier: u32) -> Option<u32> {
        let grown = self.reduced?.saturating_add(multiplier);
        self.reduced = Some(grown).filter(|grown| *grown < self.base);
        self.reduced.is_none().then_some(self.base)
    }

    /// The window without what waits for its time.
    pub fn base(&self) -> u32 {
        self.reduced.unwrap_or(self.base)
    }

    /// The same when nothing is reduced.
    pub fn whole(&self) -> u32 {
        self.base
    }

    /// What the window should be now; a transport that cannot count so far has its own way with it.
    pub fn value(&self) -> u32 {
        if self.base == 0 {
            return 0;
        }
        let wanted = self.base().saturating_add(self.waiting);
        if self.waiting > 0 { self.limit.map_or(wanted, |limit| wanted.min(limit.max(1))) } else { wanted }
    }

    /// The window where nothing is to be taken that cannot start: as much as is held unsettled besides what waits for its
    /// time, and as many as are free. None while nothing is.
    pub fn without_prefetch(&self, unsettled: usize, free: usize) -> Option<u32> {
        if free == 0 {
            return None;
        }
        let exact = self.waiting.saturating_add(u32::try_from(unsettled.saturating_add(free)).unwrap_or(u32::MAX));
        Some(if self.value() == 0 { exact } else { exact.min(self.value()) })
    }

    /// The window, if the connection has not been told yet.
    pub fn changed(&mut self, value: u32) -> Option<u32> {
        (self.told.replace(value) != Some(value)).then_some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eta_tasks_widen_the_window_and_give_it_back() {
        let mut qos = Qos::new(8, None);
        assert_eq!(qos.changed(qos.value()), Some(8));
        qos.increment();
        qos.increment();
        assert_eq!(qos.changed(qos.value()), Some(10));
        qos.decrement();
        assert_eq!(qos.changed(qos.value()), Some(9));
        assert_eq!(qos.changed(qos.value()), None);
    }

    #[test]
    fn without_prefetch_only_what_is_free_is_taken() {
        let mut qos = Qos::new(8, None);
        assert_eq!(qos.without_prefetch(0, 2), Some(2));
        assert_eq!(qos.without_prefetch(1, 1), Some(2));
        assert_eq!(qos.without_prefetch(2, 0), None);
        assert_eq!(qos.without_prefetch(0, 20), Some(8));
        qos.increment();
        assert_eq!(qos.without_prefetch(0, 1), Some(2));
        assert_eq!(Qos::new(0, None).without_prefetch(0, 20), Some(20));
    }

    #[test]
    fn a_window_is_reduced_by_what_is_active_and_grows_again() {
        let mut qos = Qos::new(16, None);
        assert_eq!(qos.reduce(0, 4), None);
        assert_eq!(qos.reduce(3, 4), Some(4));
        assert_eq!(qos.value(), 4);
        assert_eq!((qos.restore(4), qos.value()), (None, 8));
        assert_eq!((qos.restore(4), qos.value()), (None, 12));
        assert_eq!((qos.restore(4), qos.value()), (Some(16), 16));
        assert_eq!((qos.restore(4), qos.value()), (None, 16));
        assert_eq!(qos.reduce(usize::MAX, 4), Some(4));
        assert_eq!(qos.reduce(0, 4), None);
        assert_eq!(qos.value(), 16);
    }

    #[test]
    fn the_limit_caps_a_widened_window_only() {
        let mut qos = Qos::new(8, Some(9));
        for _ in 0..5 {
            qos.increment();
        }
        assert_eq!(qos.value(), 9);
        assert_eq!(Qos::new(8, Some(2)).value(), 8);
    }

    #[test]
    fn unlimited_stays_unlimited_and_a_million_is_a_window_like_any_other() {
        let mut qos = Qos::new(0, None);
        qos.increment();
        assert_eq!(qos.value(), 0);
        let mut qos = Qos::new(8, None);
        (0..1_000_000).for_each(|_| qos.increment());
        assert_eq!(qos.value(), 1_000_008);
    }
}
