//! A stream's names, states and identity.

use serde::{Deserialize, Serialize};

/// Where a stream is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// CreateStream was answered; media is not taken yet.
    Creating,
    /// Ready.
    Active,
    /// An UpdateDataRetention is under way.
    Updating,
    /// DeleteStream was answered; the name is not free yet.
    Deleting,
}

/// When the states change, in milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Life {
    /// CreateStream.
    pub created_ms: u64,
    /// Becomes ACTIVE.
    pub active_ms: u64,
    /// UPDATING until then.
    pub updated_ms: u64,
    /// Set by DeleteStream: gone from then on.
    pub gone_ms: Option<u64>,
}

impl Life {
    /// The state at `now_ms`; `None` once the stream is gone.
    pub fn status(&self, now_ms: u64) -> Option<Status> {
        match self.gone_ms {
            Some(gone_ms) if now_ms >= gone_ms => None,
            Some(_) => Some(Status::Deleting),
            None if now_ms < self.active_ms => Some(Status::Creating),
            None if now_ms < self.updated_ms => Some(Status::Updating),
            None => Some(Status::Active),
        }
    }
}

/// `[a-zA-Z0-9_.-]{1,256}`
pub fn is_stream_name(name: &str) -> bool {
    is_word(name, 256)
}

/// `[a-zA-Z0-9_.-]{1,128}`
pub fn is_device_name(name: &str) -> bool {
    is_word(name, 128)
}

/// `[a-zA-Z0-9]{1,64}`
pub fn is_version(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn is_word(text: &str, bytes_max: usize) -> bool {
    (1..=bytes_max).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
}

/// `type/sub[,type/sub]`, each part of `[\w\-.+]+`, 128 characters in all.
pub fn is_media_type(text: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty()
            && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '+'))
    };
    text.chars().count() <= 128
        && text
            .split(',')
            .all(|one| matches!(one.split('/').collect::<Vec<_>>()[..], [a, b] if part(a) && part(b)))
}

/// Stream tags: key of 1 to 128 characters, value of up to 256, from letters, numbers, spaces and `_.:/=+-@`.
pub fn is_tag(key: &str, value: &str) -> bool {
    let good = |text: &str| {
        text.chars().all(|c| {
            c.is_alphanumeric()
                || (c.is_whitespace() && !c.is_control())
                || matches!(c, '_' | '.' | ':' | '/' | '=' | '+' | '-' | '@')
        })
    };
    (1..=128).contains(&key.chars().count())
        && value.chars().count() <= 256
        && good(key)
        && good(value)
        && !key.to_ascii_lowercase().starts_with("aws:")
}

/// `arn:aws:kinesisvideo:<region>:<account>:stream/<name>/<creation time>`
pub fn arn(region: &str, account: &str, name: &str, created_ms: u64) -> String {
    format!("arn:aws:kinesisvideo:{region}:{account}:stream/{name}/{created_ms}")
}

/// The stream's name inside an ARN, `None` if it is not a stream ARN.
pub fn arn_name(arn: &str) -> Option<&str> {
    let resource = arn.strip_prefix("arn:")?.splitn(5, ':').nth(4)?;
    let (name, created) = resource.strip_prefix("stream/")?.rsplit_once('/')?;
    (is_stream_name(name) && !created.is_empty() && created.bytes().all(|b| b.is_ascii_digit()))
        .then_some(name)
}

/// Fragment numbers have 47 digits and grow: a fixed head, the stream's creation time, a counter.
pub fn fragment_number(created_ms: u64, counter: u64) -> String {
    format!("91343852333181{created_ms:013}{counter:020}")
}

/// `x-amzn-producer-start-timestamp` in milliseconds: seconds, or seconds with up to three decimals, which one
/// official producer writes without zero padding (`.40` for 40 ms) - read as the decimal number it is.
/// Whole milliseconds, which other clients send, are told from seconds by their size.
pub fn start_timestamp_ms(text: &str) -> Option<i64> {
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    if whole.is_empty() || whole.len() > 15 || decimals.len() > 9 || !digits(whole) || !digits(decimals) {
        return None;
    }
    let whole: i64 = whole.parse().ok()?;
    const SECONDS_MAX: i64 = 100_000_000_000; // the year 5138
    if decimals.is_empty() && whole >= SECONDS_MAX {
        return Some(whole);
    }
    let millis: i64 = format!("{decimals:0<3}").get(..3)?.parse().ok()?;
    Some(whole.saturating_mul(1000).saturating_add(millis))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_as_the_service_does() {
        for good in ["a", "session-1", "A_b.c-9", &"x".repeat(256)] {
            assert!(is_stream_name(good), "{good} is a stream name");
        }
        for bad in ["", "a b", "a/b", "é", &"x".repeat(257)] {
            assert!(!is_stream_name(bad), "{bad:?} is not a stream name");
        }
        for good in ["audio/l16", "audio/x-matroska", "video/h264,audio/aac"] {
            assert!(is_media_type(good), "{good} is a media type");
        }
        for bad in ["", "audio", "audio/", "/l16", "audio/l16,", "a/b/c", "audio/l16;rate=16000"] {
            assert!(!is_media_type(bad), "{bad:?} is not a media type");
        }
    }

    #[test]
    fn an_arn_names_its_stream() {
        let arn = arn("eu-central-1", "123456789012", "session-1", 1_700_000_000_000);
        assert_eq!(arn_name(&arn), Some("session-1"));
        for bad in [
            "",
            "session-1",
            "arn:aws:s3:::x",
            "arn:aws:kinesisvideo:r:1:stream/x",
            "arn:a:b:c:d:channel/x/1",
        ] {
            assert_eq!(arn_name(bad), None, "{bad:?} is not a stream ARN");
        }
    }

    #[test]
    fn start_timestamps_of_all_known_producers_are_read() {
        let cases = [
            ("1700000000.123", Some(1_700_000_000_123)),
            ("1700000000.40", Some(1_700_000_000_400)),
            ("1700000000.5", Some(1_700_000_000_500)),
            ("1700000000", Some(1_700_000_000_000)),
            ("1700000000123", Some(1_700_000_000_123)),
            ("0", Some(0)),
            ("", None),
            (".5", None),
            ("-1", None),
            ("2023-11-14T22:13:20Z", None),
            ("99999999999999999999", None),
        ];
        for (text, expected) in cases {
            assert_eq!(start_timestamp_ms(text), expected, "start timestamp {text:?}");
        }
    }

    #[test]
    fn fragment_numbers_have_47_digits_and_grow() {
        let numbers = [
            fragment_number(1_700_000_000_000, 1),
            fragment_number(1_700_000_000_000, 2),
            fragment_number(1_700_000_000_000, u64::MAX),
            fragment_number(1_700_000_000_001, 1),
        ];
        assert!(
            numbers.iter().all(|number| number.len() == 47 && number.bytes().all(|b| b.is_ascii_digit()))
        );
        assert!(numbers.is_sorted(), "{numbers:?}");
    }

    #[test]
    fn a_stream_is_creating_then_active_then_deleting_then_gone() {
        let mut life = Life { created_ms: 1000, active_ms: 1200, updated_ms: 0, gone_ms: None };
        assert_eq!(life.status(1199), Some(Status::Creating));
        assert_eq!(life.status(1200), Some(Status::Active));
        life.updated_ms = 1400;
        assert_eq!(life.status(1399), Some(Status::Updating));
        assert_eq!(life.status(1400), Some(Status::Active));
        life.gone_ms = Some(2000);
        assert_eq!(life.status(1999), Some(Status::Deleting));
        assert_eq!(life.status(2000), None);
    }
}
