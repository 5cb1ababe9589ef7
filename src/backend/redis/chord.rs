//! Chords as Celery 5.7 counts them: every part once, and one claim on the body. Python workers of 5.7 count parts of the
//! same chords, so keys, members and replies are theirs.

use bytes::Bytes;
use fred::{
    interfaces::{KeysInterface, ListInterface, SortedSetsInterface},
    types::{Key, Value},
};
use uuid::Uuid;

use crate::{
    backend::{
        BackendError, ChordPart, ChordProgress,
        chord::{encode_part, join, score},
        keys::ChordKeys,
        redis::{RedisBackend, link::Trouble, script::Script},
    },
    protocol::Signature,
};

/// Counts a part once and takes the claim when it is the last (`CHORD_PART_RETURN_LUA`). Replies with how many are there and
/// whether the claim is ours; -1 when the chord is done.
///
/// Unlike Celery's, it may be tried again after a lost reply: a claim with our token is ours.
const COUNT: &str = r#"
local results, added, size, counted, group, claim = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local task_id, part, ordered, score = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local expires, group_expires = tonumber(ARGV[5]), tonumber(ARGV[6])
local claim_expires, token = ARGV[7], ARGV[8]
local holder = redis.call('GET', claim)
if holder == 'done' then
    return {-1, 0}
end
local member = task_id .. ':' .. score
if redis.call('SISMEMBER', counted, member) == 0 then
    if ordered == '1' then
        redis.call('ZADD', results, score, part)
    else
        redis.call('RPUSH', results, part)
    end
    redis.call('SADD', counted, member)
end
local ready = redis.call(ordered == '1' and 'ZCARD' or 'LLEN', results)
if expires > 0 then
    redis.call('EXPIRE', results, expires)
    redis.call('EXPIRE', added, expires)
    redis.call('EXPIRE', size, expires)
    redis.call('EXPIRE', counted, expires)
    if group_expires > 0 then
        redis.call('EXPIRE', group, group_expires)
    end
end
local expected = redis.call('GET', size)
if not expected or ready ~= tonumber(expected) + tonumber(redis.call('GET', added) or 0) then
    return {ready, 0}
end
if holder == token or redis.call('SET', claim, token, 'NX', 'EX', claim_expires) then
    return {ready, 1}
end
return {ready, 0}
"#;

/// Makes a claim of ours last, or takes it again after it ran out while the chord is still there (`CHORD_CLAIM_EXTEND_LUA`).
const EXTEND: &str = r#"
local holder = redis.call('GET', KEYS[1])
if holder == ARGV[1] then
    return redis.call('EXPIRE', KEYS[1], ARGV[2])
end
if not holder and redis.call('EXISTS', KEYS[2]) == 1 then
    redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
    return 1
end
return 0
"#;

/// Forgets a chord of which we hold the claim, and remembers that it is done (`CHORD_CLEANUP_LUA`).
const CLEAN_UP: &str = r#"
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
    return 0
end
redis.call('DEL', KEYS[2], KEYS[3], KEYS[4], KEYS[5])
redis.call('SET', KEYS[1], 'done', 'EX', ARGV[2])
return 1
"#;

/// Gives a claim of ours back, so that Celery's own code can take it.
const RELEASE: &str = r#"
if redis.call('GET', KEYS[1]) == ARGV[1] then
    return redis.call('DEL', KEYS[1])
end
return 0
"#;

/// The scripts, with the hashes that the server gave them.
#[derive(Debug)]
pub(super) struct ChordScripts {
    count: Script,
    extend: Script,
    clean_up: Script,
    release: Script,
}

impl Default for ChordScripts {
    fn default() -> Self {
        Self {
            count: Script::new(COUNT),
            extend: Script::new(EXTEND),
            clean_up: Script::new(CLEAN_UP),
            release: Script::new(RELEASE),
        }
    }
}

impl RedisBackend {
    /// `on_chord_part_return` up to the point where the body is published.
    pub(super) async fn count_part(&self, part: &ChordPart) -> Result<ChordProgress, BackendError> {
        let keys = self.keys.chord(&part.group_id);
        let claim = Uuid::new_v4().simple().to_string();
        let chord = [&keys.results, &keys.added, &keys.size, &keys.counted, &keys.group, &keys.claim];
        let encoded = encode_part(part, &self.options.format)?;
        let args = vec![
            part.task_id.as_str().into(),
            Value::Bytes(encoded),
            number(self.options.chords.is_ordered.into()),
            score(part).into(),
            number(self.chord_expires()),
            number(self.group_expires()),
            number(self.options.chords.claim_expires()),
            claim.as_str().into(),
        ];
        let reply = self.run(&self.scripts.count, &chord, args, "on_chord_part_return").await?;
        let [_, claimed] = reply.convert::<[i64; 2]>().map_err(|e| BackendError::Refused(e.to_string()))?;
        if claimed != 1 {
            return Ok(ChordProgress::Waiting);
        }
        self.join_parts(&keys, claim).await
    }

    /// Joins what has been counted, unless only Celery can: then the claim is given back for it to take.
    async fn join_parts(&self, keys: &ChordKeys, claim: String) -> Result<ChordProgress, BackendError> {
        let progress = match self.parts(keys).await? {
            Some(parts) => join(&parts, &self.options.format, claim.clone()),
            None => ChordProgress::NeedsPython,
        };
        if progress == ChordProgress::NeedsPython {
            self.run(&self.scripts.release, &[&keys.claim], vec![claim.into()], "on_chord_part_return").await?;
        }
        Ok(progress)
    }

    /// The parts in Redis' order; none when the header has groups in it.
    pub(super) async fn parts(&self, keys: &ChordKeys) -> Result<Option<Vec<Bytes>>, BackendError> {
        let mut patience = self.patience("on_chord_part_return");
        loop {
            match self.try_parts(keys).await {
                Err(Trouble::Passing(reason)) => patience.wait(&reason).await?,
                parts => return Ok(parts?),
            }
        }
    }

    async fn try_parts(&self, keys: &ChordKeys) -> Result<Option<Vec<Bytes>>, Trouble> {
        let client = self.link.client().await?;
        let has_groups: bool = client.exists(&keys.group).await.map_err(|e| self.link.trouble(e))?;
        if has_groups {
            return Ok(None);
        }
        let parts = if self.options.chords.is_ordered {
            client.zrange(&keys.results, 0, -1, None, false, None, false).await
        } else {
            client.lrange(&keys.results, 0, -1).await
        };
        parts.map(Some).map_err(|e| self.link.trouble(e))
    }

    /// Before the body is published.
    pub(super) async fn extend(&self, group_id: &str, claim: &str, body: &Signature) -> Result<bool, BackendError> {
        if !self.options.chords.has_claims() {
            return Ok(true);
        }
        let keys = self.keys.chord(group_id);
        let args = vec![claim.into(), number(self.options.chords.publish_expires(body))];
        let reply = self.run(&self.scripts.extend, &[&keys.claim, &keys.size], args, "on_chord_part_return").await?;
        let is_ours = reply.as_i64() == Some(1);
        if !is_ours {
            tracing::warn!(
                "Chord callback for '{group_id}' not published: dispatch claim is no longer owned by this worker"
            );
        }
        Ok(is_ours)
    }

    /// After the body is published.
    pub(super) async fn clean_up(&self, group_id: &str, claim: &str) -> Result<(), BackendError> {
        let keys = self.keys.chord(group_id);
        if !self.options.chords.has_claims() {
            return self.delete(&[&keys.results, &keys.added, &keys.size]).await;
        }
        let chord = [&keys.claim, &keys.results, &keys.added, &keys.size, &keys.counted];
        let args = vec![claim.into(), number(self.options.chords.done_expires())];
        let reply = self.run(&self.scripts.clean_up, &chord, args, "on_chord_part_return").await?;
        if reply.as_i64() != Some(1) {
            tracing::warn!(
                "Chord callback claim for '{group_id}' was lost before cleanup; chord data was left for expiry"
            );
        }
        Ok(())
    }

    /// After the body has failed; before 5.7 nothing was forgotten.
    pub(super) async fn drop_size(&self, group_id: &str) -> Result<(), BackendError> {
        if !self.options.chords.has_claims() {
            return Ok(());
        }
        self.delete(&[&self.keys.chord(group_id).size]).await
    }

    /// The size of a chord that is being sent. A frozen chord that is sent again has the same group id but is a new run.
    pub(super) async fn begin_chord(&self, group_id: &str, size: u64) -> Result<(), BackendError> {
        let keys = self.keys.chord(group_id);
        if self.options.chords.has_claims() {
            self.delete(&[&keys.claim]).await?;
        }
        self.set(&keys.size, size.to_string().into()).await
    }

    /// The header's `GroupResult`, as `GroupResult.restore` reads it.
    pub(super) async fn keep_group(
        &self,
        group_id: &str,
        result: &crate::serialization::Value,
    ) -> Result<(), BackendError> {
        let saved = crate::serialization::Map::from_iter([("result".to_owned(), result.clone())]);
        let encoded = self.options.format.encode_value(&saved.into());
        let encoded = encoded.map_err(|error| BackendError::Refused(error.to_string()))?;
        self.set(&self.keys.chord(group_id).group, encoded).await
    }

    async fn set(&self, key: &str, value: Bytes) -> Result<(), BackendError> {
        let mut patience = self.patience("set");
        let expires = self.chord_expires();
        let expiration = (expires > 0).then(|| fred::types::Expiration::EX(i64::try_from(expires).unwrap_or(i64::MAX)));
        loop {
            let set = async {
                let client = self.link.client().await?;
                let set = client.set::<(), _, _>(key, value.clone(), expiration.clone(), None, false).await;
                set.map_err(|e| self.link.trouble(e))
            };
            match set.await {
                Err(Trouble::Passing(reason)) => patience.wait(&reason).await?,
                set => return Ok(set?),
            }
        }
    }

    /// Not tried again after a lost reply: it may have been counted.
    pub(super) async fn add_part(&self, group_id: &str) -> Result<(), BackendError> {
        let client = self.link.client().await?;
        let added = self.keys.chord(group_id).added;
        Ok(client.incr::<(), _>(added).await.map_err(|e| self.link.trouble(e))?)
    }

    async fn delete(&self, keys: &[&String]) -> Result<(), BackendError> {
        let mut patience = self.patience("delete");
        let keys: Vec<&str> = keys.iter().map(|key| key.as_str()).collect();
        loop {
            let delete =
                async { self.link.client().await?.del::<(), _>(keys.clone()).await.map_err(|e| self.link.trouble(e)) };
            match delete.await {
                Err(Trouble::Passing(reason)) => patience.wait(&reason).await?,
                deleted => return Ok(deleted?),
            }
        }
    }

    /// Runs a script until the server has answered.
    async fn run(
        &self,
        script: &Script,
        keys: &[&String],
        args: Vec<Value>,
        operation: &'static str,
    ) -> Result<Value, BackendError> {
        let keys: Vec<Key> = keys.iter().map(|key| key.as_str().into()).collect();
        let mut patience = self.patience(operation);
        loop {
            match script.run(&self.link, keys.clone(), args.clone()).await {
                Err(Trouble::Passing(reason)) => patience.wait(&reason).await?,
                reply => return Ok(reply?),
            }
        }
    }

    fn chord_expires(&self) -> u64 {
        self.options.chords.expires.unwrap_or(self.options.expires)
    }

    /// `_chord_result_expires`: what users read as well is kept no shorter than other results.
    fn group_expires(&self) -> u64 {
        let expires = self.chord_expires();
        if expires == 0 || self.options.expires == 0 { 0 } else { expires.max(self.options.expires) }
    }
}

fn number(n: u64) -> Value {
    Value::Integer(i64::try_from(n).unwrap_or(i64::MAX))
}
