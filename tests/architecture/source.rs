//! [`Source`]: one file, and what of it is code.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

pub struct Source {
    /// Path below `src`.
    pub shown: String,
    /// All of it.
    pub text: String,
    /// Without comments, texts and tests.
    code: String,
}

/// Every Rust file of the tree, but those that are tests.
pub fn read_all(root: &Path) -> Vec<Source> {
    let mut files = Vec::new();
    collect(root, &mut files);
    files.sort();
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).expect("a source file is UTF-8");
        let shown = path.strip_prefix(root).expect("below the root").display().to_string();
        Source { shown, code: code_of(&text), text }
    };
    files.into_iter().map(read).filter(|source| !source.is_test()).collect()
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("src can be read").flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

impl Source {
    /// The top-level module that the file belongs to; `lib.rs` and `main.rs` belong to none.
    pub fn module(&self) -> Option<String> {
        let first = self.shown.split('/').next()?;
        let name = first.strip_suffix(".rs").unwrap_or(first);
        (!matches!(name, "lib" | "main")).then(|| name.to_owned())
    }

    /// Whether the file is one of that folder, or that file.
    pub fn is_in(&self, place: &str) -> bool {
        self.shown == place || self.shown.starts_with(&format!("{place}/")) || self.shown == format!("{place}.rs")
    }

    pub fn is_module(&self) -> bool {
        !matches!(self.shown.as_str(), "main.rs" | "build.rs")
    }

    pub fn lines(&self) -> usize {
        self.text.lines().count()
    }

    /// Whether the code has the word, not as part of a longer name.
    pub fn says(&self, word: &str) -> bool {
        let begins_name = word.starts_with(|c: char| c.is_alphanumeric());
        self.code.match_indices(word).any(|(at, _)| {
            let before = self.code[..at].chars().next_back();
            !(begins_name && before.is_some_and(|c| c.is_alphanumeric() || c == '_'))
        })
    }

    /// First segments of every `crate::a::..` path, groups included.
    pub fn crate_paths(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for (at, _) in self.code.match_indices("crate::") {
            let rest = &self.code[at + "crate::".len()..];
            match rest.strip_prefix('{') {
                Some(group) => found.extend(group_heads(group)),
                None => found.extend([name_at(rest)]),
            }
        }
        found.remove("");
        found
    }

    fn is_test(&self) -> bool {
        self.shown.ends_with("/tests.rs") || self.shown.contains("/tests/")
    }
}

fn name_at(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// First names of the items of a `{...}` group whose brace is already open.
fn group_heads(group: &str) -> Vec<String> {
    let (mut depth, mut heads, mut at_item) = (0usize, Vec::new(), true);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => at_item = true,
            c if at_item && !c.is_whitespace() => {
                heads.push(name_at(&group[at..]));
                at_item = false;
            }
            _ => {}
        }
    }
    heads
}

/// The text with comments, string and character literals blanked, and without test modules.
fn code_of(text: &str) -> String {
    without_tests(&blanked(text))
}

/// Cuts out every item that stands under `#[cfg(test)]`, wherever it is.
fn without_tests(code: &str) -> String {
    let mut out = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(at) = rest.find("#[cfg(test)]") {
        out.push_str(&rest[..at]);
        rest = &rest[at + item_length(&rest[at..])..];
    }
    out + rest
}

/// How far an item reaches: to its `;`, or to the brace that closes its body.
fn item_length(item: &str) -> usize {
    let mut depth = 0usize;
    for (at, c) in item.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth <= 1 => return at + 1,
            '}' => depth -= 1,
            ';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    item.len()
}

fn blanked(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let skip = skipped(rest, out.chars().next_back());
        if skip == 0 {
            out.push(c);
            rest = &rest[c.len_utf8()..];
        } else {
            out.push(' ');
            rest = &rest[skip..];
        }
    }
    out
}

/// Bytes of the comment or literal that begins here; zero when none does.
fn skipped(rest: &str, before: Option<char>) -> usize {
    let in_name = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return block_comment(rest);
    }
    if !in_name && let Some(length) = raw_string(rest) {
        return length;
    }
    match rest.as_bytes()[0] {
        b'"' => quoted(rest, b'"'),
        b'\'' if is_character(rest) => quoted(rest, b'\''),
        _ => 0,
    }
}

/// Rust's block comments nest.
fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0usize, 0);
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

/// `r"..."`, `br#"..."#` and their like.
fn raw_string(rest: &str) -> Option<usize> {
    let after = rest.strip_prefix("br").or_else(|| rest.strip_prefix('r'))?;
    let hashes = after.bytes().take_while(|b| *b == b'#').count();
    let body = after[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let start = rest.len() - body.len();
    Some(body.find(&end).map_or(rest.len(), |at| start + at + end.len()))
}

fn quoted(rest: &str, quote: u8) -> usize {
    let mut escaped = false;
    for (at, byte) in rest.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b if b == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// A character literal rather than a lifetime.
fn is_character(rest: &str) -> bool {
    let mut chars = rest.chars().skip(1);
    matches!((chars.next(), chars.next()), (Some('\\'), _) | (Some(_), Some('\'')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_is_looked_at() {
        let text = r####"
            // crate::a
            /* crate::b /* crate::c */ crate::d */
            let s = "crate::e \" crate::f"; let r = r#"crate::g " crate::h"#; let q = '"'; let c: &'a str;
            use crate::{one::{x, y}, two, Three};
            fn f() { crate::four::g(); }
            #[cfg(test)]
            mod tests { use crate::five; fn t() { x.unwrap() } }
            fn g() { crate::six::h(); }
            #[cfg(test)]
            use crate::seven;
        "####;
        let source = Source { shown: "a/b.rs".into(), code: code_of(text), text: text.into() };
        let expected = ["Three", "four", "one", "six", "two"].map(str::to_owned);
        assert_eq!(source.crate_paths(), BTreeSet::from(expected));
        assert!(!source.says(".unwrap()"));
        assert!(source.says("fn g") && !source.says("n g"));
    }
}
