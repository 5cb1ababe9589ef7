//! Acknowledgements: which frames a batch of settlements becomes, and the task that writes them.

use std::{
    collections::BTreeMap,
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::future::BoxFuture;
use lapin::{
    Channel,
    options::{BasicAckOptions, BasicRejectOptions},
};
use tokio::{
    sync::{Notify, oneshot},
    time::{Instant, timeout_at},
};

use crate::broker::{Settle, Settlement, Tag, amqp::qos::Prefetch};

/// How long a few acknowledgements wait for more. Each frame costs the broker about as much as a delivery.
const LINGER: Duration = Duration::from_millis(1);

/// The channel's end for [`Acker`](crate::broker::Acker)s: settlements wait here for the settle task.
#[derive(Default)]
pub(super) struct Desk {
    notes: Mutex<Notes>,
    /// Told when there is something to do.
    woken: Notify,
}

#[derive(Default)]
struct Notes {
    settled: Vec<(u64, Settlement)>,
    /// Who waits until everything before is on its way.
    flushes: Vec<oneshot::Sender<()>>,
    /// The settle task wants to be woken at so many.
    wake_at: usize,
    /// The AMQP channel is gone.
    closed: bool,
}

impl Settle for Desk {
    fn settle(&self, tag: Tag, settlement: Settlement) {
        let Tag::Number(number) = tag else { return };
        let mut notes = self.notes();
        if notes.closed {
            drop(notes);
            return log_gone(number, settlement);
        }
        notes.settled.push((number, settlement));
        let count = notes.settled.len();
        if count == 1 || count == notes.wake_at {
            drop(notes);
            self.woken.notify_one();
        }
    }
}

/// What Celery says where the channel of a delivery is closed (`kombu/message.py`), in its client's words.
fn log_gone(tag: u64, settlement: Settlement) {
    const REASON: &str = "RecoverableConnectionError(None, 'connection already closed', None, '')";
    match settlement {
        Settlement::Ack => {
            tracing::error!(target: "celery.worker.request", critical = true, "Couldn't ack {tag}, reason:{REASON}");
        }
        Settlement::Drop | Settlement::Requeue => {
            tracing::error!(target: "celery.worker.request", critical = true, "Couldn't reject {tag}, reason: {REASON}");
        }
    }
}

impl Desk {
    /// Resolves when all settlements so far are on their way, or can no longer be.
    pub(super) async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        {
            let mut notes = self.notes();
            if notes.closed {
                return;
            }
            notes.flushes.push(done);
        }
        self.woken.notify_one();
        // An error says that the settle task has gone, and there is nothing to wait for.
        let _ = flushed.await;
    }

    fn close(&self) {
        let mut notes = self.notes();
        *notes = Notes { closed: true, ..Notes::default() };
    }

    /// How many settlements wait, and whether somebody waits for them.
    fn waiting(&self) -> (usize, bool) {
        let notes = self.notes();
        (notes.settled.len(), !notes.flushes.is_empty())
    }

    fn wake_at(&self, count: usize) {
        self.notes().wake_at = count;
    }

    fn take(&self) -> (Vec<(u64, Settlement)>, Vec<oneshot::Sender<()>>) {
        let mut notes = self.notes();
        (mem::take(&mut notes.settled), mem::take(&mut notes.flushes))
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Deliveries handed out and settled, for the count that `close` gives.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) delivered: AtomicU64,
    pub(super) settled: AtomicU64,
}

impl Tally {
    pub(super) fn held(&self) -> usize {
        let settled = self.settled.load(Ordering::Acquire);
        self.delivered.load(Ordering::Acquire).saturating_sub(settled) as usize
    }
}

/// Writes settlements until the channel fails. While one batch is being written the next one gathers, so that batches
/// grow with the load; a small one waits a moment for more while there are deliveries that may soon be settled.
///
/// # Errors
/// The channel's.
pub(super) async fn run(
    channel: Channel,
    desk: Arc<Desk>,
    tally: Arc<Tally>,
    prefetch: Arc<Prefetch>,
) -> Result<(), lapin::Error> {
    let _closing = Closing(&desk);
    let mut ledger = Ledger::default();
    loop {
        linger(&desk, &tally, prefetch.wanted()).await;
        let (settled, flushes) = desk.take();
        if settled.is_empty() && flushes.is_empty() {
            desk.woken.notified().await;
            continue;
        }
        let count = settled.len() as u64;
        write(&channel, &ledger.plan(settled)).await?;
        tally.settled.fetch_add(count, Ordering::AcqRel);
        for done in flushes {
            // Whoever waited may have gone.
            let _ = done.send(());
        }
    }
}

/// Closes the desk when nobody writes any more, however that came about.
struct Closing<'a>(&'a Desk);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Waits until a quarter of the window is settled, for a millisecond at most, unless nothing else is held.
async fn linger(desk: &Desk, tally: &Tally, window: u32) {
    let enough = if window == 0 { 64 } else { (window as usize / 4).clamp(1, 64) };
    let goes_on = || {
        let (waiting, asked) = desk.waiting();
        waiting > 0 && waiting < enough && !asked && tally.held() > waiting
    };
    if !goes_on() {
        return;
    }
    desk.wake_at(enough);
    let deadline = Instant::now() + LINGER;
    while goes_on() && timeout_at(deadline, desk.woken.notified()).await.is_ok() {}
    desk.wake_at(0);
}

/// Queues all frames at once and waits for the last one to be written.
async fn write(channel: &Channel, frames: &[Frame]) -> Result<(), lapin::Error> {
    let mut last: Option<BoxFuture<'_, lapin::Result<()>>> = None;
    for frame in frames {
        let mut sending: BoxFuture<'_, lapin::Result<()>> = match *frame {
            Frame::Ack { tag, multiple } => Box::pin(channel.basic_ack(tag, BasicAckOptions { multiple })),
            Frame::Reject { tag, requeue } => Box::pin(channel.basic_reject(tag, BasicRejectOptions { requeue })),
        };
        // The first poll queues the frame; its end is that of the write.
        if let std::task::Poll::Ready(result) = futures::poll!(&mut sending) {
            result?;
            continue;
        }
        last = Some(sending);
    }
    match last {
        Some(sending) => sending.await,
        None => Ok(()),
    }
}

/// A method that settles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Frame {
    Ack { tag: u64, multiple: bool },
    Reject { tag: u64, requeue: bool },
}

/// Which delivery tags of a channel are unsettled: everything at first, tags that have not been seen yet included.
#[derive(Debug)]
pub(super) struct Ledger {
    /// Ranges of unsettled tags, by their first, with their last.
    unsettled: BTreeMap<u64, u64>,
}

impl Default for Ledger {
    fn default() -> Self {
        Self { unsettled: BTreeMap::from([(1, u64::MAX)]) }
    }
}

impl Ledger {
    /// The frames for a batch: rejections first, then one acknowledgement for all tags below the oldest unsettled one,
    /// and one for each tag above it. A tag that is settled already makes no frame.
    pub(super) fn plan(&mut self, settlements: Vec<(u64, Settlement)>) -> Vec<Frame> {
        let mut frames = Vec::new();
        let mut acked = Vec::with_capacity(settlements.len());
        for (tag, settlement) in settlements {
            match settlement {
                _ if !self.remove(tag) => tracing::debug!(tag, "settled twice"),
                Settlement::Ack => acked.push(tag),
                Settlement::Drop => frames.push(Frame::Reject { tag, requeue: false }),
                Settlement::Requeue => frames.push(Frame::Reject { tag, requeue: true }),
            }
        }
        acked.sort_unstable();
        let (below, above) = acked.split_at(acked.partition_point(|&tag| tag < self.oldest()));
        if let Some(&tag) = below.last() {
            frames.push(Frame::Ack { tag, multiple: below.len() > 1 });
        }
        frames.extend(above.iter().map(|&tag| Frame::Ack { tag, multiple: false }));
        frames
    }

    fn oldest(&self) -> u64 {
        self.unsettled.first_key_value().map_or(u64::MAX, |(&first, _)| first)
    }

    fn remove(&mut self, tag: u64) -> bool {
        let Some((&first, &last)) = self.unsettled.range(..=tag).next_back() else { return false };
        if last < tag {
            return false;
        }
        self.unsettled.remove(&first);
        if first < tag {
            self.unsettled.insert(first, tag - 1);
        }
        if tag < last {
            self.unsettled.insert(tag + 1, last);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::{Frame, Ledger};
    use crate::broker::Settlement::{self, Ack, Drop, Requeue};

    fn ack(tag: u64) -> Frame {
        Frame::Ack { tag, multiple: false }
    }

    fn ack_to(tag: u64) -> Frame {
        Frame::Ack { tag, multiple: true }
    }

    fn reject(tag: u64, requeue: bool) -> Frame {
        Frame::Reject { tag, requeue }
    }

    #[test]
    fn plans() {
        let mut ledger = Ledger::default();
        let mut check = |settled: &[(u64, Settlement)], frames: &[Frame]| {
            assert_eq!(ledger.plan(settled.to_vec()), frames, "{settled:?}");
        };
        check(&[(1, Ack)], &[ack(1)]);
        check(&[(3, Ack), (2, Ack)], &[ack_to(3)]);
        check(&[(5, Ack), (7, Ack)], &[ack(5), ack(7)]);
        check(&[(4, Ack)], &[ack(4)]);
        check(&[(8, Ack), (6, Ack), (10, Ack)], &[ack_to(8), ack(10)]);
        check(&[(11, Ack), (9, Requeue), (12, Drop)], &[reject(9, true), reject(12, false), ack(11)]);
        check(&[(11, Ack), (0, Ack)], &[]);
        check(&[(13, Drop)], &[reject(13, false)]);
        check(&[(14, Ack), (15, Ack)], &[ack_to(15)]);
    }

    /// A broker that refuses what RabbitMQ refuses.
    fn apply(frames: &[Frame], outstanding: &mut BTreeSet<u64>, acked: &mut BTreeSet<u64>) {
        for frame in frames {
            match *frame {
                Frame::Reject { tag, .. } => assert!(outstanding.remove(&tag), "unknown delivery tag {tag}"),
                Frame::Ack { tag, multiple } => {
                    assert!(outstanding.contains(&tag), "unknown delivery tag {tag}");
                    let covered: Vec<u64> = outstanding.range(if multiple { 0 } else { tag }..=tag).copied().collect();
                    for tag in covered {
                        outstanding.remove(&tag);
                        acked.insert(tag);
                    }
                }
            }
        }
    }

    proptest! {
        #[test]
        fn the_broker_ends_up_where_the_tasks_did(
            order in Just((1..=60u64).collect::<Vec<_>>()).prop_shuffle(),
            verdicts in prop::collection::vec(0..5u8, 60),
            sizes in prop::collection::vec(1..9usize, 60),
            unsettled in 0..20usize,
        ) {
            let mut ledger = Ledger::default();
            let (mut outstanding, mut acked): (BTreeSet<u64>, _) = ((1..=60).collect(), BTreeSet::new());
            let mut expected = BTreeSet::new();
            let mut settled = order[unsettled..].iter().map(|&tag| {
                let verdict = [Ack, Ack, Ack, Drop, Requeue][verdicts[tag as usize - 1] as usize];
                (tag, verdict)
            });
            for size in sizes {
                let batch: Vec<_> = settled.by_ref().take(size).collect();
                expected.extend(batch.iter().filter(|(_, verdict)| *verdict == Ack).map(|(tag, _)| *tag));
                apply(&ledger.plan(batch), &mut outstanding, &mut acked);
                prop_assert_eq!(&acked, &expected);
            }
        }
    }
}
