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
pub(super) fn endpoint(env: &impl Fn(&str) -> Option<String>, service: &str, aws: String) -> Option<String> {
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
        let action = "check it on the account; `make test` holds infra/template.yaml to the code";
        return (unasked(seen, action), Writer::default());
    };
    let Some(queue_arn) = queue_arn else {
        let seen = "the chunk queue did not tell its ARN";
        return (unasked(seen, "repair that first"), Writer::default());
    };
    let lambda = Lambda { config: &world.config, base, region };
    let (mut findings, name) = match lambda.mapping(queue_arn).await {
        Ok((findings, name)) => (findings, writer.map(str::to_owned).or(name)),
        Err(error) => (vec![Finding::failed(MAPPING, &error)], writer.map(str::to_owned)),
    };
    let mut found = Writer::default();
    match name {
        Some(name) => match lambda.function(&name, world).await {
            Ok((more, told)) => {
                findings.extend(more);
                found = told;
            }
            Err(error) => findings.push(Finding::failed(WRITER, &error)),
        },
        None => {
            let seen = "no mapping names the writer's function";
            findings.push(Finding::new(WRITER, Verdict::Unchecked, seen, "name it: --writer NAME"));
        }
    }
    findings.push(role(world, env, found.role.as_deref()).await);
    (findings, found)
}

/// What cannot be checked without Lambda: all of it is named, so that nobody takes it for fine.
fn unasked(seen: &str, action: &str) -> Vec<Finding> {
    let because = |subject| Finding::new(subject, Verdict::Unchecked, seen, "");
    let mapping = Finding { action: action.to_owned(), ..because(MAPPING) };
    vec![mapping, because(WRITER), because(ROLE)]
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
        let request =
            Request { operation, service: "lambda", region, method: "GET", url, body, target: None };
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

/// What the writer must be allowed on one resource.
struct Need {
    /// For messages.
    on: &'static str,
    arn: String,
    actions: &'static [&'static str],
}

/// Asks IAM whether the role may do what the writer does, each action on its own resource.
async fn role(world: &World, env: &impl Fn(&str) -> Option<String>, role: Option<&str>) -> Finding {
    let unchecked = |seen: String| {
        Finding::new(ROLE, Verdict::Unchecked, seen, "compare it with WriterRole in infra/template.yaml")
    };
    let Some(role) = role else { return unchecked("Lambda did not tell which role it is".into()) };
    let Some(url) = endpoint(env, "IAM", "https://iam.amazonaws.com".into()) else {
        return unchecked("there is no IAM API here: AWS_ENDPOINT_URL_IAM is not set".into());
    };
    let needs = needs(role, world);
    let answers = needs.iter().map(|need| simulate(world, &url, role, need));
    let answers = match futures::future::try_join_all(answers).await {
        Ok(answers) => answers,
        Err(failure) => return unchecked(failure.to_string()),
    };
    if let Some(answer) = answers.iter().find(|answer| answer.status != 200) {
        let status = answer.status;
        return unchecked(format!("IAM answered {status}; you need iam:SimulatePrincipalPolicy to check it"));
    }
    let bodies = answers.iter().map(|answer| String::from_utf8_lossy(&answer.body));
    let lacking = needs.iter().zip(bodies).filter_map(|(need, xml)| lacking(need, &xml));
    judge(&lacking.collect::<Vec<_>>(), needs.iter().map(|need| need.actions.len()).sum())
}

fn judge(lacking: &[String], all: usize) -> Finding {
    let action = "add them to the role; WriterRole in infra/template.yaml has the whole list";
    let seen = match lacking.is_empty() {
        true => format!("may do all {all} things that the writer does"),
        false => format!("lacks {}", lacking.join("; ")),
    };
    Finding::when(lacking.is_empty(), ROLE, Verdict::Wrong, seen, action)
}

/// One resource a question: the answer to one about several is by action.
async fn simulate(world: &World, url: &str, role: &str, need: &Need) -> writer::ports::Result<Answer> {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("Action", "SimulatePrincipalPolicy").append_pair("Version", "2010-05-08");
    form.append_pair("PolicySourceArn", role).append_pair("ResourceArns.member.1", &need.arn);
    for (i, action) in need.actions.iter().enumerate() {
        form.append_pair(&format!("ActionNames.member.{}", i + 1), action);
    }
    let request = Request {
        operation: "SimulatePrincipalPolicy",
        service: "iam",
        region: "us-east-1",
        method: "POST",
        url: format!("{url}/"),
        body: form.finish(),
        target: None,
    };
    send(&world.config, request).await
}

/// What WriterRole of infra/template.yaml allows, on the resources of the role's own account.
fn needs(role: &str, world: &World) -> Vec<Need> {
    let (parts, settings): (Vec<&str>, _) = (role.split(':').collect(), &world.settings);
    let part = |i: usize| parts.get(i).copied().unwrap_or_default();
    let region = world.config.region().map(ToString::to_string).unwrap_or_default();
    let arn = |service: &str, rest: String| format!("arn:{}:{service}:{region}:{}:{rest}", part(1), part(4));
    let queue = |url: &str| arn("sqs", url.rsplit('/').next().unwrap_or_default().to_owned());
    let table = |name: &str| arn("dynamodb", format!("table/{name}"));
    let need = |on, arn, actions| Need { on, arn, actions };
    vec![
        need("the chunk queue", queue(&settings.queue_url), &QUEUE),
        need("the DLQ", queue(&settings.dlq_url), &["sqs:SendMessage"]),
        need("the state table", table(&settings.state_table), &STATE),
        need("the sessions table", table(&settings.sessions_table), &["dynamodb:GetItem"]),
        need("streams", arn("kinesisvideo", "stream/session-doctor/0".into()), &STREAMS),
    ]
}

const QUEUE: [&str; 4] =
    ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ChangeMessageVisibility"];
const STATE: [&str; 3] = ["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:BatchWriteItem"];
const STREAMS: [&str; 6] = [
    "kinesisvideo:CreateStream",
    "kinesisvideo:TagStream",
    "kinesisvideo:DescribeStream",
    "kinesisvideo:GetDataEndpoint",
    "kinesisvideo:PutMedia",
    "kinesisvideo:ListFragments",
];

/// The actions that SimulatePrincipalPolicy's answer does not allow.
fn lacking(need: &Need, xml: &str) -> Option<String> {
    let allowed = allowed(xml);
    let denied: Vec<&str> =
        need.actions.iter().filter(|action| !allowed.iter().any(|a| a == *action)).copied().collect();
    (!denied.is_empty()).then(|| format!("{} on {}", denied.join(", "), need.on))
}

/// Each result has one name and one decision, in either order.
fn allowed(xml: &str) -> Vec<&str> {
    let (mut allowed, mut name, mut decision) = (Vec::new(), None, None);
    for element in xml.split('<') {
        match element.split_once('>') {
            Some(("EvalActionName", text)) => name = Some(text.trim()),
            Some(("EvalDecision", text)) => decision = Some(text.trim()),
            _ => {}
        }
        if let Some((action, decided)) = name.zip(decision) {
            allowed.extend((decided == "allowed").then_some(action));
            (name, decision) = (None, None);
        }
    }
    allowed
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
    fn a_role_lacks_what_its_resource_does_not_allow() {
        let need =
            Need { on: "the DLQ", arn: String::new(), actions: &["sqs:SendMessage", "sqs:DeleteMessage"] };
        let result = |action: &str, decision: &str, name_first: bool| {
            let name = format!("<EvalActionName>{action}</EvalActionName>");
            let decision = format!("<EvalDecision> {decision} </EvalDecision><EvalDecisionDetails/>");
            let parts = if name_first { [name, decision] } else { [decision, name] };
            format!("<member><MatchedStatements/>{}</member>", parts.concat())
        };
        for name_first in [true, false] {
            let result = |action: &str, decision: &str| result(action, decision, name_first);
            let (send, delete) = ("sqs:SendMessage", "sqs:DeleteMessage");
            let all = result(send, "allowed") + &result(delete, "allowed");
            assert_eq!(lacking(&need, &all), None);
            let some = result(send, "implicitDeny") + &result(delete, "allowed");
            assert_eq!(lacking(&need, &some).as_deref(), Some("sqs:SendMessage on the DLQ"));
        }
        assert!(lacking(&need, "<html>").is_some());
        let finding = judge(&["a:B on x".into(), "c:D on y".into()], 3);
        assert_eq!((finding.verdict, &finding.seen[..]), (Verdict::Wrong, "lacks a:B on x; c:D on y"));
    }

    #[test]
    fn all_that_lambda_would_tell_is_named() {
        let subjects: Vec<&str> =
            unasked("no Lambda", "look").iter().map(|finding| finding.subject).collect();
        assert_eq!(subjects, [MAPPING, WRITER, ROLE]);
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
