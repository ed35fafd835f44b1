//! This machine's clock against a service's.

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use reader::text::length;

use super::finding::{Finding, Verdict};
use super::signed::{Request, send};
use crate::world::World;

const SUBJECT: &str = "clock";
/// The Date header has whole seconds, and a server may keep it for some of them.
const GOOD_MS: u64 = 5_000;
/// Beyond this, signatures are refused.
const WRONG_MS: u64 = 5 * 60_000;

/// Asks SQS's endpoint what time it is: any answer has a Date, even a refusal.
pub(super) async fn check(world: &World) -> Finding {
    let region = world.config.region().map(ToString::to_string).unwrap_or_default();
    let request = Request {
        operation: "Date",
        service: "sqs",
        region: &region,
        method: "GET",
        url: world.settings.queue_url.clone(),
        body: String::new(),
        target: None,
    };
    let before = world.now().0;
    let answer = match send(&world.config, request).await {
        Ok(answer) => answer,
        Err(failure) => {
            let action = "an NTP client keeps the clock right";
            return Finding::new(SUBJECT, Verdict::Unchecked, failure.to_string(), action);
        }
    };
    let middle = u64::midpoint(before, world.now().0);
    let date = answer.date.as_deref().and_then(|date| DateTime::from_str(date, Format::HttpDate).ok());
    match date.and_then(|date| u64::try_from(date.to_millis().ok()?).ok()) {
        Some(theirs) => judge(middle, theirs + 500),
        None => Finding::new(SUBJECT, Verdict::Unchecked, "the service's answer has no Date", ""),
    }
}

/// `theirs` is the middle of the second that the service told.
fn judge(ours: u64, theirs: u64) -> Finding {
    let apart = ours.abs_diff(theirs);
    if apart <= GOOD_MS {
        return Finding::fine(SUBJECT, "agrees with the service's to a few seconds");
    }
    let direction = if ours > theirs { "ahead of" } else { "behind" };
    let seen = format!("{} {direction} the service's", length(apart));
    let verdict = if apart > WRONG_MS { Verdict::Wrong } else { Verdict::Look };
    let action = "set it by NTP: ages and redrives go by it, and beyond five minutes requests are refused";
    Finding::new(SUBJECT, verdict, seen, action)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_judged_by_what_its_error_does() {
        let verdict = |ours: u64| judge(ours, 1_000_000).verdict;
        assert_eq!(verdict(1_003_800), Verdict::Fine);
        assert_eq!(verdict(990_000), Verdict::Look);
        assert_eq!(verdict(1_400_000), Verdict::Wrong);
        assert!(judge(990_000, 1_000_000).seen.starts_with("10 s behind"));
    }
}
