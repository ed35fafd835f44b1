//! How a person gives times.

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use media::time::EpochMs;

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

/// A moment as a person gives it: so long ago, or a date in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Before now.
    Ago {
        /// Milliseconds.
        ms: u64,
    },
    /// At a moment.
    At(EpochMs),
}

impl When {
    /// The moment.
    pub fn moment(self, now: EpochMs) -> EpochMs {
        match self {
            Self::Ago { ms } => EpochMs(now.0.saturating_sub(ms)),
            Self::At(at) => at,
        }
    }
}

/// Reads a moment.
pub fn when(text: &str) -> Option<When> {
    match place(text)? {
        Place::After { ms } => Some(When::Ago { ms }),
        Place::At(at) => Some(When::At(at)),
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

    proptest! {
        #[test]
        fn no_text_makes_reading_a_place_panic(text in ".{0,24}") {
            let _ = place(&text);
        }
    }
}
