//! What each reason in the DLQ means and what to do about it: the table of docs/runbook.md, which is part of the program.

use std::sync::LazyLock;

/// What a reason means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advice {
    /// The reason; `*` at the beginning or end stands for anything.
    pub reason: &'static str,
    /// What happened.
    pub meaning: &'static str,
    /// What to do.
    pub action: &'static str,
    /// Whether a redrive can help once that is done; where not, the message itself is at fault.
    pub redrive: bool,
}

static ADVICE: LazyLock<Vec<Advice>> = LazyLock::new(|| {
    let lines = include_str!("../../../docs/runbook.md").lines().skip_while(|line| *line != "### Reasons");
    let rows = lines.skip_while(|line| !line.starts_with("| `")).take_while(|line| line.starts_with('|'));
    rows.filter_map(row).collect()
});

/// A row of the table: reason, what happened, what to do, whether a redrive helps.
fn row(line: &'static str) -> Option<Advice> {
    let mut cells = line.trim_matches('|').split('|').map(str::trim);
    let (reason, meaning, action) = (cells.next()?.trim_matches('`'), cells.next()?, cells.next()?);
    Some(Advice { reason, meaning, action, redrive: cells.next()? == "yes" })
}

/// What the reason means.
pub fn advice(reason: &str) -> &'static Advice {
    const UNKNOWN: &Advice =
        &Advice { reason: "*", meaning: "not known", action: "docs/runbook.md may tell", redrive: true };
    // More letters say more.
    let matching = ADVICE.iter().filter(|row| fits(row.reason, reason));
    matching.max_by_key(|row| row.reason.len()).unwrap_or(UNKNOWN)
}

/// Whether a writer of this version may park for this reason, however its letters are written.
pub fn is_known(reason: &str) -> bool {
    let reason = reason.to_ascii_lowercase();
    let named = ADVICE.iter().any(|row| row.reason != "*" && fits(&row.reason.to_ascii_lowercase(), &reason));
    // What a failing service call is parked for is `Operation-Code`.
    named || reason.split_once('-').is_some_and(|(operation, code)| !operation.is_empty() && !code.is_empty())
}

/// Whether a reason fits a pattern, in which `*` stands for anything.
pub fn fits(pattern: &str, reason: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == reason };
    let Some(mut left) = reason.strip_prefix(start) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let end = parts.pop().unwrap_or_default();
    for part in parts {
        match left.split_once(part) {
            Some((_, behind)) => left = behind,
            None => return false,
        }
    }
    left.ends_with(end)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use ingest::failure::ServiceFailure;

    use super::*;
    use crate::dlq::message::MOVED_BY_QUEUE;

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
    fn a_star_stands_for_anything() {
        for (pattern, reason) in [
            ("*", ""),
            ("*", "x"),
            ("ack-4*", "ack-4006"),
            ("*-timeout", "PutMedia-timeout"),
            ("a*b*c", "a-b-b-c"),
        ] {
            assert!(fits(pattern, reason), "{pattern} {reason}");
        }
        for (pattern, reason) in
            [("ack-4*", "ack-5001"), ("a*b", "a"), ("ab*ba", "aba"), ("", "x"), ("a*b*c", "acb")]
        {
            assert!(!fits(pattern, reason), "{pattern} {reason}");
        }
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
    fn the_runbooks_table_is_read_whole() {
        let lines = include_str!("../../../docs/runbook.md").split("### Reasons").nth(1).unwrap().lines();
        let in_table = lines
            .take_while(|line| !line.starts_with("`*` stands for"))
            .filter(|line| line.starts_with("| `"));
        assert_eq!(in_table.count(), ADVICE.len());
        for Advice { reason, meaning, action, .. } in ADVICE.iter() {
            assert!(!meaning.is_empty() && !action.is_empty(), "{reason} tells nothing");
        }
        let last = ADVICE.last().unwrap();
        assert_eq!((last.reason, last.redrive), ("*", true), "the row for all else");
    }
}
