//! Celery's settings, typed: what the app says, overridden by the environment and the command line.
//!
//! Everything here is plain data that arrives as values; nothing reads a file (but the certificates that a [`TlsClient`]
//! names), the process environment (but through [`Strings`]) or an app.

mod args;
mod concurrency;
mod error;
mod health;
pub mod keys;
mod level;
pub mod nodename;
pub mod overrides;
mod pool;
pub mod queues;
pub mod rate;
mod reader;
mod refusal;
pub mod routes;
mod settings;
mod sources;
mod tls;
pub mod url;

pub use args::{Autoscale, WorkerArgs};
pub use concurrency::Concurrency;
pub use error::ConfigError;
pub use health::{HealthAddr, celerys_words};
pub use level::LogLevel;
pub use pool::Pool;
pub use queues::Queues;
pub use refusal::{PYTHONS, Refusal};
pub use settings::{
    BrokerSettings, ControlSettings, DatabaseResultSettings, EventSettings, FailoverStrategy, PublishRetryPolicy,
    RedisResultSettings, ResultSettings, Settings, TaskSettings, WorkerSettings,
};
pub use sources::{Layer, Layers, Strings};
pub use tls::{TlsCheck, TlsClient, TlsError};
