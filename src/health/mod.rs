//! Probes and metrics over HTTP (`--health-addr`), for Kubernetes and Prometheus. Celery has nothing like it.
//!
//! [`HealthServer`] answers; [`Checks`] judges the worker and reads its numbers, which are counted in `worker` and `task`.
//! Nothing here runs unless it was asked for, and nothing counts here.

mod checks;
mod page;
mod processor;
mod progress;
mod reading;
mod server;

pub use checks::{Checks, Subject};
pub use server::HealthServer;
