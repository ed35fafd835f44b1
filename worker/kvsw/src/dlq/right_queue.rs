//! Before anything in the DLQ is received, moved or deleted: is DLQ_URL the dead-letter queue of QUEUE_URL? To another
//! queue, and be it the chunk queue itself, the commands would do harm that nothing undoes.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::error::{Result, usage};
use crate::world::World;

/// The two queues' ARNs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arns {
    /// Of the chunk queue.
    pub queue: String,
    /// Of its dead-letter queue.
    pub dlq: String,
}

/// Asks both queues.
///
/// # Errors
/// Wrong use, where they do not belong together; those of GetQueueAttributes.
pub async fn right_queue(world: &World) -> Result<Arns> {
    let (queue, dlq) = futures::try_join!(
        world.queue_attributes(&world.settings.queue_url),
        world.queue_attributes(&world.settings.dlq_url)
    )?;
    belong_together(&queue, &dlq)
}

/// Where a queue's redrive policy sends what was received too often; `None` where it has no policy.
pub fn dead_letter_target(queue: &BTreeMap<String, String>) -> Option<String> {
    let policy: Value = serde_json::from_str(queue.get("RedrivePolicy")?).ok()?;
    policy.get("deadLetterTargetArn")?.as_str().map(str::to_owned)
}

fn belong_together(queue: &BTreeMap<String, String>, dlq: &BTreeMap<String, String>) -> Result<Arns> {
    const HINT: &str = "the stack's outputs have both URLs; are they exchanged? `kvsw doctor` compares them";
    let arn = |queue: &BTreeMap<String, String>| queue.get("QueueArn").cloned().unwrap_or_default();
    let arns = Arns { queue: arn(queue), dlq: arn(dlq) };
    match dead_letter_target(queue) {
        None => {
            let message = format!(
                "QUEUE_URL names {}, which has no redrive policy: nothing says that DLQ_URL, {}, is its dead-letter queue",
                arns.queue, arns.dlq
            );
            Err(usage(message, HINT))
        }
        Some(target) if target != arns.dlq || target == arns.queue => {
            let message = format!(
                "DLQ_URL names {}, but the dead-letter queue of {} is {target}",
                arns.dlq, arns.queue
            );
            Err(usage(message, HINT))
        }
        Some(_) => Ok(arns),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(arn: &str, target: Option<&str>) -> BTreeMap<String, String> {
        let policy = target.map(|target| {
            (
                "RedrivePolicy".into(),
                format!(r#"{{"deadLetterTargetArn":"{target}","maxReceiveCount":"20"}}"#),
            )
        });
        policy.into_iter().chain([("QueueArn".to_owned(), arn.to_owned())]).collect()
    }

    #[test]
    fn only_a_queue_and_its_own_dead_letter_queue_belong_together() {
        let (live, dlq) = (queue("arn:live", Some("arn:dlq")), queue("arn:dlq", None));
        assert!(belong_together(&live, &dlq).is_ok());
        let wrong = [
            (&dlq, &live, "no redrive policy"),
            (&live, &live, "DLQ_URL names arn:live"),
            (&live, &queue("arn:other", None), "is arn:dlq"),
            (&queue("arn:live", None), &dlq, "no redrive policy"),
        ];
        for (queue, dlq, part) in wrong {
            let error = belong_together(queue, dlq).unwrap_err();
            assert!(error.to_string().contains(part), "{part} is not in {error}");
            assert_eq!(error.exit(), crate::error::Exit::Usage);
        }
    }
}
