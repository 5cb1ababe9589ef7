//! [`Tracking`]: being told when a list changes, by the server's client tracking in broadcast mode.

use std::{sync::Arc, time::Duration};

use fred::{error::Error, types::Value as Reply};

use crate::broker::redis::{
    keys::Keys,
    link::{Link, is_lost},
};

/// After this many full replies in a row it only costs.
const PLENTY: u32 = 16;

/// Which lists the server tells us about. It does so only while there is little to take.
pub(super) struct Tracking {
    keys: Keys,
    /// Prefixes it is on for; empty while it is off.
    on_for: Vec<String>,
    full_replies: u32,
    /// The server cannot, so that we have to look.
    refused: bool,
    polling_interval: Duration,
}

impl Tracking {
    pub fn new(keys: Keys, polling_interval: Duration) -> Self {
        Self { keys, on_for: Vec::new(), full_replies: 0, refused: false, polling_interval }
    }

    /// Takes note that there was as much as we wanted, and switches off when that goes on.
    pub async fn plenty(&mut self, link: &Link) -> Result<(), Error> {
        self.full_replies = self.full_replies.saturating_add(1);
        if self.on_for.is_empty() || self.full_replies < PLENTY {
            return Ok(());
        }
        self.on_for.clear();
        link.call("CLIENT", vec!["TRACKING".into(), "OFF".into()]).await.map(drop)
    }

    /// Switches on for these queues. True if it was not on before, so that something may have come in the meantime.
    pub async fn ensure(&mut self, link: &Link, queues: &[Arc<str>]) -> Result<bool, Error> {
        self.full_replies = 0;
        let prefixes = self.prefixes(queues);
        if self.refused || prefixes == self.on_for {
            return Ok(false);
        }
        // Without NOLOOP: what this connection publishes may be for its own queues.
        let mut args = ["TRACKING", "ON", "BCAST"].map(Reply::from).to_vec();
        for prefix in &prefixes {
            args.extend(["PREFIX".into(), prefix.as_str().into()]);
        }
        let off = (!self.on_for.is_empty()).then(|| link.call("CLIENT", vec!["TRACKING".into(), "OFF".into()]));
        if let Some(off) = off {
            off.await?;
        }
        match link.call("CLIENT", args).await {
            Ok(_) => self.on_for = prefixes,
            Err(error) if is_lost(&error) => return Err(error),
            Err(error) => {
                let seconds = self.polling_interval.as_secs_f64();
                tracing::warn!("{}: no CLIENT TRACKING; polling every {seconds} s", link.error(&error));
                self.refused = true;
            }
        }
        Ok(true)
    }

    /// How long to wait before looking unasked.
    pub fn poll_interval(&self, safety: Duration) -> Duration {
        if self.refused { self.polling_interval } else { safety }
    }

    /// Whether a key is one of the lists of these queues.
    pub fn concerns(&self, key: &[u8], queues: &[Arc<str>]) -> bool {
        queues.iter().any(|queue| self.keys.belongs_to(key, queue))
    }

    /// The queues' prefixes without those that another one covers: the server refuses overlaps.
    fn prefixes(&self, queues: &[Arc<str>]) -> Vec<String> {
        let mut all: Vec<String> = queues.iter().map(|queue| self.keys.queue_prefix(queue)).collect();
        all.sort();
        let mut prefixes: Vec<String> = Vec::new();
        for prefix in all {
            if !prefixes.last().is_some_and(|shorter| prefix.starts_with(shorter.as_str())) {
                prefixes.push(prefix);
            }
        }
        prefixes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::redis::options::RedisOptions;

    #[test]
    fn prefixes_do_not_overlap() {
        let tracking = Tracking::new(Keys::new(&RedisOptions::default(), 0), Duration::ZERO);
        let queues: Vec<Arc<str>> = ["celery", "b", "celery.high", "celerity", "a"].map(Arc::from).to_vec();
        assert_eq!(tracking.prefixes(&queues), ["a", "b", "celerity", "celery"]);
        assert!(tracking.concerns(b"celery\x06\x169", &queues));
        assert!(!tracking.concerns(b"celery-task-meta-1", &queues));
    }
}
