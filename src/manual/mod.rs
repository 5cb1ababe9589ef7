//! The manual: how the worker works and what can be relied on. Nothing here is code.
//!
//! | Chapter | Question |
//! |---|---|
//! | [`life_of_a_message`] | What happens to a message, from socket to acknowledgement? |
//! | [`acks`] | When is a message acknowledged, and who gets it if not? |
//! | [`running`] | How is it started, as a daemon and by hosts that started Celery's? |
//! | [`migration`] | How does a fleet go from Celery's worker to this one, and back? |
//! | [`deployment`] | What do a unit, a container, a Deployment and the rotation of logs look like? |
//! | [`rust`] | How is a task written in Rust? |
//! | [`prefork`] | Which processes are there, and what does each of them do? |
//! | [`beat`] | Who sends the tasks of `beat_schedule`, and when? |
//! | [`redis`] | Which keys are used, and how do Python workers share them? |
//! | [`sqs`] | What of Amazon's queue service is used, and how long may a task take? |
//! | [`filesystem`] | How do workers share folders in place of a server? |
//! | [`database`] | Which databases keep results, and how? |
//! | [`compatibility`] | Which behaviour of Celery's worker is there, and how is that known? |
//! | [`health`] | How do Kubernetes and Prometheus see it? |
//! | [`libraries`] | Which libraries work with it, and what has to be known about them? |
//! | [`logs`] | Who writes the log, and what does it look like? |
//! | [`settings`] | Which settings are honoured? |
//! | [`glossary`] | What does that word mean? |

#[doc = include_str!("life_of_a_message.md")]
pub mod life_of_a_message {}

#[doc = include_str!("acks.md")]
pub mod acks {}

#[doc = include_str!("running.md")]
pub mod running {}

#[doc = include_str!("migration.md")]
pub mod migration {}

#[doc = include_str!("deployment.md")]
pub mod deployment {}

#[doc = include_str!("rust.md")]
pub mod rust {}

#[doc = include_str!("prefork.md")]
pub mod prefork {}

#[doc = include_str!("beat.md")]
pub mod beat {}

#[doc = include_str!("redis.md")]
pub mod redis {}

#[doc = include_str!("sqs.md")]
pub mod sqs {}

#[doc = include_str!("filesystem.md")]
pub mod filesystem {}

#[doc = include_str!("database.md")]
pub mod database {}

#[doc = include_str!("compatibility.md")]
pub mod compatibility {}

#[doc = include_str!("health.md")]
pub mod health {}

#[doc = include_str!("libraries.md")]
pub mod libraries {}

#[doc = include_str!("logs.md")]
pub mod logs {}

#[doc = include_str!("settings.md")]
pub mod settings {}

#[doc = include_str!("glossary.md")]
pub mod glossary {}
