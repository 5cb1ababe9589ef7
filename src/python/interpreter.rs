//! The interpreter's start, inside the active virtualenv.
//!
//! One of the few places with `unsafe`: CPython's initialisation is a C interface that PyO3 does not wrap.

use std::ffi::CString;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;

use pyo3::ffi;

use crate::python::PythonError;
use crate::python::environment::{self, Environment};
pub(super) use crate::python::sources::load;

/// Starts CPython so that the active environment's packages are importable and `sys.argv` is Celery's command line.
pub(super) fn start(argv: &[String]) -> Result<(), PythonError> {
    let environment = environment::active()?;
    if let Some(environment) = &environment {
        environment::check(environment, &linked_version())?;
    }
    initialize(environment.as_ref(), &arguments(environment.as_ref(), argv))
}

fn linked_version() -> String {
    // SAFETY: Py_GetVersion may be called before initialisation and returns a static string.
    let version = unsafe { std::ffi::CStr::from_ptr(ffi::Py_GetVersion()) }.to_string_lossy();
    version.split('.').take(2).collect::<Vec<_>>().join(".")
}

/// What `celery` would see as `sys.argv`.
fn arguments(environment: Option<&Environment>, argv: &[String]) -> Vec<String> {
    let program = match environment.and_then(|environment| environment.python.parent()) {
        Some(directory) => directory.join("celery").display().to_string(),
        None => "celery".to_owned(),
    };
    std::iter::once(program).chain(argv.iter().cloned()).collect()
}

fn initialize(environment: Option<&Environment>, arguments: &[String]) -> Result<(), PythonError> {
    let program = environment.map(|environment| environment.python.as_os_str().as_bytes().to_vec());
    let program = program.map(CString::new).transpose().map_err(nul)?;
    let arguments =
        arguments.iter().map(|text| CString::new(text.as_str())).collect::<Result<Vec<_>, _>>().map_err(nul)?;
    let mut config = MaybeUninit::<ffi::PyConfig>::zeroed();
    // SAFETY: `config` is initialised by the first call before anything else touches it, is cleared on every way out,
    // and no other thread exists yet. The strings outlive the calls, which copy them.
    unsafe {
        ffi::PyConfig_InitPythonConfig(config.as_mut_ptr());
        let status = fill(config.as_mut_ptr(), program.as_ref(), &arguments);
        let status =
            if ffi::PyStatus_Exception(status) == 0 { ffi::Py_InitializeFromConfig(config.as_ptr()) } else { status };
        ffi::PyConfig_Clear(config.as_mut_ptr());
        finish(status)?;
        ffi::PyEval_SaveThread();
    }
    Ok(())
}

/// SAFETY: `config` has been initialised.
unsafe fn fill(config: *mut ffi::PyConfig, program: Option<&CString>, arguments: &[CString]) -> ffi::PyStatus {
    // SAFETY: the caller's; every string is nul-terminated and alive.
    unsafe {
        (*config).parse_argv = 0;
        (*config).install_signal_handlers = 1;
        let mut pointers: Vec<_> = arguments.iter().map(|text| text.as_ptr()).collect();
        let status = ffi::PyConfig_SetBytesArgv(config, pointers.len() as ffi::Py_ssize_t, pointers.as_mut_ptr());
        match program {
            Some(program) if ffi::PyStatus_Exception(status) == 0 => {
                let field = &raw mut (*config).program_name;
                ffi::PyConfig_SetBytesString(config, field, program.as_ptr())
            }
            _ => status,
        }
    }
}

fn finish(status: ffi::PyStatus) -> Result<(), PythonError> {
    // SAFETY: reads the status only; its message is a static string or null.
    let failed = unsafe { ffi::PyStatus_Exception(status) } != 0;
    if !failed {
        return Ok(());
    }
    if status.err_msg.is_null() {
        return Err(PythonError::Start(format!("exit code {}", status.exitcode)));
    }
    // SAFETY: not null, see above.
    let message = unsafe { std::ffi::CStr::from_ptr(status.err_msg) };
    Err(PythonError::Start(message.to_string_lossy().into_owned()))
}

fn nul(error: std::ffi::NulError) -> PythonError {
    PythonError::Start(error.to_string())
}
