//! The broker's door: traits, deliveries and the right to settle them; one folder per transport.
//!
//! Nothing here knows what a task is. A transport speaks kombu's dialect of its broker to the letter, because
//! Python workers and producers share the queues.

mod acker;
#[cfg(feature = "amqp")]
pub mod amqp;
mod backoff;
mod brokers;
#[cfg(any(test, feature = "test-util"))]
pub mod contract;
mod credentials;
mod delivery;
#[cfg(any(feature = "redis", feature = "filesystem", feature = "sqs"))]
mod envelope;
mod error;
mod failover;
#[cfg(feature = "filesystem")]
pub mod filesystem;
mod lifeline;
mod memory;
mod publisher;
mod read_write;
#[cfg(feature = "redis")]
pub mod redis;
#[cfg(feature = "sqs")]
pub mod sqs;
#[cfg(any(feature = "redis", feature = "filesystem", feature = "sqs"))]
mod topic;
mod transport;
#[cfg(any(feature = "redis", feature = "filesystem", feature = "sqs"))]
mod transport_option;
mod unacked;

pub use acker::{Acker, Settle, Settlement, Tag};
pub use backoff::Backoff;
pub use brokers::Brokers;
pub use credentials::{CredentialProvider, Credentials};
pub use delivery::{Deliveries, Delivery, MalformedMessage};
pub use error::{BrokerError, BrokerErrorKind};
pub use failover::{Failover, NextAttempt};
pub use memory::{MemoryBroker, MemoryTransport};
pub use publisher::Publish;
pub use read_write::ReadWrite;
pub use transport::{Capabilities, Connection, Transport};
pub use unacked::Unacked;
