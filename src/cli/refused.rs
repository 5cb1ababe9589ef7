//! Options that Celery has and this worker does not: one clear line each, instead of silence.

use nix::unistd;

use super::args::WorkerOptions;

/// The first option that cannot be honoured, as a sentence with what to do about it.
pub(super) fn refused(options: &WorkerOptions) -> Option<String> {
    let refusals = [
        (
            options.detach,
            "--detach is not supported: let systemd, a container or nohup put the worker in the background",
        ),
        (
            options.pool.as_deref() == Some("custom"),
            "custom pools are not supported: use prefork, threads, solo, gevent or eventlet",
        ),
        (
            options.pool_start_method.as_deref().is_some_and(|method| method != "fork"),
            "--pool-start-method can only be fork: children are forked from a process without threads",
        ),
        (is_other_user(options.uid.as_deref()), "--uid is not supported: start the worker as that user"),
        (is_other_group(options.gid.as_deref()), "--gid is not supported: start the worker with that group"),
    ];
    refusals.into_iter().find(|(given, _)| *given).map(|(_, reason)| reason.to_owned())
}

/// Whether that is a user, by name or number, whom we are not.
fn is_other_user(wanted: Option<&str>) -> bool {
    let Some(wanted) = wanted else { return false };
    let own = unistd::geteuid();
    let named = || unistd::User::from_name(wanted).ok().flatten().map(|user| user.uid.as_raw());
    wanted.parse().ok().or_else(named) != Some(own.as_raw())
}

fn is_other_group(wanted: Option<&str>) -> bool {
    let Some(wanted) = wanted else { return false };
    let own = unistd::getegid();
    let named = || unistd::Group::from_name(wanted).ok().flatten().map(|group| group.gid.as_raw());
    wanted.parse().ok().or_else(named) != Some(own.as_raw())
}
