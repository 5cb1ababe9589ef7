//! Neighbours: other workers on the same broker.
//!
//! [`Mingle`] exchanges revoked ids and clocks with them before a connection is consumed from. [`Gossip`] follows their
//! events from then on, and holds elections with them.

mod elections;
mod follow;
mod mingle;
mod peers;

pub use follow::{Gossip, GossipOptions};
pub use mingle::{Mingle, MingleOptions};
