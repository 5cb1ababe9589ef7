//! `revoke`, `terminate`, `revoke_by_stamped_headers`.

use nix::sys::signal::Signal;
use tracing::{info, warn};

use crate::{
    control::{CommandError, Node, arguments::Arguments, error::ok},
    protocol::repr::repr,
    serialization::{Map, Value},
};

pub(super) async fn revoke(node: &Node, arguments: Arguments) -> Result<Value, CommandError> {
    let ids = arguments.texts("task_id")?;
    if arguments.truth("terminate") {
        mark(node, &ids).await?;
        return end(node, ids, signum(arguments.value("signal"))?).await;
    }
    // Before what comes of it.
    info!(target: "celery.worker.control", "Tasks flagged as revoked: {}", ids.join(", "));
    mark(node, &ids).await?;
    Ok(ok(format!("tasks {} flagged as revoked", set_repr(&ids))))
}

pub(super) async fn terminate(node: &Node, arguments: Arguments) -> Result<Value, CommandError> {
    let ids = arguments.texts("task_id")?;
    mark(node, &ids).await?;
    end(node, ids, signum(arguments.value("signal"))?).await
}

pub(super) async fn revoke_by_stamped_headers(node: &Node, arguments: Arguments) -> Result<Value, CommandError> {
    let signum = signum(arguments.value("signal"))?;
    let headers = headers(arguments.value("headers"))?;
    let (shown, terminate) = (repr(&Value::Map(headers.clone())), arguments.truth("terminate"));
    let met = node
        .ask(move |dispatcher| {
            dispatcher.revoke_stamps(&headers);
            terminate.then(|| dispatcher.terminate_stamped(&headers, signum))
        })
        .await?;
    Ok(ok(match met {
        None => format!("headers {shown} flagged as revoked, but not terminated"),
        Some(met) if met.is_empty() => format!("headers {shown} were not terminated"),
        Some(met) => format!("headers defaultdict(<class 'set'>, {}) revoked", dict_of_sets(&met)),
    }))
}

/// Revokes, and says so in the result backend at once of what nobody here runs.
async fn mark(node: &Node, ids: &[String]) -> Result<(), CommandError> {
    let revoked = ids.to_vec();
    let (completion, idle) = node.ask(move |dispatcher| (dispatcher.completion(), dispatcher.revoke(&revoked))).await?;
    for id in idle {
        if let Err(failure) = completion.mark_as_revoked(&id).await {
            warn!(target: "celery.worker.control", "Failed to mark task {id} as revoked in backend: {failure}");
        }
    }
    Ok(())
}

async fn end(node: &Node, ids: Vec<String>, signum: i32) -> Result<Value, CommandError> {
    let found = node.ask(move |dispatcher| dispatcher.terminate(&ids, signum)).await?;
    if found.is_empty() {
        return Ok(ok("terminate: tasks unknown"));
    }
    Ok(ok(format!("terminate: {}", found.join(", "))))
}

/// A signal by number or name, with or without `SIG`; none is SIGTERM.
fn signum(signal: &Value) -> Result<i32, CommandError> {
    let name = match signal {
        Value::Int(number) => {
            return i32::try_from(*number).map_err(|_| CommandError::value("signal number out of range"));
        }
        value if !value.is_truthy() => return Ok(Signal::SIGTERM as i32),
        Value::Str(name) => name.to_uppercase(),
        _ => return Err(CommandError::arguments("signal name must be uppercase string.")),
    };
    let full = if name.starts_with("SIG") { name.clone() } else { format!("SIG{name}") };
    full.parse::<Signal>()
        .map(|signal| signal as i32)
        .map_err(|_| CommandError::value(format!("unknown signal {name}")))
}

/// A dict, or `["name=value"]`.
fn headers(value: &Value) -> Result<Map, CommandError> {
    match value {
        Value::Map(headers) => Ok(headers.clone()),
        Value::List(pairs) => pairs.iter().map(pair).collect(),
        _ => Err(CommandError::arguments("headers must be a dict or a list")),
    }
}

fn pair(text: &Value) -> Result<(String, Value), CommandError> {
    let parts = text.as_str().and_then(|text| text.split_once('='));
    let (name, value) = parts.ok_or_else(|| CommandError::value("headers must be given as name=value"))?;
    Ok((name.to_owned(), value.into()))
}

/// A Python set of strings.
fn set_repr(items: &[String]) -> String {
    let values: Vec<Value> = items.iter().map(|item| item.as_str().into()).collect();
    set_of(&values)
}

fn set_of(values: &[Value]) -> String {
    if values.is_empty() {
        return "set()".to_owned();
    }
    format!("{{{}}}", values.iter().map(repr).collect::<Vec<_>>().join(", "))
}

fn dict_of_sets(map: &Map) -> String {
    let entry = |(name, values): (&String, &Value)| {
        format!("{}: {}", repr(&Value::from(name.as_str())), set_of(values.as_list().unwrap_or_default()))
    };
    format!("{{{}}}", map.iter().map(entry).collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_names_and_numbers() {
        for (signal, number) in
            [(Value::Null, 15), (9i64.into(), 9), ("KILL".into(), 9), ("SIGUSR1".into(), 10), ("term".into(), 15)]
        {
            assert_eq!(signum(&signal), Ok(number), "{signal:?}");
        }
        assert!(signum(&"NOPE".into()).is_err());
    }

    #[test]
    fn sets_look_like_pythons() {
        assert_eq!(set_repr(&[]), "set()");
        assert_eq!(set_repr(&["a".to_owned(), "b".to_owned()]), "{'a', 'b'}");
    }
}
