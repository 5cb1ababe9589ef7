//! The SQS transport: Amazon's queues as kombu's `sqs://` uses them, through Amazon's own client.
//!
//! What is held is kept from others by extending its visibility timeout for as long as it is held, so that a task may take
//! longer than that; Celery's worker would have it run twice. What a killed worker held comes back after the timeout.
//!
//! Exchanges exist in the memory of each process only, as in kombu. There is no broadcast, hence no remote control: kombu's
//! fanout through SNS (`supports_fanout`) is refused.

mod access;
mod client;
mod connection;
mod error;
mod exchange;
mod keeper;
mod ledger;
mod link;
mod options;
mod poller;
mod predefined;
mod publisher;
mod queue;
mod receipt;
mod request;
mod settler;
mod transport;

pub use options::SqsOptions;
pub use transport::SqsTransport;
