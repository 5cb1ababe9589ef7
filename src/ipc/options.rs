//! [`ZygoteOptions`]: what the parent tells the zygote when it starts it; and [`DaemonOptions`], what a zygote that was asked
//! for a daemon answers.

use serde::{Deserialize, Serialize};

/// The argument of the hidden subcommand, as one JSON text.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZygoteOptions {
    /// Celery's command line without the program: `["-A", "proj", "worker", "-l", "INFO", ...]`. The zygote lets Celery
    /// itself parse it, with Celery's environment variables, the app's own options and `-- worker.setting=value`.
    pub argv: Vec<String>,
    /// Nothing is to be run: the manifest shall have all that is refused, and no file is to be written.
    #[serde(default)]
    pub survey: bool,
}

impl ZygoteOptions {
    /// For the command line of the zygote.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// `worker --detach`: what the daemon shall be, from the command line or from the settings of the same names
/// (`worker_logfile`, `worker_pidfile`, ...). All as it was written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DaemonOptions {
    /// The node's full name, for `%n`, `%h` and `%d` in paths.
    pub hostname: String,
    /// `--logfile`.
    pub logfile: Option<String>,
    /// `--pidfile`.
    pub pidfile: Option<String>,
    /// `--uid`: a user's name or number.
    pub uid: Option<String>,
    /// `--gid`: a group's name or number.
    pub gid: Option<String>,
    /// `--umask`: octal if it begins with a zero, else decimal.
    pub umask: Option<String>,
    /// `--executable`.
    pub executable: Option<String>,
}
