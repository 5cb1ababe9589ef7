//! The language between the parent, the zygote, the children and the steward: frames over socket pairs.
//!
//! Bytes and framing only. Who forks, and what a frame makes happen, is upstairs in
//! [`pool::prefork`](crate::pool) and `python`.

pub mod backlog;
pub mod codec;
mod errand;
mod error;
mod frame;
mod manifest;
mod options;
pub mod socket;
mod state;

pub use codec::MAX_FRAME;
pub use errand::{Errand, FromSteward, ToSteward};
pub use error::IpcError;
pub use frame::{Ended, FromChild, FromZygote, Job, Report, Stored, ToChild, ToChildRef, ToZygote};
pub use manifest::{Manifest, PoolKind, TaskManifest};
pub use options::{DaemonOptions, ZygoteOptions};
pub use state::SavedState;
