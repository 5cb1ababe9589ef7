//! [`Link`]: the one pipelined connection to the server, kept up for ever. Knows no keys and no documents.

use std::time::Duration;

use fred::{
    clients::Client,
    error::{Error, ErrorKind},
    interfaces::{ClientInterface, ClientLike, EventInterface},
    types::{
        Builder,
        config::{Config, PerformanceConfig, ReconnectPolicy, ServerConfig},
    },
};
use tokio_util::sync::CancellationToken;

use crate::backend::{
    BackendError,
    redis::address::{Address, Place},
};

/// How often a lost server is looked for, in milliseconds. What is logged follows the retry policy instead.
const RECONNECT_DELAY: u32 = 100;
/// Before a client that has given up (refused credentials) is started again.
const REVIVAL_DELAY: Duration = Duration::from_secs(1);
/// How long an operation waits for a connection before that counts as a failed try.
const CONNECT_PATIENCE: Duration = Duration::from_secs(1);

/// Why an operation did not happen, by what can be done about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The server cannot be reached, or cannot do it now (loading, read-only, out of memory): try again.
    Passing(String),
    /// The server forbids or does not know scripts.
    NoScripts(String),
    /// The server holds no script of this hash.
    UnknownScript,
    /// Trying again cannot help.
    Refused(String),
}

/// A connection that comes back by itself.
pub(super) struct Link {
    client: Client,
    closing: CancellationToken,
}

impl Link {
    /// Starts to connect, and does not wait for it: as with Celery, a worker starts without its result backend.
    ///
    /// # Errors
    ///
    /// [`BackendError::Unusable`] for certificates that cannot be read.
    pub(super) fn open(address: &Address) -> Result<Self, BackendError> {
        let client = Builder::from_config(config(address)?)
            .with_connection_config(|connection| {
                connection.connection_timeout = address.connect_timeout;
                connection.internal_command_timeout = address.socket_timeout;
                connection.max_command_attempts = 1;
                connection.reconnect_on_auth_error = true;
                connection.tcp.nodelay = Some(true);
            })
            .set_performance_config(PerformanceConfig {
                default_command_timeout: address.socket_timeout,
                ..PerformanceConfig::default()
            })
            .set_policy(ReconnectPolicy::new_constant(0, RECONNECT_DELAY))
            .build()
            .map_err(|e| BackendError::Unusable(format!("result_backend cannot be used: {e}")))?;
        let closing = CancellationToken::new();
        if let Some(name) = address.client_name.clone() {
            keep_named(&client, name, closing.clone());
        }
        tokio::spawn(keep_up(client.clone(), closing.clone()));
        Ok(Self { client, closing })
    }

    /// Cancelled when the backend is being closed.
    pub(super) fn closing(&self) -> &CancellationToken {
        &self.closing
    }

    /// The client, connected.
    pub(super) async fn client(&self) -> Result<&Client, Trouble> {
        if self.client.is_connected() {
            return Ok(&self.client);
        }
        match tokio::time::timeout(CONNECT_PATIENCE, self.client.wait_for_connect()).await {
            Ok(Ok(())) => Ok(&self.client),
            Ok(Err(error)) => Err(Trouble::Passing(error.to_string())),
            Err(_) if self.client.is_connected() => Ok(&self.client),
            Err(_) => Err(Trouble::Passing("not connected".to_owned())),
        }
    }

    /// Sorts an error, and turns away from a server that has become a replica.
    pub(super) fn trouble(&self, error: Error) -> Trouble {
        let trouble = classify(&error);
        if error.details().starts_with("READONLY") {
            self.turn_away();
        }
        trouble
    }

    /// Connects anew: behind the same address there may be another server by now.
    pub(super) fn turn_away(&self) {
        let client = self.client.clone();
        tokio::spawn(async move { client.force_reconnection().await });
    }

    /// Disconnects.
    pub(super) async fn quit(&self) {
        self.closing.cancel();
        let _ = tokio::time::timeout(CONNECT_PATIENCE, self.client.quit()).await;
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.closing.cancel();
    }
}

/// Restarts the client whenever it ends: some errors are final to fred (a refused password) that an operator can mend.
async fn keep_up(client: Client, closing: CancellationToken) {
    loop {
        let task = client.connect();
        tokio::select! {
            () = closing.cancelled() => break,
            _ = task => {}
        }
        tokio::select! {
            () = closing.cancelled() => break,
            () = tokio::time::sleep(REVIVAL_DELAY) => {}
        }
    }
}

/// `redis_client_name`, on every new connection.
fn keep_named(client: &Client, name: String, closing: CancellationToken) {
    let naming = client.on_reconnect({
        let client = client.clone();
        move |_| {
            let (client, name) = (client.clone(), name.clone());
            async move {
                if let Err(error) = client.client_setname(name).await {
                    tracing::debug!("CLIENT SETNAME: {error}");
                }
                Ok(())
            }
        }
    });
    tokio::spawn(async move {
        closing.cancelled().await;
        naming.abort();
    });
}

fn config(address: &Address) -> Result<Config, BackendError> {
    let server = match &address.place {
        Place::Tcp { host, port } => ServerConfig::new_centralized(host, *port),
        Place::Unix(path) => ServerConfig::new_unix_socket(path),
        Place::Sentinel { hosts, service, username, password } => ServerConfig::Sentinel {
            hosts: hosts.iter().map(|(host, port)| (host.as_str(), *port).into()).collect(),
            service_name: service.clone(),
            username: username.clone(),
            password: password.clone(),
        },
    };
    Ok(Config {
        server,
        username: address.username.clone(),
        password: address.password.clone(),
        database: Some(address.db),
        tls: address.tls.as_ref().map(|tls| tls.connector()).transpose()?,
        fail_fast: false,
        ..Config::default()
    })
}

/// What a server says while it cannot serve yet, or not now.
const PASSING: [&str; 9] =
    ["LOADING", "READONLY", "OOM", "MASTERDOWN", "NOREPLICAS", "MISCONF", "BUSY", "TRYAGAIN", "CLUSTERDOWN"];

fn classify(error: &Error) -> Trouble {
    let details = error.details();
    let word = details.split_whitespace().next().unwrap_or_default();
    match (error.kind(), word) {
        (_, "NOSCRIPT") => Trouble::UnknownScript,
        (_, "NOPERM") => Trouble::NoScripts(details.to_owned()),
        (_, "ERR") if details.contains("unknown command") => Trouble::NoScripts(details.to_owned()),
        (_, word) if PASSING.contains(&word) => Trouble::Passing(details.to_owned()),
        (ErrorKind::IO | ErrorKind::Timeout | ErrorKind::Canceled | ErrorKind::Auth | ErrorKind::Routing, _)
        | (ErrorKind::Sentinel | ErrorKind::Cluster | ErrorKind::Tls | ErrorKind::Backpressure, _) => {
            Trouble::Passing(error.to_string())
        }
        // What fred says of a client between two lives.
        (ErrorKind::Unknown, _) if NOT_SENT.iter().any(|text| details.contains(text)) => {
            Trouble::Passing(error.to_string())
        }
        // An EXEC that failed for what one of its commands was told.
        (_, "EXECABORT") => Trouble::Passing(details.to_owned()),
        _ => Trouble::Refused(details.to_owned()),
    }
}

const NOT_SENT: [&str; 3] = ["Client is not initialized", "Failed to send command", "channel closed"];

/// Whether an error that a script returned for one of its documents may pass.
pub(super) fn passes(reply: &str) -> bool {
    let word = reply.split_whitespace().next().unwrap_or_default();
    PASSING.contains(&word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_what_passes_from_what_stays() {
        let of = |kind, text: &'static str| classify(&Error::new(kind, text));
        assert!(matches!(of(ErrorKind::Unknown, "OOM command not allowed"), Trouble::Passing(_)));
        assert!(matches!(of(ErrorKind::Unknown, "READONLY You can't write"), Trouble::Passing(_)));
        assert!(matches!(of(ErrorKind::IO, "broken pipe"), Trouble::Passing(_)));
        assert!(matches!(of(ErrorKind::Unknown, "NOSCRIPT No matching script."), Trouble::UnknownScript));
        assert!(matches!(of(ErrorKind::Unknown, "NOPERM this user has no permissions"), Trouble::NoScripts(_)));
        assert!(matches!(of(ErrorKind::InvalidArgument, "WRONGTYPE Operation against"), Trouble::Refused(_)));
    }
}
