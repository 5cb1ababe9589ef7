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
    check_results(backend).await;
    joins_in_header_order(backend, set_chord_size).await;
    counts_every_part_once(backend, set_chord_size).await;
    fails_with_the_first_that_failed(backend, set_chord_size).await;
    waits_for_added_parts(backend, set_chord_size).await;
    backend.close().await;
}

/// The rules of results alone, for a backend that leaves chords to `celery.chord_unlock`. It may be used afterwards.
///
/// # Panics
///
/// When the backend breaks a rule.
pub async fn check_results(backend: &dyn ResultBackend) {
    keeps_what_was_stored(backend).await;
    never_overwrites_success(backend).await;
    keeps_the_last_of_many(backend).await;
}

fn fresh(what: &str) -> String {
    format!("{what}-{}", uuid::Uuid::new_v4())
}

async fn store(backend: &dyn ResultBackend, task_id: &str, state: TaskState, result: Value) {
    let document =
        backend.format().encode(&ResultMeta::new(task_id, state.clone(), result)).expect("plain data encodes");
    let request = StoreRequest { task_id: task_id.to_owned(), state, document, reply_to: None, correlation_id: None };
    backend.store(request).await.expect("stored");
}

/// What is kept of a task.
async fn kept(backend: &dyn ResultBackend, task_id: &str) -> Option<(TaskState, Value)> {
    let document: Option<Bytes> = backend.fetch(task_id).await.expect("fetched");
    let document = document?;
    let meta = backend.format().decode(&document).expect("a document");
    assert_eq!(backend.format().status_of(&document).expect("a state"), meta.state);
    Some((meta.state, meta.result))
}

async fn keeps_what_was_stored(backend: &dyn ResultBackend) {
    let id = fresh("task");
    assert_eq!(kept(backend, &id).await, None);
    let states =
        [TaskState::Started, TaskState::Retry, TaskState::Failure, TaskState::Custom("ODD".into()), TaskState::Success];
    for (state, result) in
        states.into_iter().zip([Value::Null, "é\"'\\".into(), vec![1, 2].into(), true.into(), 0.5.into()])
    {
        store(backend, &id, state.clone(), result.clone()).await;
        assert_eq!(kept(backend, &id).await, Some((state, result)));
    }
}

async fn never_overwrites_success(backend: &dyn ResultBackend) {
    let id = fresh("task");
    store(backend, &id, TaskState::Success, 1.into()).await;
    for state in [TaskState::Failure, TaskState::Started, TaskState::Success] {
        store(backend, &id, state, 2.into()).await;
        assert_eq!(kept(backend, &id).await, Some((TaskState::Success, 1.into())));
    }
}

/// Of many that wait to be written, those of one task are written in their order.
async fn keeps_the_last_of_many(backend: &dyn ResultBackend) {
    let ids: Vec<_> = (0..300).map(|_| fresh("task")).collect();
    let stores = ids.iter().map(|id| async move {
        let both = (
            store(backend, id, TaskState::Started, Value::Null),
            store(backend, id, TaskState::Success, id.as_str().into()),
        );
        futures::join!(both.0, both.1)
    });
    futures::future::join_all(stores).await;
    for id in &ids {
        assert_eq!(kept(backend, id).await, Some((TaskState::Success, id.as_str().into())));
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
