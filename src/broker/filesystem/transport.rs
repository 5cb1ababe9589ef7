//! [`FilesystemTransport`]: folders as a broker.

use std::{fs, path::Path, sync::Arc};

use futures::future::BoxFuture;

use crate::{
    broker::{
        BrokerError, Capabilities, Connection, Transport,
        filesystem::{connection::FilesystemConnection, options::FilesystemOptions},
    },
    config::url::broker_uri,
};

/// A way to the folders that `broker_transport_options` names (`kombu/transport/filesystem.py`). What the URL says beyond its
/// scheme means nothing.
pub struct FilesystemTransport {
    url: String,
    options: Arc<FilesystemOptions>,
}

impl FilesystemTransport {
    /// Looks at nothing yet.
    pub fn new(url: &str, options: FilesystemOptions) -> Self {
        Self { url: url.to_owned(), options: Arc::new(options) }
    }
}

impl Transport for FilesystemTransport {
    fn connect(&self) -> BoxFuture<'_, Result<Arc<dyn Connection>, BrokerError>> {
        Box::pin(async move {
            let options = self.options.clone();
            let checked = tokio::task::spawn_blocking(move || check(&options)).await;
            checked.map_err(|_| BrokerError::lost("the program ends"))??;
            Ok(Arc::new(FilesystemConnection::open(self.options.clone())) as Arc<dyn Connection>)
        })
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { driver: "filesystem", fanout: true, disable_prefetch: false }
    }

    fn uri(&self) -> String {
        broker_uri(&self.url)
    }
}

/// The folders that have to be there, which kombu does not make either.
fn check(options: &FilesystemOptions) -> Result<(), BrokerError> {
    is_folder("data_folder_in", &options.data_folder_in)?;
    is_folder("data_folder_out", &options.data_folder_out)?;
    if options.store_processed {
        is_folder("processed_folder", &options.processed_folder)?;
    }
    Ok(())
}

fn is_folder(option: &str, path: &Path) -> Result<(), BrokerError> {
    fs::read_dir(path).map(drop).map_err(|error| {
        let place = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        BrokerError::unusable(format!("broker_transport_options: {option}: {}: {error}", place.display()))
    })
}
