//! How values of arguments are read. What is wrong with one is said with a hint.

use std::time::Duration;

use ingest::message::{MAX_SESSION_ID, SessionId};
use reader::text::length;

use crate::error::{Result, usage};
use crate::time::{self, Place, When};

/// A message group: a sessionId, or whatever a refused message came with.
pub(super) fn group(text: &str) -> Result<String> {
    if text.is_empty() || text.len() > MAX_SESSION_ID {
        let message = format!("a session's name has 1 to {MAX_SESSION_ID} characters");
        return Err(usage(message, "`kvsw dlq list` shows the sessions that have parked messages"));
    }
    Ok(text.to_owned())
}

pub(super) fn reason(text: &str) -> Result<String> {
    match text.trim() {
        "" => Err(usage("it is empty", "`kvsw dlq list` shows the reasons that there are")),
        reason => Ok(reason.to_owned()),
    }
}

pub(super) fn session_id(text: &str) -> Result<SessionId> {
    let hint = "give the sessionId, without the `session-` prefix of its stream's name";
    SessionId::parse(text).map_err(|rejection| usage(rejection.to_string(), hint))
}

pub(super) fn duration(text: &str) -> Result<Duration> {
    let ms = time::duration_ms(text.trim());
    ms.map(Duration::from_millis)
        .ok_or_else(|| usage(format!("{text:?} is not a valid duration"), "write 90s, 1:30, 10m or 1h30m"))
}

pub(super) fn some_time(text: &str) -> Result<Duration> {
    let none = || usage("it is 0", "give a time such as 10s");
    duration(text).and_then(|time| if time.is_zero() { Err(none()) } else { Ok(time) })
}

pub(super) fn silence(text: &str) -> Result<Duration> {
    let shortest = sweep::SHORTEST_SILENCE;
    let silence = duration(text)?;
    if silence < shortest {
        let message = format!("it takes {} or more", length(shortest.as_millis() as u64));
        return Err(usage(message, "speakers pause, and the queue may be behind"));
    }
    Ok(silence)
}

pub(super) fn place(text: &str) -> Result<Place> {
    const HINT: &str =
        "write 90s or 1:30 after the session's beginning, or a moment such as 2026-11-22T10:00:00Z";
    time::place(text.trim()).ok_or_else(|| usage(format!("{text:?} is not a valid position"), HINT))
}

pub(super) fn function(text: &str) -> Result<String> {
    match text.trim() {
        "" => Err(usage("it names no function", "leave it out: the queue's mapping names the writer")),
        name => Ok(name.to_owned()),
    }
}

/// A moment: so long ago, or a date.
pub(super) fn when(text: &str) -> Result<When> {
    const HINT: &str = "write 2h or 1h30m (so long ago), or a moment such as 2026-11-22T10:00:00Z";
    time::when(text.trim()).ok_or_else(|| usage(format!("{text:?} is not a valid time"), HINT))
}

/// Messages a second.
pub(super) fn rate(text: &str) -> Result<u32> {
    const MAX: u32 = 3_000;
    let rate = text.trim().parse().ok().filter(|rate| (1..=MAX).contains(rate));
    rate.ok_or_else(|| {
        usage(format!("{text:?} is not a rate from 1 to {MAX}"), "write messages a second: 100")
    })
}
