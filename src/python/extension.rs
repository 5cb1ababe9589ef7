//! The bridge as a module of the wheel, for an interpreter that runs already: the one of the environment that the wheel is
//! installed in, with the package `celery_rs` beside it.

use pyo3::prelude::*;

use crate::python::{PythonError, bridge};

#[pymodule]
fn _bridge(module: &Bound<'_, PyModule>) -> PyResult<()> {
    bridge::fill(module)?;
    module.add_function(wrap_pyfunction!(zygote, module)?)
}

/// The zygote, from its start to its end: as the hidden subcommand of a program with an interpreter inside.
#[pyfunction]
fn zygote(options: &str) -> i32 {
    crate::python::zygote_main(options)
}

/// Gives the interpreter the command line that Celery would see.
pub(super) fn start(argv: &[String]) -> Result<(), PythonError> {
    Python::attach(|py| {
        let sys = py.import("sys")?;
        let python: std::path::PathBuf = sys.getattr("executable")?.extract()?;
        let program = python.with_file_name("celery").display().to_string();
        let arguments: Vec<String> = std::iter::once(program).chain(argv.iter().cloned()).collect();
        Ok(sys.setattr("argv", arguments)?)
    })
}

/// The package's module `zygote`.
pub(super) fn load(py: Python<'_>) -> PyResult<Bound<'_, PyModule>> {
    py.import("celery_rs.zygote")
}
