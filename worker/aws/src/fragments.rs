//! ListFragments by producer timestamp, page by page, and what it says of a fragment.

use aws_sdk_kinesisvideoarchivedmedia::Client;
use aws_sdk_kinesisvideoarchivedmedia::primitives::DateTime;
use aws_sdk_kinesisvideoarchivedmedia::types::{
    Fragment, FragmentSelector, FragmentSelectorType, TimestampRange,
};
use ingest::failure::ServiceFailure;
use media::time::EpochMs;
use writer::ports::Result;

use crate::failure::call;

const LIST_FRAGMENTS: &str = "ListFragments";

/// A fragment as ListFragments lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// `FragmentNumber`; grows in the order of ingestion. Empty where the service left it out.
    pub number: String,
    /// Producer timestamp.
    pub at: EpochMs,
    /// Server timestamp.
    pub server_at: EpochMs,
    /// `FragmentLengthInMilliseconds`, measured by the service.
    pub length_ms: u64,
    /// `FragmentSizeInBytes`.
    pub bytes: u64,
}

impl Listed {
    /// Where its audio ends, by the service's measure.
    pub fn end(&self) -> EpochMs {
        EpochMs(self.at.0.saturating_add(self.length_ms))
    }

    fn of(fragment: Fragment) -> Option<Self> {
        Some(Self {
            number: fragment.fragment_number.unwrap_or_default(),
            at: milliseconds(&fragment.producer_timestamp?),
            server_at: fragment.server_timestamp.as_ref().map(milliseconds).unwrap_or_default(),
            length_ms: u64::try_from(fragment.fragment_length_in_milliseconds).unwrap_or_default(),
            bytes: u64::try_from(fragment.fragment_size_in_bytes).unwrap_or_default(),
        })
    }
}

/// One page of at most `size` fragments whose producer timestamps lie in `range`, both ends included, and the token of
/// the next page. What is asked for counts against the quota, found or not.
///
/// # Errors
/// Those of ListFragments.
pub async fn page(
    client: &Client,
    stream: &str,
    range: (EpochMs, EpochMs),
    size: i64,
    token: Option<String>,
) -> Result<(Vec<Listed>, Option<String>)> {
    // The range is asked for in every call that has no token.
    let asked = client.list_fragments().stream_name(stream).max_results(size);
    let asked = asked.fragment_selector(selector(range)?).set_next_token(token);
    let answer = call(LIST_FRAGMENTS, asked.send()).await?;
    let fragments = answer.fragments.unwrap_or_default();
    Ok((fragments.into_iter().filter_map(Listed::of).collect(), answer.next_token))
}

fn selector((from, to): (EpochMs, EpochMs)) -> Result<FragmentSelector> {
    let moment = |at: EpochMs| DateTime::from_millis(i64::try_from(at.0).unwrap_or(i64::MAX));
    let range = TimestampRange::builder().start_timestamp(moment(from)).end_timestamp(moment(to)).build();
    let selector = range.and_then(|range| {
        let selector = FragmentSelector::builder().timestamp_range(range);
        selector.fragment_selector_type(FragmentSelectorType::ProducerTimestamp).build()
    });
    selector.map_err(|e| ServiceFailure::Garbled { operation: LIST_FRAGMENTS.into(), detail: e.to_string() })
}

/// The timestamp in milliseconds, rounded: it travels as seconds in a JSON number, whose binary fraction may lie a
/// little below the millisecond that was meant.
fn milliseconds(timestamp: &DateTime) -> EpochMs {
    let ms =
        i128::from(timestamp.secs()) * 1_000 + (i128::from(timestamp.subsec_nanos()) + 500_000) / 1_000_000;
    EpochMs(u64::try_from(ms).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_timestamp_comes_back_as_the_millisecond_that_was_meant(ms in 0..4_102_444_800_000_u64) {
            prop_assert_eq!(milliseconds(&DateTime::from_secs_f64(ms as f64 / 1_000.0)), EpochMs(ms));
        }
    }
}
