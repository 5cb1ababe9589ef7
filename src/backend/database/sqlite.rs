//! [`SqliteSession`]: results in a file, through SQLite's own library, which is part of the program.
//!
//! The journal's mode is the file's own. Who else has the file locked is waited for as Python's `sqlite3` does.

use std::{mem, path::PathBuf, time::Duration};

use futures::{FutureExt, future::BoxFuture};
use rusqlite::{
    Connection, Error, ErrorCode, OpenFlags, OptionalExtension, ToSql, TransactionBehavior, params_from_iter,
    types::{ToSqlOutput, Value, ValueRef},
};

use crate::{
    backend::{
        BackendError,
        database::{
            options::{EngineOptions, Parameters},
            session::{Cell, Session, TaskRow, Trouble, cell, wall_clock},
            tables::{Column, Table, Tables},
            url::{DatabaseUrl, unusable},
        },
        row::Row,
    },
    protocol::time::parse_iso,
};

/// `sqlite3.connect(timeout=5.0)`.
const TIMEOUT: Duration = Duration::from_secs(5);
/// What else `sqlite3.connect` takes; it concerns Python only.
const PYTHONS: [&str; 6] =
    ["check_same_thread", "cached_statements", "detect_types", "isolation_level", "autocommit", "factory"];

/// One connection to a file.
pub(super) struct SqliteSession {
    file: Box<File>,
    connection: Option<Open>,
}

/// What is connected to.
#[derive(Debug, Clone)]
struct File {
    path: PathBuf,
    is_uri: bool,
    timeout: Duration,
    tables: Tables,
}

/// A connection with the columns that its table has.
struct Open {
    connection: Connection,
    existing: Vec<String>,
}

impl SqliteSession {
    /// Does not connect yet.
    ///
    /// # Errors
    /// [`BackendError::Unusable`] for what is no file, or parameters that are not supported.
    pub(super) fn new(url: &DatabaseUrl, options: &EngineOptions, tables: Tables) -> Result<Self, BackendError> {
        if url.username.is_some() || url.password.is_some() || url.host.is_some() || url.port.is_some() {
            return Err(unusable("sqlite:// names no host: a file is sqlite:///relative.db or sqlite:////absolute.db"));
        }
        let in_memory = || {
            unusable(
                "a SQLite database in memory (:memory:) is each process's own: no client could read a result of it",
            )
        };
        let database = url.database.as_deref().filter(|name| *name != ":memory:").ok_or_else(in_memory)?;
        let mut parameters = Parameters::of(url, options);
        let timeout = parameters.seconds("timeout")?.unwrap_or(TIMEOUT);
        let is_uri = parameters.truth("uri").unwrap_or_default();
        parameters.ignore(&PYTHONS);
        let path = if is_uri {
            let query: Vec<_> = url.query.iter().filter(|(name, _)| name != "uri" && name != "timeout").collect();
            if url.parameter("mode") == Some("memory") {
                return Err(in_memory());
            }
            parameters.ignore(&query.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>());
            let query: Vec<_> = query.iter().map(|(name, value)| format!("{name}={value}")).collect();
            PathBuf::from(if query.is_empty() {
                database.to_owned()
            } else {
                format!("{database}?{}", query.join("&"))
            })
        } else {
            std::path::absolute(database).map_err(|error| unusable(format_args!("{database}: {error}")))?
        };
        parameters.finish()?;
        Ok(Self { file: Box::new(File { path, is_uri, timeout, tables }), connection: None })
    }

    /// Does something with the connection where it may block. One that has made trouble is not used again.
    async fn with<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Open, &File) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Trouble> {
        let (file, connection) = (self.file.clone(), mem::take(&mut self.connection));
        let done = tokio::task::spawn_blocking(move || {
            let mut open = connection.map_or_else(|| file.open(), Ok).map_err(|error| trouble(&error))?;
            let done = work(&mut open, &file).map_err(|error| trouble(&error))?;
            Ok((open, done))
        });
        let (open, done) = done.await.map_err(|error| Trouble::Passing(error.to_string()))??;
        self.connection = Some(open);
        Ok(done)
    }
}

impl Session for SqliteSession {
    fn prepare(&mut self) -> BoxFuture<'_, Result<(), Trouble>> {
        self.with(|_, _| Ok(())).boxed()
    }

    fn write<'a>(&'a mut self, rows: &'a [TaskRow]) -> BoxFuture<'a, Result<(), Trouble>> {
        let rows = rows.to_vec();
        self.with(move |open, file| write(open, &file.tables, &rows)).boxed()
    }

    fn fetch<'a>(&'a mut self, task_id: &'a str) -> BoxFuture<'a, Result<Option<Row>, Trouble>> {
        let task_id = task_id.to_owned();
        self.with(move |open, file| fetch(open, &file.tables, &task_id)).boxed()
    }

    fn close(&mut self) -> BoxFuture<'_, ()> {
        let connection = mem::take(&mut self.connection);
        async move {
            // Its last connection puts a journal away that is written ahead.
            let _ = tokio::task::spawn_blocking(move || drop(connection)).await;
        }
        .boxed()
    }
}

impl File {
    fn open(&self) -> Result<Open, Error> {
        let mut flags =
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        flags.set(OpenFlags::SQLITE_OPEN_URI, self.is_uri);
        let mut connection = Connection::open_with_flags(&self.path, flags)?;
        connection.busy_timeout(self.timeout)?;
        for table in [&self.tables.task, &self.tables.group] {
            make(&mut connection, &self.tables, table)?;
        }
        let existing = columns(&connection, &self.tables.task)?;
        Ok(Open { connection, existing })
    }
}

/// Makes a table that is not there, or what an older Celery has left out of it.
fn make(connection: &mut Connection, tables: &Tables, table: &Table) -> Result<(), Error> {
    let existing = columns(connection, table)?;
    if existing.is_empty() {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        // Somebody else may have been faster.
        if columns(&transaction, table)?.is_empty() {
            for statement in tables.create(table) {
                transaction.execute_batch(&statement)?;
            }
        }
        return transaction.commit();
    }
    for statement in tables.missing(table, &existing) {
        if let Err(error) = connection.execute_batch(&statement) {
            tracing::warn!("A column is missing that could not be added: {error}. To store it, execute: {statement}");
        }
    }
    Ok(())
}

fn columns(connection: &Connection, table: &Table) -> Result<Vec<String>, Error> {
    let schema = table.schema.as_deref().unwrap_or("main");
    let mut statement = connection.prepare("SELECT name FROM pragma_table_info(?1, ?2)")?;
    statement.query_map([&table.name, schema], |row| row.get(0))?.collect()
}

fn write(open: &mut Open, tables: &Tables, rows: &[TaskRow]) -> Result<(), Error> {
    // At once: who has read first and would write then, while somebody else writes, can only give up.
    let transaction = open.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let now = wall_clock(std::time::SystemTime::now().into());
    for TaskRow { task_id, row } in rows {
        let columns = tables.written(row.extended.is_some(), &open.existing);
        let cells: Vec<_> = columns.iter().map(|(name, _)| cell(row, name)).collect();
        let mut update: Vec<&dyn ToSql> = Vec::with_capacity(cells.len() + 2);
        for (cell, (name, _)) in cells.iter().zip(&columns) {
            update.push(cell);
            if *name == "date_done" {
                update.push(&now);
            }
        }
        update.push(task_id);
        let statement = tables.update(&columns, || "?".to_owned());
        if transaction.prepare_cached(&statement)?.execute(params_from_iter(update))? == 0 {
            let insert = std::iter::once(task_id as &dyn ToSql).chain(cells.iter().map(|cell| cell as &dyn ToSql));
            transaction.prepare_cached(&insert_absent(tables, &columns))?.execute(params_from_iter(insert))?;
        }
    }
    transaction.commit()
}

/// Does nothing where there is a row: it holds a success.
fn insert_absent(tables: &Tables, columns: &[Column]) -> String {
    let values: Vec<_> = (0..columns.len()).map(|index| format!("?{}", index + 2)).collect();
    let (insert, values) = tables.insert(columns, "?1", &values);
    format!(
        "{insert} SELECT {values} WHERE NOT EXISTS (SELECT 1 FROM {} WHERE task_id = ?1)",
        tables.name(&tables.task)
    )
}

fn fetch(open: &mut Open, tables: &Tables, task_id: &str) -> Result<Option<Row>, Error> {
    let mut statement = open.connection.prepare_cached(&tables.select(&open.existing, "?1"))?;
    let read = |row: &rusqlite::Row<'_>| {
        let date_done: Option<String> = row.get(2)?;
        Ok(Row {
            status: row.get::<_, Option<String>>(0)?.unwrap_or_default(),
            result: blob(row, 1)?,
            date_done: date_done.and_then(|text| parse_iso(&text).ok()),
            traceback: row.get(3)?,
            children: blob(row, 4)?,
            extended: None,
        })
    };
    statement.query_row([task_id], read).optional()
}

/// Text counts too: a column has no type of its own.
fn blob(row: &rusqlite::Row<'_>, index: usize) -> Result<Option<bytes::Bytes>, Error> {
    Ok(match row.get_ref(index)? {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Some(bytes::Bytes::copy_from_slice(bytes)),
        _ => None,
    })
}

impl ToSql for Cell {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>, Error> {
        Ok(match self {
            Cell::Text(Some(text)) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
            Cell::Blob(Some(bytes)) => ToSqlOutput::Borrowed(ValueRef::Blob(bytes)),
            Cell::Int(Some(number)) => ToSqlOutput::Owned(Value::Integer(*number)),
            Cell::Time(Some(time)) => ToSqlOutput::Owned(Value::Text(wall_clock(*time))),
            Cell::Text(None) | Cell::Blob(None) | Cell::Int(None) | Cell::Time(None) => ToSqlOutput::Owned(Value::Null),
        })
    }
}

/// A value that cannot be stored stays one; all that concerns the file or who else uses it may be mended.
fn trouble(error: &Error) -> Trouble {
    let reason = error.to_string();
    match error.sqlite_error_code() {
        Some(ErrorCode::TooBig | ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch | ErrorCode::ApiMisuse) => {
            Trouble::Refused(reason)
        }
        _ => Trouble::Passing(reason),
    }
}
