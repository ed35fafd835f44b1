//! Data endpoints of streams: remembered in the process, then in the state table, asked for last.
//!
//! GetDataEndpoint allows 300 calls a second in an account. A thousand sessions whose fragments are written by some
//! hundred processes, each new to most sessions, would ask more often than that for minutes; the table has no such
//! limit.

use std::time::Duration;

use aws_sdk_kinesisvideo::Client;
use aws_sdk_kinesisvideo::types::ApiName;
use ingest::failure::ServiceFailure;
use ingest::message::SessionId;
use writer::ports::{Result, Store as _};

use crate::cache::Cache;
use crate::failure::{call, has_code};
use crate::store::StateTable;

/// Endpoints that a process remembers: one for PutMedia and now and then one for ListFragments, per session.
const ENDPOINTS: usize = 2_048;

/// A stream's endpoint hardly ever changes; a day bounds what is believed without asking.
const KEEP: Duration = Duration::from_secs(24 * 3_600);

const GET_DATA_ENDPOINT: &str = "GetDataEndpoint";

/// The endpoints of all sessions' streams.
#[derive(Debug)]
pub struct Endpoints {
    control: Client,
    table: StateTable,
    known: Cache<Known>,
}

#[derive(Clone, Debug)]
enum Known {
    /// It worked, or nothing is known against it.
    Good(String),
    /// What the table has did not work.
    Wrong,
}

impl Endpoints {
    /// None is known yet.
    pub fn new(control: Client, table: StateTable) -> Self {
        Self { control, table, known: Cache::new(ENDPOINTS, KEEP) }
    }

    /// The data endpoint of a session's stream for one API.
    ///
    /// # Errors
    /// Those of GetDataEndpoint. The table is a shortcut, whose failures are none of the caller's.
    pub async fn get(&self, session: &SessionId, api: &ApiName) -> Result<String> {
        let key = key(session, api);
        let stored = match self.known.get(&key) {
            Some(Known::Good(endpoint)) => return Ok(endpoint),
            Some(Known::Wrong) => None,
            None => self.stored(session, api).await,
        };
        let endpoint = match stored {
            Some(endpoint) => endpoint,
            None => self.ask(session, api).await?,
        };
        self.known.put(&key, Known::Good(endpoint.clone()));
        Ok(endpoint)
    }

    /// Forgets the endpoint if the failure may be its fault: the stream was deleted and created again, or moved.
    pub fn suspect(&self, session: &SessionId, api: &ApiName, failure: &ServiceFailure) {
        let unreachable =
            matches!(failure, ServiceFailure::Disconnected { .. } | ServiceFailure::TimedOut { .. });
        let wrong = ["ResourceNotFoundException", "InvalidEndpointException"];
        if unreachable || wrong.iter().any(|code| has_code(failure, code)) {
            self.known.put(&key(session, api), Known::Wrong);
        }
    }

    async fn stored(&self, session: &SessionId, api: &ApiName) -> Option<String> {
        let read = self.table.load_snapshot(session, &item(api)).await;
        let bytes = read.inspect_err(|failure| tracing::debug!(%failure, "no stored endpoint")).ok()??;
        String::from_utf8(bytes).ok()
    }

    async fn ask(&self, session: &SessionId, api: &ApiName) -> Result<String> {
        let asked = self.control.get_data_endpoint().stream_name(session.stream_name()).api_name(api.clone());
        let answer = call(GET_DATA_ENDPOINT, asked.send()).await?;
        let endpoint = answer.data_endpoint.ok_or_else(|| ServiceFailure::Garbled {
            operation: GET_DATA_ENDPOINT.into(),
            detail: "there is no DataEndpoint in it".into(),
        })?;
        let saved = self.table.save_snapshot(session, &item(api), endpoint.as_bytes(), KEEP.as_secs()).await;
        if let Err(failure) = saved {
            tracing::debug!(%failure, "the endpoint is not stored");
        }
        Ok(endpoint)
    }
}

fn key(session: &SessionId, api: &ApiName) -> String {
    format!("{session} {api}")
}

fn item(api: &ApiName) -> String {
    format!("endpoint-{api}")
}
