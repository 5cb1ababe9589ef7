//! The manual tells the truth: every proof is a test that exists, and the chapter on settings is what the table says.

use std::{
    collections::BTreeSet,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

use celery_rs::config::keys::{self, Fallback, Key, Reader};

const STATES: &[&str] = &["works", "partly", "refused", "not yet"];

/// The checklist has rows F001 to F248.
const ROWS: usize = 248;

struct Row {
    id: String,
    state: String,
    proofs: Vec<String>,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn rows() -> Vec<Row> {
    let text = fs::read_to_string(root().join("src/manual/compatibility.md")).unwrap();
    text.lines().filter(|line| line.starts_with("| F")).map(row).collect()
}

fn row(line: &str) -> Row {
    let cells: Vec<&str> = line.trim().trim_matches('|').split(" | ").map(str::trim).collect();
    assert!(cells.len() >= 4, "a row has an ID, a feature, a state and a proof: {line}");
    let state = cells[cells.len() - 2];
    let proofs = cells[cells.len() - 1].split('`').skip(1).step_by(2).map(str::to_owned).collect();
    Row { id: cells[0].to_owned(), state: state.split(" (").next().unwrap().to_owned(), proofs }
}

/// Names of all tests: Rust's by function, Python's as `file.py::function`.
fn tests() -> BTreeSet<String> {
    let mut names = upstream_tests();
    for directory in ["src", "tests", "python"] {
        collect(&root().join(directory), &mut names);
    }
    names
}

/// Celery's own tests that have to pass with this worker, in one configuration at least: those that pass with Celery's.
fn upstream_tests() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for path in fs::read_dir(root().join("tests/upstream/baselines")).unwrap().flatten().map(|entry| entry.path()) {
        let baseline: serde_json::Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        for (id, record) in baseline["tests"].as_object().unwrap() {
            let (file, test) = id.split('[').next().and_then(|id| id.split_once("::")).unwrap();
            if record["outcome"] == "passed" {
                names.insert(format!("{file}::{}", test.rsplit("::").next().unwrap()));
            }
        }
    }
    names
}

fn collect(directory: &Path, names: &mut BTreeSet<String>) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        let extension = path.extension().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            collect(&path, names);
        } else if extension == "rs" {
            names.extend(rust_tests(&fs::read_to_string(&path).unwrap()));
        } else if extension == "py" {
            let file = path.file_name().unwrap().to_string_lossy().into_owned();
            let text = fs::read_to_string(&path).unwrap();
            let tests = functions(&text, "def ").filter(|name| name.starts_with("test"));
            names.extend(tests.map(|name| format!("{file}::{name}")));
        }
    }
}

/// Functions that stand under an attribute that ends in `test]` or has `test(`.
fn rust_tests(text: &str) -> BTreeSet<String> {
    let is_attribute = |line: &&str| line.trim_start().starts_with("#[") && line.contains("test");
    let mut names = BTreeSet::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if is_attribute(&line) {
            let function = lines.by_ref().find(|line| !line.trim_start().starts_with(['#', '/']));
            names.extend(function.into_iter().flat_map(|line| functions(line, "fn ").collect::<Vec<_>>()));
        }
    }
    names
}

fn functions<'a>(text: &'a str, keyword: &'a str) -> impl Iterator<Item = String> + 'a {
    let name = |rest: &str| rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    text.match_indices(keyword).map(move |(at, _)| name(&text[at + keyword.len()..]))
}

#[test]
fn every_row_of_the_checklist_is_there_once() {
    let ids: Vec<String> = rows().into_iter().map(|row| row.id).collect();
    let expected: Vec<String> = (1..=ROWS).map(|number| format!("F{number:03}")).collect();
    assert_eq!(ids, expected);
}

#[test]
fn what_works_is_proven_by_tests_that_exist() {
    let tests = tests();
    assert!(tests.contains("what_works_is_proven_by_tests_that_exist"), "tests are not found");
    let mut faults = Vec::new();
    for row in rows() {
        if !STATES.contains(&row.state.as_str()) {
            faults.push(format!("{}: {:?} is not a state", row.id, row.state));
        }
        if row.state == "works" && row.proofs.is_empty() {
            faults.push(format!("{}: works, and nothing proves it", row.id));
        }
        let missing = row.proofs.iter().filter(|proof| !tests.contains(*proof));
        faults.extend(missing.map(|proof| format!("{}: there is no test {proof}", row.id)));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Before anything is deployed.
#[test]
fn what_is_refused_is_told_by_the_doctor() {
    let told = |row: &Row| row.proofs.iter().any(|proof| proof.starts_with("test_doctor.py::"));
    let untold: Vec<String> =
        rows().into_iter().filter(|row| row.state == "refused" && !told(row)).map(|row| row.id).collect();
    assert!(untold.is_empty(), "no test shows that celery-rs doctor tells of {}", untold.join(", "));
}

/// The chapter is generated: `CELERY_RS_WRITE=1 cargo test --test manual` writes it anew.
#[test]
fn chapter_on_settings_is_the_table() {
    let path = root().join("src/manual/settings.md");
    let chapter = settings_chapter();
    if std::env::var_os("CELERY_RS_WRITE").is_some() {
        fs::write(&path, &chapter).unwrap();
    }
    assert!(fs::read_to_string(path).unwrap() == chapter, "settings.md is stale; run with CELERY_RS_WRITE=1");
}

fn settings_chapter() -> String {
    let mut out = String::from(
        "# Settings\n\nDefaults are Celery's. *Read by* says who acts on a setting: this worker, Celery's own code in the \
         children, or beat. What nobody reads, because it is not done here, is answered with a line in the log when \
         it is set.\n\n\
         | Setting | Default | Read by | Old name | Overridden by | Meaning |\n|---|---|---|---|---|---|\n",
    );
    for key in keys::rows() {
        let overridden = [key.flag, key.environment].into_iter().flatten().map(|name| format!("`{name}`"));
        let _ = writeln!(
            out,
            "| `{}` | `{}` | {} | {} | {} | {} |",
            key.name,
            shown(key.default),
            reader(key),
            key.old.map(|old| format!("`{old}`")).unwrap_or_default(),
            overridden.collect::<Vec<_>>().join(", "),
            key.doc,
        );
    }
    out
}

fn reader(key: &Key) -> String {
    match key.reader {
        Reader::Worker => "worker".to_owned(),
        Reader::Child => "child".to_owned(),
        Reader::Beat => "beat".to_owned(),
        Reader::Moot(why) => format!("nobody needs to: {why}"),
        Reader::Nobody(why) => format!("nobody: {why}"),
    }
}

fn shown(default: Fallback) -> String {
    match default {
        Fallback::None => "None".to_owned(),
        Fallback::Bool(truth) => if truth { "True" } else { "False" }.to_owned(),
        Fallback::Int(number) => number.to_string(),
        Fallback::Float(number) => number.to_string(),
        Fallback::Str(text) => format!("'{text}'"),
        Fallback::List(items) => format!("{items:?}").replace('"', "'"),
        Fallback::Dict(entries) => {
            let entries = entries.iter().map(|(name, value)| format!("'{name}': {}", shown(*value)));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
        }
    }
}
