use super::*;
use crate::{
    config::{Layers, Settings},
    serialization::Map,
};

fn settings(app: &[(&str, Value)]) -> TaskSettings {
    let app: Map = app.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    Settings::resolve(Layers::new(app, &(), Vec::new())).unwrap().task
}

fn names(queues: &Queues) -> Vec<&str> {
    queues.consume_from().map(|queue| queue.name.as_str()).collect()
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn default_queue_takes_its_name_everywhere() {
    let queues = Queues::new(&settings(&[("task_default_queue", "shop".into())]), Vec::new());
    let queue = queues.get("shop").unwrap();
    assert_eq!((queue.exchange.name.as_str(), queue.routing_key.as_str()), ("shop", "shop"));
    assert!(queue.arguments.is_empty());
}

#[test]
fn quorum_and_priority_become_arguments() {
    let app = [("task_default_queue_type", "quorum".into()), ("task_queue_max_priority", 10i64.into())];
    let queues = Queues::new(&settings(&app), Vec::new());
    let arguments = &queues.get("celery").unwrap().arguments;
    assert_eq!(arguments["x-queue-type"], "quorum".into());
    assert_eq!(arguments["x-max-priority"], 10i64.into());
}

#[test]
fn selects_in_order_and_makes_up_missing_ones() {
    let mut queues = Queues::new(&settings(&[("task_create_missing_queue_exchange_type", "topic".into())]), Vec::new());
    queues.select(&owned(&["b", "celery", "a", "b"])).unwrap();
    assert_eq!(names(&queues), ["b", "celery", "a"]);
    assert_eq!(queues.get("a").unwrap().exchange, Exchange::new("a", ExchangeType::Topic));
    queues.deselect(&owned(&["celery", "nobody"]));
    assert_eq!(names(&queues), ["b", "a"]);
}

#[test]
fn refuses_missing_ones_when_told() {
    let mut queues = Queues::new(&settings(&[("task_create_missing_queues", false.into())]), Vec::new());
    let error = queues.select(&owned(&["celery", "a"])).unwrap_err();
    assert_eq!(error, ConfigError::UnknownQueue { wanted: owned(&["celery", "a"]), missing: "a".to_owned() });
}

#[test]
fn direct_queue_is_added_to_a_selection() {
    let mut queues = Queues::new(&settings(&[]), Vec::new());
    queues.select(&owned(&["a"])).unwrap();
    queues.add_direct("w1@box");
    assert_eq!(names(&queues), ["a", "w1@box.dq2"]);
    let queue = queues.get("w1@box.dq2").unwrap();
    assert_eq!((queue.exchange.name.as_str(), queue.routing_key.as_str()), ("C.dq2", "w1@box"));
}

#[test]
fn reads_the_manifest() {
    let exchange = Map::from_iter([("name".to_owned(), "news".into()), ("kind".to_owned(), "fanout".into())]);
    let queue = Map::from_iter([
        ("name".to_owned(), "bcast.1".into()),
        ("alias".to_owned(), "news".into()),
        ("exchange".to_owned(), exchange.into()),
        ("auto_delete".to_owned(), true.into()),
    ]);
    let value = Value::List(vec![queue.into()]);
    let mut queues = Queues::from_manifest(&settings(&[]), &value, &owned(&["bcast.1"])).unwrap();
    queues.select(&owned(&["news"])).unwrap();
    let found = queues.consume_from().next().unwrap();
    assert_eq!(found.name, "bcast.1");
    assert_eq!(found.exchange.kind, ExchangeType::Fanout);
    assert!(found.auto_delete && found.durable);
    assert!(Queues::from_manifest(&settings(&[]), &Value::Int(1), &[]).is_err());
}
