//! Links the interpreter with its path, so that the program finds it where it was built.

fn main() {
    #[cfg(feature = "embed")]
    pyo3_build_config::add_libpython_rpath_link_args();
}
