//! The whole system on one laptop: backends, Lambda Runtime API, event source mapping, WebSocket gateway.

pub mod backend;
pub mod bench;
pub mod chaos;
pub mod compare;
pub mod gateway;
pub mod kept_logs;
mod lock;
pub mod mapping;
pub mod process;
pub mod progress;
pub mod project;
pub mod proxy;
pub mod replay;
pub mod report;
pub mod resources;
pub mod runtime_api;
pub mod stack;
pub mod studio;
