//! The file system transport: kombu's `filesystem://`, whose queues are files in a folder and whose exchanges are tables in
//! another. It needs no server; Python workers, producers and monitors share the folders.
//!
//! What differs is what nobody sees: a file is written aside and renamed, so that nobody reads half of it; what is held lies
//! in a hidden folder of ours until it is settled, so that a worker that is killed loses nothing; and the kernel tells of
//! new files, where kombu looks once a second.

mod collector;
mod connection;
mod courier;
mod ledger;
mod name;
mod options;
mod orders;
mod publisher;
mod store;
mod table;
mod transport;
mod unacked;
mod watch;

pub use options::FilesystemOptions;
pub use transport::FilesystemTransport;
