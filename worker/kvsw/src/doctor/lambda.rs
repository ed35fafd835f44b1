//! The mapping from the queue to the writer, the writer's own settings, and what its role may do.

use std::time::Duration;

use aws_config::SdkConfig;
use serde_json::Value;

use super::finding::{Finding, Verdict};
use super::signed::{Answer, Request, send};
use crate::error::Result;
use crate::world::World;

const MAPPING: &str = "mapping";
const WRITER: &str = "writer";
const ROLE: &str = "writer's role";

/// Where a service is: its own endpoint variable, the common one, or AWS. `None` where only other services have local
/// endpoints: then there is no such service.
fn endpoint(env: &impl Fn(&str) -> Option<String>, service: &str, aws: String) -> Option<String> {
    let own = env(&format!("AWS_ENDPOINT_URL_{service}")).or_else(|| env("AWS_ENDPOINT_URL"));
    match own.filter(|url| !url.is_empty()) {
        Some(url) => Some(url.trim_end_matches('/').to_owned()),
        None => env("AWS_ENDPOINT_URL_SQS").is_none().then_some(aws),
    }
}

/// What Lambda says of the writer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Writer {
    pub(super) timeout: Option<Duration>,
    role: Option<String>,
}

/// Checks mapping and function; tells the function's time-out for the queue's checks.
pub(super) async fn check(
    world: &World,
    env: &impl Fn(&str) -> Option<String>,
    queue_arn: Option<&str>,
    writer: Option<&str>,
) -> (Vec<Finding>, Writer) {
    let region = world.config.region().map(ToString::to_string).unwrap_or_default();
    let Some(base) = endpoint(env, "LAMBDA", format!("https://lambda.{region}.amazonaws.com")) else {
        let seen = "there is no Lambda API here: AWS_ENDPOINT_URL_SQS is local and AWS_ENDPOINT_URL_LAMBDA is not set";
        let action = "check it on the account, or let `make check` look at infra/template.yaml";
        return (vec![Finding::new(MAPPING, Verdict::Unchecked, seen, action)], Writer::default());
    };
    let Some(queue_arn) = queue_arn else {
        let seen = "the chunk queue did not tell its ARN";
        return (
            vec![Finding::new(MAPPING, Verdict::Unchecked, seen, "repair that first")],
            Writer::default(),
        );
    };
    let lambda = Lambda { config: &world.config, base, region };
    let (mut findings, name) = match lambda.mapping(queue_arn).await {
        Ok((findings, name)) => (findings, writer.map(str::to_owned).or(name)),
        Err(error) => (vec![Finding::failed(MAPPING, &error)], writer.map(str::to_owned)),
    };
    let mut found = Writer::default();
    if let Some(name) = name {
        match lambda.function(&name, world).await {
            Ok((more, told)) => {
                findings.extend(more);
                found = told;
            }
            Err(error) => findings.push(Finding::failed(WRITER, &error)),
        }
    }
    findings.push(role(world, env, found.role.as_deref()).await);
    (findings, found)
}

struct Lambda<'a> {
    config: &'a SdkConfig,
    base: String,
    region: String,
}

impl Lambda<'_> {
    async fn get(&self, operation: &'static str, path: String) -> Result<Value> {
        let url = format!("{}{path}", self.base);
        let (region, body) = (&self.region[..], String::new());
        let request = Request { operation, service: "lambda", region, method: "GET", url, body };
        let answer = send(self.config, request).await?;
        let value: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        if answer.status != 200 {
            let message = value["Message"].as_str().or(value["message"].as_str()).unwrap_or_default();
            return Err(refused(operation, &answer, message).into());
        }
        Ok(value)
    }

    /// The mapping of the queue, and the function that it calls.
    async fn mapping(&self, queue_arn: &str) -> Result<(Vec<Finding>, Option<String>)> {
        let query: String = form_urlencoded::byte_serialize(queue_arn.as_bytes()).collect();
        let path = format!("/2015-03-31/event-source-mappings/?EventSourceArn={query}");
        let told = self.get("ListEventSourceMappings", path).await?;
        let mappings = told["EventSourceMappings"].as_array().cloned().unwrap_or_default();
        let name = mappings.first().and_then(|mapping| mapping["FunctionArn"].as_str()).map(str::to_owned);
        Ok((mapping(&mappings), name))
    }

    async fn function(&self, name: &str, world: &World) -> Result<(Vec<Finding>, Writer)> {
        let name: String = form_urlencoded::byte_serialize(name.as_bytes()).collect();
        let path = format!("/2015-03-31/functions/{name}/configuration");
        let told = self.get("GetFunctionConfiguration", path).await?;
        Ok(function(&told, world))
    }
}

fn refused(operation: &str, answer: &Answer, message: &str) -> ingest::failure::ServiceFailure {
    let code = if answer.status == 403 { "AccessDenied" } else { "" };
    ingest::failure::ServiceFailure::Service {
        operation: operation.to_owned(),
        status: answer.status,
        code: code.to_owned(),
        message: message.to_owned(),
    }
}

/// What the mapping should be like.
fn mapping(mappings: &[Value]) -> Vec<Finding> {
    let [mapping] = mappings else {
        let seen = format!("the chunk queue has {} event source mappings", mappings.len());
        let action =
            "it needs exactly one, to kvs-stream-writer: two consumers would share each session's chunks";
        return vec![Finding::new(MAPPING, Verdict::Wrong, seen, action)];
    };
    let state = mapping["State"].as_str().unwrap_or("unknown");
    let partial = mapping["FunctionResponseTypes"]
        .as_array()
        .is_some_and(|types| types.iter().any(|kind| kind.as_str() == Some("ReportBatchItemFailures")));
    let size = mapping["BatchSize"].as_u64().unwrap_or_default();
    vec![
        Finding::when(
            state == "Enabled",
            MAPPING,
            Verdict::Wrong,
            format!("is {state}"),
            "enable it: nothing is written while it is not",
        ),
        Finding::when(
            partial,
            MAPPING,
            Verdict::Wrong,
            if partial { "reports batch item failures" } else { "does not report batch item failures" },
            "set FunctionResponseTypes to ReportBatchItemFailures: without it one failure gives back whole batches",
        ),
        Finding::when(
            size == 10,
            MAPPING,
            Verdict::Look,
            format!("batch size {size}"),
            "set BatchSize to 10, the most that FIFO allows: smaller ones make shorter fragments",
        ),
    ]
}

/// What the function's settings should be like.
fn function(told: &Value, world: &World) -> (Vec<Finding>, Writer) {
    let timeout = told["Timeout"].as_u64().map(Duration::from_secs);
    let variables = &told["Environment"]["Variables"];
    let settings = &world.settings;
    let mut findings = Vec::new();
    for (name, ours) in [
        ("QUEUE_URL", &settings.queue_url),
        ("DLQ_URL", &settings.dlq_url),
        ("STATE_TABLE", &settings.state_table),
        ("SESSIONS_TABLE", &settings.sessions_table),
    ] {
        let theirs = variables[name].as_str().unwrap_or_default();
        let seen = match theirs == ours {
            true => format!("has the same {name}"),
            false => format!("has {name}={theirs}, here it is {ours}"),
        };
        findings.push(Finding::when(theirs == ours, WRITER, Verdict::Wrong, seen, "let both name the same"));
    }
    (findings, Writer { timeout, role: told["Role"].as_str().map(str::to_owned) })
}

/// What the writer must be allowed, by the services of its path.
const ACTIONS: [&str; 12] = [
    "sqs:ReceiveMessage",
    "sqs:DeleteMessage",
    "sqs:ChangeMessageVisibility",
    "sqs:SendMessage",
    "dynamodb:GetItem",
    "dynamodb:PutItem",
    "dynamodb:BatchWriteItem",
    "kinesisvideo:CreateStream",
    "kinesisvideo:DescribeStream",
    "kinesisvideo:GetDataEndpoint",
    "kinesisvideo:PutMedia",
    "kinesisvideo:ListFragments",
];

/// Asks IAM whether the role may do what the writer does. Policies are judged without the resources' own ARNs where
/// these allow by pattern, so a denial here is certain only for actions that no statement names.
async fn role(world: &World, env: &impl Fn(&str) -> Option<String>, role: Option<&str>) -> Finding {
    let by_hand = "compare it with WriterRole in infra/template.yaml";
    let Some(role) = role else {
        return Finding::new(ROLE, Verdict::Unchecked, "Lambda did not tell which role it is", by_hand);
    };
    let Some(url) = endpoint(env, "IAM", "https://iam.amazonaws.com".into()) else {
        let seen = "there is no IAM API here: AWS_ENDPOINT_URL_IAM is not set";
        return Finding::new(ROLE, Verdict::Unchecked, seen, by_hand);
    };
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("Action", "SimulatePrincipalPolicy").append_pair("Version", "2010-05-08");
    form.append_pair("PolicySourceArn", role);
    for (i, action) in ACTIONS.iter().enumerate() {
        form.append_pair(&format!("ActionNames.member.{}", i + 1), action);
    }
    for (i, arn) in resources(role, world).iter().enumerate() {
        form.append_pair(&format!("ResourceArns.member.{}", i + 1), arn);
    }
    let request = Request {
        operation: "SimulatePrincipalPolicy",
        service: "iam",
        region: "us-east-1",
        method: "POST",
        url: format!("{url}/"),
        body: form.finish(),
    };
    match send(&world.config, request).await {
        Err(failure) => Finding::new(ROLE, Verdict::Unchecked, failure.to_string(), by_hand),
        Ok(answer) if answer.status != 200 => {
            let seen =
                format!("IAM answered {}; you need iam:SimulatePrincipalPolicy to check it", answer.status);
            Finding::new(ROLE, Verdict::Unchecked, seen, by_hand)
        }
        Ok(answer) => simulated(&String::from_utf8_lossy(&answer.body)),
    }
}

/// The resources that the actions are on, in the role's own account.
fn resources(role: &str, world: &World) -> Vec<String> {
    let mut parts = role.split(':');
    let (partition, account) = (parts.nth(1).unwrap_or("aws"), parts.nth(2).unwrap_or_default());
    let region = world.config.region().map(ToString::to_string).unwrap_or_default();
    let queue = |url: &str| {
        let name = url.rsplit('/').next().unwrap_or_default();
        format!("arn:{partition}:sqs:{region}:{account}:{name}")
    };
    vec![
        queue(&world.settings.queue_url),
        queue(&world.settings.dlq_url),
        format!("arn:{partition}:dynamodb:{region}:{account}:table/{}", world.settings.state_table),
        format!("arn:{partition}:kinesisvideo:{region}:{account}:stream/session-doctor/0"),
    ]
}

/// Reads SimulatePrincipalPolicy's answer: an action is allowed if it is on any of the resources.
fn simulated(xml: &str) -> Finding {
    let between = |text: &str, tag: &str| {
        let (_, rest) = text.split_once(&format!("<{tag}>"))?;
        Some(rest.split_once(&format!("</{tag}>"))?.0.to_owned())
    };
    // Each result names its action, its decision and, per resource, further decisions.
    let denied: Vec<&str> = ACTIONS
        .into_iter()
        .filter(|action| {
            let name = format!("<EvalActionName>{action}</EvalActionName>");
            let results = xml.split("<EvalActionName>").skip(1).map(|part| format!("<EvalActionName>{part}"));
            let mut of_action = results.filter(|result| result.starts_with(&name));
            !of_action.any(|result| {
                result.contains("<EvalResourceDecision>allowed<")
                    || between(&result, "EvalDecision").is_some_and(|decision| decision == "allowed")
            })
        })
        .collect();
    let action = "add them to the role; WriterRole in infra/template.yaml has the whole list";
    let seen = match denied.is_empty() {
        true => format!("may do all {} things that the writer does", ACTIONS.len()),
        false => format!("lacks {}", denied.join(", ")),
    };
    Finding::when(denied.is_empty(), ROLE, Verdict::Wrong, seen, action)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn not_fine(findings: &[Finding]) -> Vec<&str> {
        findings.iter().filter(|f| f.verdict != Verdict::Fine).map(|f| f.seen.as_str()).collect()
    }

    #[test]
    fn a_mapping_is_judged_by_what_the_writer_needs() {
        let good = json!({"State": "Enabled", "FunctionResponseTypes": ["ReportBatchItemFailures"], "BatchSize": 10});
        assert_eq!(not_fine(&mapping(std::slice::from_ref(&good))), [""; 0]);
        let bad = json!({"State": "Disabled", "BatchSize": 1});
        assert_eq!(
            not_fine(&mapping(&[bad])),
            ["is Disabled", "does not report batch item failures", "batch size 1"]
        );
        assert_eq!(mapping(&[]).len(), 1);
        assert_eq!(
            not_fine(&mapping(&[good.clone(), good])),
            ["the chunk queue has 2 event source mappings"]
        );
    }

    #[test]
    fn a_role_lacks_what_no_resource_allows() {
        let result = |action: &str, decision: &str| {
            format!(
                "<member><EvalActionName>{action}</EvalActionName><EvalDecision>{decision}</EvalDecision></member>"
            )
        };
        let all: String = ACTIONS.iter().map(|action| result(action, "allowed")).collect();
        assert_eq!(simulated(&all).verdict, Verdict::Fine);
        let some = all.replacen("<EvalDecision>allowed", "<EvalDecision>implicitDeny", 1);
        assert!(simulated(&some).seen.ends_with("lacks sqs:ReceiveMessage"), "{}", simulated(&some).seen);
        assert_eq!(simulated("<html>").verdict, Verdict::Wrong);
    }

    #[test]
    fn a_local_stack_has_no_lambda_unless_a_variable_says_so() {
        let aws = || "https://lambda.eu-central-1.amazonaws.com".to_owned();
        let with =
            |name: &'static str| move |asked: &str| (asked == name).then(|| "http://127.0.0.1:1/".to_owned());
        assert_eq!(endpoint(&|_: &str| None, "LAMBDA", aws()), Some(aws()));
        assert_eq!(endpoint(&with("AWS_ENDPOINT_URL_SQS"), "LAMBDA", aws()), None);
        for name in ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_LAMBDA"] {
            assert_eq!(endpoint(&with(name), "LAMBDA", aws()).as_deref(), Some("http://127.0.0.1:1"));
        }
    }
}
