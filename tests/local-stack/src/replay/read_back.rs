//! What a stream holds, asked of the service: ListFragments says what must come, GetMedia brings it.

use std::collections::BTreeSet;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_kinesisvideo::types::ApiName;
use aws_sdk_kinesisvideomedia as live;
use aws_sdk_kinesisvideomedia::types::{StartSelector, StartSelectorType};
use aws_sdk_sqs::error::DisplayErrorContext;
use media::fragment::read::{ReadError, ReadFragment, read_fragments};
use reader::stream::{self, Listed, StreamReader};

/// GetMedia's body is open for ever on the real service; this long without a byte is taken for its end.
const QUIET: Duration = Duration::from_secs(5);
/// A body that lacks fragments that are listed is asked for again so many times.
const TRIES: u32 = 3;

/// Why a stream could not be read back.
#[derive(Debug, thiserror::Error)]
pub enum ReadBackError {
    /// The service refused or did not answer.
    #[error("{operation} of stream {stream}: {reason}")]
    Service {
        /// What was asked.
        operation: &'static str,
        /// Of which stream.
        stream: String,
        /// The whole chain of causes.
        reason: String,
    },
    /// The fragments could not be listed.
    #[error("ListFragments of stream {stream}: {source}")]
    List {
        /// Of which stream.
        stream: String,
        /// Why.
        source: stream::Error,
    },
    /// GetMedia's body is no Matroska that can be read.
    #[error("GetMedia of stream {stream}: {source}")]
    Media {
        /// Of which stream.
        stream: String,
        /// Where the body is broken.
        source: ReadError,
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
    let failed = |source| ReadBackError::List { stream: stream.to_owned(), source };
    let listed = StreamReader::new(config, stream).list(None).await.map_err(failed)?;
    let reader = Reader { config, stream };
    let Some(endpoint) = reader.endpoint().await? else { return Ok(Vec::new()) };
    let mut got = 0;
    for _ in 0..TRIES {
        let mut fragments = reader.media(&endpoint, &listed).await?;
        let numbers: BTreeSet<&str> = fragments.iter().filter_map(|f| f.number.as_deref()).collect();
        got = listed.iter().filter(|listed| numbers.contains(listed.number.as_str())).count();
        if got == listed.len() {
            fragments.sort_by_key(|fragment| (fragment.cluster_ms, fragment.number.clone()));
            return Ok(fragments);
        }
    }
    Err(ReadBackError::Incomplete { stream: stream.to_owned(), got, listed: listed.len() })
}

struct Reader<'a> {
    config: &'a SdkConfig,
    stream: &'a str,
}

impl Reader<'_> {
    /// GetMedia's; `None` if there is no such stream.
    async fn endpoint(&self) -> Result<Option<String>, ReadBackError> {
        let client = aws_sdk_kinesisvideo::Client::new(self.config);
        match client.get_data_endpoint().stream_name(self.stream).api_name(ApiName::GetMedia).send().await {
            Ok(answer) => Ok(answer.data_endpoint),
            Err(error) if error.as_service_error().is_some_and(|e| e.is_resource_not_found_exception()) => {
                Ok(None)
            }
            Err(error) => Err(self.failed("GetDataEndpoint", error)),
        }
    }

    /// GetMedia from the earliest fragment, until all that are listed have come, or the body ends or falls silent.
    async fn media(&self, endpoint: &str, listed: &[Listed]) -> Result<Vec<ReadFragment>, ReadBackError> {
        if listed.is_empty() {
            return Ok(Vec::new());
        }
        let config = live::config::Builder::from(self.config).endpoint_url(endpoint).build();
        let earliest = StartSelector::builder().start_selector_type(StartSelectorType::Earliest).build();
        let earliest = earliest.map_err(|error| self.failed("GetMedia", error))?;
        let request = live::Client::from_conf(config).get_media().stream_name(self.stream);
        let answer = request.start_selector(earliest).send().await;
        let mut payload = answer.map_err(|error| self.failed("GetMedia", error))?.payload;
        let mut body = Vec::new();
        while let Ok(Some(bytes)) = tokio::time::timeout(QUIET, payload.next()).await {
            body.extend_from_slice(&bytes.map_err(|error| self.failed("GetMedia", error))?);
        }
        read_fragments(&body)
            .map_err(|source| ReadBackError::Media { stream: self.stream.to_owned(), source })
    }

    fn failed(&self, operation: &'static str, error: impl std::error::Error) -> ReadBackError {
        let reason = DisplayErrorContext(&error).to_string();
        ReadBackError::Service { operation, stream: self.stream.to_owned(), reason }
    }
}
