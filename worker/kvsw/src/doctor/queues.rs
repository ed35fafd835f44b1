//! The queues' attributes, against what the writer needs of them.

use std::collections::BTreeMap;
use std::time::Duration;

use reader::text::{count, length};
use serde_json::Value;
use writer::Config;

use super::finding::{Finding, Verdict};

/// How much longer than a call of the writer a batch must stay hidden. (Lambda's advice of six times its time-out would let a dead
/// worker delay its sessions by a minute; what it left is known by its lease.)
pub const VISIBILITY_MARGIN_S: u64 = 5;
/// Each real attempt of a batch may be deferred so often before it; deferrals count as receives.
const DEFERRALS: u32 = 2;
/// While DynamoDB is away chunks are given back ever more rarely: this many receives last for about 7 hours.
const GOOD_RECEIVES: u32 = 100;
/// SQS's longest retention.
const LONGEST_RETENTION: Duration = Duration::from_secs(14 * 24 * 3_600);

type Attributes = BTreeMap<String, String>;

fn is(attributes: &Attributes, name: &str, value: &str) -> bool {
    attributes.get(name).is_some_and(|there| there == value)
}

fn seconds(attributes: &Attributes, name: &str) -> u64 {
    attributes.get(name).and_then(|seconds| seconds.parse().ok()).unwrap_or_default()
}

/// FIFO, throughput and deduplication, which both queues need alike.
fn kind(subject: &'static str, attributes: &Attributes) -> Vec<Finding> {
    let fifo = Finding::when(
        is(attributes, "FifoQueue", "true"),
        subject,
        Verdict::Wrong,
        if is(attributes, "FifoQueue", "true") { "FIFO" } else { "no FIFO queue" },
        "make a FIFO queue (infra/template.yaml); a queue cannot become one later",
    );
    let fast = is(attributes, "DeduplicationScope", "messageGroup")
        && is(attributes, "FifoThroughputLimit", "perMessageGroupId");
    let fast = Finding::when(
        fast,
        subject,
        Verdict::Wrong,
        if fast { "high throughput" } else { "no high throughput: 300 sends a second, about 75 sessions" },
        "set DeduplicationScope=messageGroup and FifoThroughputLimit=perMessageGroupId",
    );
    let by_content = is(attributes, "ContentBasedDeduplication", "true");
    let deduplication = Finding::when(
        !by_content,
        subject,
        Verdict::Look,
        if by_content { "deduplicates by content" } else { "deduplicates by id" },
        "set ContentBasedDeduplication=false: two silent chunks can be equal byte for byte",
    );
    vec![fifo, fast, deduplication]
}

/// The chunk queue.
pub fn queue(attributes: &Attributes, dlq: Option<&Attributes>, timeout: Duration) -> Vec<Finding> {
    const SUBJECT: &str = "chunk queue";
    let mut findings = kind(SUBJECT, attributes);
    let visibility = seconds(attributes, "VisibilityTimeout");
    let least = timeout.as_secs() + VISIBILITY_MARGIN_S;
    findings.push(Finding::when(
        visibility >= least,
        SUBJECT,
        Verdict::Wrong,
        format!("visibility time-out {visibility} s, the writer's time-out is {}", length(timeout.as_millis() as u64)),
        format!("set VisibilityTimeout to {least} s or more: a batch must not be given out while it is being written"),
    ));
    findings.push(redrive_policy(attributes, dlq));
    let (kept, parked) = (
        seconds(attributes, "MessageRetentionPeriod"),
        dlq.map(|dlq| seconds(dlq, "MessageRetentionPeriod")),
    );
    if let Some(parked) = parked {
        let seen =
            format!("keeps messages for {}, the DLQ for {}", length(kept * 1_000), length(parked * 1_000));
        let action = "let the DLQ keep messages at least as long as the queue";
        findings.push(Finding::when(parked >= kept, SUBJECT, Verdict::Wrong, seen, action));
    }
    findings
}

fn redrive_policy(attributes: &Attributes, dlq: Option<&Attributes>) -> Finding {
    const SUBJECT: &str = "redrive policy";
    let policy = attributes.get("RedrivePolicy").and_then(|text| serde_json::from_str::<Value>(text).ok());
    let Some(policy) = policy else {
        let action =
            "set RedrivePolicy with the DLQ's ARN: it is the last net for what the writer cannot even park";
        return Finding::new(SUBJECT, Verdict::Wrong, "the chunk queue has none", action);
    };
    let target = policy["deadLetterTargetArn"].as_str().unwrap_or_default();
    let arn = dlq.and_then(|dlq| dlq.get("QueueArn"));
    if arn.is_some_and(|arn| arn != target) {
        let seen = format!("it names {target}, DLQ_URL is another queue");
        return Finding::new(SUBJECT, Verdict::Wrong, seen, "let both name one queue");
    }
    // AWS tells a number, some emulators a string.
    let count = &policy["maxReceiveCount"];
    let count = count.as_u64().or_else(|| count.as_str()?.parse().ok()).unwrap_or_default();
    let attempts = Config::default().max_attempts;
    let (least, good) = (attempts * (1 + DEFERRALS), GOOD_RECEIVES);
    let seen = format!("maxReceiveCount {count}; the writer needs {least} and should have {good}");
    let verdict = if count < u64::from(least) { Verdict::Wrong } else { Verdict::Look };
    let action =
        format!("set maxReceiveCount to {good}: deferring a batch, or giving it back, counts as a receive");
    Finding::when(count >= u64::from(good), SUBJECT, verdict, seen, action)
}

/// The dead-letter queue.
pub fn dlq(attributes: &Attributes) -> Vec<Finding> {
    const SUBJECT: &str = "DLQ";
    let mut findings = kind(SUBJECT, attributes);
    let kept = seconds(attributes, "MessageRetentionPeriod");
    findings.push(Finding::when(
        kept >= LONGEST_RETENTION.as_secs(),
        SUBJECT,
        Verdict::Look,
        format!("keeps messages for {}", length(kept * 1_000)),
        "set MessageRetentionPeriod to 1209600 (14 days): parked audio exists nowhere else",
    ));
    let waiting = seconds(attributes, "ApproximateNumberOfMessages") as usize;
    findings.push(Finding::when(
        waiting == 0,
        SUBJECT,
        Verdict::Look,
        if waiting == 0 { "empty".to_owned() } else { format!("holds about {}", count(waiting, "message")) },
        "`kvsw dlq list` says what and why",
    ));
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attributes(changes: &[(&str, &str)]) -> Attributes {
        let policy = r#"{"deadLetterTargetArn":"arn:dlq","maxReceiveCount":100}"#;
        let good = [
            ("FifoQueue", "true"),
            ("DeduplicationScope", "messageGroup"),
            ("FifoThroughputLimit", "perMessageGroupId"),
            ("ContentBasedDeduplication", "false"),
            ("VisibilityTimeout", "60"),
            ("MessageRetentionPeriod", "1209600"),
            ("QueueArn", "arn:dlq"),
            ("RedrivePolicy", policy),
        ];
        good.iter().chain(changes).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn verdicts(changes: &[(&str, &str)]) -> Vec<(&'static str, Verdict)> {
        let (queue_attributes, dlq_attributes) = (attributes(changes), attributes(&[]));
        let findings = queue(&queue_attributes, Some(&dlq_attributes), Duration::from_secs(10));
        let not_fine = findings.into_iter().filter(|finding| finding.verdict != Verdict::Fine);
        not_fine.map(|finding| (finding.subject, finding.verdict)).collect()
    }

    #[test]
    fn a_queue_as_the_template_makes_it_is_fine() {
        assert_eq!(verdicts(&[]), []);
        assert!(dlq(&attributes(&[])).iter().all(|finding| finding.verdict == Verdict::Fine));
    }

    #[test]
    fn each_wrong_attribute_is_found_and_nothing_else() {
        let policy = |arn: &str, count: &str| {
            format!(r#"{{"deadLetterTargetArn":"{arn}","maxReceiveCount":{count}}}"#)
        };
        let cases: [(&str, &str, (&str, Verdict)); 9] = [
            ("FifoQueue", "false", ("chunk queue", Verdict::Wrong)),
            ("DeduplicationScope", "queue", ("chunk queue", Verdict::Wrong)),
            ("FifoThroughputLimit", "perQueue", ("chunk queue", Verdict::Wrong)),
            ("ContentBasedDeduplication", "true", ("chunk queue", Verdict::Look)),
            ("VisibilityTimeout", "14", ("chunk queue", Verdict::Wrong)),
            ("RedrivePolicy", "", ("redrive policy", Verdict::Wrong)),
            ("RedrivePolicy", &policy("arn:other", "20"), ("redrive policy", Verdict::Wrong)),
            ("RedrivePolicy", &policy("arn:dlq", "\"11\""), ("redrive policy", Verdict::Wrong)),
            ("RedrivePolicy", &policy("arn:dlq", "15"), ("redrive policy", Verdict::Look)),
        ];
        for (name, value, expected) in cases {
            assert_eq!(verdicts(&[(name, value)]), [expected], "{name}={value}");
        }
        let short =
            dlq(&attributes(&[("MessageRetentionPeriod", "345600"), ("ApproximateNumberOfMessages", "3")]));
        assert_eq!(short.iter().filter(|finding| finding.verdict == Verdict::Look).count(), 2);
    }
}
