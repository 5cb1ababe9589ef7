//! [`Unacked`]: what a broker notes of the deliveries that are held, to be read once more.

use futures::future::BoxFuture;

use crate::broker::{Acker, Delivery};

/// A broker's own note of what it has delivered and nobody has settled (kombu's `unacked` hash). Where there is one, a
/// delivery that is not needed for long need not stay in memory: its tag is enough, if it is a [`Tag::Number`].
///
/// It belongs to a transport and outlives its connections.
///
/// [`Tag::Number`]: crate::broker::Tag::Number
pub trait Unacked: Send + Sync {
    /// Reads deliveries again, in the order of their tags, and shows the broker that they are alive. None for one that the
    /// broker has taken back meanwhile: it is somebody else's now, and must not be run.
    ///
    /// Reads at least one and stops early where they are large. The copies have no right to settle anything. Waits while
    /// there is no connection.
    fn read(&self, tags: Vec<u64>) -> BoxFuture<'_, Vec<Option<Delivery>>>;

    /// The right to settle a delivery whose acker was given up for its tag. To be asked for once.
    fn acker(&self, tag: u64) -> Acker;
}
