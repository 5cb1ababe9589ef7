//! What can be run: definitions, options, handlers, and every way an execution can end.
//!
//! A native task is an ordinary async function; its type is erased once, when it is registered. Where and when it is
//! run is upstairs, in [`pool`](crate::pool) and [`worker`](crate::worker).

mod arguments;
mod blocking;
mod context;
mod control;
mod error;
mod extract;
mod handler;
mod manifest;
pub mod metrics;
mod native;
mod options;
mod outcome;
mod pace;
mod panic;
mod parameter;
mod rate;
mod registry;
mod returned;
mod slots;
mod state;
#[cfg(test)]
mod tests;
mod traceback;

pub use arguments::{Arguments, CallError};
pub use blocking::{Blocking, blocking};
pub use context::{Context, Execution, StateSink};
pub use control::{Ignore, Reject, Retry};
pub use error::TaskError;
pub use extract::FromContext;
pub use handler::{ErasedHandler, Function, Handler};
pub use manifest::options_from_manifest;
pub use metrics::TaskMetrics;
pub use native::NativeTask;
pub use options::TaskOptions;
pub use outcome::Outcome;
pub use pace::Pace;
pub(crate) use panic::failure as panicked;
pub use parameter::Parameter;
pub use rate::RateLimit;
pub use registry::{Registry, Runner, TaskDefinition};
pub use returned::IntoOutcome;
pub use state::{State, States};
