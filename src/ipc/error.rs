//! What can go wrong between the parent and its Python processes.

/// A socket to a zygote or child that cannot be used any more.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IpcError {
    /// The other end is gone.
    #[error("the other end has closed")]
    Closed,
    /// The operating system refused.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// A frame that is none.
    #[error("malformed frame: {0}")]
    Malformed(String),
    /// A frame larger than [`MAX_FRAME`](super::MAX_FRAME).
    #[error("a frame of {0} bytes exceeds the limit")]
    TooLarge(u64),
}
