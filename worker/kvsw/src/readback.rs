//! What a stream holds, asked of the service: ListFragments says what there is, GetMediaForFragmentList brings it.
//!
//! Not GetMedia: its body is open for ever and comes in the order of ingestion. The archive gives what was asked for, in the
//! order of the request, and ends; so a stream of any length is read in pieces of bounded size.

use std::collections::BTreeSet;
use std::time::Duration;

use aws::failure::{call, has_code};
use aws_config::SdkConfig;
use aws_sdk_kinesisvideo::types::ApiName;
use aws_sdk_kinesisvideoarchivedmedia as archive;
use aws_sdk_kinesisvideoarchivedmedia::primitives::DateTime;
use aws_sdk_kinesisvideoarchivedmedia::types::{
    Fragment, FragmentSelector, FragmentSelectorType, TimestampRange,
};
use ingest::failure::ServiceFailure;
use media::fragment::read::{ReadFragment, read_fragments};
use media::time::EpochMs;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use crate::error::{Error, Result};
use crate::world::World;

const LIST: &str = "ListFragments";
const MEDIA: &str = "GetMediaForFragmentList";

/// Fragments on a page of ListFragments. The quota counts what is asked for, 10,000 a second.
const PAGE: i64 = 100;
/// Fragments of one GetMediaForFragmentList: about 100 × 64 KB.
const MEDIA_PAGE: usize = 100;
/// Fragments a second, below the quota of 500.
const MEDIA_PER_SECOND: f64 = 400.0;
/// A throttled call is tried so many times more, a second apart.
const THROTTLED_TRIES: u32 = 5;

/// A fragment as ListFragments tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// `FragmentNumber`; grows in the order of ingestion.
    pub number: String,
    /// Producer timestamp.
    pub at: EpochMs,
    /// Server timestamp.
    pub server_at: EpochMs,
    /// `FragmentLengthInMilliseconds`, measured by the service.
    pub length_ms: u64,
}

impl Listed {
    /// Where its audio ends, by the service's measure.
    pub fn end(&self) -> EpochMs {
        EpochMs(self.at.0.saturating_add(self.length_ms))
    }
}

/// Reads one stream.
#[derive(Debug)]
pub struct StreamReader<'a> {
    config: &'a SdkConfig,
    control: &'a aws_sdk_kinesisvideo::Client,
    stream: String,
    list_client: OnceCell<Option<archive::Client>>,
    media_client: OnceCell<Option<archive::Client>>,
}

impl<'a> StreamReader<'a> {
    /// A reader of the stream of this name.
    pub fn new(world: &'a World, stream: &str) -> Self {
        Self::with_config(&world.config, &world.streams, stream)
    }

    /// The same, for callers with clients of their own.
    pub fn with_config(
        config: &'a SdkConfig,
        control: &'a aws_sdk_kinesisvideo::Client,
        stream: &str,
    ) -> Self {
        let (list_client, media_client) = (OnceCell::new(), OnceCell::new());
        Self { config, control, stream: stream.to_owned(), list_client, media_client }
    }

    /// The fragments whose producer timestamps lie in `range` (both ends included), or all, in the order of time. A stream
    /// that does not exist has none.
    ///
    /// # Errors
    /// Those of GetDataEndpoint and ListFragments.
    pub async fn list(&self, range: Option<(EpochMs, EpochMs)>) -> Result<Vec<Listed>> {
        let client = self.list_client.get_or_try_init(|| self.client(ApiName::ListFragments)).await?;
        let Some(client) = client else { return Ok(Vec::new()) };
        // ListFragments asks for a range in every call that has no token.
        let selector = Some(selector(range.unwrap_or((EpochMs(0), LATEST)))?);
        let (mut listed, mut token) = (Vec::new(), None);
        loop {
            let answer = patiently(async || {
                let asked = client.list_fragments().stream_name(&self.stream).max_results(PAGE);
                let asked = asked.set_fragment_selector(selector.clone()).set_next_token(token.clone());
                call(LIST, asked.send()).await
            });
            let answer = match answer.await {
                Err(failure) if has_code(&failure, "ResourceNotFoundException") => return Ok(Vec::new()),
                answer => answer?,
            };
            listed.extend(answer.fragments.unwrap_or_default().into_iter().filter_map(listed_fragment));
            token = answer.next_token;
            if token.is_none() {
                break;
            }
        }
        listed.sort_by(|a, b| (a.at, &a.number).cmp(&(b.at, &b.number)));
        listed.dedup_by(|a, b| a.number == b.number);
        Ok(listed)
    }

    /// Reads the media of `fragments`, in their order, and gives each to `take`. Returns the numbers of those that are no
    /// longer there: their retention passed meanwhile.
    ///
    /// # Errors
    /// Those of GetDataEndpoint and GetMediaForFragmentList; media that cannot be read; those of `take`.
    pub async fn media(
        &self,
        fragments: &[Listed],
        mut take: impl FnMut(ReadFragment) -> Result<()>,
    ) -> Result<BTreeSet<String>> {
        let mut missing: BTreeSet<String> = fragments.iter().map(|f| f.number.clone()).collect();
        let client =
            self.media_client.get_or_try_init(|| self.client(ApiName::GetMediaForFragmentList)).await?;
        let Some(client) = client else { return Ok(missing) };
        let (began, mut asked_for) = (Instant::now(), 0);
        for page in fragments.chunks(MEDIA_PAGE) {
            tokio::time::sleep_until(
                began + Duration::from_secs_f64(f64::from(asked_for) / MEDIA_PER_SECOND),
            )
            .await;
            asked_for += page.len() as u32;
            for fragment in self.page(client, page).await? {
                let wanted = fragment.number.as_ref().is_some_and(|number| missing.remove(number));
                if wanted {
                    take(fragment)?;
                }
            }
        }
        Ok(missing)
    }

    async fn page(&self, client: &archive::Client, page: &[Listed]) -> Result<Vec<ReadFragment>> {
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
    async fn client(&self, api: ApiName) -> Result<Option<archive::Client>> {
        let answer = patiently(async || {
            let asked = self.control.get_data_endpoint().stream_name(&self.stream);
            call("GetDataEndpoint", asked.api_name(api.clone()).send()).await
        });
        match answer.await {
            Ok(answer) => {
                let endpoint = answer.data_endpoint.unwrap_or_default();
                let config = archive::config::Builder::from(self.config).endpoint_url(endpoint);
                Ok(Some(archive::Client::from_conf(config.build())))
            }
            Err(failure) if has_code(&failure, "ResourceNotFoundException") => Ok(None),
            Err(failure) => Err(failure.into()),
        }
    }
}

/// Repeats what a quota of the stream refuses; the SDK itself tries for a second or so only.
pub(crate) async fn patiently<T>(
    mut attempt: impl AsyncFnMut() -> std::result::Result<T, ServiceFailure>,
) -> std::result::Result<T, ServiceFailure> {
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

/// Later than any fragment: the year 2100.
const LATEST: EpochMs = EpochMs(4_102_444_800_000);

fn selector((from, to): (EpochMs, EpochMs)) -> Result<FragmentSelector> {
    let moment = |ms: u64| DateTime::from_millis(i64::try_from(ms).unwrap_or(i64::MAX));
    let range = TimestampRange::builder().start_timestamp(moment(from.0)).end_timestamp(moment(to.0));
    let selector = range.build().and_then(|range| {
        let selector = FragmentSelector::builder().timestamp_range(range);
        selector.fragment_selector_type(FragmentSelectorType::ProducerTimestamp).build()
    });
    let garbled = |detail| ServiceFailure::Garbled { operation: LIST.into(), detail };
    Ok(selector.map_err(|e| garbled(e.to_string()))?)
}

fn listed_fragment(fragment: Fragment) -> Option<Listed> {
    Some(Listed {
        number: fragment.fragment_number?,
        at: milliseconds(fragment.producer_timestamp?),
        server_at: fragment.server_timestamp.map(milliseconds).unwrap_or_default(),
        length_ms: u64::try_from(fragment.fragment_length_in_milliseconds).unwrap_or_default(),
    })
}

/// Rounded: the timestamp travels as seconds in a JSON number, whose fraction may lie a little below the millisecond meant.
fn milliseconds(time: DateTime) -> EpochMs {
    let ms = i128::from(time.secs()) * 1_000 + (i128::from(time.subsec_nanos()) + 500_000) / 1_000_000;
    EpochMs(u64::try_from(ms).unwrap_or_default())
}
