//! The queues' attributes, against what the writer needs of them.

use std::collections::BTreeMap;
use std::time::Duration;

use ingest::message::MAX_BODY_BYTES;
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
/// A session whose writer has died stands still for no longer than this many time-outs of the writer (Lambda's own advice).
const MOST_VISIBILITY: u64 = 6;
/// Receives until [`GOOD_RECEIVES`] take 7 hours: what the queue keeps for less is lost in an outage. A day has some left.
const LEAST_RETENTION: Duration = Duration::from_secs(24 * 3_600);
/// As the template has it.
const GOOD_RETENTION: Duration = Duration::from_secs(4 * 24 * 3_600);
/// SQS's longest retention.
const LONGEST_RETENTION: Duration = Duration::from_secs(14 * 24 * 3_600);

type Attributes = BTreeMap<String, String>;

fn is(attributes: &Attributes, name: &str, value: &str) -> bool {
    attributes.get(name).is_some_and(|there| there == value)
}

fn seconds(attributes: &Attributes, name: &str) -> u64 {
    attributes.get(name).and_then(|seconds| seconds.parse().ok()).unwrap_or_default()
}

/// What a setting should be: it is looked at, and how it came out is one finding.
type Check = fn(&'static str, &Attributes) -> Finding;

/// Both queues, in the roles that their redrive policies give them: where QUEUE_URL and DLQ_URL are swapped, no other advice about
/// them holds.
pub fn both(queue: &Attributes, dlq: &Attributes, timeout: Duration) -> Vec<Finding> {
    let policy = |of: &Attributes| of.contains_key("RedrivePolicy");
    let names =
        |of: &Attributes, other: &Attributes| arn(other).is_some() && target(of).as_deref() == arn(other);
    if !policy(queue) && names(dlq, queue) && arn(queue) != arn(dlq) {
        let seen =
            "QUEUE_URL and DLQ_URL are swapped: the redrive policy of DLQ_URL's queue names QUEUE_URL's";
        let swapped = Finding::new("queues", Verdict::Wrong, seen, "swap the two variables");
        return [vec![swapped], both(dlq, queue, timeout)].concat();
    }
    let mut findings = self::queue(queue, Some(dlq), timeout);
    // Of a queue that is not the DLQ no advice for one holds.
    let is_another = target(queue).is_some_and(|target| Some(target.as_str()) != arn(dlq));
    if !is_another && arn(queue) != arn(dlq) {
        findings.extend(self::dlq(dlq, arn(queue)));
    }
    findings
}

fn arn(attributes: &Attributes) -> Option<&str> {
    attributes.get("QueueArn").map(String::as_str)
}

fn policy(attributes: &Attributes) -> Option<Value> {
    serde_json::from_str(attributes.get("RedrivePolicy")?).ok()
}

fn target(attributes: &Attributes) -> Option<String> {
    policy(attributes)?["deadLetterTargetArn"].as_str().map(str::to_owned)
}

/// FIFO, throughput, deduplication and delay, which both queues need alike.
const ALIKE: [Check; 5] = [fifo, throughput, deduplication, delay, message_size];

fn fifo(subject: &'static str, attributes: &Attributes) -> Finding {
    let is_fifo = is(attributes, "FifoQueue", "true");
    let seen = if is_fifo { "FIFO" } else { "no FIFO queue" };
    let action = "make a FIFO queue (infra/template.yaml); a queue cannot become one later";
    Finding::when(is_fifo, subject, Verdict::Wrong, seen, action)
}

fn throughput(subject: &'static str, attributes: &Attributes) -> Finding {
    let fast = is(attributes, "DeduplicationScope", "messageGroup")
        && is(attributes, "FifoThroughputLimit", "perMessageGroupId");
    let seen =
        if fast { "high throughput" } else { "no high throughput: 300 sends a second, about 75 sessions" };
    let action = "set DeduplicationScope=messageGroup and FifoThroughputLimit=perMessageGroupId";
    Finding::when(fast, subject, Verdict::Wrong, seen, action)
}

fn deduplication(subject: &'static str, attributes: &Attributes) -> Finding {
    let by_content = is(attributes, "ContentBasedDeduplication", "true");
    let seen = if by_content { "deduplicates by content" } else { "deduplicates by id" };
    let action = "set ContentBasedDeduplication=false: two silent chunks can be equal byte for byte";
    Finding::when(!by_content, subject, Verdict::Look, seen, action)
}

fn delay(subject: &'static str, attributes: &Attributes) -> Finding {
    let delay_s = seconds(attributes, "DelaySeconds");
    let seen = match delay_s {
        0 => "delivers without delay".to_owned(),
        _ => format!("delays each message by {}", length(delay_s * 1_000)),
    };
    let action = "set DelaySeconds=0: a chunk is as late as its message, and a parked one is not seen before";
    Finding::when(delay_s == 0, subject, Verdict::Wrong, seen, action)
}

/// What a message may have: the largest body, and attributes beside it.
fn message_size(subject: &'static str, attributes: &Attributes) -> Finding {
    const ATTRIBUTES_BYTES: u64 = 8 * 1_024;
    let least = MAX_BODY_BYTES as u64 + ATTRIBUTES_BYTES;
    // An emulator may not tell; SQS always does.
    let told = attributes.contains_key("MaximumMessageSize");
    let bytes = seconds(attributes, "MaximumMessageSize");
    let seen = match told {
        true => format!("takes messages of up to {} KiB", bytes / 1_024),
        false => "does not tell its largest message".to_owned(),
    };
    let action =
        format!("set MaximumMessageSize=262144, at least {least}: a chunk and its attributes must fit");
    Finding::when(!told || bytes >= least, subject, Verdict::Wrong, seen, action)
}

/// The chunk queue.
pub fn queue(attributes: &Attributes, dlq: Option<&Attributes>, timeout: Duration) -> Vec<Finding> {
    const SUBJECT: &str = "chunk queue";
    let mut findings: Vec<Finding> = ALIKE.iter().map(|check| check(SUBJECT, attributes)).collect();
    findings.push(visibility(SUBJECT, attributes, timeout));
    findings.push(redrive_policy(attributes, dlq));
    findings.push(retention(SUBJECT, attributes, dlq));
    findings
}

fn visibility(subject: &'static str, attributes: &Attributes, timeout: Duration) -> Finding {
    let seconds = seconds(attributes, "VisibilityTimeout");
    let (least, most) = (timeout.as_secs() + VISIBILITY_MARGIN_S, timeout.as_secs() * MOST_VISIBILITY);
    let seen = format!(
        "visibility time-out {}, the writer's time-out is {}",
        length(seconds * 1_000),
        length(timeout.as_millis() as u64)
    );
    let action = match seconds < least {
        true => format!(
            "set VisibilityTimeout to {least} s or more: a batch must not be given out while it is being written"
        ),
        false => format!(
            "set VisibilityTimeout to {least} s: so long a session stands still whose writer has died, at most {most} s"
        ),
    };
    Finding::when((least..=most.max(least)).contains(&seconds), subject, Verdict::Wrong, seen, action)
}

fn retention(subject: &'static str, attributes: &Attributes, dlq: Option<&Attributes>) -> Finding {
    let kept = seconds(attributes, "MessageRetentionPeriod");
    let parked = dlq.map(|dlq| seconds(dlq, "MessageRetentionPeriod"));
    let mut seen = format!("keeps messages for {}", length(kept * 1_000));
    if let Some(parked) = parked {
        seen.push_str(&format!(", the DLQ for {}", length(parked * 1_000)));
    }
    let (verdict, action) = match parked {
        Some(parked) if parked < kept => {
            (Verdict::Wrong, "let the DLQ keep messages at least as long as the queue")
        }
        _ if kept < LEAST_RETENTION.as_secs() => {
            (Verdict::Wrong, "set MessageRetentionPeriod=345600 (4 days): audio waits here through an outage")
        }
        _ if kept < GOOD_RETENTION.as_secs() => {
            (Verdict::Look, "set MessageRetentionPeriod=345600 (4 days): audio waits here through an outage")
        }
        _ => return Finding::fine(subject, seen),
    };
    Finding::new(subject, verdict, seen, action)
}

fn redrive_policy(attributes: &Attributes, dlq: Option<&Attributes>) -> Finding {
    const SUBJECT: &str = "redrive policy";
    let dlq_arn = dlq.and_then(arn);
    let one_queue = dlq_arn.is_some() && dlq_arn == arn(attributes);
    let Some(policy) = policy(attributes) else {
        if one_queue {
            let seen = "QUEUE_URL and DLQ_URL name one queue, which has none: is it the DLQ?";
            let action = "set QUEUE_URL to the chunk queue's URL: the stack's outputs have both";
            return Finding::new(SUBJECT, Verdict::Wrong, seen, action);
        }
        let action =
            "set RedrivePolicy with the DLQ's ARN: it is the last net for what the writer cannot even park";
        return Finding::new(SUBJECT, Verdict::Wrong, "the chunk queue has none", action);
    };
    let target = policy["deadLetterTargetArn"].as_str().unwrap_or_default();
    if one_queue {
        let action = format!("set DLQ_URL to the URL of {target}");
        return Finding::new(SUBJECT, Verdict::Wrong, "DLQ_URL names the chunk queue itself", action);
    }
    if let Some(dlq_arn) = dlq_arn.filter(|arn| *arn != target) {
        let seen = format!("it names {target}, but DLQ_URL is {dlq_arn}");
        let action = "let both name one queue: DLQ_URL if the policy is right, else RedrivePolicy";
        return Finding::new(SUBJECT, Verdict::Wrong, seen, action);
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

/// The dead-letter queue, which belongs to the queue with this ARN.
pub fn dlq(attributes: &Attributes, source: Option<&str>) -> Vec<Finding> {
    const SUBJECT: &str = "DLQ";
    let mut findings: Vec<Finding> = ALIKE.iter().map(|check| check(SUBJECT, attributes)).collect();
    let kept = seconds(attributes, "MessageRetentionPeriod");
    findings.push(Finding::when(
        kept >= LONGEST_RETENTION.as_secs(),
        SUBJECT,
        Verdict::Look,
        format!("keeps messages for {}", length(kept * 1_000)),
        "set MessageRetentionPeriod=1209600 (14 days): parked audio exists nowhere else",
    ));
    findings.extend(allow_policy(SUBJECT, attributes, source));
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

/// Whether the chunk queue may move messages here; without a policy it may.
fn allow_policy(subject: &'static str, attributes: &Attributes, source: Option<&str>) -> Option<Finding> {
    let policy: Value = serde_json::from_str(attributes.get("RedriveAllowPolicy")?).ok()?;
    let permission = policy["redrivePermission"].as_str().unwrap_or("allowAll");
    let listed = policy["sourceQueueArns"].as_array().cloned().unwrap_or_default();
    let allows = match permission {
        "denyAll" => false,
        "byQueue" => source.is_none_or(|arn| listed.iter().any(|listed| listed.as_str() == Some(arn))),
        _ => true,
    };
    let seen = match allows {
        true => format!("takes what the chunk queue moves here ({permission})"),
        false => {
            format!("RedriveAllowPolicy is {permission} and does not let the chunk queue move messages here")
        }
    };
    let action = "set RedriveAllowPolicy to byQueue with the chunk queue's ARN, or remove it";
    Some(Finding::when(allows, subject, Verdict::Wrong, seen, action))
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
            ("QueueArn", "arn:queue"),
            ("RedrivePolicy", policy),
        ];
        good.iter().chain(changes).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn verdicts(changes: &[(&str, &str)]) -> Vec<(&'static str, Verdict)> {
        let (queue_attributes, dlq_attributes) =
            (attributes(changes), attributes(&[("QueueArn", "arn:dlq")]));
        let findings = queue(&queue_attributes, Some(&dlq_attributes), Duration::from_secs(10));
        let not_fine = findings.into_iter().filter(|finding| finding.verdict != Verdict::Fine);
        not_fine.map(|finding| (finding.subject, finding.verdict)).collect()
    }

    #[test]
    fn a_queue_as_the_template_makes_it_is_fine() {
        assert_eq!(verdicts(&[]), []);
        assert!(dlq(&attributes(&[]), None).iter().all(|finding| finding.verdict == Verdict::Fine));
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
        let short = dlq(
            &attributes(&[("MessageRetentionPeriod", "345600"), ("ApproximateNumberOfMessages", "3")]),
            None,
        );
        assert_eq!(short.iter().filter(|finding| finding.verdict == Verdict::Look).count(), 2);
    }
}
