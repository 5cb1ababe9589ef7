//! Assembly: from the command line and the app to a worker that runs.
//!
//! Printing, signals and the process's end are the command line's business.

mod announcer;
mod boot;
mod builder;
mod error;
mod scale;
mod serializers;
mod transports;
mod wiring;

pub use crate::worker::{Shutdown, StopReason};
pub use announcer::Announcer;
pub use boot::{About, Booted, ZYGOTE_COMMAND};
pub use builder::App;
pub use error::AppError;
