//! How a worker is told to stop, and why it stopped.

/// What is asked of the worker; a later word may only be more urgent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shutdown {
    /// Take nothing new, give back what has not begun, finish what has.
    Warm,
    /// Give active tasks no more than the soft shutdown timeout, then end them.
    Cold,
    /// End active tasks at once, whatever is left of the soft shutdown timeout.
    Hurried,
}

/// Why [`Worker::run`](super::Worker::run) returned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StopReason {
    /// It was asked to.
    Asked(Shutdown),
    /// The broker cannot be used (any more).
    Broker(String),
    /// The pool cannot be used any more.
    Pool(String),
}
