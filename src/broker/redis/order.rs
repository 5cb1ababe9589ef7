//! [`QueueOrder`]: which queue is asked first (`kombu/utils/scheduling.py`).

use std::sync::Arc;

use crate::broker::redis::options::QueueOrderStrategy;

/// The queues being consumed, in the order in which they are asked.
#[derive(Debug, Clone)]
pub(super) struct QueueOrder {
    strategy: QueueOrderStrategy,
    queues: Vec<Arc<str>>,
}

impl QueueOrder {
    pub fn new(strategy: QueueOrderStrategy) -> Self {
        Self { strategy, queues: Vec::new() }
    }

    /// The queues, first asked first.
    pub fn queues(&self) -> &[Arc<str>] {
        &self.queues
    }

    /// Whether queues of one priority take turns.
    pub fn takes_turns(&self) -> bool {
        self.strategy == QueueOrderStrategy::RoundRobin
    }

    /// Takes on the queues that are consumed now; those that were there before keep their places.
    pub fn update(&mut self, active: &[Arc<str>]) {
        match self.strategy {
            QueueOrderStrategy::RoundRobin => {
                self.queues.retain(|queue| active.contains(queue));
                let new: Vec<_> = active.iter().filter(|queue| !self.queues.contains(queue)).cloned().collect();
                self.queues.extend(new);
            }
            QueueOrderStrategy::Sorted => {
                self.queues = active.to_vec();
                self.queues.sort();
            }
            QueueOrderStrategy::Priority => self.queues = active.to_vec(),
        }
    }

    /// Takes note that queues gave messages, in this order (by their index at the time of asking).
    pub fn rotate(&mut self, used: &[usize]) {
        if !self.takes_turns() || self.queues.len() < 2 {
            return;
        }
        let mut last_use = vec![None; self.queues.len()];
        for (turn, &index) in used.iter().enumerate() {
            last_use[index] = Some(turn);
        }
        let mut order: Vec<usize> = (0..self.queues.len()).collect();
        order.sort_by_key(|&index| last_use[index]);
        self.queues = order.into_iter().map(|index| self.queues[index].clone()).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(order: &QueueOrder) -> String {
        order.queues().iter().map(|queue| &**queue).collect()
    }

    fn order(strategy: QueueOrderStrategy) -> QueueOrder {
        let mut order = QueueOrder::new(strategy);
        order.update(&["b".into(), "a".into(), "c".into()]);
        order
    }

    #[test]
    fn a_queue_that_gave_goes_to_the_end() {
        let mut order = order(QueueOrderStrategy::RoundRobin);
        order.rotate(&[0]);
        assert_eq!(names(&order), "acb");
        order.rotate(&[1, 0, 1]);
        assert_eq!(names(&order), "bac");
        order.update(&["c".into(), "a".into(), "d".into()]);
        assert_eq!(names(&order), "acd");
    }

    #[test]
    fn the_other_strategies_stay() {
        let mut sorted = order(QueueOrderStrategy::Sorted);
        sorted.rotate(&[0]);
        assert_eq!(names(&sorted), "abc");
        let mut declared = order(QueueOrderStrategy::Priority);
        declared.rotate(&[0]);
        assert_eq!(names(&declared), "bac");
    }
}
