//! [`ZygoteOptions`]: what the parent tells the zygote when it starts it.

use serde::{Deserialize, Serialize};

/// The argument of the hidden subcommand, as one JSON text.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZygoteOptions {
    /// Celery's command line without the program: `["-A", "proj", "worker", "-l", "INFO", ...]`. The zygote lets Celery
    /// itself parse it, with Celery's environment variables, the app's own options and `-- worker.setting=value`.
    pub argv: Vec<String>,
}

impl ZygoteOptions {
    /// For the command line of the zygote.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}
