//! How counts, lengths and moments are written for a person.

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use media::time::EpochMs;

/// `12 messages`, `1 message`.
pub fn count(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// A length of time in its two largest units: `3 d 4 h`, `2 min 5 s`, `1.25 s`, `40 ms`.
pub fn length(ms: u64) -> String {
    let (s, rest) = (ms / 1_000, ms % 1_000);
    let two = |n: u64, unit: &str, m: u64, small: &str| match m {
        0 => format!("{n} {unit}"),
        m => format!("{n} {unit} {m} {small}"),
    };
    match s {
        0 => format!("{rest} ms"),
        1..60 if rest == 0 => format!("{s} s"),
        1..60 => format!("{}.{} s", s, format!("{rest:03}").trim_end_matches('0')),
        60..3_600 => two(s / 60, "min", s % 60, "s"),
        3_600..86_400 => two(s / 3_600, "h", s % 3_600 / 60, "min"),
        _ => two(s / 86_400, "d", s % 86_400 / 3_600, "h"),
    }
}

/// A moment in UTC with milliseconds: `2026-11-22T10:00:00.250Z`.
pub fn moment(at: EpochMs) -> String {
    let time = i64::try_from(at.0).ok().map(DateTime::from_millis);
    let text = time.and_then(|time| time.fmt(Format::DateTime).ok()).unwrap_or_else(|| at.0.to_string());
    match text.split_once('.') {
        // As many digits as there are, so that columns line up.
        Some((seconds, fraction)) => format!("{seconds}.{:0<3}Z", fraction.trim_end_matches('Z')),
        None => text.replace('Z', ".000Z"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_moments_are_short_and_exact() {
        let cases = [
            (40, "40 ms"),
            (1_250, "1.25 s"),
            (2_000, "2 s"),
            (125_999, "2 min 5 s"),
            (7_200_000, "2 h"),
            (273_600_000, "3 d 4 h"),
        ];
        for (ms, text) in cases {
            assert_eq!(length(ms), text);
        }
        assert_eq!(moment(EpochMs(1_795_341_600_250)), "2026-11-22T10:00:00.250Z");
        assert_eq!(moment(EpochMs(1_795_341_600_000)), "2026-11-22T10:00:00.000Z");
        assert_eq!(moment(EpochMs(u64::MAX)), u64::MAX.to_string());
    }
}
