//! The zygote of a program without an interpreter inside: the process becomes the interpreter of the environment, which loads
//! the crate as a module (`python -m celery_rs.host`).

use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::ipc::FromZygote;
use crate::ipc::socket::{Channel, from_stdin};
use crate::python::PythonError;
use crate::python::environment;

/// Returns only if there is no such interpreter: the exit code of the process.
pub(super) fn run(options: &str) -> i32 {
    let failed = FromZygote::Failed { message: start(options).to_string(), code: 1 };
    if let Ok(socket) = from_stdin() {
        // A parent that is gone needs no answer.
        let _ = Channel::new(socket).send(&failed);
    }
    1
}

fn start(options: &str) -> PythonError {
    match environment::active() {
        Ok(Some(found)) => {
            let error = Command::new(&found.python).args(["-m", "celery_rs.host", options]).exec();
            PythonError::Start(format!("{}: {error}", found.python.display()))
        }
        Ok(None) => PythonError::Start("there is none beside this program, in VIRTUAL_ENV or on the PATH".to_owned()),
        Err(error) => error,
    }
}
