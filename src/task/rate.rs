//! [`RateLimit`]: `10/m` as tokens per second.

use crate::config::{ConfigError, rate};

/// A rate: tokens per second, one at a time (Celery's `TokenBucket` has capacity 1).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RateLimit {
    /// Above zero.
    pub per_second: f64,
}

impl RateLimit {
    /// Reads Celery's notation: a number, or one followed by `/s`, `/m` or `/h`. Zero and nothing are no limit.
    ///
    /// # Errors
    /// For any other text.
    pub fn parse(text: &str) -> Result<Option<Self>, ConfigError> {
        if text.is_empty() {
            return Ok(None);
        }
        Ok(rate::parse(text)?.map(|per_second| Self { per_second }))
    }
}
