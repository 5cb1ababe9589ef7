use std::{collections::HashMap, fmt::Write};

use super::{Plan, Step};
use crate::{
    protocol::Signature,
    serialization::{Map, Value, json},
};

/// Captured by `protocol-fixtures/capture_canvas.py`.
const CAPTURED: &str = include_str!("../../../protocol-fixtures/5.7/canvas.json");

/// A value as text with sorted keys, ids numbered as they come. `add_to_parent` is a word for the sending process alone.
#[derive(Default)]
struct Shown {
    ids: HashMap<String, usize>,
}

impl Shown {
    fn text(&mut self, value: &Value) -> String {
        match value {
            Value::Str(text) if uuid::Uuid::parse_str(text).is_ok() => {
                let next = self.ids.len();
                format!("#{}", self.ids.entry(text.clone()).or_insert(next))
            }
            Value::List(items) => {
                let items: Vec<String> = items.iter().map(|item| self.text(item)).collect();
                format!("[{}]", items.join(", "))
            }
            Value::Map(map) => {
                let mut entries: Vec<(&String, &Value)> =
                    map.iter().filter(|(name, _)| *name != "add_to_parent").collect();
                entries.sort_by_key(|(name, _)| *name);
                let mut text = String::new();
                for (name, value) in entries {
                    let _ = write!(text, "{name}: {}, ", self.text(value));
                }
                format!("{{{text}}}")
            }
            other => json::to_string(other).unwrap(),
        }
    }

    fn captured(&mut self, workflow: &Map) -> String {
        let mut text = String::new();
        for sent in workflow["sent"].as_list().unwrap() {
            let sent = sent.as_map().unwrap();
            let _ = match sent.get("size") {
                Some(size) => writeln!(text, "size {} {}", self.text(&sent["chord"]), self.text(size)),
                None => writeln!(
                    text,
                    "{} {} {}",
                    self.text(&sent["task"]),
                    self.text(&sent["headers"]),
                    self.text(&sent["body"])
                ),
            };
        }
        let _ = write!(text, "result {}", self.text(&workflow["result"]));
        text
    }

    fn planned(&mut self, workflow: &Map) -> String {
        let mut plan = Plan::new("00000000-0000-0000-0000-00000000ffff", false);
        let signature = Signature::from_value(&workflow["signature"]).unwrap();
        let Value::List(args) = workflow["args"].clone() else { panic!("no arguments") };
        let call = [("parent_id", "P"), ("root_id", "R")].map(|(name, id)| (name.to_owned(), Value::from(id)));
        let result = plan.apply(signature, args, Map::from_iter(call)).unwrap();
        let mut text = String::new();
        for step in plan.into_steps() {
            let _ = match step {
                Step::Send(call) => {
                    let option = |name: &str| call.options.get(name).cloned().unwrap_or_default();
                    let list = |name| match option(name) {
                        Value::Null | Value::List(_) => option(name),
                        single => vec![single].into(),
                    };
                    let headers = Map::from_iter(
                        [
                            ("id", "task_id"),
                            ("group", "group_id"),
                            ("group_index", "group_index"),
                            ("root_id", "root_id"),
                            ("parent_id", "parent_id"),
                        ]
                        .map(|(header, name)| (header.to_owned(), option(name))),
                    );
                    let embed = Map::from_iter(
                        [
                            ("callbacks", list("link")),
                            ("errbacks", list("link_error")),
                            ("chain", option("chain")),
                            ("chord", option("chord")),
                        ]
                        .map(|(name, value)| (name.to_owned(), value)),
                    );
                    let body = vec![Value::List(call.args), Value::Map(call.kwargs), embed.into()];
                    writeln!(text, "\"{}\" {} {}", call.task, self.text(&headers.into()), self.text(&body.into()))
                }
                Step::ChordSize { group_id, size } => writeln!(text, "size {} {size}", self.text(&group_id.into())),
                Step::SaveHeader { .. } | Step::Unlock { .. } => Ok(()),
            };
        }
        let _ = write!(text, "result {}", self.text(&result.into_tuple()));
        text
    }
}

#[test]
fn workflows_become_the_messages_that_celery_sends() {
    let Value::Map(captured) = json::parse(CAPTURED.as_bytes()).unwrap() else { panic!("no workflows") };
    assert!(captured.len() > 15);
    let mut differ = String::new();
    for (name, workflow) in &captured {
        let workflow = workflow.as_map().unwrap();
        let (expected, planned) = (Shown::default().captured(workflow), Shown::default().planned(workflow));
        if expected != planned {
            let _ = writeln!(differ, "== {name}\n-- Celery\n{expected}\n-- here\n{planned}\n");
        }
    }
    assert!(differ.is_empty(), "{differ}");
}
