//! The Redis transport: kombu's keys, envelopes and scripts' worth of habits, to the byte, over fred.
//!
//! What differs is what nobody sees: a message is taken and noted as held in one script, so that none is lost in between;
//! waiting takes nothing; settlements travel in batches, with the next take. Redis 6.2 or newer.

mod binding;
mod connection;
mod courier;
mod exchange;
mod fanout;
mod holdings;
mod keys;
mod ledger;
mod link;
mod mailbox;
mod options;
mod order;
mod payload;
mod publisher;
mod restore;
mod script;
mod tls;
mod tracking;
mod transport;
mod unacked;
mod upkeep;
mod url;

pub use options::{FanoutPrefix, QueueOrderStrategy, RedisOptions};
pub use tls::TlsOptions;
pub use transport::RedisTransport;
