//! A page that goes on after its session's end is told so, and its audio goes no further.

use media::time::EpochMs;
use writer::END_GRACE_MS;
use writer::ports::SessionStatus;

use super::message::{Caller, MAX_OFF_MS};
use super::refusal::Refusal;

/// Whether a chunk captured at `captured_at` may go into the queue, by what the Sessions table says. What was said before the end may come
/// late.
///
/// # Errors
/// `SESSION_ENDED` and `SESSION_UNKNOWN`: the writer would park it.
pub fn check(
    status: SessionStatus,
    caller: &Caller,
    captured_at: EpochMs,
    now: EpochMs,
) -> Result<(), Refusal> {
    match status {
        SessionStatus::Unknown => Err(Refusal::unknown_session(&caller.session)),
        SessionStatus::Ended { at } if is_over(at, captured_at, now) => {
            Err(Refusal::ended_session(&caller.session))
        }
        _ => Ok(()),
    }
}

/// Whether the session may be connected to. A page that was offline when it ended has words of before: it may bring them for as long as
/// their timestamps are taken.
///
/// # Errors
/// `SESSION_ENDED` and `SESSION_UNKNOWN`.
pub fn check_connection(status: SessionStatus, caller: &Caller, now: EpochMs) -> Result<(), Refusal> {
    match status {
        SessionStatus::Unknown => Err(Refusal::unknown_session(&caller.session)),
        SessionStatus::Ended { at: Some(at) } if now.ms_since(at) <= MAX_OFF_MS => Ok(()),
        SessionStatus::Ended { .. } => Err(Refusal::ended_session(&caller.session)),
        SessionStatus::Active => Ok(()),
    }
}

/// Where nobody told when the session ended, it ended before now: what was captured in the last moments is too late.
fn is_over(ended_at: Option<EpochMs>, captured_at: EpochMs, now: EpochMs) -> bool {
    let limit = match ended_at {
        Some(at) => at.plus_ms(END_GRACE_MS),
        None => EpochMs(now.0.saturating_sub(END_GRACE_MS)),
    };
    captured_at > limit && now > limit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_before_the_end_is_taken_however_late_it_comes() {
        let end = EpochMs(100_000);
        let over = |captured, now| is_over(Some(end), EpochMs(captured), EpochMs(now));
        assert!(!over(99_999, 900_000), "a page that was offline sends what it kept");
        assert!(!over(102_000, 900_000), "2 s of grace");
        assert!(over(102_001, 103_000));
        assert!(!over(102_001, 101_000), "the end lies ahead: it was announced");
    }

    #[test]
    fn without_a_time_of_the_end_only_what_is_being_said_now_is_refused() {
        let over = |captured| is_over(None, EpochMs(captured), EpochMs(100_000));
        assert!(over(99_500) && !over(97_000));
    }

    #[test]
    fn the_door_and_the_writer_take_the_same_audio_after_the_end() {
        assert_eq!(
            END_GRACE_MS,
            writer::Config::default().end_grace_ms,
            "what the door takes would be parked, or lost at the door"
        );
    }
}
