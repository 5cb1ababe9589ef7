//! [`MysqlSession`]: results in MySQL and MariaDB.
//!
//! As SQLAlchemy's, the session keeps the server's own modes and time zone. Rows that are new go in one statement, those
//! that are there are updated one by one.

use std::{collections::HashMap, time::Instant};

use futures::{FutureExt, future::BoxFuture};
use sqlx::{
    AssertSqlSafe, Connection, Error, MySql, MySqlConnection, Row as _,
    mysql::{MySqlArguments, MySqlConnectOptions, MySqlRow, MySqlSslMode},
    query::Query,
};

use crate::{
    backend::{
        BackendError,
        database::{
            options::{EngineOptions, Parameters},
            session::{Cell, Session, TaskRow, Trouble, cell, wall_clock},
            tables::{Table, Tables},
            url::{DatabaseUrl, unusable},
        },
        row::Row,
    },
    protocol::time::parse_iso,
};

/// MariaDB has sequences since then, and SQLAlchemy uses them.
const SEQUENCES_SINCE: (u32, u32) = (10, 3);
/// Rows of one insert: a statement has at most 65535 parameters.
const MAX_INSERT: usize = 64;
/// What concerns Python's drivers only, or is so anyway.
const WITHOUT_EFFECT: [&str; 13] = [
    "autocommit",
    "binary_prefix",
    "client_flag",
    "conv",
    "cursorclass",
    "local_infile",
    "max_allowed_packet",
    "program_name",
    "read_timeout",
    "write_timeout",
    "ssl_check_hostname",
    "use_unicode",
    "defer_connect",
];
/// Errors of the server that a later try may not see: deadlock, lock wait, disk full, read-only, a table or sequence that is
/// made when connecting again, rights, somebody else's faster insert.
const PASSING: [u16; 16] =
    [1021, 1022, 1040, 1044, 1045, 1049, 1053, 1062, 1114, 1142, 1146, 1205, 1213, 1290, 1836, 4091];

/// One connection to a server.
pub(super) struct MysqlSession {
    options: MySqlConnectOptions,
    connect_timeout: std::time::Duration,
    init_command: Option<String>,
    tables: Tables,
    recycle: Option<std::time::Duration>,
    open: Option<Open>,
}

/// A connection with what is known of the server.
struct Open {
    connection: MySqlConnection,
    since: Instant,
    existing: Vec<String>,
    tables: Tables,
}

impl MysqlSession {
    /// Does not connect yet.
    ///
    /// # Errors
    /// [`BackendError::Unusable`] for parameters that cannot be or are not supported.
    pub(super) fn new(url: &DatabaseUrl, options: &EngineOptions, tables: Tables) -> Result<Self, BackendError> {
        let mut parameters = Parameters::of(url, options);
        let mut connect = MySqlConnectOptions::new()
            .host(url.host.as_deref().unwrap_or("localhost"))
            .port(url.port.unwrap_or(3306))
            .pipes_as_concat(false)
            .no_engine_substitution(false)
            .timezone(None)
            .charset(&parameters.text("charset").unwrap_or_else(|| "utf8mb4".to_owned()));
        if let Some(name) = &url.username {
            connect = connect.username(name);
        }
        if let Some(password) = &url.password {
            connect = connect.password(password);
        }
        if let Some(database) = &url.database {
            connect = connect.database(database);
        }
        if let Some(path) = parameters.text("unix_socket") {
            connect = connect.socket(path);
        }
        connect = secure(connect, &mut parameters)?;
        let connect_timeout = parameters.seconds("connect_timeout")?.unwrap_or(std::time::Duration::from_secs(10));
        let init_command = parameters.text("init_command");
        parameters.ignore(&WITHOUT_EFFECT);
        parameters.finish()?;
        Ok(Self { options: connect, connect_timeout, init_command, tables, recycle: options.recycle, open: None })
    }

    /// The connection, made anew if it has become too old.
    async fn open(&mut self) -> Result<&mut Open, Trouble> {
        let is_good = |open: &Open| self.recycle.is_none_or(|oldest| open.since.elapsed() < oldest);
        let mut open = self.open.take().filter(is_good);
        // The server ends connections that nobody uses for long.
        if let Some(kept) = &mut open
            && kept.connection.ping().await.is_err()
        {
            open = None;
        }
        let open = match open {
            Some(open) => open,
            None => {
                let connected = tokio::time::timeout(self.connect_timeout, self.connect()).await;
                let connected = connected.map_err(|_| Trouble::Passing("connecting takes too long".to_owned()))?;
                connected.map_err(|error| Trouble::Passing(error.to_string()))?
            }
        };
        Ok(self.open.insert(open))
    }

    async fn connect(&self) -> Result<Open, Error> {
        let mut connection = MySqlConnection::connect_with(&self.options).await?;
        if let Some(command) = &self.init_command {
            statement(command).execute(&mut connection).await?;
        }
        let version: String = sqlx::query_scalar("SELECT VERSION()").fetch_one(&mut connection).await?;
        let mut tables = self.tables.clone();
        tables.has_sequences = has_sequences(&version);
        for table in [&tables.task, &tables.group] {
            make(&mut connection, &tables, table).await?;
        }
        let existing = columns(&mut connection, &tables.task).await?;
        Ok(Open { connection, since: Instant::now(), existing, tables })
    }

    /// A connection on which something passing has happened is not used again.
    fn give_up_after(&mut self, trouble: &Trouble) {
        if matches!(trouble, Trouble::Passing(_)) {
            self.open = None;
        }
    }
}

impl Session for MysqlSession {
    fn prepare(&mut self) -> BoxFuture<'_, Result<(), Trouble>> {
        async move { self.open().await.map(drop) }.boxed()
    }

    fn write<'a>(&'a mut self, rows: &'a [TaskRow]) -> BoxFuture<'a, Result<(), Trouble>> {
        async move {
            let written = write(self.open().await?, rows).await;
            written.map_err(|error| trouble(&error)).inspect_err(|trouble| self.give_up_after(trouble))
        }
        .boxed()
    }

    fn fetch<'a>(&'a mut self, task_id: &'a str) -> BoxFuture<'a, Result<Option<Row>, Trouble>> {
        async move {
            let found = fetch(self.open().await?, task_id).await;
            found.map_err(|error| trouble(&error)).inspect_err(|trouble| self.give_up_after(trouble))
        }
        .boxed()
    }

    fn close(&mut self) -> BoxFuture<'_, ()> {
        let open = self.open.take();
        async move {
            if let Some(open) = open {
                let _ = open.connection.close().await;
            }
        }
        .boxed()
    }
}

/// `ssl_*` of PyMySQL and mysqlclient.
fn secure(mut options: MySqlConnectOptions, parameters: &mut Parameters) -> Result<MySqlConnectOptions, BackendError> {
    let (ca, cert, key) = (parameters.text("ssl_ca"), parameters.text("ssl_cert"), parameters.text("ssl_key"));
    let checks_chain = parameters.truth("ssl_verify_cert").unwrap_or(ca.is_some());
    let checks_name = parameters.truth("ssl_verify_identity").unwrap_or_default();
    let is_disabled = parameters.truth("ssl_disabled").unwrap_or_default();
    let mode = match parameters.text("ssl_mode").map(|mode| mode.to_ascii_uppercase()) {
        None => None,
        Some(mode) => Some(mode.parse().map_err(|_| unusable("its parameter ssl_mode is none of MySQL's modes"))?),
    };
    let has_files = ca.is_some() || cert.is_some();
    let mode = mode.unwrap_or(match (is_disabled, checks_chain, checks_name) {
        (true, ..) => MySqlSslMode::Disabled,
        (_, _, true) => MySqlSslMode::VerifyIdentity,
        (_, true, _) => MySqlSslMode::VerifyCa,
        _ if has_files => MySqlSslMode::Required,
        _ => MySqlSslMode::Preferred,
    });
    if let Some(ca) = ca {
        options = options.ssl_ca(ca);
    }
    if let Some(cert) = cert {
        options = options.ssl_client_cert(cert);
    }
    if let Some(key) = key {
        options = options.ssl_client_key(key);
    }
    Ok(options.ssl_mode(mode))
}

/// `10.11.14-MariaDB-0+deb12u2`, or with the `5.5.5-` that old clients want to see.
fn has_sequences(version: &str) -> bool {
    let version = version.strip_prefix("5.5.5-").unwrap_or(version);
    let mut numbers = version.split(['.', '-']).map(|number| number.parse().unwrap_or(0));
    let number = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    version.contains("MariaDB") && number >= SEQUENCES_SINCE
}

/// Makes a table that is not there, or what an older Celery has left out of it.
async fn make(connection: &mut MySqlConnection, tables: &Tables, table: &Table) -> Result<(), Error> {
    let existing = columns(connection, table).await?;
    if existing.is_empty() {
        for text in tables.create(table) {
            statement(&text).execute(&mut *connection).await?;
        }
        return Ok(());
    }
    for text in tables.missing(table, &existing) {
        if let Err(error) = statement(&text).execute(&mut *connection).await {
            tracing::warn!("A column is missing that could not be added: {error}. To store it, execute: {text}");
        }
    }
    Ok(())
}

async fn columns(connection: &mut MySqlConnection, table: &Table) -> Result<Vec<String>, Error> {
    let query = "SELECT CAST(column_name AS CHAR) FROM information_schema.columns \
                 WHERE table_schema = COALESCE(?, DATABASE()) AND table_name = ?";
    sqlx::query_scalar(query).bind(&table.schema).bind(&table.name).fetch_all(connection).await
}

async fn write(open: &mut Open, rows: &[TaskRow]) -> Result<(), Error> {
    let Open { connection, existing, tables, .. } = open;
    let mut transaction = connection.begin().await?;
    let states = states(&mut transaction, tables, rows).await?;
    let now = wall_clock(std::time::SystemTime::now().into());
    let is_done = |row: &&TaskRow| {
        tables.is_careful && states.get(&row.task_id).is_some_and(|state| state.as_deref() == Some("SUCCESS"))
    };
    let (known, new): (Vec<_>, Vec<_>) =
        rows.iter().filter(|row| !is_done(row)).partition(|row| states.contains_key(&row.task_id));
    for row in known {
        let columns = tables.written(row.row.extended.is_some(), existing);
        let text = tables.update(&columns, || "?".to_owned());
        let mut query = statement(&text);
        for (name, _) in columns {
            query = bind(query, cell(&row.row, name));
            if name == "date_done" {
                query = query.bind(now.clone());
            }
        }
        query.bind(&row.task_id).execute(&mut *transaction).await?;
    }
    for is_extended in [false, true] {
        let rows: Vec<_> = new.iter().filter(|row| row.row.extended.is_some() == is_extended).collect();
        let columns = tables.written(is_extended, existing);
        for chunk in rows.chunks(MAX_INSERT) {
            let (insert, values) = tables.insert(&columns, "?", &vec!["?".to_owned(); columns.len()]);
            let text = format!("{insert} VALUES {}", vec![format!("({values})"); chunk.len()].join(", "));
            // Its length is another one each time.
            let mut query = statement(&text).persistent(chunk.len() == 1 || chunk.len() == MAX_INSERT);
            for row in chunk {
                query = query.bind(&row.task_id);
                for (name, _) in &columns {
                    query = bind(query, cell(&row.row, name));
                }
            }
            query.execute(&mut *transaction).await?;
        }
    }
    transaction.commit().await
}

/// The states of those tasks that have a row.
async fn states(
    connection: &mut MySqlConnection,
    tables: &Tables,
    rows: &[TaskRow],
) -> Result<HashMap<String, Option<String>>, Error> {
    let mut states = HashMap::new();
    for chunk in rows.chunks(MAX_INSERT) {
        let parameters = vec!["?"; chunk.len()].join(", ");
        let name = tables.name(&tables.task);
        let text = format!("SELECT task_id, status FROM {name} WHERE task_id IN ({parameters})");
        let mut query = statement(&text).persistent(chunk.len() == 1 || chunk.len() == MAX_INSERT);
        for row in chunk {
            query = query.bind(&row.task_id);
        }
        for found in query.fetch_all(&mut *connection).await? {
            states.insert(text_of(&found, 0)?.unwrap_or_default(), text_of(&found, 1)?);
        }
    }
    Ok(states)
}

async fn fetch(open: &mut Open, task_id: &str) -> Result<Option<Row>, Error> {
    let text = open.tables.select(&open.existing, "?");
    let Some(row) = statement(&text).bind(task_id).fetch_optional(&mut open.connection).await? else {
        return Ok(None);
    };
    let blob = |index: usize| row.try_get_unchecked::<Option<Vec<u8>>, _>(index).map(|b| b.map(bytes::Bytes::from));
    Ok(Some(Row {
        status: text_of(&row, 0)?.unwrap_or_default(),
        result: blob(1)?,
        date_done: text_of(&row, 2)?.and_then(|text| parse_iso(&text).ok()),
        traceback: text_of(&row, 3)?,
        children: blob(4)?,
        extended: None,
    }))
}

/// A text in whichever of the types of texts and blobs.
fn text_of(row: &MySqlRow, index: usize) -> Result<Option<String>, Error> {
    let bytes = row.try_get_unchecked::<Option<Vec<u8>>, _>(index)?;
    Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

/// Statements are ours; the names in them are the settings', quoted.
fn statement(text: &str) -> Query<'_, MySql, MySqlArguments> {
    sqlx::query(AssertSqlSafe(text.to_owned()))
}

fn bind<'q>(query: Query<'q, MySql, MySqlArguments>, cell: Cell) -> Query<'q, MySql, MySqlArguments> {
    match cell {
        Cell::Text(text) => query.bind(text),
        Cell::Blob(bytes) => query.bind(bytes.map(|bytes| bytes.to_vec())),
        Cell::Int(number) => query.bind(number),
        Cell::Time(time) => query.bind(time.map(wall_clock)),
    }
}

/// A value that cannot be stored stays one; all that concerns the server may be mended.
fn trouble(error: &Error) -> Trouble {
    let reason = error.to_string();
    let number = error.as_database_error().and_then(|error| {
        error.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>().map(sqlx::mysql::MySqlDatabaseError::number)
    });
    match number {
        Some(number) if !PASSING.contains(&number) => Trouble::Refused(reason),
        _ => Trouble::Passing(reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::{DatabaseSettings, database::url::Dialect};

    fn options(url: &str) -> Result<MySqlConnectOptions, BackendError> {
        let tables = Tables::new(Dialect::Mysql, &DatabaseSettings::default(), (5, 7));
        Ok(MysqlSession::new(&DatabaseUrl::parse(url)?, &EngineOptions::default(), tables)?.options)
    }

    #[test]
    fn servers_with_sequences_are_known() {
        let cases = [
            ("10.11.14-MariaDB-0+deb12u2", true),
            ("5.5.5-10.3.1-MariaDB", true),
            ("10.2.9-MariaDB", false),
            ("8.4.2", false),
        ];
        for (version, expected) in cases {
            assert_eq!(has_sequences(version), expected, "{version}");
        }
    }

    #[test]
    fn parameters_are_pymysqls() {
        let found = options("mysql+pymysql://u:p@h:3307/d?charset=utf8&unix_socket=/run/my").unwrap();
        assert_eq!((found.get_host(), found.get_port(), found.get_database()), ("h", 3307, Some("d")));
        assert_eq!((found.get_charset(), found.get_username()), ("utf8", "u"));
        assert_eq!(found.get_socket().map(|path| path.display().to_string()).as_deref(), Some("/run/my"));
        let error = options("mysql://u:secret@h/d?read_default_file=x").map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("read_default_file") && !error.contains("secret"), "{error}");
    }
}
