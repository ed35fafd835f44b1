//! The customer's key of a queue: who cannot use it can neither send nor receive.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::finding::{Finding, Verdict};
use super::lambda::endpoint;
use super::signed::{Request, send};
use crate::world::World;

/// Asks KMS for the key of a queue that has one.
pub(super) async fn check(
    world: &World,
    env: &impl Fn(&str) -> Option<String>,
    subject: &'static str,
    attributes: &BTreeMap<String, String>,
) -> Option<Finding> {
    let key = attributes.get("KmsMasterKeyId").filter(|key| !key.is_empty())?;
    let unchecked = |why: String| {
        let seen = format!("is encrypted with {key}; {why}");
        let action = "does the key exist, and may the writer, connection-handler and you use it?";
        Some(Finding::new(subject, Verdict::Unchecked, seen, action))
    };
    let region = world.config.region().map(ToString::to_string).unwrap_or_default();
    let Some(url) = endpoint(env, "KMS", format!("https://kms.{region}.amazonaws.com")) else {
        return unchecked("there is no KMS API here: AWS_ENDPOINT_URL_KMS is not set".into());
    };
    let request = Request {
        operation: "DescribeKey",
        service: "kms",
        region: &region,
        method: "POST",
        url: format!("{url}/"),
        body: json!({ "KeyId": key }).to_string(),
        target: Some("TrentService.DescribeKey"),
    };
    let answer = match send(&world.config, request).await {
        Ok(answer) => answer,
        Err(failure) => return unchecked(failure.to_string()),
    };
    let told: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    match judge(subject, key, answer.status, &told) {
        Some(finding) => Some(finding),
        None => unchecked(format!("KMS answered {}", answer.status)),
    }
}

/// `None` where KMS tells nothing, such as to somebody who may not ask.
fn judge(subject: &'static str, key: &str, status: u16, told: &Value) -> Option<Finding> {
    let missing = told["__type"].as_str().is_some_and(|code| code.ends_with("NotFoundException"));
    let state = told["KeyMetadata"]["KeyState"].as_str();
    let wrong = |seen: String, action: &str| Some(Finding::new(subject, Verdict::Wrong, seen, action));
    match (status, state) {
        (200, Some("Enabled")) => {
            Some(Finding::fine(subject, format!("is encrypted with {key}, which is enabled")))
        }
        (200, Some(state)) => wrong(
            format!("is encrypted with {key}, which is {state}"),
            "enable the key, or cancel its deletion: no message can be sent or received",
        ),
        (400, _) if missing => wrong(
            format!("is encrypted with {key}, and there is no such key"),
            "set KmsMasterKeyId to a key that exists, or SqsManagedSseEnabled=true",
        ),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_judged_by_its_state() {
        let verdict =
            |status, told: Value| judge("DLQ", "alias/k", status, &told).map(|finding| finding.verdict);
        let state = |state: &str| json!({"KeyMetadata": {"KeyState": state}});
        assert_eq!(verdict(200, state("Enabled")), Some(Verdict::Fine));
        assert_eq!(verdict(200, state("PendingDeletion")), Some(Verdict::Wrong));
        assert_eq!(verdict(400, json!({"__type": "NotFoundException"})), Some(Verdict::Wrong));
        assert_eq!(verdict(400, json!({"__type": "AccessDeniedException"})), None);
    }
}
