//! What becomes of a delivery when its execution has ended: a table, without I/O.

use crate::task::TaskOptions;

/// What is to be said to the broker. With an early ack it has been said already, and nobody asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// Done with.
    Ack,
    /// Back to the queue.
    Requeue,
    /// Refused for good.
    Drop,
}

/// The ways of ending that the broker can tell apart (`celery/worker/request.py`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndKind {
    /// Success, retry, ignore, revoked, terminated: nothing more is wanted of the message.
    Done,
    /// An exception, or an end that no child could report.
    Failed,
    /// The hard time limit.
    TimedOut,
    /// The child died under it.
    Lost,
    /// `Reject`.
    Rejected {
        /// Back to the queue?
        requeue: bool,
    },
}

/// The fate of a message that is still held when its execution ends.
pub fn disposition(end: EndKind, options: &TaskOptions) -> Disposition {
    match end {
        EndKind::Done => Disposition::Ack,
        EndKind::Rejected { requeue: true } => Disposition::Requeue,
        EndKind::Rejected { requeue: false } => Disposition::Drop,
        EndKind::Lost if options.reject_on_worker_lost => Disposition::Requeue,
        EndKind::TimedOut if options.acks_on_timeout => Disposition::Ack,
        EndKind::TimedOut => Disposition::Requeue,
        EndKind::Failed | EndKind::Lost if options.acks_on_failure => Disposition::Ack,
        EndKind::Failed | EndKind::Lost => Disposition::Drop,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_settled_as_celery_settles_them() {
        let usual = TaskOptions::default();
        let strict = TaskOptions {
            acks_on_failure: false,
            acks_on_timeout: false,
            reject_on_worker_lost: true,
            ..TaskOptions::default()
        };
        for (end, by_default, when_strict) in [
            (EndKind::Done, Disposition::Ack, Disposition::Ack),
            (EndKind::Failed, Disposition::Ack, Disposition::Drop),
            (EndKind::TimedOut, Disposition::Ack, Disposition::Requeue),
            (EndKind::Lost, Disposition::Ack, Disposition::Requeue),
            (EndKind::Rejected { requeue: true }, Disposition::Requeue, Disposition::Requeue),
            (EndKind::Rejected { requeue: false }, Disposition::Drop, Disposition::Drop),
        ] {
            assert_eq!(disposition(end, &usual), by_default, "{end:?}");
            assert_eq!(disposition(end, &strict), when_strict, "{end:?}");
        }
    }

    #[test]
    fn a_lost_worker_is_a_failure_where_nothing_else_is_said() {
        let options = TaskOptions { acks_on_failure: false, ..TaskOptions::default() };
        assert_eq!(disposition(EndKind::Lost, &options), Disposition::Drop);
    }
}
