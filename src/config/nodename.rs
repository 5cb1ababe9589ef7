//! Node names, and the abbreviations that paths and names may hold (`celery/utils/nodenames.py`).

/// `celery@host` from what `-n` says: the parts that are missing are `celery` and the host's name, and `%` abbreviations
/// are expanded.
pub fn default_nodename(wanted: Option<&str>, host: &str) -> String {
    let (name, given_host) = split(wanted.unwrap_or_default());
    let name = name.filter(|name| !name.is_empty()).unwrap_or("celery");
    let given_host = if given_host.is_empty() { host } else { given_host };
    host_format(&format!("{name}@{given_host}"), host)
}

/// Expands `%h %n %d %i %I %p %%` in a path or name, for the node `nodename` and the child `index` (0: the main process).
pub fn node_format(text: &str, nodename: &str, index: u32) -> String {
    let (name, host) = split(nodename);
    expand(text, host, name.unwrap_or("celery"), Some(nodename), index)
}

/// The name before `@`, if there is one, and the host.
pub fn split(nodename: &str) -> (Option<&str>, &str) {
    match nodename.split_once('@') {
        Some((name, host)) => (Some(name), host),
        None => (None, nodename),
    }
}

fn host_format(text: &str, host: &str) -> String {
    let name = host.split('.').next().unwrap_or(host);
    expand(text, host, name, None, 0)
}

fn expand(text: &str, host: &str, name: &str, nodename: Option<&str>, index: u32) -> String {
    let domain = host.split_once('.').map_or("", |(_, domain)| domain);
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('h') => out.push_str(host),
            Some('n') => out.push_str(name),
            Some('d') => out.push_str(domain),
            Some('i') => out.push_str(&index.to_string()),
            Some('I') if index > 0 => out.push_str(&format!("-{index}")),
            Some('I') => {}
            Some('p') if nodename.is_some() => out.push_str(nodename.unwrap_or_default()),
            Some('%') => out.push('%'),
            Some(other) => out.extend(['%', other]),
            None => out.push('%'),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn completes_names() {
        for (wanted, nodename) in [
            (None, "celery@box.example.com"),
            (Some("w1@%h"), "w1@box.example.com"),
            (Some("w1@other"), "w1@other"),
            (Some("other"), "celery@other"),
            (Some("%n@%d"), "box@example.com"),
            (Some("w1@"), "w1@box.example.com"),
        ] {
            assert_eq!(default_nodename(wanted, "box.example.com"), nodename, "{wanted:?}");
        }
    }

    #[test]
    fn expands_paths() {
        assert_eq!(node_format("/log/%n%I.log", "w1@box", 0), "/log/w1.log");
        assert_eq!(node_format("/log/%n%I.log", "w1@box", 3), "/log/w1-3.log");
        assert_eq!(node_format("%p %h %% %i %x%", "w1@box", 0), "w1@box box % 0 %x%");
    }
}
