//! `conf`: the settings that differ from Celery's defaults, without secrets (`Settings.table`).

use std::sync::LazyLock;

use regex::Regex;

use crate::{
    config::url,
    control::{CommandError, Node, arguments::Arguments},
    protocol::repr::repr,
    serialization::{Map, Value},
};

/// What stands for a secret.
const MASK: &str = "********";

/// Names of settings that hold secrets (`HIDDEN_SETTINGS` of `celery/app/utils.py`).
static HIDDEN: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new("(?i)API|TOKEN|KEY|SECRET|PASS|PROFANITIES_LIST|SIGNATURE|DATABASE|BEAT_DBURI").ok());

pub(super) async fn conf(node: &Node, arguments: Arguments) -> Result<Value, CommandError> {
    if !arguments.truth("with_defaults") {
        return Ok(Value::Map(changed(node)));
    }
    match &node.options.python_commands {
        // What nobody has set has values there that only Python has: classes, endless numbers, time spans.
        Some(python) => python.call("conf", arguments.into_map()).await,
        None => Ok(Value::Map(censored(node.options.settings.layers.to_map()))),
    }
}

/// What someone has set, censored.
pub(super) fn changed(node: &Node) -> Map {
    let layers = &node.options.settings.layers;
    let said = node.options.changed_settings.as_ref();
    let set = said.map(|names| names.iter().map(|name| (name.clone(), layers.value(name).0)).collect());
    let all = || layers.to_map().into_iter().filter(|(name, _)| layers.is_changed(name)).collect();
    censored(set.unwrap_or_else(all))
}

fn censored(map: Map) -> Map {
    map.into_iter()
        .filter(|(name, _)| !name.starts_with('_'))
        .map(|(name, value)| (name.clone(), censor(&name, value)))
        .collect()
}

fn censor(name: &str, value: Value) -> Value {
    match value {
        Value::Map(map) => Value::Map(censored(map)),
        _ if HIDDEN.as_ref().is_none_or(|hidden| hidden.is_match(name)) => MASK.into(),
        Value::Str(text) if name.starts_with("broker_") && name.ends_with("url") => {
            url::broker_uri(&text).replacen(":**@", &format!(":{MASK}@"), 1).into()
        }
        Value::Str(text) if name.contains("backend") => url::mask(&text).into(),
        other => plain(other),
    }
}

/// What JSON has, and `repr` of everything else.
fn plain(value: Value) -> Value {
    match value {
        Value::List(items) => Value::List(items.into_iter().map(plain).collect()),
        Value::Bytes(_) | Value::Pairs(_) | Value::WideStr(_) => repr(&value).into(),
        other => other,
    }
}
