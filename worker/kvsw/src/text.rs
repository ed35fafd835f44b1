//! How numbers, times and chunk indices are written for a person, and read from one.

use std::collections::BTreeSet;

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

/// Runs of neighbours: `[0, 1, 2, 7]` is `[(0, 2), (7, 7)]`.
pub fn runs(indices: impl IntoIterator<Item = u64>) -> Vec<(u64, u64)> {
    let mut indices: Vec<u64> = indices.into_iter().collect();
    indices.sort_unstable();
    indices.dedup();
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for index in indices {
        match runs.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(index) => *last = index,
            _ => runs.push((index, index)),
        }
    }
    runs
}

/// The runs of `from..to` that `present` lacks. Takes time for what is present, not for the range, which a hostile
/// index may have made huge.
pub fn holes(from: u64, to: u64, present: &BTreeSet<u64>) -> Vec<(u64, u64)> {
    let mut holes = Vec::new();
    let mut next = from;
    for &index in present.range(from..to.max(from)) {
        if index > next {
            holes.push((next, index - 1));
        }
        next = index + 1;
    }
    if next < to {
        holes.push((next, to - 1));
    }
    holes
}

/// `0-2, 7`; of many runs, the first few.
pub fn ranges(runs: &[(u64, u64)]) -> String {
    const SHOWN: usize = 6;
    let run = |(first, last): &(u64, u64)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    let mut text: Vec<String> = runs.iter().take(SHOWN).map(run).collect();
    if runs.len() > SHOWN {
        text.push(format!("… {} more", runs.len() - SHOWN));
    }
    text.join(", ")
}

/// A place in a session as a person gives it: `90s`, `1:30`, `1h2m`, `12.5` (seconds) after its beginning, or a moment
/// in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// After the session's first sample.
    After {
        /// Milliseconds.
        ms: u64,
    },
    /// At a moment.
    At(EpochMs),
}

impl Place {
    /// The moment, in a session that begins at `start`.
    pub fn moment(self, start: EpochMs) -> EpochMs {
        match self {
            Self::After { ms } => EpochMs(start.0.saturating_add(ms)),
            Self::At(at) => at,
        }
    }
}

/// Reads a place.
pub fn place(text: &str) -> Option<Place> {
    if text.contains('T') {
        let at = DateTime::from_str(text, Format::DateTime).ok()?.to_millis().ok()?;
        return Some(Place::At(EpochMs(u64::try_from(at).ok()?)));
    }
    duration_ms(text).map(|ms| Place::After { ms })
}

/// Reads a length of time: `90s`, `1:30`, `1h2m`, `250ms`, `12.5` (seconds). At most ten years.
pub fn duration_ms(text: &str) -> Option<u64> {
    const MOST_MS: f64 = 3.2e11;
    let seconds = |text: &str| {
        let plain = text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        text.parse::<f64>().ok().filter(|_| plain)
    };
    let total = match text.contains(':') {
        true => text.split(':').enumerate().try_fold(0.0, |total, (i, part)| {
            let part = seconds(part).filter(|part| i == 0 || *part < 60.0)?;
            Some(total * 60.0 + part)
        })?,
        false => {
            let (mut rest, mut total) = (text, 0.0);
            while !rest.is_empty() {
                let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
                let (number, behind) = rest.split_at(digits);
                let letters = behind.find(|c: char| c.is_ascii_digit()).unwrap_or(behind.len());
                let (unit, behind) = behind.split_at(letters);
                total += seconds(number)? * unit_seconds(unit.trim())?;
                rest = behind;
            }
            total
        }
    };
    (!text.is_empty() && total * 1_000.0 <= MOST_MS).then(|| (total * 1_000.0).round() as u64)
}

fn unit_seconds(unit: &str) -> Option<f64> {
    Some(match unit {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3_600.0,
        "d" => 86_400.0,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lengths_are_read_as_people_write_them() {
        let cases = [
            ("90s", 90_000),
            ("1:30", 90_000),
            ("1:00:00.5", 3_600_500),
            ("1h2m", 3_720_000),
            ("2 min", 120_000),
            ("250ms", 250),
            ("12.5", 12_500),
            ("1d", 86_400_000),
        ];
        for (text, ms) in cases {
            assert_eq!(duration_ms(text), Some(ms), "{text}");
        }
        for wrong in ["", "x", "1x", "-1", "1:x", "1:99", "1:60:00", "1e9", "inf", "nan", "99999d", ".", "s"]
        {
            assert_eq!(duration_ms(wrong), None, "{wrong:?}");
        }
        let at = place("2026-11-22T10:00:00.250Z");
        assert_eq!(at, Some(Place::At(EpochMs(1_795_341_600_250))));
        assert_eq!(place("2026-11-22T"), None);
    }

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

    proptest! {
        #[test]
        fn runs_hold_the_indices_and_nothing_else(indices in prop::collection::btree_set(0..200_u64, 0..60)) {
            let told: Vec<u64> = runs(indices.iter().copied()).into_iter().flat_map(|(a, b)| a..=b).collect();
            prop_assert_eq!(told, indices.into_iter().collect::<Vec<_>>());
        }

        #[test]
        fn holes_are_what_is_not_there(
            present in prop::collection::btree_set(0..100_u64, 0..60),
            from in 0..50_u64,
            len in 0..60_u64,
        ) {
            let told: Vec<u64> = holes(from, from + len, &present).into_iter().flat_map(|(a, b)| a..=b).collect();
            let absent: Vec<u64> = (from..from + len).filter(|index| !present.contains(index)).collect();
            prop_assert_eq!(told, absent);
        }

        #[test]
        fn no_text_makes_reading_a_place_panic(text in ".{0,24}") {
            let _ = place(&text);
        }
    }
}
