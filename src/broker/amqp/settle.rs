//! Acknowledgements: which frames a batch of settlements becomes, and the task that writes them.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use futures::future::BoxFuture;
use lapin::{
    Channel,
    options::{BasicAckOptions, BasicRejectOptions},
};
use tokio::sync::{mpsc, oneshot};

use crate::broker::{Settle, Settlement, Tag};

/// How many settlements one turn takes.
const TURN: usize = 4096;

/// What the settle task is told.
pub(super) enum Note {
    /// A delivery tag is settled.
    Settled(u64, Settlement),
    /// Answer when everything before this is on its way; `close` waits for it.
    Flush(oneshot::Sender<()>),
}

/// The channel's end for [`Acker`](crate::broker::Acker)s. The settle task holds the other end, and drops it when the
/// AMQP channel is gone.
pub(super) struct SettleSink(pub(super) mpsc::UnboundedSender<Note>);

impl Settle for SettleSink {
    fn settle(&self, tag: Tag, settlement: Settlement) {
        let Tag::Number(number) = tag else { return };
        if self.0.send(Note::Settled(number, settlement)).is_err() {
            tracing::debug!(tag = number, ?settlement, "dropped the settlement of a delivery whose channel is gone");
        }
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
/// grow with the load and nothing waits when there is none.
///
/// # Errors
/// The channel's.
pub(super) async fn run(
    channel: Channel,
    mut notes: mpsc::UnboundedReceiver<Note>,
    tally: Arc<Tally>,
) -> Result<(), lapin::Error> {
    let mut ledger = Ledger::default();
    let mut turn = Vec::new();
    while notes.recv_many(&mut turn, TURN).await > 0 {
        let (mut settled, mut waiting) = (Vec::with_capacity(turn.len()), Vec::new());
        for note in turn.drain(..) {
            match note {
                Note::Settled(tag, settlement) => settled.push((tag, settlement)),
                Note::Flush(done) => waiting.push(done),
            }
        }
        let count = settled.len() as u64;
        write(&channel, &ledger.plan(settled)).await?;
        tally.settled.fetch_add(count, Ordering::AcqRel);
        for done in waiting {
            // Whoever waited may have gone.
            let _ = done.send(());
        }
    }
    Ok(())
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
