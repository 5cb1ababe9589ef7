//! Events: what Flower, `celery events` and other workers hear about this one.
//!
//! Nothing here decides what happened; the worker says so, and this room words, buffers and publishes it.

mod clock;
mod dispatcher;
mod pump;
mod task;
mod worker;

pub use clock::Clock;
pub use dispatcher::{EventDispatcher, EventOptions};
pub use pump::EventPump;
pub use worker::{WorkerStats, loadavg};
