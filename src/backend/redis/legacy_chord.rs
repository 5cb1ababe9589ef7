//! Chords as Celery counted them before 5.7: no claims, no duplicates known. For fleets whose Python workers still do.

use bytes::Bytes;
use fred::{
    clients::Transaction,
    error::Error,
    interfaces::{KeysInterface, ListInterface, SortedSetsInterface, TransactionInterface},
    types::Value,
};

use crate::backend::{
    BackendError, ChordPart, ChordProgress,
    chord::{encode_part, join},
    keys::ChordKeys,
    redis::{RedisBackend, link::Trouble},
};

impl RedisBackend {
    /// `on_chord_part_return` of Celery 5.5 and 5.6 up to the point where the body is published.
    pub(super) async fn count_part_as_before(&self, part: &ChordPart) -> Result<ChordProgress, BackendError> {
        let keys = self.keys.chord(&part.group_id);
        let encoded = encode_part(part, &self.options.format)?;
        let mut patience = self.patience("on_chord_part_return");
        let mut is_first = true;
        let is_last = loop {
            match self.try_count(part, &keys, &encoded, is_first).await {
                Err(Trouble::Passing(reason)) => patience.wait(&reason).await?,
                is_last => break is_last?,
            }
            is_first = false;
        };
        if !is_last {
            return Ok(ChordProgress::Waiting);
        }
        let progress = match self.parts(&keys).await? {
            Some(parts) => join(&parts, &self.options.format, String::new()),
            None => ChordProgress::NeedsPython,
        };
        if progress == ChordProgress::NeedsPython && !self.options.chords.is_ordered {
            self.uncount(&keys, &encoded).await?;
        }
        Ok(progress)
    }

    /// Whether all parts are there now.
    async fn try_count(
        &self,
        part: &ChordPart,
        keys: &ChordKeys,
        encoded: &Bytes,
        is_first: bool,
    ) -> Result<bool, Trouble> {
        let client = self.link.client().await?;
        // A list counts a part twice when a lost reply makes us push it twice; a sorted set does not.
        let is_pushed = !is_first && !self.options.chords.is_ordered && self.holds(keys, encoded).await?;
        let transaction = client.multi();
        self.queue(&transaction, part, keys, encoded, is_pushed).await.map_err(|e| self.link.trouble(e))?;
        let replies: Vec<Value> = transaction.exec(true).await.map_err(|e| self.link.trouble(e))?;
        let number = |position: usize| replies.get(position).and_then(Value::as_i64);
        let ready = number(1);
        let expected = number(3).map(|size| size + number(2).unwrap_or(0));
        Ok(expected.is_some() && ready == expected)
    }

    async fn queue(
        &self,
        transaction: &Transaction,
        part: &ChordPart,
        keys: &ChordKeys,
        encoded: &Bytes,
        is_pushed: bool,
    ) -> Result<(), Error> {
        if self.options.chords.is_ordered {
            let score = part.group_index.map_or(f64::INFINITY, |index| index as f64);
            transaction.zadd::<(), _, _>(&keys.results, None, None, false, false, (score, encoded.clone())).await?;
            transaction.zcard::<(), _>(&keys.results).await?;
        } else {
            if is_pushed {
                transaction.llen::<(), _>(&keys.results).await?;
            } else {
                transaction.rpush::<(), _, _>(&keys.results, encoded.clone()).await?;
            }
            transaction.llen::<(), _>(&keys.results).await?;
        }
        transaction.get::<(), _>(&keys.added).await?;
        transaction.get::<(), _>(&keys.size).await?;
        if self.options.expires > 0 {
            for key in [&keys.results, &keys.added, &keys.size] {
                transaction.expire::<(), _>(key, self.options.expires as i64, None).await?;
            }
        }
        Ok(())
    }

    async fn holds(&self, keys: &ChordKeys, encoded: &Bytes) -> Result<bool, Trouble> {
        let client = self.link.client().await?;
        let parts: Vec<Bytes> = client.lrange(&keys.results, 0, -1).await.map_err(|e| self.link.trouble(e))?;
        Ok(parts.contains(encoded))
    }

    /// Takes our part out of the list again: Celery's own code is going to push it.
    async fn uncount(&self, keys: &ChordKeys, encoded: &Bytes) -> Result<(), BackendError> {
        let client = self.link.client().await?;
        let removed = client.lrem::<(), _, _>(&keys.results, -1, encoded.clone()).await;
        Ok(removed.map_err(|e| self.link.trouble(e))?)
    }
}
