//! The whole system on one laptop: backends, Lambda Runtime API, event source mapping, WebSocket gateway.

pub mod backend;
pub mod gateway;
pub mod mapping;
pub mod process;
pub mod project;
pub mod resources;
pub mod runtime_api;
