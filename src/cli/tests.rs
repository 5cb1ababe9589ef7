//! Every command line of the manual is one that the program takes. Tests only: what the recipes do when they are started is
//! `tests/e2e/test_recipes.py`'s to show.
//!
//! Looked at are fences of the languages `sh` (lines that begin with the program), `ini` (`ExecStart=`), `dockerfile` (`CMD`) and
//! `yaml` (`command:`, and `args:` behind it), in all chapters and in the README.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use clap::Parser;

use super::{
    args::{Arguments, Command},
    convert, refused,
};

/// Chapters that are made of command lines, and how many they have at least.
const FULL: [(&str, usize); 3] = [("README.md", 3), ("migration.md", 3), ("deployment.md", 5)];

/// What is wrong with a command line.
fn fault(words: &[String]) -> Option<String> {
    let arguments = match Arguments::try_parse_from(words) {
        Ok(arguments) => arguments,
        Err(error) => return Some(error.to_string()),
    };
    let options = match &arguments.command {
        Some(Command::Worker(options)) => options,
        Some(Command::Doctor(options)) => &options.worker,
        Some(_) => return None,
        None => return Some("names no command".to_owned()),
    };
    refused::refused(options).or_else(|| {
        convert::worker_args(arguments.global, options).err().map(|_| "an option has a bad value".to_owned())
    })
}

/// The command lines of a chapter, from the program's name on.
fn command_lines(chapter: &str) -> Vec<Vec<String>> {
    let mut found: Vec<Vec<String>> = Vec::new();
    let mut language = None;
    for line in chapter.lines().map(str::trim) {
        if let Some(named) = line.strip_prefix("```") {
            language = if language.is_some() { None } else { Some(named) };
            continue;
        }
        match language {
            Some("sh") => found.extend(of_the_program(typed(line))),
            Some("ini") => found.extend(line.strip_prefix("ExecStart=").map(typed).and_then(of_the_program)),
            Some("dockerfile") => found.extend(line.strip_prefix("CMD ").map(listed).and_then(of_the_program)),
            Some("yaml") => {
                found.extend(line.strip_prefix("command: ").map(listed).and_then(of_the_program));
                let more = line.strip_prefix("args: ").map(listed).unwrap_or_default();
                found.last_mut().into_iter().for_each(|command| command.extend(more.iter().cloned()));
            }
            _ => {}
        }
    }
    found
}

/// Words of a line without its comment, as a shell (or, with `%%`, systemd) has them. None of ours is quoted.
fn typed(line: &str) -> Vec<String> {
    let words = line.split_whitespace().take_while(|word| !word.starts_with('#'));
    words.map(|word| word.replace("%%", "%")).collect()
}

/// Words of a list in brackets.
fn listed(text: &str) -> Vec<String> {
    let words = text.trim_matches(['[', ']']).split(", ");
    words.map(|word| word.trim_matches('"').to_owned()).collect()
}

/// None if the first word, but for variables that are set, is another program.
fn of_the_program(mut words: Vec<String>) -> Option<Vec<String>> {
    let at = words.iter().position(|word| word.starts_with('-') || !word.contains('='))?;
    words.drain(..at);
    Path::new(&words[0]).ends_with("celery-rs").then_some(words)
}

fn chapters() -> BTreeMap<String, String> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let files = fs::read_dir(root.join("src/manual")).unwrap().map(|entry| entry.unwrap().path());
    let chapters = files.filter(|path| path.extension().is_some_and(|kind| kind == "md"));
    let named =
        |path: PathBuf| (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read_to_string(path).unwrap());
    chapters.chain([root.join("README.md")]).map(named).collect()
}

#[test]
fn command_lines_of_the_manual_are_taken() {
    let mut faults = Vec::new();
    for (name, text) in chapters() {
        for words in command_lines(&text) {
            faults.extend(fault(&words).map(|fault| format!("{name}: {}: {fault}", words.join(" "))));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// A fence of another language, or none, would hide what is in it.
#[test]
fn command_lines_of_the_manual_are_found() {
    let chapters = chapters();
    for (name, least) in FULL {
        let found = command_lines(&chapters[name]);
        assert!(found.len() >= least, "{name} has {} command lines only: {found:?}", found.len());
        let said = chapters[name].lines().map(str::trim).filter(|line| !line.starts_with(['-', '|']));
        let said = said.filter(|line| line.contains("celery-rs -A proj ") && !line.contains("(`")).count();
        assert!(
            found.len() >= said,
            "{name} has {said} lines with the program, and {} were found: {found:?}",
            found.len()
        );
    }
}

#[test]
fn what_the_program_does_not_take_is_a_fault() {
    let chapter = "```sh\nFOO=1 /opt/bin/celery-rs -A proj worker -c 2 # fine\ncelery -A proj worker --nonsense\n```\n\
        ```ini\nExecStart=celery-rs -A proj worker -n w1@%%h --no-such-option\n```\n\
        ```yaml\ncommand: [celery-rs, -A, proj, worker]\nargs: [-l, loud]\n```\n\
        ```dockerfile\nCMD [\"celery-rs\", \"-A\", \"proj\", \"worker\", \"-P\", \"custom\"]\n```\n\
        ```text\ncelery-rs -A proj worker --not-looked-at\n```\n";
    let found = command_lines(chapter);
    let faults: Vec<Option<String>> = found.iter().map(|words| fault(words)).collect();
    assert_eq!(
        faults.iter().map(Option::is_some).collect::<Vec<_>>(),
        [false, true, true, true],
        "{found:?} {faults:?}"
    );
    assert_eq!(found[1][4..6], ["-n", "w1@%h"]);
}
