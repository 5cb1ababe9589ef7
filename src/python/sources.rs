//! The Python half of this room, embedded in the binary: package `celery_rs`.

use std::ffi::CString;

use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::python::bridge;

const IMPORTER: &str = include_str!("../../python/celery_rs/embedded.py");
const MODULES: &[(&str, &str)] = &[
    ("celery_rs", include_str!("../../python/celery_rs/__init__.py")),
    ("celery_rs.json_log", include_str!("../../python/celery_rs/json_log.py")),
    ("celery_rs.plain", include_str!("../../python/celery_rs/plain.py")),
    ("celery_rs.manifest", include_str!("../../python/celery_rs/manifest.py")),
    ("celery_rs.beat", include_str!("../../python/celery_rs/beat.py")),
    ("celery_rs.celerys_beat", include_str!("../../python/celery_rs/celerys_beat.py")),
    ("celery_rs.document", include_str!("../../python/celery_rs/document.py")),
    ("celery_rs.database", include_str!("../../python/celery_rs/database.py")),
    ("celery_rs.relay", include_str!("../../python/celery_rs/relay.py")),
    ("celery_rs.statedb", include_str!("../../python/celery_rs/statedb.py")),
    ("celery_rs.request", include_str!("../../python/celery_rs/request.py")),
    ("celery_rs.outcome", include_str!("../../python/celery_rs/outcome.py")),
    ("celery_rs.shortcut", include_str!("../../python/celery_rs/shortcut.py")),
    ("celery_rs.child", include_str!("../../python/celery_rs/child.py")),
    ("celery_rs.green", include_str!("../../python/celery_rs/green.py")),
    ("celery_rs.facade", include_str!("../../python/celery_rs/facade.py")),
    ("celery_rs.errands", include_str!("../../python/celery_rs/errands.py")),
    ("celery_rs.main_signals", include_str!("../../python/celery_rs/main_signals.py")),
    ("celery_rs.credentials", include_str!("../../python/celery_rs/credentials.py")),
    ("celery_rs.endings", include_str!("../../python/celery_rs/endings.py")),
    ("celery_rs.steps", include_str!("../../python/celery_rs/steps.py")),
    ("celery_rs.steward", include_str!("../../python/celery_rs/steward.py")),
    ("celery_rs.program", include_str!("../../python/celery_rs/program.py")),
    ("celery_rs.command", include_str!("../../python/celery_rs/command.py")),
    ("celery_rs.stacks", include_str!("../../python/celery_rs/stacks.py")),
    ("celery_rs.daemon", include_str!("../../python/celery_rs/daemon.py")),
    ("celery_rs.refusals", include_str!("../../python/celery_rs/refusals.py")),
    ("celery_rs.surveyor", include_str!("../../python/celery_rs/surveyor.py")),
    ("celery_rs.zygote", include_str!("../../python/celery_rs/zygote.py")),
];

/// Makes `celery_rs` importable and gives its module `zygote`.
pub(super) fn load(py: Python<'_>) -> PyResult<Bound<'_, PyModule>> {
    let sources = PyDict::new(py);
    for &(name, source) in MODULES {
        sources.set_item(name, source)?;
    }
    let importer = PyModule::from_code(py, &CString::new(IMPORTER)?, c"celery_rs/embedded.py", c"celery_rs_embedded")?;
    let module = PyModule::new(py, "celery_rs._bridge")?;
    bridge::fill(&module)?;
    importer.getattr("install")?.call1((sources, module))?;
    py.import("celery_rs.zygote")
}
