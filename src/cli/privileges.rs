//! Whether this user may run a worker (`check_privileges` of `celery/platforms.py`).

use nix::unistd;

/// What to do about running with the rights of root.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Fine,
    Warn(String),
    Refuse(String),
}

/// Root may not accept pickle, unless `C_FORCE_ROOT` says so, and is told off in any case.
pub(super) fn check(accept_content: &[String], forced: bool) -> Verdict {
    let (uid, euid) = (unistd::getuid(), unistd::geteuid());
    if !uid.is_root() && !euid.is_root() {
        return Verdict::Fine;
    }
    let ids = format!("uid={uid} euid={euid} gid={} egid={}", unistd::getgid(), unistd::getegid());
    verdict(accept_content, forced, &ids)
}

fn verdict(accept_content: &[String], forced: bool, ids: &str) -> Verdict {
    let pickle = accept_content.iter().any(|name| matches!(name.as_str(), "pickle" | "application/x-python-serialize"));
    if pickle && !forced {
        return Verdict::Refuse(format!(
            "a worker that accepts pickle must not run as root: whoever can send it a message owns the machine.\n\
             Set C_FORCE_ROOT=1 if you want it nevertheless.\n\nUser information: {ids}"
        ));
    }
    Verdict::Warn(format!(
        "You're running the worker with superuser privileges: this is absolutely not recommended! ({ids})"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_and_pickle_do_not_go_together() {
        let pickle = ["json".to_owned(), "pickle".to_owned()];
        assert!(matches!(verdict(&pickle, false, ""), Verdict::Refuse(_)));
        assert!(matches!(verdict(&pickle, true, ""), Verdict::Warn(_)));
        assert!(matches!(verdict(&["json".to_owned()], false, ""), Verdict::Warn(_)));
    }
}
