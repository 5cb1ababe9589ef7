//! As whom the worker runs, and whether that user may (`maybe_drop_privileges` and `check_privileges` of
//! `celery/platforms.py`).

use std::ffi::CString;

use nix::{
    errno::Errno,
    unistd::{self, Gid, Group, Uid, User},
};

/// Becomes that user and group, each a name or a number, for good. The group is the user's own unless it is named. Nothing
/// happens where they are this process's already. Threads become it too.
///
/// # Errors
/// In words for the user: there is no such one, or it is not allowed.
pub(super) fn drop_to(user: Option<&str>, group: Option<&str>) -> Result<(), String> {
    let group = group.map(gid_of).transpose()?;
    let Some(user) = user else { return group.map_or(Ok(()), become_group) };
    let (uid, account) = uid_of(user)?;
    if uid == unistd::getuid() && uid == unistd::geteuid() {
        return group.map_or(Ok(()), become_group);
    }
    let account = account.ok_or_else(|| format!("User does not exist: {user}"))?;
    become_group(group.unwrap_or(account.gid))?;
    let name = CString::new(account.name).map_err(|error| error.to_string())?;
    let changed = unistd::initgroups(&name, group.unwrap_or(account.gid)).and_then(|()| unistd::setuid(uid));
    changed.map_err(|error| format!("cannot become user {user}: {error}"))?;
    if !uid.is_root() && unistd::setuid(Uid::from_raw(0)) != Err(Errno::EPERM) {
        return Err("non-root user able to restore privileges after setuid.".to_owned());
    }
    Ok(())
}

fn become_group(gid: Gid) -> Result<(), String> {
    if gid == unistd::getgid() && gid == unistd::getegid() {
        return Ok(());
    }
    unistd::setgid(gid).map_err(|error| format!("cannot become group {gid}: {error}"))
}

fn uid_of(user: &str) -> Result<(Uid, Option<User>), String> {
    let missing = |_| format!("User does not exist: {user}");
    if let Ok(number) = user.parse() {
        let uid = Uid::from_raw(number);
        return Ok((uid, User::from_uid(uid).map_err(missing)?));
    }
    let account = User::from_name(user).map_err(missing)?.ok_or_else(|| missing(Errno::ENOENT))?;
    Ok((account.uid, Some(account)))
}

fn gid_of(group: &str) -> Result<Gid, String> {
    if let Ok(number) = group.parse() {
        return Ok(Gid::from_raw(number));
    }
    let found = Group::from_name(group).ok().flatten().map(|group| group.gid);
    found.ok_or_else(|| format!("Group does not exist: {group}"))
}

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
