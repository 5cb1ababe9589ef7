//! Assembly: from the command line and the app to a worker that runs.
//!
//! Printing, signals and the process's end are the command line's business.

mod announcer;
mod beat;
mod boot;
mod builder;
mod credentials;
mod doctor;
mod door;
mod embedded_beat;
mod error;
mod health;
#[cfg(any(test, feature = "test-util"))]
mod in_memory;
mod neighbours;
mod plan;
mod purge;
mod quorum;
mod scale;
mod serializers;
mod transports;
mod wiring;

pub use crate::{
    ipc::DaemonOptions,
    worker::{Shutdown, StopReason},
};
pub use announcer::Announcer;
pub use beat::{BeatPlan, BootedBeat};
pub use boot::{About, Booted, ZYGOTE_COMMAND, report};
pub use builder::App;
pub use doctor::{Diagnosis, Fact};
pub use door::{Door, Running, RunningTask};
pub use embedded_beat::EmbeddedBeat;
pub use error::AppError;
#[cfg(any(test, feature = "test-util"))]
pub use in_memory::InMemory;
