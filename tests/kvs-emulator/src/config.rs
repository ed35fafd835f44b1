//! What can be set.

use crate::rules::fragment::FragmentRules;
use serde::{Deserialize, Serialize};
use std::net::{Ipv4Addr, SocketAddr};

/// Settings of an emulator. `Config::default()` behaves like a fast, strict service in one region.
#[derive(Clone)]
pub struct Config {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Region in ARNs, and in signatures when `credentials` is set.
    pub region: String,
    /// Twelve digits in ARNs.
    pub account: String,
    /// Access key and secret. When set, SigV4 signatures are verified in full; else only that a signature is
    /// there and is scoped to `kinesisvideo`.
    pub credentials: Option<(String, String)>,
    /// CREATING to ACTIVE, UPDATING to ACTIVE, and DELETING to gone.
    pub create_ms: u64,
    /// RECEIVED to PERSISTED.
    pub persist_ms: u64,
    /// From PERSISTED until ListFragments shows a fragment.
    pub list_lag_ms: u64,
    /// GetMedia's body ends after this long without a new fragment. The service's stays open.
    pub get_media_linger_ms: u64,
    /// Time between IDLE acks while no data arrives.
    pub idle_ack_ms: u64,
    /// PutMedia ends this long after the last byte.
    pub idle_close_ms: u64,
    /// PutMedia ends with 4003 after this long.
    pub connection_ms_max: u64,
    /// How long a stream's one PutMedia connection stays taken after it was cut. The service's time is unknown.
    pub cut_release_ms: u64,
    /// Whether GetMedia begins a Segment for every fragment, or only when the PutMedia connection changes.
    pub segment_per_fragment: bool,
    /// What a fragment may be.
    pub rules: FragmentRules,
    /// How much and how often.
    pub limits: Limits,
    /// Where time comes from.
    pub clock: Clock,
}

/// The service's quotas (Kinesis Video Streams developer guide, limits), and the emulator's own memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Limits {
    /// False switches all rates off.
    pub rates: bool,
    /// Streams of the account.
    pub streams_max: usize,
    /// CreateStream, DeleteStream, UpdateDataRetention, TagStream, ListStreams: calls a second in the account.
    pub change_per_second: u64,
    /// DescribeStream, GetDataEndpoint: calls a second in the account.
    pub describe_per_second: u64,
    /// Calls a second of one operation on one stream.
    pub stream_per_second: u64,
    /// GetMedia connections of a stream.
    pub get_media_connections: usize,
    /// GetMediaForFragmentList connections of a stream.
    pub fragment_list_connections: usize,
    /// ListFragments: MaxResults a second on a stream.
    pub metadata_per_second: u64,
    /// GetMediaForFragmentList: fragments a second on a stream.
    pub media_per_second: u64,
    /// Bytes of all fragments kept; a fragment beyond is answered with 5001, nothing is dropped in silence.
    pub stored_bytes_max: u64,
    /// Connections at once; more wait.
    pub connections_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            rates: true,
            streams_max: 10_000,
            change_per_second: 50,
            describe_per_second: 300,
            stream_per_second: 5,
            get_media_connections: 3,
            fragment_list_connections: 5,
            metadata_per_second: 10_000,
            media_per_second: 500,
            stored_bytes_max: 1 << 30,
            connections_max: 4096,
        }
    }
}

/// Where time comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// The computer's.
    System,
    /// Begins at this many milliseconds since 1970 and runs with tokio's clock, which a test may pause.
    Virtual {
        /// Milliseconds since 1970.
        epoch_ms: u64,
    },
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            region: "us-east-1".to_owned(),
            account: "000000000000".to_owned(),
            credentials: None,
            create_ms: 200,
            persist_ms: 80,
            list_lag_ms: 0,
            get_media_linger_ms: 1000,
            idle_ack_ms: 5000,
            idle_close_ms: 30_000,
            connection_ms_max: 45 * 60 * 1000,
            cut_release_ms: 0,
            segment_per_fragment: false,
            rules: FragmentRules::default(),
            limits: Limits::default(),
            clock: Clock::System,
        }
    }
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let access_key = self.credentials.as_ref().map(|(access_key, _)| access_key);
        write!(f, "Config {{ listen: {}, region: {}, ", self.listen, self.region)?;
        write!(f, "access key: {access_key:?}, rules: {:?}, limits: {:?} }}", self.rules, self.limits)
    }
}
