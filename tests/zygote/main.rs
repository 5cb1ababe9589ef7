//! The zygote and its children against a scripted parent: no broker, no result backend, but the real Celery.
#![cfg(feature = "python")]

mod app;
mod child;
mod outcome;
mod parent;
mod speed;
