//! Remote control: the worker's node of kombu's pidbox, which `celery inspect`, `celery control` and Flower talk to.
//!
//! A [`Mailbox`] joins each connection, reads requests and sends replies. What a request does is a row of the [`table`];
//! a row's handler asks the dispatcher through its [`WorkerHandle`](crate::worker::WorkerHandle) and never holds state of
//! the worker's itself. Commands of the user's own are [Python's](PythonCommands).

mod arguments;
mod error;
mod event;
mod hello;
mod inspect;
mod mailbox;
mod node;
mod pool;
mod python;
mod queue;
mod report;
mod request;
mod revoke;
mod settings;
mod stats;
mod table;
mod task;

pub use error::CommandError;
pub use mailbox::Mailbox;
pub use node::{Node, NodeOptions, Stand, Versions};
pub use python::PythonCommands;
