//! A small document on the web, such as an issuer's key set, over the SDK's own HTTP stack.

use std::time::Duration;

use aws_smithy_runtime_api::client::http::{HttpConnector as _, SharedHttpConnector};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use http_body_util::{BodyExt as _, Limited};

use crate::http_client;

/// The longest document that is read.
const MAX_BYTES: usize = 64 * 1024;

/// How long all of it may take: a browser waits for it.
const WITHIN: Duration = Duration::from_secs(3);

/// A document's address and the way to it.
#[derive(Debug)]
pub struct Document {
    url: String,
    connector: SharedHttpConnector,
}

/// Why it cannot be fetched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// The server did not answer in time.
    #[error("{url} did not answer within {} s", WITHIN.as_secs())]
    TimedOut {
        /// Its address.
        url: String,
    },
    /// The connection failed, or what came was cut off or too long.
    #[error("{url}: {reason}")]
    Broken {
        /// Its address.
        url: String,
        /// What happened.
        reason: String,
    },
    /// The server answered with an error.
    #[error("{url} answered with status {status}")]
    Refused {
        /// Its address.
        url: String,
        /// HTTP status.
        status: u16,
    },
}

impl Document {
    /// At this address; nothing is connected yet.
    pub fn new(url: String) -> Self {
        Self { url, connector: http_client::single_use_connector() }
    }

    /// Its body.
    ///
    /// # Errors
    /// See [`DocumentError`]; redirections count as refusals.
    pub async fn get(&self) -> Result<Vec<u8>, DocumentError> {
        let url = || self.url.clone();
        let got = tokio::time::timeout(WITHIN, self.get_unhurried()).await;
        got.unwrap_or_else(|_| Err(DocumentError::TimedOut { url: url() }))
    }

    async fn get_unhurried(&self) -> Result<Vec<u8>, DocumentError> {
        let broken = |reason: String| DocumentError::Broken { url: self.url.clone(), reason };
        let request = HttpRequest::get(&self.url).map_err(|error| broken(error.to_string()))?;
        let answer = self.connector.call(request).await;
        let answer = answer.map_err(|error| broken(format!("{error:?}")))?;
        let status = answer.status().as_u16();
        if status != 200 {
            return Err(DocumentError::Refused { url: self.url.clone(), status });
        }
        let body = Limited::new(answer.into_body(), MAX_BYTES).collect().await;
        Ok(body.map_err(|error| broken(error.to_string()))?.to_bytes().to_vec())
    }
}
