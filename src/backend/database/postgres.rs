//! [`PostgresSession`]: results in PostgreSQL. Rows of a transaction are sent one behind the other, without waiting.
//!
//! Statements have no names: behind a pooler like PgBouncer the next transaction may be on another connection.
//! The session's time zone stays the server's, as for libpq: it decides what `date_done` shows.

use std::time::Instant;

use futures::{
    FutureExt,
    future::{BoxFuture, try_join_all},
};
use tokio_postgres::{
    Client, Config, Error,
    types::{ToSql, Type},
};

use crate::{
    backend::{
        BackendError,
        database::{
            options::{EngineOptions, Parameters},
            postgres_tls::{Tls, tls},
            session::{Cell, Session, TaskRow, Trouble, cell},
            tables::{Column, Kind, Table, Tables},
            url::{DatabaseUrl, unusable},
        },
        row::Row,
    },
    protocol::time::parse_iso,
};

/// Parameters of libpq that mean the same here, with the variables that it takes them from.
const HONOURED: [(&str, &str); 16] = [
    ("host", "PGHOST"),
    ("hostaddr", "PGHOSTADDR"),
    ("port", "PGPORT"),
    ("user", "PGUSER"),
    ("password", "PGPASSWORD"),
    ("dbname", "PGDATABASE"),
    ("options", "PGOPTIONS"),
    ("application_name", "PGAPPNAME"),
    ("connect_timeout", "PGCONNECT_TIMEOUT"),
    ("target_session_attrs", "PGTARGETSESSIONATTRS"),
    ("load_balance_hosts", "PGLOADBALANCEHOSTS"),
    ("tcp_user_timeout", ""),
    ("keepalives", ""),
    ("keepalives_idle", ""),
    ("keepalives_interval", ""),
    ("keepalives_count", ""),
];
/// What is so anyway, or concerns what nobody uses here.
const WITHOUT_EFFECT: [&str; 11] = [
    "async",
    "async_",
    "autocommit",
    "channel_binding",
    "client_encoding",
    "connection_factory",
    "cursor_factory",
    "fallback_application_name",
    "gssencmode",
    "prepare_threshold",
    "sslcompression",
];
/// Where libpq of most distributions finds a server without a host; the other one is its own default.
const SOCKETS: [&str; 2] = ["/var/run/postgresql", "/tmp"];

/// One connection to a server.
pub(super) struct PostgresSession {
    config: Config,
    tls: Tls,
    tables: Tables,
    recycle: Option<std::time::Duration>,
    open: Option<Open>,
}

/// A connection with the columns that its table has.
struct Open {
    client: Client,
    since: Instant,
    existing: Vec<String>,
}

impl PostgresSession {
    /// Does not connect yet.
    ///
    /// # Errors
    /// [`BackendError::Unusable`] for parameters that cannot be or are not supported.
    pub(super) fn new(url: &DatabaseUrl, options: &EngineOptions, tables: Tables) -> Result<Self, BackendError> {
        let mut parameters = Parameters::of(url, options);
        let mut config = Config::new();
        let of_url = [
            ("host", url.host.clone()),
            ("port", url.port.map(|port| port.to_string())),
            ("user", url.username.clone()),
            ("password", url.password.clone()),
            ("dbname", url.database.clone()),
        ];
        let mut text = String::new();
        for (name, variable) in HONOURED {
            let of_url = of_url.iter().find(|(part, _)| *part == name).and_then(|(_, value)| value.clone());
            let given = parameters.text(name).or(of_url).or_else(|| std::env::var(variable).ok());
            let name = if name == "keepalives_count" { "keepalives_retries" } else { name };
            if let Some(value) = given.filter(|value| !value.is_empty()) {
                let quoted = value.replace('\\', "\\\\").replace('\'', "\\'");
                text.push_str(&format!("{name}='{quoted}' "));
            }
        }
        if !text.is_empty() {
            config = text.parse().map_err(|error: Error| unusable(reason(&error)))?;
        }
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            let found = SOCKETS.into_iter().find(|directory| std::path::Path::new(directory).exists());
            config.host_path(found.unwrap_or(SOCKETS[1]));
        }
        let tls = tls(&mut config, &mut parameters)?;
        parameters.ignore(&WITHOUT_EFFECT);
        parameters.finish()?;
        Ok(Self { config, tls, tables, recycle: options.recycle, open: None })
    }

    /// The connection, made anew if it is lost or has become too old.
    async fn open(&mut self) -> Result<&mut Open, Trouble> {
        let is_good =
            |open: &Open| !open.client.is_closed() && self.recycle.is_none_or(|oldest| open.since.elapsed() < oldest);
        let open = match self.open.take().filter(is_good) {
            Some(open) => open,
            None => self.connect().await.map_err(|error| Trouble::Passing(reason(&error)))?,
        };
        Ok(self.open.insert(open))
    }

    async fn connect(&self) -> Result<Open, Error> {
        let (mut client, connection) = self.config.connect(self.tls.clone()).await?;
        // Its end is seen by whoever uses the client.
        tokio::spawn(connection);
        for table in [&self.tables.task, &self.tables.group] {
            make(&mut client, &self.tables, table).await?;
        }
        let existing = columns(&client, &self.tables, &self.tables.task).await?;
        Ok(Open { client, since: Instant::now(), existing })
    }

    /// A connection on which something passing has happened is not used again.
    fn give_up_after(&mut self, trouble: &Trouble) {
        if matches!(trouble, Trouble::Passing(_)) {
            self.open = None;
        }
    }
}

impl Session for PostgresSession {
    fn prepare(&mut self) -> BoxFuture<'_, Result<(), Trouble>> {
        async move { self.open().await.map(drop) }.boxed()
    }

    fn write<'a>(&'a mut self, rows: &'a [TaskRow]) -> BoxFuture<'a, Result<(), Trouble>> {
        async move {
            let tables = self.tables.clone();
            let written = write(self.open().await?, &tables, rows).await;
            written.map_err(|error| trouble(&error)).inspect_err(|trouble| self.give_up_after(trouble))
        }
        .boxed()
    }

    fn fetch<'a>(&'a mut self, task_id: &'a str) -> BoxFuture<'a, Result<Option<Row>, Trouble>> {
        async move {
            let tables = self.tables.clone();
            let found = fetch(self.open().await?, &tables, task_id).await;
            found.map_err(|error| trouble(&error)).inspect_err(|trouble| self.give_up_after(trouble))
        }
        .boxed()
    }

    fn close(&mut self) -> BoxFuture<'_, ()> {
        self.open = None;
        std::future::ready(()).boxed()
    }
}

/// Makes a table that is not there, or what an older Celery has left out of it.
async fn make(client: &mut Client, tables: &Tables, table: &Table) -> Result<(), Error> {
    let existing = columns(client, tables, table).await?;
    if existing.is_empty() {
        let transaction = client.transaction().await?;
        for statement in tables.create(table) {
            transaction.batch_execute(&statement).await?;
        }
        return transaction.commit().await;
    }
    for statement in tables.missing(table, &existing) {
        if let Err(error) = client.batch_execute(&statement).await {
            let error = reason(&error);
            tracing::warn!("A column is missing that could not be added: {error}. To store it, execute: {statement}");
        }
    }
    Ok(())
}

async fn columns(client: &Client, tables: &Tables, table: &Table) -> Result<Vec<String>, Error> {
    let query = "SELECT attname::text FROM pg_attribute \
                 WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped";
    let rows = client.query_typed(query, &[(&tables.name(table), Type::TEXT)]).await?;
    rows.iter().map(|row| row.try_get(0)).collect()
}

async fn write(open: &mut Open, tables: &Tables, rows: &[TaskRow]) -> Result<(), Error> {
    // Of rows without and with extended columns.
    let columns = [false, true].map(|is_extended| tables.written(is_extended, &open.existing));
    let statements = columns.each_ref().map(|columns| upsert(tables, columns));
    let types = columns.each_ref().map(|columns| types(columns));
    let now = std::time::SystemTime::now();
    let transaction = open.client.transaction().await?;
    let writes = rows.iter().map(|TaskRow { task_id, row }| {
        let which = usize::from(row.extended.is_some());
        let (columns, statement, types) = (&columns[which], &statements[which], &types[which]);
        let transaction = &transaction;
        async move {
            let mut values: Vec<Box<dyn ToSql + Sync + Send>> = Vec::with_capacity(types.len());
            for (name, _) in columns {
                values.push(boxed(cell(row, name)));
                if *name == "date_done" {
                    values.push(Box::new(now));
                }
            }
            values.push(Box::new(task_id.as_str()));
            let values = values.iter().map(|value| &**value as &(dyn ToSql + Sync)).zip(types.iter().cloned());
            transaction.execute_typed(statement, &values.collect::<Vec<_>>()).await
        }
    });
    try_join_all(writes).await?;
    transaction.commit().await
}

/// Updates the row of a task, or inserts one; whoever has been faster meanwhile is updated, too.
fn upsert(tables: &Tables, columns: &[Column]) -> String {
    let mut last = 0;
    let mut next = || {
        last += 1;
        format!("${last}")
    };
    let update = tables.update(columns, &mut next);
    let task_id = format!("${last}");
    let dated = columns.iter().position(|(name, _)| *name == "date_done").unwrap_or(columns.len());
    // Behind `date_done` comes the time that it is now, which an insert does not need.
    let values: Vec<_> =
        (0..columns.len()).map(|index| format!("${}", index + 1 + usize::from(index > dated))).collect();
    let (insert, values) = tables.insert(columns, &task_id, &values);
    let set: Vec<_> = columns.iter().map(|(name, _)| format!("{name} = EXCLUDED.{name}")).collect();
    let name = tables.name(&tables.task);
    let guard = if tables.is_careful { "WHERE kept.status IS DISTINCT FROM 'SUCCESS'" } else { "" };
    let insert = insert.replacen(&name, &format!("{name} AS kept"), 1);
    format!(
        "WITH updated AS ({update} RETURNING 1) {insert} SELECT {values} \
         WHERE NOT EXISTS (SELECT 1 FROM {name} WHERE task_id = {task_id}) \
         ON CONFLICT (task_id) DO UPDATE SET {} {guard}",
        set.join(", ")
    )
}

fn types(columns: &[Column]) -> Vec<Type> {
    let mut types = Vec::new();
    for (name, kind) in columns {
        types.push(match kind {
            Kind::Id | Kind::Integer => Type::INT4,
            Kind::String(_) => Type::VARCHAR,
            Kind::LargeBinary => Type::BYTEA,
            // An instant, which the server turns into the session's wall clock.
            Kind::DateTime => Type::TIMESTAMPTZ,
            Kind::Text => Type::TEXT,
        });
        if *name == "date_done" {
            types.push(Type::TIMESTAMPTZ);
        }
    }
    types.push(Type::VARCHAR);
    types
}

fn boxed(cell: Cell) -> Box<dyn ToSql + Sync + Send> {
    match cell {
        Cell::Text(text) => Box::new(text),
        Cell::Blob(bytes) => Box::new(bytes.map(|bytes| bytes.to_vec())),
        // The column has 32 bits.
        Cell::Int(number) => Box::new(number.map(|number| i32::try_from(number).unwrap_or(i32::MAX))),
        Cell::Time(time) => Box::new(time.map(std::time::SystemTime::from)),
    }
}

async fn fetch(open: &mut Open, tables: &Tables, task_id: &str) -> Result<Option<Row>, Error> {
    let query = tables.select(&open.existing, "$1");
    let Some(row) = open.client.query_typed(&query, &[(&task_id, Type::VARCHAR)]).await?.into_iter().next() else {
        return Ok(None);
    };
    let blob = |index| row.try_get::<_, Option<Vec<u8>>>(index).map(|bytes| bytes.map(bytes::Bytes::from));
    let date_done: Option<String> = row.try_get(2)?;
    Ok(Some(Row {
        status: row.try_get::<_, Option<String>>(0)?.unwrap_or_default(),
        result: blob(1)?,
        date_done: date_done.and_then(|text| parse_iso(&text).ok()),
        traceback: row.try_get(3)?,
        children: if open.existing.iter().any(|name| name == "children") { blob(4)? } else { None },
        extended: None,
    }))
}

/// A value that cannot be stored stays one; all that concerns the server may be mended.
fn trouble(error: &Error) -> Trouble {
    // Undefined tables are made when connecting again, and rights can be granted.
    const MENDED: [&str; 2] = ["42P01", "42501"];
    const REFUSED: [&str; 5] = ["0A", "22", "23", "42", "54"];
    let reason = reason(error);
    match error.code().map(tokio_postgres::error::SqlState::code) {
        Some(code) if !MENDED.contains(&code) && REFUSED.iter().any(|class| code.starts_with(class)) => {
            Trouble::Refused(reason)
        }
        _ => Trouble::Passing(reason),
    }
}

/// With what the server has said.
fn reason(error: &Error) -> String {
    match (error.as_db_error(), std::error::Error::source(error)) {
        (Some(told), _) => format!("{}: {}", told.severity(), told.message()),
        (None, Some(source)) => format!("{error}: {source}"),
        (None, None) => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        backend::{DatabaseSettings, database::url::Dialect},
        serialization::map,
    };

    fn config(url: &str) -> Result<Config, BackendError> {
        let tables = Tables::new(Dialect::Postgres, &DatabaseSettings::default(), (5, 7));
        let options = EngineOptions::from_map(&map([("pool_recycle", 60.into())]))?;
        Ok(PostgresSession::new(&DatabaseUrl::parse(url)?, &options, tables)?.config)
    }

    #[test]
    fn parameters_are_libpqs() {
        let config = config("postgresql+psycopg2://u:p'%5C@h:5433/d?application_name=w&connect_timeout=3").unwrap();
        assert_eq!((config.get_user(), config.get_dbname()), (Some("u"), Some("d")));
        assert_eq!((config.get_password(), config.get_ports()), (Some(&b"p'\\"[..]), &[5433][..]));
        assert_eq!(config.get_application_name(), Some("w"));
        assert_eq!(config.get_connect_timeout(), Some(&std::time::Duration::from_secs(3)));
    }

    #[test]
    fn what_is_not_supported_is_named_without_the_password() {
        for (url, word) in [
            ("postgresql://u:secret@h/d?service=x", "service"),
            ("postgresql://u:secret@h/d?sslmode=maybe", "sslmode"),
            ("postgresql://u:secret@h/d?connect_timeout=soon", "connect_timeout"),
        ] {
            let error = config(url).map(|_| ()).unwrap_err().to_string();
            assert!(error.contains(word) && !error.contains("secret"), "{error}");
        }
    }
}
