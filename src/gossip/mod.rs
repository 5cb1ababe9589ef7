//! Neighbours: other workers on the same broker.
//!
//! [`Mingle`] exchanges revoked ids and clocks with them before a connection is consumed from. Gossip proper (watching
//! their heartbeats, elections) is not here: this worker behaves as one started `--without-gossip`.

mod mingle;

pub use mingle::{Mingle, MingleOptions};
