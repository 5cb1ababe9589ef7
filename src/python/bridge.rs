//! What Rust offers to Python; `python/celery_rs/_bridge.pyi` describes it.

use pyo3::prelude::*;

use crate::python::child::Child;
use crate::python::steward::Steward;
use crate::python::zygote::Zygote;

/// Adds the classes to the module `celery_rs._bridge`.
pub(super) fn fill(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Zygote>()?;
    module.add_class::<Child>()?;
    module.add_class::<Steward>()
}
