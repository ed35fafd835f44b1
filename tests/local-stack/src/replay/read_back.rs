//! What a stream holds, asked of the service: ListFragments says what must come, GetMedia brings it.

use std::collections::BTreeSet;
use std::time::Duration;

use aws::failure::{call, chain};
use aws_config::SdkConfig;
use aws_sdk_kinesisvideo::types::ApiName;
use aws_sdk_kinesisvideomedia as live;
use aws_sdk_kinesisvideomedia::types::{StartSelector, StartSelectorType};
use ingest::failure::ServiceFailure;
use media::fragment::read::{ReadFragment, read_fragments};
use reader::stream::{Error, StreamReader};

/// GetMedia's body is open for ever on the real service; this long without a byte is taken for its end.
const QUIET: Duration = Duration::from_secs(5);
const GET_MEDIA: &str = "GetMedia";
/// How often a body that lacks listed fragments is requested again.
const TRIES: u32 = 3;

/// Why a stream could not be read back.
#[derive(Debug, thiserror::Error)]
pub enum ReadBackError {
    /// The service refused or did not answer, or what it gave is not the media of fragments.
    #[error("{stream}: {source}")]
    Stream {
        /// Which stream.
        stream: String,
        /// The cause.
        source: Error,
    },
    /// GetMedia leaves out what ListFragments has.
    #[error(
        "GetMedia of stream {stream} gave {got} of {listed} fragments that ListFragments has; try again in a moment"
    )]
    Incomplete {
        /// Of which stream.
        stream: String,
        /// How many came.
        got: usize,
        /// How many should.
        listed: usize,
    },
}

/// All fragments of a stream in the order of their producer times, each as often as it is stored; none if there is no such
/// stream.
///
/// # Errors
/// [`ReadBackError`].
pub async fn read_back(config: &SdkConfig, stream: &str) -> Result<Vec<ReadFragment>, ReadBackError> {
    let failed = |source| ReadBackError::Stream { stream: stream.to_owned(), source };
    let listed = StreamReader::new(config, stream).list(None).await.map_err(failed)?;
    if listed.is_empty() {
        return Ok(Vec::new());
    }
    let mut got = 0;
    for _ in 0..TRIES {
        let mut fragments = get_media(config, stream).await.map_err(failed)?;
        let numbers: BTreeSet<&str> = fragments.iter().filter_map(|f| f.number.as_deref()).collect();
        got = listed.iter().filter(|listed| numbers.contains(listed.number.as_str())).count();
        if got == listed.len() {
            fragments.sort_by_key(|fragment| (fragment.cluster_ms, fragment.number.clone()));
            return Ok(fragments);
        }
    }
    Err(ReadBackError::Incomplete { stream: stream.to_owned(), got, listed: listed.len() })
}

/// GetMedia from the earliest fragment, until the body ends or falls silent.
async fn get_media(config: &SdkConfig, stream: &str) -> Result<Vec<ReadFragment>, Error> {
    let garbled = |detail: String| ServiceFailure::Garbled { operation: GET_MEDIA.into(), detail };
    let control = aws_sdk_kinesisvideo::Client::new(config);
    let asked = control.get_data_endpoint().stream_name(stream).api_name(ApiName::GetMedia);
    let endpoint = call("GetDataEndpoint", asked.send()).await?.data_endpoint.unwrap_or_default();
    let config = live::config::Builder::from(config).endpoint_url(endpoint).build();
    let earliest = StartSelector::builder().start_selector_type(StartSelectorType::Earliest).build();
    let earliest = earliest.map_err(|error| garbled(error.to_string()))?;
    let request = live::Client::from_conf(config).get_media().stream_name(stream).start_selector(earliest);
    let mut payload = call(GET_MEDIA, request.send()).await?.payload;
    let mut body = Vec::new();
    while let Ok(Some(bytes)) = tokio::time::timeout(QUIET, payload.next()).await {
        body.extend_from_slice(&bytes.map_err(|error| garbled(chain(&error)))?);
    }
    read_fragments(&body).map_err(|source| Error::Media { stream: stream.to_owned(), source })
}
