//! [`Pool`]: which kind of pool the user asks for.

/// `-P` and `worker_pool`. Whether a kind is there is for the pool's room to say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Pool {
    /// N children with one seat each.
    #[default]
    Prefork,
    /// One child with N seats.
    Threads,
    /// One child with one seat.
    Solo,
    /// Greenlets of gevent.
    Gevent,
    /// Greenlets of eventlet.
    Eventlet,
    /// The class named by `CELERY_CUSTOM_WORKER_POOL`, or by a class path in the settings.
    Custom(String),
}

impl Pool {
    /// A pool by the names of `celery.concurrency.ALIASES`, or by its class path.
    pub fn parse(name: &str) -> Self {
        match name {
            "prefork" | "processes" | "celery.concurrency.prefork:TaskPool" => Pool::Prefork,
            "threads" | "celery.concurrency.thread:TaskPool" => Pool::Threads,
            "solo" | "celery.concurrency.solo:TaskPool" => Pool::Solo,
            "gevent" | "celery.concurrency.gevent:TaskPool" => Pool::Gevent,
            "eventlet" | "celery.concurrency.eventlet:TaskPool" => Pool::Eventlet,
            path => Pool::Custom(path.to_owned()),
        }
    }

    /// Celery's name of it, as `-P` takes it.
    pub fn name(&self) -> &str {
        match self {
            Pool::Prefork => "prefork",
            Pool::Threads => "threads",
            Pool::Solo => "solo",
            Pool::Gevent => "gevent",
            Pool::Eventlet => "eventlet",
            Pool::Custom(path) => path,
        }
    }

    /// The last part of the name of the Python module, as the banner shows it: `prefork`, `thread`, ...
    pub fn module(&self) -> &str {
        match self {
            Pool::Threads => "thread",
            Pool::Custom(path) => path.split(':').next().and_then(|module| module.rsplit('.').next()).unwrap_or(path),
            other => other.name(),
        }
    }
}
