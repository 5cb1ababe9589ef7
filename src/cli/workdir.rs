//! `--workdir`: gone to before the app is looked for.

use std::{env, path::Path};

use super::usage::UsageError;

/// Goes there, if anywhere. Gives the words for Celery, which goes to `--workdir` too: from there, a relative one would lead
/// further.
pub(super) fn enter(directory: Option<&Path>, words: &[String]) -> Result<Vec<String>, UsageError> {
    if let Some(directory) = directory {
        env::set_current_dir(directory).map_err(|error| {
            UsageError::global(format!("Invalid value for '--workdir': {}: {error}", directory.display()))
        })?;
    }
    Ok(staying(words))
}

fn staying(words: &[String]) -> Vec<String> {
    let mut is_value = false;
    let stay = |word: &String| match word.split_once('=') {
        _ if std::mem::replace(&mut is_value, word == "--workdir") => ".".to_owned(),
        Some(("--workdir", _)) => "--workdir=.".to_owned(),
        _ => word.clone(),
    };
    words.iter().map(stay).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn celery_stays_where_this_process_has_gone() {
        for (given, left) in [
            ("--workdir sub -A proj worker -c 2", "--workdir . -A proj worker -c 2"),
            ("--workdir=a/b=c -A proj worker", "--workdir=. -A proj worker"),
            ("-A proj worker .key=--workdir", "-A proj worker .key=--workdir"),
        ] {
            let words: Vec<String> = given.split(' ').map(str::to_owned).collect();
            assert_eq!(staying(&words).join(" "), left);
        }
    }
}
