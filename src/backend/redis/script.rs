//! [`Script`]: Lua that the server keeps under a hash, loaded again whenever the server has forgotten it.

use std::sync::RwLock;

use fred::{
    interfaces::LuaInterface,
    types::{Key, Value},
};

use crate::backend::redis::link::{Link, Trouble};

/// How often a script is loaded for one call: a server may be replaced in between, but not for ever.
const LOADS: usize = 3;

/// A script and the hash that the server gave it.
#[derive(Debug)]
pub(super) struct Script {
    source: &'static str,
    hash: RwLock<Option<String>>,
}

impl Script {
    pub(super) const fn new(source: &'static str) -> Self {
        Self { source, hash: RwLock::new(None) }
    }

    /// Runs it once; with a server that does not know it, loads it first.
    pub(super) async fn run(&self, link: &Link, keys: Vec<Key>, args: Vec<Value>) -> Result<Value, Trouble> {
        for _ in 0..LOADS {
            let client = link.client().await?;
            let hash = match self.known_hash() {
                Some(hash) => hash,
                None => self.load(link).await?,
            };
            match client.evalsha(hash, keys.clone(), args.clone()).await.map_err(|e| link.trouble(e)) {
                Err(Trouble::UnknownScript) => self.forget(),
                reply => return reply,
            }
        }
        Err(Trouble::Passing("the server keeps forgetting scripts".to_owned()))
    }

    async fn load(&self, link: &Link) -> Result<String, Trouble> {
        let client = link.client().await?;
        let hash: String = client.script_load(self.source).await.map_err(|e| link.trouble(e))?;
        if let Ok(mut known) = self.hash.write() {
            *known = Some(hash.clone());
        }
        Ok(hash)
    }

    fn known_hash(&self) -> Option<String> {
        self.hash.read().ok()?.clone()
    }

    fn forget(&self) {
        if let Ok(mut known) = self.hash.write() {
            *known = None;
        }
    }
}
