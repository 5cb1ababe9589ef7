//! The file system transport in real folders.
#![cfg(feature = "filesystem")]
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test says what it expects")]

use std::path::Path;

use celery_rs::broker::{
    Transport, contract,
    filesystem::{FilesystemOptions, FilesystemTransport},
};

fn options(folder: &Path) -> FilesystemOptions {
    let make = |name: &str| {
        let path = folder.join(name);
        std::fs::create_dir_all(&path).expect("a folder");
        path
    };
    FilesystemOptions {
        data_folder_in: make("queues"),
        data_folder_out: make("queues"),
        processed_folder: make("processed"),
        control_folder: folder.join("control"),
        ..FilesystemOptions::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_does_what_every_transport_must() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = options(folder.path());
    contract::run(&FilesystemTransport::new("filesystem://", options.clone())).await;
    let hidden = std::fs::read_dir(&options.data_folder_in).unwrap().filter_map(Result::ok);
    let left: Vec<_> =
        hidden.map(|entry| entry.file_name()).filter(|name| name.to_string_lossy().starts_with('.')).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_does_so_where_processed_files_are_stored() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = FilesystemOptions { store_processed: true, ..options(folder.path()) };
    contract::run(&FilesystemTransport::new("filesystem://", options.clone())).await;
    assert!(std::fs::read_dir(&options.processed_folder).unwrap().count() > 100);
}

#[tokio::test]
async fn folders_that_are_not_there_are_named() {
    let transport = FilesystemTransport::new("filesystem://", FilesystemOptions::default());
    let error = transport.connect().await.err().expect("no folder").to_string();
    assert!(error.contains("data_folder_in") && error.contains("data_in"), "{error}");
    assert_eq!(transport.uri(), "filesystem://:**@localhost//");
}
