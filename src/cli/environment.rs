//! The process environment, as a source of [`Strings`].

use std::env;

use crate::config::Strings;

/// Variables of this process; those that are not UTF-8 count as unset.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProcessEnvironment;

impl Strings for ProcessEnvironment {
    fn string(&self, name: &str) -> Option<String> {
        env::var(name).ok().filter(|value| !value.is_empty())
    }
}
