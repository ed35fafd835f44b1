//! What can be set.

use crate::rules::fragment::FragmentRules;
use crate::rules::schema::Elements;
use serde::{Deserialize, Serialize};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// Settings of an emulator. `Config::default()` behaves like a fast service in one region.
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
    /// False takes requests without any signature too.
    pub auth: bool,
    /// What GetDataEndpoint answers; `None` is where the emulator listens.
    pub advertised_endpoint: Option<String>,
    /// Folder in which streams outlive the emulator; `None` keeps them in memory only.
    pub data_dir: Option<PathBuf>,
    /// CREATING to ACTIVE, UPDATING to ACTIVE, and DELETING to gone.
    pub create_ms: u64,
    /// A fragment's time is known to BUFFERING.
    pub buffering_ms: u64,
    /// A fragment is whole to RECEIVED; never before its BUFFERING.
    pub received_ms: u64,
    /// RECEIVED to PERSISTED.
    pub persist_ms: u64,
    /// From PERSISTED until ListFragments shows a fragment.
    pub list_lag_ms: u64,
    /// GetMedia's body ends after this long without a new fragment; `u64::MAX` leaves it open, as the service does.
    pub get_media_linger_ms: u64,
    /// Time between IDLE acks while no data arrives.
    pub idle_ack_ms: u64,
    /// PutMedia ends this long after the last byte.
    pub idle_close_ms: u64,
    /// PutMedia ends with 4003 after this long.
    pub connection_ms_max: u64,
    /// How long a stream's one PutMedia connection stays taken after it was cut, or its client has gone. The service's
    /// time is unknown.
    pub cut_release_ms: u64,
    /// Whether GetMedia and GetMediaForFragmentList give each fragment as a Matroska document of its own, as the service
    /// does, or one document for all that a PutMedia connection brought, as merged recordings have it.
    pub document_per_fragment: bool,
    /// What a fragment may be.
    pub rules: FragmentRules,
    /// How much and how often.
    pub limits: Limits,
    /// The latest requests that are remembered for assertions.
    pub recorded_requests_max: usize,
    /// Where time comes from.
    pub clock: Clock,
}

/// The service's quotas (Kinesis Video Streams developer guide, limits), and the emulator's own memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Limits {
    /// False switches all rates off, of calls, fragments and bytes.
    pub rates: bool,
    /// Streams of the account.
    pub streams_max: usize,
    /// CreateStream, DeleteStream, UpdateDataRetention, TagStream, ListStreams: calls a second in the account.
    pub change_per_second: u64,
    /// DescribeStream, GetDataEndpoint: calls a second in the account.
    pub describe_per_second: u64,
    /// Calls a second of one operation on one stream.
    pub stream_per_second: u64,
    /// PutMedia connections of a stream.
    pub put_media_connections: usize,
    /// PutMedia: bytes a second on a stream; a producer that is faster has to wait.
    pub put_bytes_per_second: u64,
    /// PutMedia: fragments a second on a stream; a producer that is faster has to wait.
    pub fragments_per_second: u64,
    /// GetMedia connections of a stream.
    pub get_media_connections: usize,
    /// GetMedia: bytes a second of a connection.
    pub get_bytes_per_second: u64,
    /// GetMediaForFragmentList connections of a stream.
    pub fragment_list_connections: usize,
    /// ListFragments: MaxResults a second on a stream.
    pub metadata_per_second: u64,
    /// GetMediaForFragmentList: fragments a second on a stream.
    pub media_per_second: u64,
    /// Tags of a stream.
    pub stream_tags_max: usize,
    /// Bytes that a stream without retention holds for readers.
    pub buffer_bytes_max: u64,
    /// Bytes of all fragments that are not stored yet; a call that needs more, and has much already, is answered
    /// with 5000.
    pub open_bytes_max: u64,
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
            put_media_connections: 1,
            put_bytes_per_second: 12_500_000,
            fragments_per_second: 5,
            get_media_connections: 3,
            get_bytes_per_second: 25_000_000,
            fragment_list_connections: 5,
            metadata_per_second: 10_000,
            media_per_second: 500,
            stream_tags_max: 50,
            buffer_bytes_max: 200_000_000,
            open_bytes_max: 512 << 20,
            stored_bytes_max: 1 << 30,
            connections_max: 4096,
        }
    }
}

/// What a quota is set to when it is switched off: the same in every integer type, and never reached.
const OFF: i64 = i64::MAX;

impl Config {
    /// The default, but for a producer that relies on nothing which the service is only believed to accept: elements other
    /// than the official producers', timestamps ahead of the clock or before the year 2000.
    pub fn strict() -> Self {
        const YEAR_2000_MS: i64 = 946_684_800_000;
        let rules = FragmentRules {
            elements: Elements::Generator,
            future_tolerance_ms: 0,
            earliest_timestamp_ms: YEAR_2000_MS,
            ..FragmentRules::default()
        };
        Self { rules, ..Self::default() }
    }

    /// Sets a quota of [`Limits`] or [`FragmentRules`] by its name, such as `getMediaConnections`; `None` switches
    /// it off.
    ///
    /// # Errors
    /// There is no number of this name, or it cannot hold the value.
    pub fn set_quota(&mut self, name: &str, value: Option<u64>) -> Result<(), QuotaError> {
        let value = serde_json::json!(value.unwrap_or(OFF as u64));
        let unknown = || QuotaError::Unknown { name: name.to_owned(), known: self.quotas().join(", ") };
        let wrong = |_| QuotaError::Value { name: name.to_owned() };
        let (mut limits, mut rules) = (members(&self.limits), members(&self.rules));
        if let Some(quota) = limits.get_mut(name).filter(|quota| quota.is_number()) {
            *quota = value;
            self.limits = serde_json::from_value(limits.into()).map_err(wrong)?;
        } else if let Some(quota) = rules.get_mut(name).filter(|quota| quota.is_number()) {
            *quota = value;
            self.rules = serde_json::from_value(rules.into()).map_err(wrong)?;
        } else {
            return Err(unknown());
        }
        Ok(())
    }

    /// The names of all quotas that are numbers.
    pub fn quotas(&self) -> Vec<String> {
        let all = members(&self.limits).into_iter().chain(members(&self.rules));
        all.filter(|(_, value)| value.is_number()).map(|(name, _)| name).collect()
    }
}

fn members(value: &impl Serialize) -> serde_json::Map<String, serde_json::Value> {
    // Plain structs of numbers, flags and words: serialising them cannot fail.
    serde_json::to_value(value).ok().and_then(|value| value.as_object().cloned()).unwrap_or_default()
}

/// Why a quota was not set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuotaError {
    /// No quota has this name.
    #[error("there is no quota {name}; there are {known}")]
    Unknown {
        /// As given.
        name: String,
        /// All names.
        known: String,
    },
    /// The number is too large or too small.
    #[error("quota {name} cannot take this value")]
    Value {
        /// As given.
        name: String,
    },
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
    /// Stands still but for [`Emulator::advance`](crate::Emulator::advance) and `POST /emulator/clock`.
    Manual {
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
            auth: true,
            advertised_endpoint: None,
            data_dir: None,
            create_ms: 200,
            buffering_ms: 0,
            received_ms: 0,
            persist_ms: 80,
            list_lag_ms: 0,
            get_media_linger_ms: 1000,
            idle_ack_ms: 5000,
            idle_close_ms: 30_000,
            connection_ms_max: 45 * 60 * 1000,
            cut_release_ms: 0,
            document_per_fragment: true,
            rules: FragmentRules::default(),
            limits: Limits::default(),
            recorded_requests_max: 5000,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_strict_rules_are_what_the_service_is_known_to_accept() {
        let rules = Config::strict().rules;
        assert_eq!((rules.elements, rules.future_tolerance_ms), (Elements::Generator, 0));
        assert!(rules.earliest_timestamp_ms > Config::default().rules.earliest_timestamp_ms);
    }

    #[test]
    fn every_quota_can_be_set_and_switched_off_by_its_name() {
        for name in Config::default().quotas() {
            for value in [Some(7), None] {
                let mut config = Config::default();
                config.set_quota(&name, value).unwrap();
                let both = [members(&config.limits), members(&config.rules)];
                let set = both.iter().find_map(|members| members.get(&name)).unwrap();
                assert_eq!(set.as_i64(), Some(value.map_or(OFF, |value| value as i64)), "{name}");
            }
        }
        let error = Config::default().set_quota("getMedia", Some(1)).unwrap_err();
        assert!(error.to_string().contains("getMediaConnections"), "{error} teaches the names");
    }
}
