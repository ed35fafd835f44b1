//! AWS adapters behind the writer's ports, one file per port.
//!
//! [`Aws`] is all of them. Nothing in here decides: an adapter carries a value to a service and the answer, or the
//! sorted failure, back. The SDK repeats what is safe to repeat; PutMedia and conditional writes are tried once.

pub mod announce;
pub mod clock;
pub mod config;
pub mod connections;
pub mod document;
pub mod failure;
pub mod fragments;
pub mod items;
pub mod parked_index;
pub mod put_media;
pub mod queue;
pub mod sessions;
pub mod settings;
pub mod store;
pub mod streams;
pub mod telemetry;

mod cache;
mod credentials;
mod endpoints;
mod http_client;
mod retry;

#[cfg(test)]
mod test_server;

use std::time::Duration;

use aws_config::SdkConfig;
use writer::ports::Ports;

use self::announce::Announcer;
use self::clock::SystemClock;
use self::credentials::CachedCredentials;
use self::put_media::PutMedia;
use self::queue::ChunkQueue;
use self::sessions::SessionsTable;
use self::settings::{Settings, SettingsError};
use self::store::StateTable;
use self::streams::{NewStreams, VideoStreams};
use self::telemetry::StdoutEvents;

/// The writer's world on AWS, or on anything that speaks its protocols.
#[derive(Debug)]
pub struct Aws {
    queue: ChunkQueue,
    store: StateTable,
    sessions: SessionsTable,
    streams: VideoStreams,
    telemetry: StdoutEvents,
    announcer: Option<Announcer>,
}

impl Aws {
    /// Loads the SDK's configuration and builds the clients. Connects to nothing yet.
    ///
    /// # Errors
    /// Names the SDK's variable where region or credentials are missing.
    pub async fn connect(settings: &Settings) -> Result<Self, SettingsError> {
        Self::with_config(&config::load().await, settings)
    }

    /// Builds the clients from a configuration that is already there.
    ///
    /// # Errors
    /// Those of [`Aws::connect`].
    pub fn with_config(config: &SdkConfig, settings: &Settings) -> Result<Self, SettingsError> {
        let dynamodb = aws_sdk_dynamodb::Client::new(config);
        let sqs = aws_sdk_sqs::Client::new(config);
        let media = put_media(config, settings)?;
        let store = StateTable::new(dynamodb.clone(), settings.state_table.clone());
        Ok(Self {
            queue: ChunkQueue::new(sqs, settings.queue_url.clone(), settings.dlq_url.clone()),
            sessions: SessionsTable::new(dynamodb, settings.sessions_table.clone()),
            streams: VideoStreams::new(config, media, store.clone(), NewStreams::of(settings)),
            telemetry: StdoutEvents::new(settings.event_bus.is_some()),
            announcer: settings.event_bus.clone().map(|bus| Announcer::new(config, bus, store.clone())),
            store,
        })
    }

    /// From here on events belong to this invocation.
    pub fn begin(&self, request_id: &str) {
        self.telemetry.begin(request_id);
    }

    /// Tells the event bus, if there is one, of the fragments written since [`Aws::begin`], within a time.
    pub async fn announce(&self, within: Duration) {
        let written = self.telemetry.take_written();
        if let Some(announcer) = self.announcer.as_ref().filter(|_| !written.is_empty()) {
            announcer.announce(&written, within).await;
        }
    }
}

fn put_media(config: &SdkConfig, settings: &Settings) -> Result<PutMedia, SettingsError> {
    let region = config.region().ok_or(SettingsError::Missing { name: "AWS_REGION" })?;
    let provider = config.credentials_provider();
    let provider = provider.ok_or(SettingsError::Missing { name: "AWS_ACCESS_KEY_ID" })?;
    Ok(PutMedia::new(
        http_client::single_use_connector(),
        CachedCredentials::new(provider),
        region.to_string(),
        settings.payload,
    ))
}

impl Ports for Aws {
    type Queue = ChunkQueue;
    type Store = StateTable;
    type Sessions = SessionsTable;
    type Streams = VideoStreams;
    type Clock = SystemClock;
    type Telemetry = StdoutEvents;

    fn queue(&self) -> &ChunkQueue {
        &self.queue
    }

    fn store(&self) -> &StateTable {
        &self.store
    }

    fn sessions(&self) -> &SessionsTable {
        &self.sessions
    }

    fn streams(&self) -> &VideoStreams {
        &self.streams
    }

    fn clock(&self) -> &SystemClock {
        &SystemClock
    }

    fn telemetry(&self) -> &StdoutEvents {
        &self.telemetry
    }
}
