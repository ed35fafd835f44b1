//! A WebSocket API as API Gateway runs it: events of its shapes, its routes and its limits.
//!
//! The API has the routes `$connect`, `$disconnect`, `audioChunk`, `endStream`, `status`, `ping` and `$default`, selected by
//! `$request.body.action`, all
//! integrated with one function, all with a route response. `$connect` asks session-authorizer, with the tokens of a local issuer:
//! `ws://…/local?token=…`. With `?sessionId=S&role=speaker` instead, the issuer makes such a token first. Without a [`Door`] those two values
//! are taken as they are.
//!
//! | limit (API Gateway quotas for WebSocket APIs) | what happens |
//! |---|---|
//! | message 128 KB, frame 32 KB | closed with 1009 |
//! | binary frame | closed with 1003 ("Binary media types for WebSocket APIs") |
//! | no traffic for 10 minutes, or 2 hours in all | closed with 1001 |
//! | two messages of one connection | may run at the same time: nothing promises an order of their effects |

mod connection;
mod door;
mod event;
mod issuer;
mod server;
mod witness;

use std::time::Duration;

pub use door::Door;
pub use issuer::Issuer;
pub use server::Gateway;
pub use witness::Witness;

/// The limits of the API; the default is API Gateway's.
#[derive(Clone, Copy, Debug)]
pub struct GatewayConfig {
    /// TCP port on the loopback interface; 0 takes a free one.
    pub port: u16,
    /// Longest message, bytes.
    pub message_bytes_max: usize,
    /// Longest frame of a message, bytes.
    pub frame_bytes_max: usize,
    /// Longest silence of a client.
    pub idle_timeout: Duration,
    /// Longest connection.
    pub connection_duration_max: Duration,
    /// Messages of one connection that are handled at the same time; further ones wait. 1 keeps a connection's messages in order,
    /// which API Gateway does not promise.
    pub in_flight_per_connection: usize,
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            port: 0,
            message_bytes_max: 128 * 1024,
            frame_bytes_max: 32 * 1024,
            idle_timeout: Duration::from_secs(10 * 60),
            connection_duration_max: Duration::from_secs(2 * 60 * 60),
            in_flight_per_connection: 8,
        }
    }
}
