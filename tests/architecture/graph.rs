//! [`Graph`]: which top-level module names which.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::Source;

pub struct Graph {
    modules: BTreeSet<String>,
    uses: Vec<(String, String, String)>,
}

impl Graph {
    pub fn new(sources: &[Source]) -> Self {
        let modules: BTreeSet<String> = sources.iter().filter_map(Source::module).collect();
        let mut uses = Vec::new();
        for source in sources {
            let Some(from) = source.module() else { continue };
            let others = source.crate_paths().into_iter().filter(|to| modules.contains(to) && *to != from);
            uses.extend(others.map(|to| (source.shown.clone(), from.clone(), to)));
        }
        Self { modules, uses }
    }

    pub fn modules(&self) -> impl Iterator<Item = &str> {
        self.modules.iter().map(String::as_str)
    }

    /// File, its module, and a module it names.
    pub fn uses(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        self.uses.iter().map(|(shown, from, to)| (shown.as_str(), from.as_str(), to.as_str()))
    }

    /// Groups of modules that can reach each other.
    pub fn cycles(&self) -> BTreeSet<Vec<String>> {
        let reach: BTreeMap<&str, BTreeSet<&str>> = self.modules().map(|module| (module, self.reach(module))).collect();
        let group = |module: &str| -> Vec<String> {
            let mutual = |(other, reached): &(&&str, &BTreeSet<&str>)| {
                reach[module].contains(**other) && reached.contains(module)
            };
            reach.iter().filter(mutual).map(|(other, _)| (*other).to_owned()).collect()
        };
        self.modules().map(group).filter(|group| group.len() > 1).collect()
    }

    fn reach(&self, from: &str) -> BTreeSet<&str> {
        let (mut seen, mut todo) = (BTreeSet::new(), vec![from]);
        while let Some(module) = todo.pop() {
            for (_, source, target) in self.uses() {
                if source == module && seen.insert(target) {
                    todo.push(target);
                }
            }
        }
        seen
    }
}
