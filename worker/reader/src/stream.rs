//! What a stream holds, asked of the service: ListFragments says what there is, GetMediaForFragmentList brings it.
//!
//! Not GetMedia: its body is open for ever and comes in the order of ingestion. The archive gives what was asked for, in the
//! order of the request, and ends; so a stream of any length is read in pieces of bounded size.

use std::collections::BTreeSet;
use std::time::Duration;

use aws::failure::{call, has_code};
use aws::fragments::page;
use aws_config::SdkConfig;
use aws_sdk_kinesisvideo::types::ApiName;
use aws_sdk_kinesisvideoarchivedmedia as archive;
use ingest::failure::ServiceFailure;
use media::fragment::read::{ReadError, ReadFragment, read_fragments};
use media::time::EpochMs;
use tokio::sync::OnceCell;
use tokio::time::Instant;

pub use aws::fragments::Listed;

use crate::fragment::{Block, Fragment, Once, blocks};

const MEDIA: &str = "GetMediaForFragmentList";

/// Fragments on a page of ListFragments. The quota counts what is asked for, 10,000 a second.
const PAGE: i64 = 100;
/// Fragments of one GetMediaForFragmentList: about 100 × 64 KB.
const MEDIA_PAGE: usize = 100;
/// Fragments a second, below the quota of 500.
const MEDIA_PER_SECOND: f64 = 400.0;
/// How often a throttled call is tried again, a second apart.
const THROTTLED_TRIES: u32 = 5;
/// Earlier and later than any fragment: 1970 and 2100.
const ALWAYS: (EpochMs, EpochMs) = (EpochMs(0), EpochMs(4_102_444_800_000));

/// The service's length of a fragment counts to the beginning of its last block, which is no longer than this.
pub const LAST_BLOCK_MS: u64 = 100;
/// The longest fragment: its block times are 16 bits after its Cluster's.
pub const LONGEST_FRAGMENT_MS: u64 = 33_000;

/// Why a stream could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The service did not answer, or refused.
    #[error(transparent)]
    Service(#[from] ServiceFailure),
    /// What it gave back is not the media of fragments.
    #[error("stream {stream}: {source}")]
    Media {
        /// Which stream.
        stream: String,
        /// Where the media is broken.
        source: ReadError,
    },
}

/// Fragments that were listed and not given to the caller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// No longer there: their retention passed meanwhile.
    pub expired: usize,
    /// Copies of others, by [`Once`].
    pub copies: usize,
}

/// Reads one stream.
#[derive(Debug)]
pub struct StreamReader {
    control: aws_sdk_kinesisvideo::Client,
    archive: archive::config::Builder,
    stream: String,
    list_client: OnceCell<Option<archive::Client>>,
    media_client: OnceCell<Option<archive::Client>>,
}

impl StreamReader {
    /// A reader of the stream of this name. Connects to nothing yet.
    pub fn new(config: &SdkConfig, stream: &str) -> Self {
        Self {
            control: aws_sdk_kinesisvideo::Client::new(config),
            archive: archive::config::Builder::from(config),
            stream: stream.to_owned(),
            list_client: OnceCell::new(),
            media_client: OnceCell::new(),
        }
    }

    /// The fragments whose producer timestamps lie in `range` (both ends included), or all, in the order of time. A stream
    /// that does not exist has none.
    ///
    /// # Errors
    /// Those of GetDataEndpoint and ListFragments.
    pub async fn list(&self, range: Option<(EpochMs, EpochMs)>) -> Result<Vec<Listed>, Error> {
        let client = self.list_client.get_or_try_init(|| self.client(ApiName::ListFragments)).await?;
        let Some(client) = client else { return Ok(Vec::new()) };
        let range = range.unwrap_or(ALWAYS);
        let (mut listed, mut token) = (Vec::new(), None);
        loop {
            match patiently(async || page(client, &self.stream, range, PAGE, token.clone()).await).await {
                Err(failure) if has_code(&failure, "ResourceNotFoundException") => return Ok(Vec::new()),
                answer => {
                    let (mut fragments, next) = answer?;
                    listed.append(&mut fragments);
                    token = next;
                }
            }
            if token.is_none() {
                break;
            }
        }
        listed.retain(|fragment| !fragment.number.is_empty());
        // Of two copies the longer one comes first: a connection that broke amid its body may leave half a fragment.
        listed.sort_by(|a, b| (a.at, b.length_ms, &a.number).cmp(&(b.at, a.length_ms, &b.number)));
        listed.dedup_by(|a, b| a.number == b.number);
        Ok(listed)
    }

    /// Reads the media of `fragments`, in their order, and gives each fragment with its audio to `take`, once.
    ///
    /// # Errors
    /// Those of GetDataEndpoint and GetMediaForFragmentList; media that cannot be read; those of `take`.
    pub async fn read<E: From<Error>>(
        &self,
        fragments: &[Listed],
        mut take: impl FnMut(Fragment, Vec<Block>) -> Result<(), E>,
    ) -> Result<LeftOut, E> {
        let (mut once, mut left): (_, BTreeSet<&str>) =
            (Once::default(), fragments.iter().map(|f| f.number.as_str()).collect());
        let client =
            self.media_client.get_or_try_init(|| self.client(ApiName::GetMediaForFragmentList)).await?;
        let Some(client) = client else { return Ok(LeftOut { expired: left.len(), copies: 0 }) };
        let (began, mut asked_for) = (Instant::now(), 0);
        for page in fragments.chunks(MEDIA_PAGE) {
            let due = Duration::from_secs_f64(f64::from(asked_for) / MEDIA_PER_SECOND);
            tokio::time::sleep_until(began + due).await;
            asked_for += page.len() as u32;
            for read in self.media(client, page).await? {
                let fragment = Fragment::of(&read);
                if left.remove(fragment.number.as_str()) && once.is_new(&fragment) {
                    take(fragment, blocks(&read))?;
                }
            }
        }
        Ok(LeftOut { expired: left.len(), copies: once.again() })
    }

    async fn media(&self, client: &archive::Client, page: &[Listed]) -> Result<Vec<ReadFragment>, Error> {
        let numbers: Vec<String> = page.iter().map(|fragment| fragment.number.clone()).collect();
        let body = patiently(async || {
            let asked = client.get_media_for_fragment_list().stream_name(&self.stream);
            let answer = call(MEDIA, asked.set_fragments(Some(numbers.clone())).send()).await?;
            let body = answer.payload.collect().await;
            body.map_err(|e| ServiceFailure::Disconnected { operation: MEDIA.into(), detail: e.to_string() })
        });
        let body = body.await?.into_bytes();
        read_fragments(&body).map_err(|source| Error::Media { stream: self.stream.clone(), source })
    }

    /// `None` if there is no such stream.
    async fn client(&self, api: ApiName) -> Result<Option<archive::Client>, Error> {
        let answer = patiently(async || {
            let asked = self.control.get_data_endpoint().stream_name(&self.stream);
            call("GetDataEndpoint", asked.api_name(api.clone()).send()).await
        });
        match answer.await {
            Ok(answer) => {
                let endpoint = answer.data_endpoint.unwrap_or_default();
                let config = self.archive.clone().endpoint_url(endpoint).build();
                Ok(Some(archive::Client::from_conf(config)))
            }
            Err(failure) if has_code(&failure, "ResourceNotFoundException") => Ok(None),
            Err(failure) => Err(failure.into()),
        }
    }
}

/// Repeats what a quota of the stream refuses; the SDK itself tries for a second or so only.
///
/// # Errors
/// Those of `attempt`.
pub async fn patiently<T>(
    mut attempt: impl AsyncFnMut() -> Result<T, ServiceFailure>,
) -> Result<T, ServiceFailure> {
    for _ in 0..THROTTLED_TRIES {
        match attempt().await {
            Err(failure) if has_code(&failure, "ClientLimitExceededException") => {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            outcome => return outcome,
        }
    }
    attempt().await
}
