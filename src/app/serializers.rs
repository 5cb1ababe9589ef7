//! Serializers that an app or a package has registered with kombu: Python code, which runs in the children only.
//!
//! They are accepted by their MIME type. What this process writes itself (events, replies to remote control, what native
//! tasks send) is JSON in their place.

use std::collections::BTreeMap;

use crate::{
    config::{Refusal, Settings},
    serialization,
};

/// What this process writes instead.
const IN_PLACE: &str = "json";

/// Makes names in accept lists MIME types, by those that Python has `registered`, and serializers of this process known ones.
pub(super) fn settle(settings: &mut Settings, registered: &BTreeMap<String, String>) {
    for name in settings.accept_content.iter_mut().chain(&mut settings.result.accept_content) {
        if let Some(mime) = registered.get(name) {
            name.clone_from(mime);
        }
    }
    for serializer in [&mut settings.task.serializer, &mut settings.event.serializer] {
        if registered.contains_key(serializer) && !serialization::knows(serializer) {
            IN_PLACE.clone_into(serializer);
        }
    }
}

/// Each setting that is heeded in children only.
pub(super) fn refusals(settings: &Settings) -> impl Iterator<Item = Refusal> {
    ["task_serializer", "event_serializer"].into_iter().filter_map(|name| {
        let (value, layer) = settings.layers.value(name);
        let serializer = value.as_str().filter(|serializer| !serialization::knows(serializer))?;
        let line =
            format!("setting {name} ({layer}) is {serializer}, which Python has: what celery-rs writes itself is JSON");
        Some(Refusal::new(line, "nothing, if JSON will do for events, replies and what native tasks send"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::Layers, serialization::AcceptContent};

    #[test]
    fn serializers_of_python_are_accepted_and_not_used_here() {
        let app = [
            ("accept_content", vec!["json", "own", "application/x-other"].into()),
            ("task_serializer", "own".into()),
            ("event_serializer", "yaml".into()),
        ];
        let app = app.into_iter().map(|(name, value): (&str, serialization::Value)| (name.to_owned(), value)).collect();
        let mut settings = Settings::resolve(Layers::new(app, &(), Vec::new())).unwrap();
        assert!(AcceptContent::new(&settings.accept_content).is_err());

        settle(&mut settings, &BTreeMap::from([("own".to_owned(), "application/x-own".to_owned())]));
        assert_eq!(settings.accept_content, ["json", "application/x-own", "application/x-other"]);
        assert_eq!((&*settings.task.serializer, &*settings.event.serializer), ("json", "yaml"));
        let lines: Vec<_> = refusals(&settings).map(|refusal| refusal.line).collect();
        assert_eq!(
            lines,
            ["setting task_serializer (set by the app) is own, which Python has: what celery-rs writes itself is JSON"]
        );
    }
}
