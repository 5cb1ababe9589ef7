//! [`Access`]: Amazon's clients, with the regions, credentials and endpoints that are meant.

use std::{sync::Arc, time::Duration};

use aws_config::{
    BehaviorVersion, Region, SdkConfig, meta::region::ProvideRegion, profile::ProfileFileRegionProvider,
    retry::RetryConfig, stalled_stream_protection::StalledStreamProtectionConfig, sts::AssumeRoleProvider,
    timeout::TimeoutConfig,
};
use aws_sdk_sqs::{
    Client, Config,
    config::{Credentials, IdentityCache, SharedCredentialsProvider, SharedHttpClient},
};
use tokio::sync::OnceCell;

use crate::{
    broker::{
        BrokerError,
        sqs::{
            client::http_client,
            options::{Role, SqsOptions},
            predefined::PredefinedQueue,
        },
    },
    config::url::ConnectionUrl,
};

/// kombu's, where nothing says another.
const DEFAULT_REGION: &str = "us-east-1";
/// An answer to a long poll may take this much longer than the poll.
const SLACK: Duration = Duration::from_secs(5);

/// What all clients of a transport have in common.
pub(super) struct Access {
    options: Arc<SqsOptions>,
    credentials: Option<Credentials>,
    endpoint: Option<String>,
    http: SharedHttpClient,
    /// What environment and profile say, read once.
    surroundings: OnceCell<SdkConfig>,
    main: OnceCell<Client>,
}

impl Access {
    /// Reads nothing yet but the URL.
    ///
    /// # Errors
    /// A user without a password.
    pub fn new(url: &ConnectionUrl, options: Arc<SqsOptions>) -> Result<Self, BrokerError> {
        let credentials = credentials("the broker URL", url.user.as_deref(), url.password.as_deref())?;
        let endpoint = url.host.as_ref().map(|host| {
            let scheme = if options.is_secure { "https" } else { "http" };
            let port = url.port.map(|port| format!(":{port}")).unwrap_or_default();
            format!("{scheme}://{host}{port}")
        });
        Ok(Self {
            options,
            credentials,
            endpoint,
            http: http_client(),
            surroundings: OnceCell::new(),
            main: OnceCell::new(),
        })
    }

    /// The client for queues that are found by name.
    pub async fn main(&self) -> Client {
        let make = || async {
            let surroundings = self.surroundings().await;
            self.client(surroundings, None, self.credentials.clone().map(SharedCredentialsProvider::new))
        };
        self.main.get_or_init(make).await.clone()
    }

    /// The client of a predefined queue, which is let in on its own terms.
    ///
    /// # Errors
    /// A key without its secret.
    pub async fn of(&self, queue: &PredefinedQueue) -> Result<Client, BrokerError> {
        let surroundings = self.surroundings().await;
        let own = credentials(&queue.url, queue.access_key_id.as_deref(), queue.secret_access_key.as_deref())?;
        let credentials = match &self.options.role {
            Some(role) => Some(assumed(role, surroundings).await),
            None => own.or_else(|| self.credentials.clone()).map(SharedCredentialsProvider::new),
        };
        Ok(self.client(surroundings, queue.region.clone(), credentials))
    }

    async fn surroundings(&self) -> &SdkConfig {
        let load = || async {
            let options = &self.options;
            let patience = options.read_timeout.max(Duration::from_secs(options.wait_time_seconds.into()) + SLACK);
            let timeouts = TimeoutConfig::builder()
                .connect_timeout(options.connect_timeout)
                .operation_attempt_timeout(patience)
                .build();
            aws_config::defaults(BehaviorVersion::latest())
                .http_client(self.http.clone())
                .region(region(options).await)
                .retry_config(RetryConfig::standard().with_max_attempts(options.attempts.max(1)))
                .timeout_config(timeouts)
                // A long poll is silent for long; what never answers has the timeout above.
                .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
                .load()
                .await
        };
        self.surroundings.get_or_init(load).await
    }

    fn client(
        &self,
        surroundings: &SdkConfig,
        region: Option<String>,
        credentials: Option<SharedCredentialsProvider>,
    ) -> Client {
        let mut config = Config::from(surroundings).to_builder();
        if let Some(endpoint) = &self.endpoint {
            config.set_endpoint_url(Some(endpoint.clone()));
        }
        if let Some(region) = region {
            config.set_region(Some(Region::new(region)));
        }
        if let Some(credentials) = credentials {
            config.set_credentials_provider(Some(credentials));
        }
        if let Some(role) = self.options.role.as_ref().filter(|role| role.has_buffer()) {
            config.set_identity_cache(IdentityCache::lazy().buffer_time(role.buffer_time).build());
        }
        Client::from_conf(config.build())
    }
}

/// The role's credentials, for which the surroundings' own are asked, as kombu asks.
async fn assumed(role: &Role, surroundings: &SdkConfig) -> SharedCredentialsProvider {
    let provider = AssumeRoleProvider::builder(&role.arn)
        .configure(surroundings)
        .session_name("Celery")
        .session_length(role.token_timeout)
        .build()
        .await;
    SharedCredentialsProvider::new(provider)
}

/// The option's, or what boto3 would find: it reads one variable of the environment, and the profile.
async fn region(options: &SqsOptions) -> Region {
    let named =
        options.region.clone().or_else(|| std::env::var("AWS_DEFAULT_REGION").ok().filter(|name| !name.is_empty()));
    match named {
        Some(name) => Region::new(name),
        None => {
            let profiles = ProfileFileRegionProvider::new();
            profiles.region().await.unwrap_or_else(|| Region::from_static(DEFAULT_REGION))
        }
    }
}

fn credentials(place: &str, key: Option<&str>, secret: Option<&str>) -> Result<Option<Credentials>, BrokerError> {
    match (key, secret) {
        (Some(key), Some(secret)) => Ok(Some(Credentials::new(key, secret, None, None, "broker_url"))),
        (None, None) => Ok(None),
        _ => {
            Err(BrokerError::unusable(format!("{place} has an access key without its secret, or the other way round")))
        }
    }
}
