//! [`MemoryBackend`]: the rules of a key/value backend without a server, for tests. Nothing ever expires.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt, ready};

use crate::{
    backend::{
        BackendError, ChordPart, ChordProgress, ResultBackend, StoreRequest,
        chord::{encode_part, join, score},
        document::Format,
    },
    protocol::{Signature, TaskState},
};

/// Results in this process.
#[derive(Debug, Default)]
pub struct MemoryBackend {
    format: Format,
    contents: Mutex<Contents>,
}

#[derive(Debug, Default)]
struct Contents {
    documents: HashMap<String, (TaskState, Bytes)>,
    chords: HashMap<String, Chord>,
}

#[derive(Debug, Default)]
struct Chord {
    size: Option<i64>,
    added: i64,
    has_groups: bool,
    counted: HashSet<String>,
    /// By place, then in the order of arrival.
    parts: BTreeMap<(i64, usize), Bytes>,
    claim: Option<String>,
    is_done: bool,
}

impl MemoryBackend {
    /// With the app's serializer.
    pub fn new(format: Format) -> Self {
        Self { format, contents: Mutex::default() }
    }

    /// What a producer does when it sends a chord.
    pub fn set_chord_size(&self, group_id: &str, size: i64) {
        let mut contents = self.contents();
        let chord = contents.chords.entry(group_id.to_owned()).or_default();
        chord.size = Some(size);
        chord.claim = None;
        chord.is_done = false;
    }

    /// What a producer does when the header has groups in it.
    pub fn save_group(&self, group_id: &str) {
        self.contents().chords.entry(group_id.to_owned()).or_default().has_groups = true;
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, request: StoreRequest) {
        let mut contents = self.contents();
        let kept = contents.documents.get(&request.task_id);
        if kept.is_some_and(|(state, _)| *state == TaskState::Success) {
            return;
        }
        contents.documents.insert(request.task_id, (request.state, request.document));
    }

    fn count(&self, part: &ChordPart) -> Result<ChordProgress, BackendError> {
        let encoded = encode_part(part, &self.format)?;
        let mut contents = self.contents();
        let chord = contents.chords.entry(part.group_id.clone()).or_default();
        if chord.is_done {
            return Ok(ChordProgress::Waiting);
        }
        if chord.counted.insert(format!("{}:{}", part.task_id, score(part))) {
            let place = (part.group_index.unwrap_or(i64::MAX), chord.parts.len());
            chord.parts.insert(place, encoded);
        }
        let is_complete = chord.size.is_some_and(|size| size + chord.added == chord.parts.len() as i64);
        if !is_complete || chord.claim.is_some() {
            return Ok(ChordProgress::Waiting);
        }
        if chord.has_groups {
            return Ok(ChordProgress::NeedsPython);
        }
        let claim = uuid::Uuid::new_v4().simple().to_string();
        chord.claim = Some(claim.clone());
        let parts: Vec<_> = chord.parts.values().cloned().collect();
        Ok(join(&parts, &self.format, claim))
    }

    fn finish(&self, group_id: &str, claim: &str) {
        if let Some(chord) = self.contents().chords.get_mut(group_id).filter(|c| c.claim.as_deref() == Some(claim)) {
            *chord = Chord { is_done: true, ..Chord::default() };
        }
    }
}

impl ResultBackend for MemoryBackend {
    fn store(&self, request: StoreRequest) -> BoxFuture<'_, Result<(), BackendError>> {
        self.write(request);
        ready(Ok(())).boxed()
    }

    fn fetch<'a>(&'a self, task_id: &'a str) -> BoxFuture<'a, Result<Option<Bytes>, BackendError>> {
        let document = self.contents().documents.get(task_id).map(|(_, document)| document.clone());
        ready(Ok(document)).boxed()
    }

    fn chord_part(&self, part: ChordPart) -> BoxFuture<'_, Result<ChordProgress, BackendError>> {
        ready(self.count(&part)).boxed()
    }

    fn extend_claim<'a>(
        &'a self,
        group_id: &'a str,
        claim: &'a str,
        _: &'a Signature,
    ) -> BoxFuture<'a, Result<bool, BackendError>> {
        let is_ours = self.contents().chords.get(group_id).is_some_and(|chord| chord.claim.as_deref() == Some(claim));
        ready(Ok(is_ours)).boxed()
    }

    fn set_chord_size<'a>(&'a self, group_id: &'a str, size: u64) -> BoxFuture<'a, Result<(), BackendError>> {
        MemoryBackend::set_chord_size(self, group_id, i64::try_from(size).unwrap_or(i64::MAX));
        ready(Ok(())).boxed()
    }

    fn save_group<'a>(
        &'a self,
        group_id: &'a str,
        _result: &'a crate::serialization::Value,
    ) -> BoxFuture<'a, Result<(), BackendError>> {
        MemoryBackend::save_group(self, group_id);
        ready(Ok(())).boxed()
    }

    fn chord_done<'a>(&'a self, group_id: &'a str, claim: &'a str) -> BoxFuture<'a, Result<(), BackendError>> {
        self.finish(group_id, claim);
        ready(Ok(())).boxed()
    }

    fn chord_failed<'a>(&'a self, group_id: &'a str) -> BoxFuture<'a, Result<(), BackendError>> {
        if let Some(chord) = self.contents().chords.get_mut(group_id) {
            chord.size = None;
        }
        ready(Ok(())).boxed()
    }

    fn add_to_chord<'a>(&'a self, group_id: &'a str) -> BoxFuture<'a, Result<(), BackendError>> {
        self.contents().chords.entry(group_id.to_owned()).or_default().added += 1;
        ready(Ok(())).boxed()
    }

    fn format(&self) -> &Format {
        &self.format
    }

    fn uri(&self) -> String {
        "cache+memory://".to_owned()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        ready(()).boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::contract;

    #[tokio::test]
    async fn keeps_the_contract() {
        let backend = MemoryBackend::default();
        contract::check(&backend, &|group, size| backend.set_chord_size(group, size)).await;
    }

    #[tokio::test]
    async fn leaves_groups_to_python() {
        let backend = MemoryBackend::default();
        backend.set_chord_size("g", 1);
        backend.save_group("g");
        let part = contract::part("g", 0, TaskState::Success, 1.into());
        assert_eq!(backend.chord_part(part).await, Ok(ChordProgress::NeedsPython));
    }
}
