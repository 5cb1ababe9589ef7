//! When a recognised request is to run, if at all: pure decisions, no clock of their own.

use std::time::SystemTime;

use crate::worker::{request::Request, revoked::Revoked};

/// What is to be done with a request now.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// Not to be run.
    Discard(DiscardReason),
    /// Not before this time.
    Later(SystemTime),
    /// At once, as far as rates and seats allow.
    Now,
}

/// Why a request is discarded; the word is the `TaskRevokedError`'s.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiscardReason {
    /// Revoked by its id.
    Revoked,
    /// Revoked by a stamp: which one, as Python shows the dict.
    RevokedByHeader(String),
    /// Its `expires` has passed.
    Expired,
}

impl DiscardReason {
    /// The reason as the stored `TaskRevokedError` has it.
    pub fn word(&self) -> &'static str {
        match self {
            DiscardReason::Expired => "expired",
            DiscardReason::Revoked | DiscardReason::RevokedByHeader(_) => "revoked",
        }
    }
}

/// Judges a request on receipt. A stamp is looked at where something else has to be looked at, too; else only when the task
/// is to start.
pub fn decide(request: &Request, revoked: &Revoked, now: SystemTime) -> Verdict {
    let is_looked_at = request.expires.is_some() || revoked.contains(&request.headers.id);
    if is_looked_at && let Some(reason) = discard(request, revoked, now) {
        return Verdict::Discard(reason);
    }
    match request.eta {
        Some(eta) if eta > now => Verdict::Later(eta),
        _ => Verdict::Now,
    }
}

/// Whether a request is not to be run (any more); asked on receipt and again before it starts.
pub fn discard(request: &Request, revoked: &Revoked, now: SystemTime) -> Option<DiscardReason> {
    if request.expires.is_some_and(|expires| now > expires) {
        return Some(DiscardReason::Expired);
    }
    if revoked.contains(&request.headers.id) {
        return Some(DiscardReason::Revoked);
    }
    revoked.matching_stamp(&request.headers).map(DiscardReason::RevokedByHeader)
}
