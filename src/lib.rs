//! A drop-in replacement for the `celery worker` process.
//!
//! Read it floor by floor, each knowing only those below:
//!
//! - [`serialization`]: bytes ↔ values, as kombu's serializers and compressions have them.
//! - [`protocol`]: what is said, whatever the wire: task messages, signatures, results.
//! - [`config`] and [`ipc`]: Celery's settings, typed; the frames between this process and its Python children.
//! - [`broker`]: where messages come from and go to: Redis and RabbitMQ, each in kombu's dialect.
//! - [`backend`], [`producer`], [`event`]: where results go, how tasks are sent, what listeners hear.
//! - [`task`]: what can be run, and every way it can end.
//! - [`pool`] and `python`: where it is run: seats in this process, and children forked from a zygote; and the steward beside
//!   them, for the app's code of Celery's main process.
//! - [`worker`]: takes, judges, executes, settles.
//! - [`beat`]: sends the app's periodic tasks when they are due.
//! - [`control`] and [`gossip`]: answers `celery inspect`, `celery control` and Flower; asks other workers.
//! - [`health`]: answers probes, and tells its numbers to Prometheus.
//! - [`app`] and [`cli`]: assembly, and the command line.
//!
//! A program with tasks of its own is three lines: see [`App`]. The manual is in [`manual`].

pub mod app;
pub mod backend;
pub mod beat;
pub mod broker;
pub mod cli;
pub mod config;
pub mod control;
pub mod event;
pub mod gossip;
pub mod health;
pub mod ipc;
pub mod manual;
pub mod pool;
pub mod producer;
pub mod protocol;
#[cfg(feature = "python")]
pub mod python;
pub mod serialization;
pub mod task;
pub mod worker;

pub use app::App;
