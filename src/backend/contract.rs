//! What every backend that keeps results must do, as one suite: run it over each of them.

use bytes::Bytes;

use crate::{
    backend::{ChordPart, ChordProgress, ResultBackend, StoreRequest},
    protocol::{ResultMeta, Signature, TaskState},
    serialization::Value,
};

/// What a producer does to start a chord, which is not in the port: gets the group id and the header's size.
pub type SetChordSize<'a> = &'a dyn Fn(&str, i64);

/// Runs all of the suite.
///
/// # Panics
///
/// When the backend breaks a rule.
pub async fn check(backend: &dyn ResultBackend, set_chord_size: SetChordSize<'_>) {
    keeps_what_was_stored(backend).await;
    never_overwrites_success(backend).await;
    joins_in_header_order(backend, set_chord_size).await;
    counts_every_part_once(backend, set_chord_size).await;
    fails_with_the_first_that_failed(backend, set_chord_size).await;
    waits_for_added_parts(backend, set_chord_size).await;
    backend.close().await;
}

fn fresh(what: &str) -> String {
    format!("{what}-{}", uuid::Uuid::new_v4())
}

async fn store(backend: &dyn ResultBackend, task_id: &str, state: TaskState, result: Value) -> Bytes {
    let document =
        backend.format().encode(&ResultMeta::new(task_id, state.clone(), result)).expect("plain data encodes");
    let request = StoreRequest {
        task_id: task_id.to_owned(),
        state,
        document: document.clone(),
        reply_to: None,
        correlation_id: None,
    };
    backend.store(request).await.expect("stored");
    document
}

async fn keeps_what_was_stored(backend: &dyn ResultBackend) {
    let id = fresh("task");
    assert_eq!(backend.fetch(&id).await.expect("fetched"), None);
    for state in
        [TaskState::Started, TaskState::Retry, TaskState::Failure, TaskState::Custom("ODD".into()), TaskState::Success]
    {
        let document = store(backend, &id, state, Value::Null).await;
        assert_eq!(backend.fetch(&id).await.expect("fetched"), Some(document));
    }
}

async fn never_overwrites_success(backend: &dyn ResultBackend) {
    let id = fresh("task");
    let first = store(backend, &id, TaskState::Success, 1.into()).await;
    for state in [TaskState::Failure, TaskState::Started, TaskState::Success] {
        store(backend, &id, state, 2.into()).await;
        assert_eq!(backend.fetch(&id).await.expect("fetched"), Some(first.clone()));
    }
}

/// A part of a header with a result of its own.
pub fn part(group_id: &str, index: i64, state: TaskState, result: Value) -> ChordPart {
    ChordPart {
        group_id: group_id.to_owned(),
        task_id: format!("part-{index}"),
        group_index: Some(index),
        state,
        result,
        body: Signature::default(),
    }
}

async fn returned(backend: &dyn ResultBackend, group: &str, index: i64) -> ChordProgress {
    backend.chord_part(part(group, index, TaskState::Success, (index * 10).into())).await.expect("counted")
}

async fn joins_in_header_order(backend: &dyn ResultBackend, set_chord_size: SetChordSize<'_>) {
    let group = fresh("group");
    set_chord_size(&group, 3);
    for index in [2, 0] {
        assert_eq!(returned(backend, &group, index).await, ChordProgress::Waiting);
    }
    let ChordProgress::Ready { results, claim } = returned(backend, &group, 1).await else { panic!("not ready") };
    assert_eq!(results, [0, 10, 20].map(Value::from));
    assert!(backend.extend_claim(&group, &claim, &Signature::default()).await.expect("extended"));
    backend.chord_done(&group, &claim).await.expect("cleaned up");
}

async fn counts_every_part_once(backend: &dyn ResultBackend, set_chord_size: SetChordSize<'_>) {
    let group = fresh("group");
    set_chord_size(&group, 2);
    for _ in 0..3 {
        assert_eq!(returned(backend, &group, 0).await, ChordProgress::Waiting, "a duplicate is no second part");
    }
    let ChordProgress::Ready { claim, .. } = returned(backend, &group, 1).await else { panic!("not ready") };
    assert_eq!(returned(backend, &group, 1).await, ChordProgress::Waiting, "the claim is taken");
    assert!(!backend.extend_claim(&group, "another", &Signature::default()).await.expect("asked"));
    backend.chord_done(&group, &claim).await.expect("cleaned up");
    for index in 0..2 {
        assert_eq!(returned(backend, &group, index).await, ChordProgress::Waiting, "done is done");
    }
}

async fn fails_with_the_first_that_failed(backend: &dyn ResultBackend, set_chord_size: SetChordSize<'_>) {
    let group = fresh("group");
    set_chord_size(&group, 2);
    let fields =
        [("exc_type", "ValueError".into()), ("exc_message", vec!["no"].into()), ("exc_module", "builtins".into())];
    let exception = Value::Map(fields.into_iter().map(|(name, value): (_, Value)| (name.to_owned(), value)).collect());
    let failed = part(&group, 0, TaskState::Failure, exception);
    assert_eq!(backend.chord_part(failed).await.expect("counted"), ChordProgress::Waiting);
    let reason = "Dependency part-0 raised ValueError('no')".to_owned();
    assert_eq!(returned(backend, &group, 1).await, ChordProgress::Failed { reason });
    backend.chord_failed(&group).await.expect("forgotten");
    assert_eq!(returned(backend, &group, 1).await, ChordProgress::Waiting, "it fails only once");
}

async fn waits_for_added_parts(backend: &dyn ResultBackend, set_chord_size: SetChordSize<'_>) {
    let group = fresh("group");
    set_chord_size(&group, 1);
    backend.add_to_chord(&group).await.expect("added");
    assert_eq!(returned(backend, &group, 0).await, ChordProgress::Waiting);
    assert!(matches!(returned(backend, &group, 1).await, ChordProgress::Ready { .. }));
}
