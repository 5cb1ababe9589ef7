//! Topic routing as kombu's virtual exchanges do it: the pattern that is stored, and whether a key matches.

/// The regular expression that kombu stores beside a topic binding (`kombu/transport/virtual/exchange.py:key_to_pattern`).
#[cfg(any(test, feature = "redis", feature = "filesystem"))]
pub(super) fn pattern(binding_key: &str) -> String {
    let words: Vec<String> = binding_key.split('.').map(word_pattern).collect();
    format!("^{}$", words.join(r"\."))
}

#[cfg(any(test, feature = "redis", feature = "filesystem"))]
fn word_pattern(word: &str) -> String {
    match word {
        "*" => r"[^\.]+".to_owned(),
        "#" => ".*?".to_owned(),
        _ => escape(word),
    }
}

#[cfg(any(test, feature = "redis", feature = "filesystem"))]
fn escape(word: &str) -> String {
    let mut escaped = String::with_capacity(word.len());
    for c in word.chars() {
        match c {
            '\0' => escaped.push_str("\\000"),
            c if c.is_alphanumeric() || matches!(c, '#' | '*') => escaped.push(c),
            c => escaped.extend(['\\', c]),
        }
    }
    escaped
}

/// Whether a routing key matches a binding key, as that expression would decide: `*` is one word, `#` any text, empty too,
/// but the dots around it are required.
pub(super) fn matches(binding_key: &str, routing_key: &str) -> bool {
    let words: Vec<&str> = binding_key.split('.').collect();
    let mut reachable = vec![false; routing_key.len() + 1];
    reachable[0] = true;
    for (i, word) in words.iter().enumerate() {
        if i > 0 {
            reachable = after_dot(&reachable, routing_key);
        }
        reachable = after_word(&reachable, word, routing_key);
    }
    reachable[routing_key.len()]
}

fn after_dot(from: &[bool], key: &str) -> Vec<bool> {
    let mut to = vec![false; from.len()];
    for (at, byte) in key.bytes().enumerate() {
        to[at + 1] = from[at] && byte == b'.';
    }
    to
}

fn after_word(from: &[bool], word: &str, key: &str) -> Vec<bool> {
    let mut to = vec![false; from.len()];
    match word {
        "#" => {
            let first = from.iter().position(|&reached| reached).unwrap_or(from.len());
            to[first..].fill(true);
        }
        "*" => {
            let mut open = false;
            for (at, byte) in key.bytes().enumerate() {
                open = (open || from[at]) && byte != b'.';
                to[at + 1] = open;
            }
        }
        _ => {
            for at in (0..key.len() + 1).filter(|&at| from[at] && key.as_bytes()[at..].starts_with(word.as_bytes())) {
                to[at + word.len()] = true;
            }
        }
    }
    to
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_kombus() {
        assert_eq!(pattern("worker.#"), r"^worker\..*?$");
        assert_eq!(pattern("*.crit-1"), r"^[^\.]+\.crit\-1$");
        assert_eq!(pattern("a_b"), r"^a\_b$");
        assert_eq!(pattern("#"), "^.*?$");
        assert_eq!(pattern("a*"), "^a*$");
    }

    #[test]
    fn keys_match_as_the_expression_does() {
        let table = [
            ("worker.#", "worker.heartbeat", true),
            ("worker.#", "worker.a.b", true),
            ("worker.#", "worker.", true),
            ("worker.#", "worker", false),
            ("#", "", true),
            ("#", "a.b", true),
            ("*", "a", true),
            ("*", "", false),
            ("*", "a.b", false),
            ("a.*.c", "a.b.c", true),
            ("a.*.c", "a.b.b.c", false),
            ("a.#.c", "a.b.b.c", true),
            ("a.#.c", "a.c", false),
            ("a", "a", true),
            ("a", "ab", false),
            ("", "", true),
        ];
        for (binding, key, expected) in table {
            assert_eq!(matches(binding, key), expected, "{binding} {key}");
        }
    }
}
