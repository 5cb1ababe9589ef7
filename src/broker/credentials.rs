//! [`CredentialProvider`]: who knows user and password of a broker anew for each connection.

use futures::future::BoxFuture;

/// Asks what a broker's URL names as its `credential_provider`: a class of redis-py's kind, by its path.
pub trait CredentialProvider: Send + Sync {
    /// User and password for one connection that is about to be made, in the class's own time.
    ///
    /// Fails with the class's words when it does not know them, or cannot be made; they may be known later.
    fn credentials<'a>(&'a self, class: &'a str) -> BoxFuture<'a, Result<Credentials, String>>;
}

/// What to log in with.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// None is the server's default user.
    pub username: Option<String>,
    /// None logs in as nobody.
    pub password: Option<String>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("username", &self.username).finish_non_exhaustive()
    }
}
