//! [`Link`]: one connection to the server, which ends once and stays ended.
//!
//! fred would reconnect by itself; it is told not to, because a new connection is a new session of the worker.

use std::{future::Future, time::Duration};

use bytes::Bytes;
use fred::{
    clients::Client,
    error::{Error, ErrorKind},
    interfaces::{ClientLike, EventInterface},
    socket2::TcpKeepalive,
    types::{
        ClusterHash, CustomCommand, RespVersion, Value as Reply,
        config::{Config, ConnectionConfig, PerformanceConfig, Server, ServerConfig, TcpConfig, UnresponsiveConfig},
    },
};

use crate::broker::{
    BrokerError, Credentials,
    lifeline::Lifeline,
    redis::{
        options::RedisOptions,
        script::Script,
        url::{Place, RedisUrl},
    },
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const QUIT_LIMIT: Duration = Duration::from_secs(1);
/// The least time after which a reply counts as overdue for fred; more than a mailbox waits.
const OVERDUE: Duration = Duration::from_secs(30);
/// Messages that may wait for a slow subscriber inside fred, which has all the room for them in nine rings from the start.
const BROADCASTS: usize = 2048;
/// The same where only a word about changed lists is pushed, which may get lost among others of its kind.
const NOTICES: usize = 16;
/// Redis got `RPOP key count` and `ZRANGE ... BYSCORE` in 6.2.
const OLDEST: (u64, u64) = (6, 2);

/// A connection that is alive until its [`Lifeline`] says otherwise.
#[derive(Clone)]
pub(super) struct Link {
    pub client: Client,
    pub lifeline: Lifeline,
    place: String,
}

impl Link {
    /// Connects, once. `lifeline` ends with the connection.
    pub async fn connect(url: &RedisUrl, options: &RedisOptions, lifeline: Lifeline) -> Result<Self, BrokerError> {
        Self::with_room(url, options, lifeline, NOTICES).await
    }

    /// The same, for subscriptions to broadcasts.
    pub async fn listen(url: &RedisUrl, options: &RedisOptions, lifeline: Lifeline) -> Result<Self, BrokerError> {
        Self::with_room(url, options, lifeline, BROADCASTS).await
    }

    async fn with_room(
        url: &RedisUrl,
        options: &RedisOptions,
        lifeline: Lifeline,
        pushes: usize,
    ) -> Result<Self, BrokerError> {
        let place = url.sanitized();
        let performance = performance(options, pushes);
        let client = Client::new(
            config(url, options, url.credentials().await?)?,
            Some(performance),
            Some(connection(options)),
            None,
        );
        let ended = client.init().await.map_err(|error| not_connected(url, &error))?;
        let link = Self { client, lifeline, place };
        link.watch(ended);
        link.check_version()?;
        if let Some(name) = &options.client_name {
            link.call("CLIENT", vec!["SETNAME".into(), name.as_str().into()]).await.map_err(|e| link.error(&e))?;
        }
        Ok(link)
    }

    /// Sends one command. Fails at once when the connection is known to be gone.
    pub fn call(&self, command: &'static str, args: Vec<Reply>) -> impl Future<Output = Result<Reply, Error>> + Send {
        self.send(CustomCommand::new_static(command, ClusterHash::FirstKey, false), args)
    }

    /// Sends one command that the server may take its time to answer.
    pub fn call_blocking(
        &self,
        command: &'static str,
        args: Vec<Reply>,
    ) -> impl Future<Output = Result<Reply, Error>> + Send {
        self.send(CustomCommand::new_static(command, ClusterHash::FirstKey, true), args)
    }

    /// Runs a script, loading it first where the server does not know it.
    pub async fn run(&self, script: &Script, keys: &[Reply], args: Vec<Reply>) -> Result<Reply, Error> {
        let mut line: Vec<Reply> = Vec::with_capacity(2 + keys.len() + args.len());
        line.push(self.sha(script).await?);
        line.push((keys.len() as i64).into());
        line.extend(keys.iter().cloned());
        line.extend(args);
        match self.call("EVALSHA", line.clone()).await {
            Err(error) if error.details().starts_with("NOSCRIPT") => {
                line[0] = script.text.into();
                self.call("EVAL", line).await
            }
            result => result,
        }
    }

    /// An error of fred as one of the broker's; says where.
    pub fn error(&self, error: &Error) -> BrokerError {
        let text = format!("redis at {}: {}", self.place, error.details());
        match error {
            _ if is_lost(error) => BrokerError::lost(text),
            _ if is_passing(error) => BrokerError::passing(text),
            _ => BrokerError::refused(text),
        }
    }

    /// Closes politely.
    pub async fn quit(&self) {
        self.lifeline.end(BrokerError::lost(format!("the connection to redis at {} was closed", self.place)));
        quit(&self.client).await;
    }

    async fn sha(&self, script: &Script) -> Result<Reply, Error> {
        if let Some(sha) = script.sha.get() {
            return Ok(sha.clone());
        }
        let sha = self.call("SCRIPT", vec!["LOAD".into(), script.text.into()]).await?;
        Ok(script.sha.get_or_init(|| sha).clone())
    }

    async fn send(&self, command: CustomCommand, args: Vec<Reply>) -> Result<Reply, Error> {
        tokio::select! {
            biased;
            reply = self.client.custom::<Reply, Reply>(command, args) => reply,
            error = self.lifeline.ended() => Err(Error::new(ErrorKind::IO, error.to_string())),
        }
    }

    fn watch(&self, ended: fred::types::ConnectHandle) {
        let (lifeline, place) = (self.lifeline.clone(), self.place.clone());
        tokio::spawn(async move {
            let reason = match ended.await {
                Ok(Err(error)) => error.details().to_owned(),
                _ => "the connection ended".to_owned(),
            };
            lifeline.end(BrokerError::lost(format!("redis at {place}: {reason}")));
        });
        let mut errors = self.client.error_rx();
        let (lifeline, place, client) = (self.lifeline.clone(), self.place.clone(), self.client.clone());
        tokio::spawn(async move {
            tokio::select! {
                Ok((error, _)) = errors.recv() => {
                    lifeline.end(BrokerError::lost(format!("redis at {place}: {}", error.details())));
                }
                _ = lifeline.ended() => {}
            }
            quit(&client).await;
        });
    }

    fn check_version(&self) -> Result<(), BrokerError> {
        let Some(version) = self.client.server_version() else { return Ok(()) };
        if (version.major, version.minor) >= OLDEST {
            return Ok(());
        }
        let (major, minor) = OLDEST;
        let place = &self.place;
        Err(BrokerError::unusable(format!("redis at {place} is version {version}; at least {major}.{minor} is needed")))
    }
}

/// Ends fred's tasks: they outlive the last client that can speak with them.
async fn quit(client: &Client) {
    let _ = tokio::time::timeout(QUIT_LIMIT, client.quit()).await;
}

/// Whether the server may do it later: it has no memory, cannot save, or runs a script.
fn is_passing(error: &Error) -> bool {
    const PREFIXES: [&str; 6] = ["OOM", "MISCONF", "NOREPLICAS", "BUSY", "TRYAGAIN", "CLUSTERDOWN"];
    PREFIXES.iter().any(|prefix| error.details().starts_with(prefix))
}

/// Whether the connection cannot be used after this. A replica and a server that is loading count: the next connection may
/// find better (redis-py's `ConnectionError` family).
pub(super) fn is_lost(error: &Error) -> bool {
    const PREFIXES: [&str; 4] = ["LOADING", "READONLY", "MASTERDOWN", "NOAUTH"];
    let by_kind = matches!(
        error.kind(),
        ErrorKind::IO
            | ErrorKind::Canceled
            | ErrorKind::Timeout
            | ErrorKind::Routing
            | ErrorKind::Protocol
            | ErrorKind::Tls
            | ErrorKind::Backpressure
            | ErrorKind::Sentinel
    );
    by_kind || PREFIXES.iter().any(|prefix| error.details().starts_with(prefix))
}

/// The bytes of a string reply, without copying.
pub(super) fn bytes(reply: Reply) -> Option<Bytes> {
    match reply {
        Reply::Bytes(bytes) => Some(bytes),
        Reply::String(text) => Some(text.into_inner()),
        _ => None,
    }
}

/// The text of a string reply.
pub(super) fn text(reply: Reply) -> Option<String> {
    bytes(reply).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

fn not_connected(url: &RedisUrl, error: &Error) -> BrokerError {
    let text = format!("cannot connect to redis at {}: {}", url.sanitized(), error.details());
    let details = error.details();
    let bad_db = details.contains("DB index is out of range");
    let bad_login = ["WRONGPASS", "NOAUTH", "NOPERM"].iter().any(|prefix| details.starts_with(prefix));
    let old = details.starts_with("NOPROTO") || details.contains("unknown command");
    let text = if old { format!("{text} (at least Redis 6.2 is needed)") } else { text };
    match error.kind() {
        // A provider gives others the next time.
        _ if bad_login && url.credential_provider.is_some() => BrokerError::lost(text),
        ErrorKind::Auth | ErrorKind::Config | ErrorKind::Url => BrokerError::unusable(text),
        _ if bad_db || bad_login || old => BrokerError::unusable(text),
        _ => BrokerError::lost(text),
    }
}

fn config(url: &RedisUrl, options: &RedisOptions, login: Credentials) -> Result<Config, BrokerError> {
    let tls = match (&url.tls, &options.tls) {
        (Some(from_url), Some(setting)) => Some(if url.has_tls_parameters { from_url } else { setting }),
        (from_url, setting) => from_url.as_ref().or(setting.as_ref()),
    };
    Ok(Config {
        username: login.username,
        password: login.password,
        server: server(url, options)?,
        version: RespVersion::RESP3,
        database: (url.db > 0).then_some(url.db),
        tls: tls.map(|tls| tls.connector()).transpose()?,
        ..Config::default()
    })
}

fn server(url: &RedisUrl, options: &RedisOptions) -> Result<ServerConfig, BrokerError> {
    match &url.place {
        Place::Tcp(host, port) => Ok(ServerConfig::new_centralized(host.as_str(), *port)),
        Place::Socket(path) => Ok(ServerConfig::Unix { path: path.clone() }),
        Place::Sentinels(hosts) => {
            let missing = || BrokerError::unusable("broker_transport_options: sentinel:// needs master_name");
            let (username, password) = options.sentinel_credentials.clone();
            Ok(ServerConfig::Sentinel {
                hosts: hosts.iter().map(|(host, port)| Server::new(host.as_str(), *port)).collect(),
                service_name: options.master_name.clone().ok_or_else(missing)?,
                username,
                password,
            })
        }
    }
}

fn performance(options: &RedisOptions, pushes: usize) -> PerformanceConfig {
    PerformanceConfig {
        default_command_timeout: options.socket_timeout.unwrap_or_default(),
        broadcast_channel_capacity: pushes,
        ..PerformanceConfig::default()
    }
}

fn connection(options: &RedisOptions) -> ConnectionConfig {
    let timeout = options.socket_connect_timeout.unwrap_or(CONNECT_TIMEOUT);
    ConnectionConfig {
        connection_timeout: timeout,
        internal_command_timeout: timeout,
        max_command_attempts: 1,
        unresponsive: UnresponsiveConfig {
            max_timeout: options.health_check_interval.map(|interval| (interval * 2).max(OVERDUE)),
            ..UnresponsiveConfig::default()
        },
        tcp: TcpConfig {
            nodelay: Some(true),
            keepalive: options.socket_keepalive.then(TcpKeepalive::new),
            ..TcpConfig::default()
        },
        ..ConnectionConfig::default()
    }
}
