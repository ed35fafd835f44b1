//! The writer's log lines of a session, from CloudWatch Logs: one signed request, since the SDK's crate would add a third to this
//! program.

use aws_sdk_sqs::config::Region;
use media::time::EpochMs;
use serde_json::{Value, json};

use crate::doctor::signed::{Answer, Request, send};
use crate::error::{Result, usage};
use crate::world::World;

/// Lines that are shown, at most.
const MAX_LINES: usize = 50;
/// Before the first failure and after the parking.
const MARGIN_MS: u64 = 60_000;

/// The log group of the template's writer, by the name of its queue: `STACK-chunks.fifo` and `STACK-kvs-stream-writer`.
pub fn group_of(queue_url: &str) -> Option<String> {
    let queue = queue_url.rsplit('/').next()?;
    let stack = queue.strip_suffix("-chunks.fifo").filter(|stack| !stack.is_empty())?;
    Some(format!("/aws/lambda/{stack}-kvs-stream-writer"))
}

/// The log lines of a session between two moments, as they were written.
///
/// # Errors
/// Those of FilterLogEvents; wrong use, where no log group is known.
pub async fn lines(
    world: &World,
    group: Option<&str>,
    session: &str,
    (from, to): (EpochMs, EpochMs),
) -> Result<Vec<String>> {
    let group = group.map(str::to_owned).or_else(|| group_of(&world.settings.queue_url));
    let group = group.ok_or_else(|| {
        usage(
            "the writer's log group is not known",
            "give --log-group, such as /aws/lambda/my-stack-kvs-stream-writer",
        )
    })?;
    let region = world.config.region().map(Region::as_ref).unwrap_or_default().to_owned();
    let own = |name: &str| std::env::var(name).ok().filter(|url| !url.is_empty());
    let url = own("AWS_ENDPOINT_URL_CLOUDWATCH_LOGS").or_else(|| own("AWS_ENDPOINT_URL"));
    let url = url.unwrap_or_else(|| format!("https://logs.{region}.amazonaws.com"));
    let body = json!({
        "logGroupName": group,
        "filterPattern": format!("{{ $.sessionId = {} }}", Value::from(session)),
        "startTime": from.0.saturating_sub(MARGIN_MS),
        "endTime": to.0.saturating_add(MARGIN_MS),
        "limit": MAX_LINES,
    });
    let request = Request {
        operation: "FilterLogEvents",
        service: "logs",
        region: &region,
        method: "POST",
        url: format!("{}/", url.trim_end_matches('/')),
        body: body.to_string(),
        target: Some("Logs_20140328.FilterLogEvents"),
    };
    let answer = send(&world.config, request).await?;
    let told: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    match answer.status {
        200 => {
            let events = told["events"].as_array().cloned().unwrap_or_default();
            Ok(events
                .iter()
                .filter_map(|event| Some(event["message"].as_str()?.trim_end().to_owned()))
                .collect())
        }
        _ => Err(refused(&answer, &told).into()),
    }
}

fn refused(answer: &Answer, told: &Value) -> ingest::failure::ServiceFailure {
    let text = |name: &str| told[name].as_str().unwrap_or_default();
    ingest::failure::ServiceFailure::Service {
        operation: "FilterLogEvents".into(),
        status: answer.status,
        code: aws::failure::bare_code(text("__type")).to_owned(),
        message: text("message").to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_group_is_named_after_the_stack() {
        let group = group_of("https://sqs.eu-central-1.amazonaws.com/1/kvs-stream-writer-dev-chunks.fifo");
        assert_eq!(group.as_deref(), Some("/aws/lambda/kvs-stream-writer-dev-kvs-stream-writer"));
        assert_eq!(group_of("http://127.0.0.1:1/0/chunks.fifo"), None);
    }
}
