//! What each reason in the DLQ means and what to do about it: the table of docs/runbook.md, in the program.

use crate::dlq::message::MOVED_BY_QUEUE;

/// What a reason means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advice {
    /// The reason; `*` at the end stands for anything.
    pub reason: &'static str,
    /// What happened.
    pub meaning: &'static str,
    /// What to do.
    pub action: &'static str,
    /// Whether a redrive can help once that is done; where not, the message itself is at fault.
    pub redrive: bool,
}

const fn row(reason: &'static str, meaning: &'static str, action: &'static str, redrive: bool) -> Advice {
    Advice { reason, meaning, action, redrive }
}

const PAGE: &str = "mend the page that sends it; discard the message";

/// All of them, the special before the general.
pub const ADVICE: [Advice; 37] = [
    row(
        "BODY_TOO_LARGE",
        "the body is larger than any chunk",
        "use a smaller MediaRecorder timeslice; discard",
        false,
    ),
    row("NOT_JSON", "the body is not JSON", PAGE, false),
    row("NOT_AN_OBJECT", "the body is JSON, but no object", PAGE, false),
    row("MISSING_FIELD", "a field is missing", PAGE, false),
    row("WRONG_TYPE", "a field is of the wrong type", PAGE, false),
    row("UNKNOWN_ACTION", "the action is neither writeToStream nor endStream", PAGE, false),
    row("BAD_SESSION_ID", "the sessionId cannot name a stream", PAGE, false),
    row(
        "WRONG_GROUP",
        "sessionId and message group differ",
        "send with MessageGroupId = sessionId; discard",
        false,
    ),
    row("BAD_BASE64", "audioData is not base64", PAGE, false),
    row("AUDIO_TOO_LARGE", "a chunk is over 96 KB", "use a smaller MediaRecorder timeslice; discard", false),
    row(
        "UNSUPPORTED_FORMAT",
        "the audio is neither WebM/Opus nor Ogg/Opus",
        "record audio/webm;codecs=opus; discard",
        false,
    ),
    row(
        "CHUNK_TOO_LONG",
        "a chunk claims more than 10 s of audio",
        "use a smaller MediaRecorder timeslice; discard",
        false,
    ),
    row(
        "UNDECODABLE_AUDIO",
        "nothing can be decoded from the chunk",
        "export it for the developers; discard",
        false,
    ),
    row(
        "SESSION_UNKNOWN",
        "the Sessions table does not know the session",
        "add the session, then redrive; or discard",
        true,
    ),
    row(
        "SESSION_ENDED",
        "captured after the session's end",
        "if the end was wrong, correct endedAt, then redrive; or discard",
        true,
    ),
    row(
        "NO_PLACE",
        "the session went past it so long ago that its place is no longer known",
        "export it: it can only be played by itself",
        false,
    ),
    row(
        "REPLACED",
        "another page of the speaker's has taken over the session; this one went on speaking",
        "close the older page; discard the message",
        false,
    ),
    row(
        "STREAM_FAILING",
        "its stream had failed for 20 s, and so long had this waited in the queue",
        "as for the reason beside it in the session; then redrive",
        true,
    ),
    row(
        "BATCH_PARKED",
        "the rest of its batch was parked while nobody could tell whether it is stored",
        "redrive, together with the rest",
        true,
    ),
    row(
        "CRASHED",
        "four workers in a row ended without finishing this batch",
        "look for memory or time-outs in the writer's log, then redrive",
        true,
    ),
    row("ack-4000", "Kinesis Video could not read the data", "redrive", true),
    row("ack-4003", "the connection to Kinesis Video was too old", "redrive", true),
    row(
        "ack-4006",
        "Kinesis Video found the Matroska data invalid",
        "a defect of the writer: export for the developers, redrive after the mend",
        true,
    ),
    row(
        "ack-4007",
        "the producer timestamp was not accepted",
        "is the speaker's clock right? `kvsw doctor`; then redrive",
        true,
    ),
    row("ack-4008", "the stream was not active", "was it deleted? Redrive makes it anew", true),
    row(
        "ack-4*",
        "Kinesis Video refused the fragment for good",
        "see aws-facts on ack errors; export for the developers, redrive after the mend",
        true,
    ),
    row("ack-45*", "the stream's KMS key cannot be used", "mend the key or its policy, then redrive", true),
    row("ack-5*", "an internal error of Kinesis Video", "wait until it has passed, then redrive", true),
    row(
        "ack-*",
        "an error that Kinesis Video does not document",
        "redrive; if it comes again, ask AWS support",
        true,
    ),
    row(
        "PutMedia-NotAuthorizedException",
        "the writer may not call PutMedia",
        "mend the role or the stream's policy, then redrive",
        true,
    ),
    row(
        "*-AccessDeniedException",
        "the writer's role lacks a permission",
        "mend the role, then redrive",
        true,
    ),
    row(
        "*-ConnectionLimitExceededException",
        "another connection held the stream",
        "redrive when the session is quiet",
        true,
    ),
    row(
        "*-ClientLimitExceededException",
        "a quota of Kinesis Video was met",
        "redrive slower (--rate), or ask for more quota",
        true,
    ),
    row("*-timeout", "a service did not answer in time", "redrive", true),
    row("*-disconnected", "the connection to a service broke", "redrive", true),
    row(
        MOVED_BY_QUEUE,
        "received too often: SQS itself moved it",
        "did the writer run at all? Look at its log and `kvsw doctor`, then redrive",
        true,
    ),
    row("*", "a service call failed", "mend what the message says, then redrive", true),
];

/// What the reason means.
pub fn advice(reason: &str) -> &'static Advice {
    // More letters say more.
    let matching = ADVICE.iter().filter(|row| fits(row.reason, reason));
    matching.max_by_key(|row| row.reason.len()).unwrap_or(&ADVICE[ADVICE.len() - 1])
}

/// Whether a writer of this version may park for this reason, however its letters are written.
pub fn is_known(reason: &str) -> bool {
    let reason = reason.to_ascii_lowercase();
    let named = ADVICE.iter().any(|row| row.reason != "*" && fits(&row.reason.to_ascii_lowercase(), &reason));
    // What a failing service call is parked for is `Operation-Code`.
    named || reason.split_once('-').is_some_and(|(operation, code)| !operation.is_empty() && !code.is_empty())
}

fn fits(pattern: &str, reason: &str) -> bool {
    match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(end), _) => reason.ends_with(end),
        (_, Some(start)) => reason.starts_with(start),
        _ => pattern == reason,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use ingest::failure::ServiceFailure;

    use super::*;

    #[test]
    fn the_most_special_row_speaks() {
        let rows = [
            ("ack-4006", "ack-4006"),
            ("ack-4011", "ack-4*"),
            ("ack-4502", "ack-45*"),
            ("ack-5001", "ack-5*"),
            ("ack-0", "ack-*"),
            ("PutItem-AccessDeniedException", "*-AccessDeniedException"),
            ("PutMedia-timeout", "*-timeout"),
            ("PutMedia-503", "*"),
            ("NO_PLACE", "NO_PLACE"),
        ];
        for (reason, row) in rows {
            assert_eq!(advice(reason).reason, row, "{reason}");
        }
        let timed_out = ServiceFailure::TimedOut { operation: "PutMedia".into(), waited_ms: 1 };
        assert_eq!(advice(&timed_out.reason()).reason, "*-timeout");
    }

    #[test]
    fn a_reason_that_no_writer_gives_is_not_known() {
        for reason in ["STREAM_FAILING", "not_json", "ack-4321", "PutMedia-503", "moved_by_queue"] {
            assert!(is_known(reason), "{reason}");
        }
        for reason in ["NO_SUCH", "ack", "*", "-", "PutMedia-"] {
            assert!(!is_known(reason), "{reason}");
        }
    }

    /// Failures of services are `ack-Id` or `Operation-Code`; the writer's own reasons are one word.
    fn is_own(reason: &str) -> bool {
        !reason.contains(['-', '*'])
    }

    #[test]
    fn the_table_has_each_reason_of_the_writer_and_no_other() {
        let writers: BTreeSet<&str> = writer::reason_codes().collect();
        let own =
            ADVICE.iter().map(|row| row.reason).filter(|reason| is_own(reason) && *reason != MOVED_BY_QUEUE);
        assert_eq!(own.collect::<BTreeSet<_>>(), writers);
    }

    #[test]
    fn each_row_of_a_service_fits_a_failure_of_the_specification() {
        let specification = include_str!("../../../SPECIFICATION.md");
        let failures = specification.split("<!-- failures -->").nth(1).unwrap();
        let failures = failures.split("<!-- /failures -->").next().unwrap().lines();
        let failures: Vec<&str> =
            failures.filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
        assert!(failures.len() > 30, "{failures:?}");
        for row in ADVICE.iter().filter(|row| !is_own(row.reason)) {
            let some = failures.iter().any(|failure| fits(row.reason, failure));
            assert!(some, "no failure of SPECIFICATION.md is {}", row.reason);
        }
    }

    #[test]
    fn the_runbook_has_the_same_table() {
        let runbook = include_str!("../../../docs/runbook.md");
        let table =
            runbook.split("### Reasons").nth(1).unwrap().lines().filter(|line| line.starts_with("| `"));
        let rows = ADVICE.iter().map(|Advice { reason, meaning, action, redrive }| {
            format!("| `{reason}` | {meaning} | {action} | {} |", if *redrive { "yes" } else { "no" })
        });
        assert_eq!(table.take(ADVICE.len()).collect::<Vec<_>>(), rows.collect::<Vec<_>>());
    }
}
