//! [`SavedState`]: what a worker keeps over a restart (`--statedb`).

use serde::{Deserialize, Serialize};

/// Read by the zygote at the start and written by it at the end, in the file of Celery's `Persistent`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SavedState {
    /// Ids of revoked tasks, oldest first, with the seconds since they were revoked.
    pub revoked: Vec<(String, f64)>,
    /// The worker's logical clock.
    pub clock: u64,
}
