//! [`open`]: which backend a URL means (`celery/app/backends.py`).

use std::sync::Arc;

use crate::{
    backend::{BackendError, BackendOptions, DisabledBackend, ResultBackend, rpc::RpcBackend},
    broker::Publish,
};

/// Schemes and aliases of Celery whose backends only its Python side speaks.
const PYTHON_ONLY: [&str; 15] = [
    "cache",
    "mongodb",
    "elasticsearch",
    "cassandra",
    "couchbase",
    "couchdb",
    "cosmosdbsql",
    "riak",
    "file",
    "consul",
    "dynamodb",
    "azureblockblob",
    "arangodb",
    "s3",
    "gs",
];

/// Opens the app's result backend; without a URL there is none. Needs a Tokio runtime.
///
/// # Errors
///
/// [`BackendError::Unsupported`] for a backend that only Python has (the child then stores by itself),
/// [`BackendError::Unusable`] for one that cannot work here.
pub fn open(
    url: Option<&str>,
    options: BackendOptions,
    publisher: Arc<dyn Publish>,
) -> Result<Arc<dyn ResultBackend>, BackendError> {
    let Some(url) = url.filter(|url| !url.is_empty()) else {
        return Ok(Arc::new(DisabledBackend::new(options.format)));
    };
    let scheme = url.split_once("://").map_or(url, |(scheme, _)| scheme);
    match scheme.split_once('+').map_or(scheme, |(name, _)| name) {
        "disabled" => Ok(Arc::new(DisabledBackend::new(options.format))),
        "rpc" => Ok(Arc::new(RpcBackend::with_options(publisher, &options)?)),
        "redis" | "rediss" | "socket" | "sentinel" => redis(url, options),
        "db" | "database" | "celery.backends.database:DatabaseBackend" | "celery.backends.database.DatabaseBackend" => {
            database(url, options)
        }
        name if PYTHON_ONLY.contains(&name) => Err(BackendError::Unsupported(format!(
            "result backend {name}:// is Python's alone: results are stored by the Python side"
        ))),
        // A class path, an entry point or a loader's own alias: anything that Python can import.
        name => Err(BackendError::Unsupported(format!(
            "result backend {name} is not known here: results are stored by the Python side"
        ))),
    }
}

#[cfg(feature = "redis")]
fn redis(url: &str, options: BackendOptions) -> Result<Arc<dyn ResultBackend>, BackendError> {
    // `redis` alone is an alias too: the server is then where the `redis_*` settings say.
    let url = if url.contains("://") { url.to_owned() } else { format!("{url}://") };
    Ok(Arc::new(crate::backend::redis::RedisBackend::connect(&url, options)?))
}

#[cfg(not(feature = "redis"))]
fn redis(_: &str, _: BackendOptions) -> Result<Arc<dyn ResultBackend>, BackendError> {
    Err(BackendError::Unusable("this build has no Redis: enable the feature `redis`".to_owned()))
}

/// The URL is SQLAlchemy's, after `db+`; where there is none, it is in `database_url`.
#[cfg(feature = "database")]
fn database(url: &str, options: BackendOptions) -> Result<Arc<dyn ResultBackend>, BackendError> {
    let of_setting = options.database.url.clone();
    let url = match url.split_once("://") {
        Some((scheme, _)) if scheme.contains('+') => url.split_once('+').map(|(_, url)| url.to_owned()),
        Some(_) => Some(url.to_owned()),
        None => of_setting,
    };
    let missing = "Missing connection string! Do you have the database_url setting set to a real value?";
    let url = url.ok_or_else(|| BackendError::Unusable(missing.to_owned()))?;
    Ok(Arc::new(crate::backend::database::DatabaseBackend::open(&url, options)?))
}

#[cfg(not(feature = "database"))]
fn database(_: &str, _: BackendOptions) -> Result<Arc<dyn ResultBackend>, BackendError> {
    Err(BackendError::Unusable(
        "this build has no databases: enable the features `sqlite`, `postgres` or `mysql`".to_owned(),
    ))
}

#[cfg(test)]
mod tests {
    use futures::future::{BoxFuture, FutureExt, ready};

    use super::*;
    use crate::{
        broker::BrokerError,
        protocol::{Message, Route},
    };

    struct Nowhere;

    impl Publish for Nowhere {
        fn publish(&self, _: Route, _: Message) -> BoxFuture<'_, Result<(), BrokerError>> {
            ready(Err(BrokerError::lost("nowhere"))).boxed()
        }
    }

    fn uri(url: Option<&str>) -> Result<String, BackendError> {
        Ok(open(url, BackendOptions::default(), Arc::new(Nowhere))?.uri())
    }

    #[tokio::test]
    async fn chooses_by_scheme() {
        let cases = [
            (None, "disabled://"),
            (Some(""), "disabled://"),
            (Some("disabled"), "disabled://"),
            (Some("disabled://"), "disabled://"),
            (Some("rpc"), "rpc://"),
            (Some("rpc://user@host"), "rpc://"),
        ];
        for (url, shown) in cases {
            assert_eq!(uri(url).as_deref(), Ok(shown), "{url:?}");
        }
    }

    #[cfg(feature = "redis")]
    #[tokio::test]
    async fn redis_has_many_names() {
        let cases = [
            ("redis://:p@h:1/2", "redis://:**@h:1/2"),
            ("redis", "redis://"),
            ("rediss://h?ssl_cert_reqs=none", "rediss://h/"),
            ("redis+socket:///run/r.sock", "socket:///run/r.sock"),
            ("socket:///run/r.sock", "socket:///run/r.sock"),
        ];
        for (url, shown) in cases {
            assert_eq!(uri(Some(url)).as_deref(), Ok(shown), "{url}");
        }
        assert!(matches!(uri(Some("rediss://h")), Err(BackendError::Unusable(_))));
    }

    #[tokio::test]
    async fn names_what_it_leaves_to_python() {
        let urls = [
            #[cfg(feature = "database")]
            "db+oracle://h/d",
            "mongodb://h",
            "file:///x",
            "cache+memcached://h",
            "cache+memory://",
            "django-db",
            "a.b:C",
        ];
        for url in urls {
            assert!(matches!(uri(Some(url)), Err(BackendError::Unsupported(_))), "{url}");
        }
    }
}
