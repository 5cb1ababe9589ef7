//! [`DatabaseBackend`]: results in the tables that Celery's SQLAlchemy backend keeps (`celery/backends/database`).
//!
//! Two connections: one writes everyone's rows, many in a transaction; the other one reads. Chords are not counted here:
//! as with Celery, `celery.chord_unlock` looks at the results.

#[cfg(feature = "mysql")]
mod mysql;
mod options;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "postgres")]
mod postgres_tls;
mod retry;
mod session;
#[cfg(feature = "sqlite")]
mod sqlite;
mod tables;
mod url;
mod writer;

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::{
    backend::{
        AlwaysRetry, BackendError, BackendOptions, ResultBackend, StoreRequest,
        document::Format,
        row::{Layout, Row},
    },
    config::url::mask,
};

use {
    options::EngineOptions,
    retry::Patience,
    session::{Session, TaskRow, Trouble},
    tables::Tables,
    url::{DatabaseUrl, Dialect, unusable},
    writer::Writer,
};

/// Results in a database.
pub struct DatabaseBackend {
    writer: Writer,
    reader: Mutex<Box<dyn Session>>,
    format: Format,
    policy: AlwaysRetry,
    closing: CancellationToken,
    shown: String,
}

impl DatabaseBackend {
    /// For an URL of SQLAlchemy's, without Celery's `db+`. Starts to connect, and does not wait for it. Needs a Tokio
    /// runtime.
    ///
    /// # Errors
    /// [`BackendError::Unusable`] for an URL or options that can never work here, [`BackendError::Unsupported`] for a
    /// database that only SQLAlchemy speaks to.
    pub fn open(url: &str, options: BackendOptions) -> Result<Self, BackendError> {
        let version = options.chords.celery_version;
        let mut format = Format { layout: Some(Layout::of(version)), ..options.format };
        format.content().map_err(|error| BackendError::Unsupported(format!("result_serializer: {error}")))?;
        if format.compression.take().is_some() {
            tracing::warn!(
                "The DatabaseBackend result backend cannot store compressed payloads, so the result_compression setting \
                 is ignored and results are stored uncompressed."
            );
        }
        let parsed = DatabaseUrl::parse(url)?;
        let engine = EngineOptions::from_map(&options.database.engine_options)?;
        let tables = Tables::new(parsed.dialect, &options.database, version);
        let [writer, reader] = [(), ()].map(|()| session(&parsed, &engine, tables.clone()));
        let policy = options.database.retry;
        let closing = CancellationToken::new();
        let prepares = options.database.create_tables_at_setup;
        Ok(Self {
            writer: Writer::spawn(writer?, policy, prepares, closing.clone()),
            reader: Mutex::new(reader?),
            format,
            policy,
            closing,
            shown: mask(url),
        })
    }

    async fn write(&self, request: StoreRequest) -> Result<(), BackendError> {
        if request.task_id.is_empty() {
            return Err(BackendError::Refused("task_id must not be empty".to_owned()));
        }
        let row = Row::decode(&request.document).map_err(|error| BackendError::Unreadable(error.to_string()))?;
        self.writer.store(TaskRow { task_id: request.task_id, row }).await
    }

    async fn read(&self, task_id: &str) -> Result<Option<Bytes>, BackendError> {
        let mut patience = Patience::for_read("_get_task_meta_for", self.policy, &self.closing);
        let mut reader = self.reader.lock().await;
        let row = loop {
            match reader.fetch(task_id).await {
                Err(Trouble::Passing(reason)) => patience.wait(&reason).await?,
                row => break row?,
            }
        };
        let encode = |row: Row| row.encode().map_err(|error| BackendError::Unreadable(error.to_string()));
        row.map(encode).transpose()
    }
}

fn session(url: &DatabaseUrl, engine: &EngineOptions, tables: Tables) -> Result<Box<dyn Session>, BackendError> {
    match url.dialect {
        #[cfg(feature = "sqlite")]
        Dialect::Sqlite => Ok(Box::new(sqlite::SqliteSession::new(url, engine, tables)?)),
        #[cfg(feature = "postgres")]
        Dialect::Postgres => Ok(Box::new(postgres::PostgresSession::new(url, engine, tables)?)),
        #[cfg(feature = "mysql")]
        Dialect::Mysql => Ok(Box::new(mysql::MysqlSession::new(url, engine, tables)?)),
        #[allow(unreachable_patterns, reason = "a build may have all of them")]
        other => {
            let _ = (engine, tables);
            Err(unusable(format_args!("this build does not speak to it: enable the feature `{}`", other.feature())))
        }
    }
}

impl ResultBackend for DatabaseBackend {
    fn store(&self, request: StoreRequest) -> BoxFuture<'_, Result<(), BackendError>> {
        self.write(request).boxed()
    }

    fn fetch<'a>(&'a self, task_id: &'a str) -> BoxFuture<'a, Result<Option<Bytes>, BackendError>> {
        self.read(task_id).boxed()
    }

    fn is_unlocked(&self) -> bool {
        true
    }

    fn format(&self) -> &Format {
        &self.format
    }

    fn retries(&self) -> u64 {
        self.writer.retries()
    }

    fn uri(&self) -> String {
        self.shown.clone()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        async move {
            self.closing.cancel();
            self.writer.flush().await;
            self.reader.lock().await.close().await;
        }
        .boxed()
    }
}

#[cfg(feature = "sqlite")]
#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        backend::{ChordOptions, contract},
        protocol::{ResultMeta, TaskState},
    };

    fn open(file: &std::path::Path, celery_version: (u16, u16)) -> DatabaseBackend {
        let chords = ChordOptions { celery_version, ..ChordOptions::default() };
        let url = format!("sqlite:///{}", file.display());
        DatabaseBackend::open(&url, BackendOptions { chords, ..BackendOptions::default() }).unwrap()
    }

    async fn store(backend: &DatabaseBackend, state: TaskState, result: i64) {
        let document = backend.format().encode(&ResultMeta::new("id", state.clone(), result.into())).unwrap();
        let request = StoreRequest { task_id: "id".into(), state, document, reply_to: None, correlation_id: None };
        backend.store(request).await.unwrap();
    }

    #[tokio::test]
    async fn sqlite_keeps_the_contract() {
        let directory = tempfile::tempdir().unwrap();
        let backend = open(&directory.path().join("results.db"), (5, 7));
        contract::check_results(&backend).await;
        backend.close().await;
        assert!(backend.fetch("id").await.is_ok(), "it connects again");
    }

    #[tokio::test]
    async fn before_5_7_the_last_end_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("results.db");
        let old = open(&file, (5, 6));
        for (state, result) in [(TaskState::Success, 1), (TaskState::Failure, 2)] {
            store(&old, state.clone(), result).await;
            let document = old.fetch("id").await.unwrap().unwrap();
            let meta = old.format().decode(&document).unwrap();
            assert_eq!((meta.state, meta.result), (state, result.into()));
        }
        // A Celery that is upgraded finds its old table, and completes it.
        let new = open(&file, (5, 7));
        let document = new.fetch("id").await.unwrap().unwrap();
        assert_eq!(new.format().decode(&document).unwrap().result, 2.into());
        store(&new, TaskState::Success, 3).await;
        store(&new, TaskState::Failure, 4).await;
        let document = new.fetch("id").await.unwrap().unwrap();
        assert_eq!(new.format().decode(&document).unwrap().result, 3.into());
    }

    #[tokio::test]
    async fn documents_of_others_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let backend = open(&directory.path().join("results.db"), (5, 7));
        let request = |task_id: &str| StoreRequest {
            task_id: task_id.into(),
            state: TaskState::Success,
            document: Bytes::from_static(b"{}"),
            reply_to: None,
            correlation_id: None,
        };
        assert!(matches!(backend.store(request("id")).await, Err(BackendError::Unreadable(_))));
        assert!(matches!(backend.store(request("")).await, Err(BackendError::Refused(_))));
    }
}
