//! Keeps the house in shape: who may know whom, which dependency lives in which room, how long a file may be.
//!
//! Rust refuses import cycles between crates but not between modules, so this test does it for `src/`.

#[path = "architecture/graph.rs"]
mod graph;
#[path = "architecture/source.rs"]
mod source;

use std::path::Path;

use graph::Graph;
use source::Source;

/// Floor by floor, bottom first. A module may name only modules of lower floors.
const FLOORS: &[&[&str]] = &[
    &["serialization"],
    &["protocol"],
    &["config", "ipc"],
    &["broker"],
    &["backend", "producer", "event"],
    &["task"],
    &["pool", "python"],
    &["worker", "beat"],
    &["control", "gossip", "health"],
    &["app"],
    &["cli"],
];

/// Modules that stand beside the floors and name none.
const BESIDE: &[&str] = &["manual", "build"];

/// Modules whose diet is stricter than their floor allows.
const DIETS: &[(&str, &[&str])] =
    &[("python", &["serialization", "protocol", "ipc"]), ("cli", &["config", "app", "python"])];

/// A dependency (or a word) and the only places that may name it.
const ROOMS: &[(&str, &[&str])] = &[
    ("lapin::", &["broker/amqp"]),
    ("fred::", &["broker/redis", "backend/redis"]),
    ("rusqlite::", &["backend/database"]),
    ("tokio_postgres::", &["backend/database"]),
    ("sqlx::", &["backend/database"]),
    ("pyo3::", &["python"]),
    ("hyper::", &["health"]),
    ("prometheus_client::", &["health"]),
    ("clap::", &["cli"]),
    ("process::exit", &["cli", "python"]),
    ("println!", &["cli", "build.rs"]),
    ("print!", &["cli"]),
    ("stdout()", &["cli"]),
    ("unsafe", &["python", "cli"]),
];

/// What only tests may say. Texts are blanked before, so an `expect` with a reason ends in a blank.
const TESTS_ONLY: &[&str] = &[".unwrap()", ".expect( ", "todo!(", "unimplemented!(", "dbg!("];

/// Lines of the longest file.
const LONGEST: usize = 500;

/// Floors of modules: the number, from the bottom.
fn floor(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

fn sources() -> Vec<Source> {
    let sources = source::read_all(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")));
    assert!(sources.len() > 50, "the sources are not where this test looks for them");
    sources
}

fn assert_none(faults: Vec<String>) {
    assert!(faults.is_empty(), "{} faults:\n  {}", faults.len(), faults.join("\n  "));
}

#[test]
fn modules_import_downwards() {
    let sources = sources();
    let graph = Graph::new(&sources);
    let mut faults = Vec::new();
    for (shown, from, to) in graph.uses() {
        let (a, b) = (floor(from), floor(to));
        if a.zip(b).is_some_and(|(a, b)| b >= a) {
            faults.push(format!("{shown}: `{from}` names `{to}`, which is not below it"));
        }
        if DIETS.iter().any(|(module, diet)| *module == from && !diet.contains(&to)) {
            faults.push(format!("{shown}: `{from}` may not name `{to}`"));
        }
    }
    faults.extend(graph.cycles().into_iter().map(|cycle| format!("cycle: {}", cycle.join(" <-> "))));
    assert_none(faults);
}

#[test]
fn every_module_has_a_floor() {
    let sources = sources();
    let graph = Graph::new(&sources);
    let homeless = graph.modules().filter(|module| floor(module).is_none() && !BESIDE.contains(module));
    assert_none(homeless.map(|module| format!("`{module}` stands on no floor")).collect());
}

#[test]
fn nobody_goes_through_the_front_door() {
    let faults = sources().into_iter().flat_map(|source| {
        let names = source.crate_paths().into_iter().filter(|name| name.starts_with(char::is_uppercase));
        names.map(|name| format!("{}: `crate::{name}`: name its room", source.shown)).collect::<Vec<_>>()
    });
    assert_none(faults.collect());
}

#[test]
fn dependencies_stay_in_their_rooms() {
    let mut faults = Vec::new();
    for source in sources() {
        for (word, rooms) in ROOMS {
            if source.says(word) && !rooms.iter().any(|room| source.is_in(room)) {
                faults.push(format!("{}: says `{word}`", source.shown));
            }
        }
    }
    assert_none(faults);
}

#[test]
fn only_tests_may_panic() {
    let mut faults = Vec::new();
    let contracts = ["broker/contract", "backend/contract"];
    for source in sources().iter().filter(|source| !contracts.iter().any(|contract| source.is_in(contract))) {
        faults
            .extend(TESTS_ONLY.iter().filter(|word| source.says(word)).map(|word| format!("{}: {word}", source.shown)));
    }
    assert_none(faults);
}

#[test]
fn unsafe_has_a_reason_beside_it() {
    let faults = sources().into_iter().filter(|source| source.says("unsafe {") && !source.text.contains("SAFETY"));
    assert_none(faults.map(|source| format!("{}: unsafe without a SAFETY comment", source.shown)).collect());
}

#[test]
fn every_module_says_what_it_is() {
    let faults = sources().into_iter().filter(|source| source.is_module() && !source.text.starts_with("//! "));
    assert_none(faults.map(|source| format!("{}: does not open with //!", source.shown)).collect());
}

#[test]
fn files_are_short() {
    let sources = sources();
    let long = sources.iter().filter(|source| source.lines() > LONGEST);
    assert_none(long.map(|source| format!("{}: {} lines", source.shown, source.lines())).collect());
    let mut lengths: Vec<usize> = sources.iter().map(Source::lines).collect();
    lengths.sort_unstable();
    let median = lengths[lengths.len() / 2];
    assert!(median <= 150, "the median file has {median} lines");
}
