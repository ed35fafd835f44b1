//! Misconfigurations, planted one at a time: the doctor names each with its cure, and nothing else. The services are emulated by
//! their wire formats, so that each of their answers can be planted.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use support::{Ended, Kvsw, serve_any};

/// What the emulated services answer.
type Model = Arc<Mutex<Value>>;

const ACCOUNT: &str = "000000000000";

fn arn(queue: &str) -> String {
    format!("arn:aws:sqs:us-east-1:{ACCOUNT}:{queue}")
}

/// A deployment as infra/template.yaml makes it.
fn healthy() -> Value {
    let queue = |name: &str, visibility: &str, kept: &str| {
        json!({
            "QueueArn": arn(name), "FifoQueue": "true", "DeduplicationScope": "messageGroup",
            "FifoThroughputLimit": "perMessageGroupId", "ContentBasedDeduplication": "false", "DelaySeconds": "0",
            "VisibilityTimeout": visibility, "MessageRetentionPeriod": kept, "MaximumMessageSize": "262144",
            "ApproximateNumberOfMessages": "0",
        })
    };
    let mut chunks = queue("chunks.fifo", "15", "345600");
    chunks["RedrivePolicy"] = policy(&arn("dlq.fifo"), 100);
    let mut dlq = queue("dlq.fifo", "60", "1209600");
    dlq["RedriveAllowPolicy"] =
        json!({"redrivePermission": "byQueue", "sourceQueueArns": [arn("chunks.fifo")]}).to_string().into();
    json!({
        "queues": {"chunks.fifo": chunks, "dlq.fifo": dlq, "other.fifo": queue("other.fifo", "30", "345600")},
        "tables": {
            "state": {"keys": [["pk", "S"], ["sk", "S"]], "ttl": "expiresAt"},
            "sessions": {"keys": [["sessionId", "S"]]},
        },
        "streams": {"status": 200, "body": "{\"StreamInfoList\":[]}"},
        "mapping": {"State": "Enabled", "BatchSize": 10, "FunctionResponseTypes": ["ReportBatchItemFailures"],
            "FunctionArn": "arn:aws:lambda:us-east-1:000000000000:function:writer"},
        "timeout": 10,
        "denied": [],
        "keys": {"alias/ours": "Enabled"},
    })
}

fn policy(arn: &str, count: u64) -> Value {
    json!({"deadLetterTargetArn": arn, "maxReceiveCount": count}).to_string().into()
}

fn answer(model: &Value, url: &str, request: &str) -> (u16, String) {
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    let head = head.to_lowercase();
    let body: Value = serde_json::from_str(body).unwrap_or_else(|_| json!({ "form": body }));
    let refusal = |code: &str| (400, json!({"__type": code, "message": "no"}).to_string());
    let table = || &model["tables"][body["TableName"].as_str().unwrap_or_default()];
    match () {
        () if head.contains("amazonsqs.getqueueattributes") => {
            let (path, name) = body["QueueUrl"].as_str().unwrap().rsplit_once('/').unwrap();
            match &model["queues"][name] {
                _ if !path.ends_with(ACCOUNT) => refusal("com.amazonaws.sqs#QueueDoesNotExist"),
                Value::Null => refusal("com.amazonaws.sqs#QueueDoesNotExist"),
                found => (200, json!({ "Attributes": found }).to_string()),
            }
        }
        () if head.contains("dynamodb_20120810.describe") && table().is_null() => {
            refusal("com.amazonaws.dynamodb.v20120810#ResourceNotFoundException")
        }
        () if head.contains("dynamodb_20120810.describetable") => (200, described(table())),
        () if head.contains("dynamodb_20120810.describetimetolive") => {
            let on = table()["ttl"].as_str();
            let told = json!({"TimeToLiveStatus": if on.is_some() { "ENABLED" } else { "DISABLED" }, "AttributeName": on});
            (200, json!({ "TimeToLiveDescription": told }).to_string())
        }
        () if head.contains("trentservice.describekey") => {
            match &model["keys"][body["KeyId"].as_str().unwrap()] {
                Value::Null => refusal("NotFoundException"),
                state => (200, json!({"KeyMetadata": {"KeyState": state}}).to_string()),
            }
        }
        () if head.contains("/event-source-mappings/") => {
            let mappings = match &model["mapping"] {
                Value::Array(some) => some.clone(),
                one => vec![one.clone()],
            };
            (200, json!({ "EventSourceMappings": mappings }).to_string())
        }
        () if head.contains("/functions/") => (200, function(model, url)),
        () if body["form"].as_str().is_some_and(|form| form.contains("SimulatePrincipalPolicy")) => {
            (200, simulated(model, body["form"].as_str().unwrap()))
        }
        () if head.starts_with("post /liststreams") => {
            let streams = &model["streams"];
            (streams["status"].as_u64().unwrap() as u16, streams["body"].as_str().unwrap().to_owned())
        }
        () => (200, String::new()),
    }
}

fn described(table: &Value) -> String {
    let keys = table["keys"].as_array().unwrap().iter();
    let schema = keys.clone().zip(["HASH", "RANGE"]);
    let schema = schema.map(|(key, kind)| json!({"AttributeName": key[0], "KeyType": kind}));
    let definitions = keys.map(|key| json!({"AttributeName": key[0], "AttributeType": key[1]}));
    let status = table["status"].as_str().unwrap_or("ACTIVE");
    json!({"Table": {
        "TableStatus": status, "KeySchema": schema.collect::<Value>(),
        "AttributeDefinitions": definitions.collect::<Value>(),
    }})
    .to_string()
}

fn function(model: &Value, url: &str) -> String {
    let mut variables = json!({
        "QUEUE_URL": format!("{url}/{ACCOUNT}/chunks.fifo"), "DLQ_URL": format!("{url}/{ACCOUNT}/dlq.fifo"),
        "STATE_TABLE": "state", "SESSIONS_TABLE": "sessions",
    });
    if let Some(changes) = model["variables"].as_object() {
        changes.iter().for_each(|(name, value)| variables[name] = value.clone());
    }
    json!({"Timeout": model["timeout"], "Role": "arn:aws:iam::000000000000:role/writer",
        "Environment": {"Variables": variables}})
    .to_string()
}

fn simulated(model: &Value, form: &str) -> String {
    let denied = model["denied"].as_array().unwrap();
    let actions = form
        .split('&')
        .filter_map(|part| part.split_once('=').filter(|(name, _)| name.starts_with("ActionNames")));
    let result = |(_, action): (&str, &str)| {
        let action = action.replace("%3A", ":");
        let decision = if denied.iter().any(|d| d == &action) { "implicitDeny" } else { "allowed" };
        format!("<EvalActionName>{action}</EvalActionName><EvalDecision>{decision}</EvalDecision>")
    };
    actions.map(result).collect()
}

/// One misconfiguration.
struct Plant {
    name: &'static str,
    /// Where in the model, as a JSON pointer, and what is there instead; null removes it.
    model: Vec<(&'static str, Value)>,
    /// Variables; `{url}` stands for the services' address.
    env: Vec<(&'static str, Option<&'static str>)>,
    code: i32,
    /// Findings that are not fine.
    findings: usize,
    /// What is said.
    says: Vec<&'static str>,
}

fn plant(name: &'static str, model: Vec<(&'static str, Value)>, says: &[&'static str]) -> Plant {
    Plant { name, model, env: Vec::new(), code: 1, findings: 1, says: says.to_vec() }
}

/// One that is no fault, but wants a look.
fn look(name: &'static str, at: &'static str, value: Value, says: &[&'static str]) -> Plant {
    Plant { code: 0, ..plant(name, vec![(at, value)], says) }
}

/// A variable of the caller's that is refused before any service is asked.
fn refused(
    name: &'static str,
    variable: &'static str,
    value: Option<&'static str>,
    says: &[&'static str],
) -> Plant {
    let env = vec![(variable, value)];
    Plant { env, code: 2, findings: 0, ..plant(name, Vec::new(), says) }
}

/// A variable of the caller's.
fn env(
    name: &'static str,
    variable: &'static str,
    value: &'static str,
    (code, findings): (i32, usize),
    says: &[&'static str],
) -> Plant {
    Plant { env: vec![(variable, Some(value))], code, findings, ..plant(name, Vec::new(), says) }
}

const NOWHERE: &str = "http://127.0.0.1:1";

fn of_queues() -> Vec<Plant> {
    let one = |name, at, value: &str, says: &[&'static str]| plant(name, vec![(at, json!(value))], says);
    let other_dlq = "arn:aws:sqs:us-east-1:000000000000:other.fifo";
    let receives = |name, count, says: &[&'static str]| {
        plant(name, vec![("/queues/chunks.fifo/RedrivePolicy", policy(&arn("dlq.fifo"), count))], says)
    };
    let cure = "set maxReceiveCount to 100";
    vec![
        plant(
            "policy to another DLQ",
            vec![("/queues/chunks.fifo/RedrivePolicy", policy(other_dlq, 100))],
            &["other.fifo, but DLQ_URL is"],
        ),
        plant(
            "no policy",
            vec![("/queues/chunks.fifo/RedrivePolicy", Value::Null)],
            &["the chunk queue has none", "set RedrivePolicy"],
        ),
        receives("maxReceiveCount 1", 1, &["maxReceiveCount 1;", cure]),
        receives("maxReceiveCount 5", 5, &["maxReceiveCount 5;", cure]),
        receives("maxReceiveCount 11", 11, &["maxReceiveCount 11;", cure]),
        Plant { code: 0, ..receives("maxReceiveCount 12", 12, &["maxReceiveCount 12;", cure]) },
        Plant { code: 0, ..receives("maxReceiveCount 50", 50, &["maxReceiveCount 50;", cure]) },
        one(
            "visibility 0",
            "/queues/chunks.fifo/VisibilityTimeout",
            "0",
            &["set VisibilityTimeout to 15 s or more"],
        ),
        one(
            "visibility 5",
            "/queues/chunks.fifo/VisibilityTimeout",
            "5",
            &["set VisibilityTimeout to 15 s or more"],
        ),
        one(
            "visibility 12 h",
            "/queues/chunks.fifo/VisibilityTimeout",
            "43200",
            &["visibility time-out 12 h", "set VisibilityTimeout to 15 s: so long", "at most 60 s"],
        ),
        plant(
            "the writer's time-out is longer",
            vec![("/timeout", json!(30))],
            &["the writer's time-out is 30 s", "to 35 s or more"],
        ),
        look(
            "content deduplication",
            "/queues/chunks.fifo/ContentBasedDeduplication",
            json!("true"),
            &["set ContentBasedDeduplication=false"],
        ),
        look(
            "content deduplication of the DLQ",
            "/queues/dlq.fifo/ContentBasedDeduplication",
            json!("true"),
            &["set ContentBasedDeduplication=false"],
        ),
        one(
            "throughput per queue",
            "/queues/chunks.fifo/FifoThroughputLimit",
            "perQueue",
            &["FifoThroughputLimit=perMessageGroupId"],
        ),
        one(
            "deduplication scope",
            "/queues/chunks.fifo/DeduplicationScope",
            "queue",
            &["DeduplicationScope=messageGroup"],
        ),
        one(
            "throughput of the DLQ",
            "/queues/dlq.fifo/FifoThroughputLimit",
            "perQueue",
            &["DLQ", "FifoThroughputLimit=perMessageGroupId"],
        ),
        one(
            "deduplication scope of the DLQ",
            "/queues/dlq.fifo/DeduplicationScope",
            "queue",
            &["DeduplicationScope=messageGroup"],
        ),
        one("a standard queue", "/queues/chunks.fifo/FifoQueue", "false", &["make a FIFO queue"]),
        one(
            "retention 60 s",
            "/queues/chunks.fifo/MessageRetentionPeriod",
            "60",
            &["keeps messages for 1 min", "MessageRetentionPeriod=345600"],
        ),
        look(
            "retention 2 days",
            "/queues/chunks.fifo/MessageRetentionPeriod",
            json!("172800"),
            &["MessageRetentionPeriod=345600"],
        ),
        Plant {
            findings: 2,
            ..one(
                "retention of the DLQ 1 h",
                "/queues/dlq.fifo/MessageRetentionPeriod",
                "3600",
                &["let the DLQ keep messages at least as long", "MessageRetentionPeriod=1209600"],
            )
        },
        look(
            "retention of the DLQ 4 days",
            "/queues/dlq.fifo/MessageRetentionPeriod",
            json!("345600"),
            &["MessageRetentionPeriod=1209600"],
        ),
        one(
            "delay",
            "/queues/chunks.fifo/DelaySeconds",
            "900",
            &["delays each message by 15 min", "set DelaySeconds=0"],
        ),
        one(
            "delay of the DLQ",
            "/queues/dlq.fifo/DelaySeconds",
            "900",
            &["delays each message by 15 min", "set DelaySeconds=0"],
        ),
        one(
            "small messages",
            "/queues/chunks.fifo/MaximumMessageSize",
            "1024",
            &["up to 1 KiB", "set MaximumMessageSize=262144"],
        ),
        one(
            "small messages of the DLQ",
            "/queues/dlq.fifo/MaximumMessageSize",
            "1024",
            &["up to 1 KiB", "set MaximumMessageSize=262144"],
        ),
        plant(
            "the DLQ takes nothing",
            vec![("/queues/dlq.fifo/RedriveAllowPolicy", json!("{\"redrivePermission\":\"denyAll\"}"))],
            &["RedriveAllowPolicy is denyAll", "set RedriveAllowPolicy to byQueue"],
        ),
        plant(
            "the DLQ takes from others",
            vec![(
                "/queues/dlq.fifo/RedriveAllowPolicy",
                json!("{\"redrivePermission\":\"byQueue\",\"sourceQueueArns\":[\"arn:x\"]}"),
            )],
            &["RedriveAllowPolicy is byQueue", "the chunk queue's ARN"],
        ),
        one(
            "a key that is not there",
            "/queues/chunks.fifo/KmsMasterKeyId",
            "alias/gone",
            &["there is no such key", "set KmsMasterKeyId"],
        ),
        plant(
            "a key that is disabled",
            vec![
                ("/queues/dlq.fifo/KmsMasterKeyId", json!("alias/ours")),
                ("/keys/alias~1ours", json!("Disabled")),
            ],
            &["alias/ours, which is Disabled", "enable the key"],
        ),
        look(
            "messages in the DLQ",
            "/queues/dlq.fifo/ApproximateNumberOfMessages",
            json!("3"),
            &["holds about 3 messages", "kvsw dlq list"],
        ),
    ]
}

fn of_tables() -> Vec<Plant> {
    let keys = |name, at, keys: Value, says: &[&'static str]| plant(name, vec![(at, keys)], says);
    vec![
        keys(
            "state table: another key",
            "/tables/state/keys",
            json!([["id", "S"]]),
            &["it needs pk, sk, strings; does STATE_TABLE name"],
        ),
        keys(
            "state table: no sort key",
            "/tables/state/keys",
            json!([["pk", "S"]]),
            &["it needs pk, sk, strings"],
        ),
        keys(
            "state table: numbers",
            "/tables/state/keys",
            json!([["pk", "N"], ["sk", "N"]]),
            &["pk (N), sk (N)", "make the table again"],
        ),
        keys(
            "sessions table: another key",
            "/tables/sessions/keys",
            json!([["id", "S"]]),
            &["it needs sessionId, strings; does SESSIONS_TABLE name"],
        ),
        keys(
            "sessions table: a sort key",
            "/tables/sessions/keys",
            json!([["sessionId", "S"], ["at", "S"]]),
            &["it needs sessionId, strings"],
        ),
        keys(
            "sessions table: a number",
            "/tables/sessions/keys",
            json!([["sessionId", "N"]]),
            &["sessionId (N)", "make the table again"],
        ),
        look(
            "no time to live",
            "/tables/state/ttl",
            Value::Null,
            &["grows without end", "enable time to live on the attribute expiresAt"],
        ),
        look(
            "time to live by another attribute",
            "/tables/state/ttl",
            json!("ttl"),
            &["goes by ttl", "disable it there, and enable time to live on the attribute expiresAt"],
        ),
        plant(
            "time to live of sessions",
            vec![("/tables/sessions/ttl", json!("endedAt"))],
            &["goes by endedAt, which is in milliseconds", "disable it"],
        ),
        plant(
            "a table that is being deleted",
            vec![("/tables/state/status", json!("DELETING"))],
            &["is DELETING"],
        ),
        env(
            "state table's name",
            "STATE_TABLE",
            "nope",
            (1, 2),
            &["STATE_TABLE is \"nope\", and there is no such table"],
        ),
        env(
            "sessions table's name",
            "SESSIONS_TABLE",
            "nope",
            (1, 2),
            &["SESSIONS_TABLE is \"nope\", and there is no such table"],
        ),
        env(
            "one table for both",
            "STATE_TABLE",
            "sessions",
            (1, 2),
            &["it needs pk, sk, strings; does STATE_TABLE name"],
        ),
        Plant {
            env: vec![("STATE_TABLE", Some("sessions")), ("SESSIONS_TABLE", Some("state"))],
            findings: 3,
            ..plant(
                "tables swapped",
                Vec::new(),
                &["STATE_TABLE and SESSIONS_TABLE are swapped", "swap the two variables"],
            )
        },
    ]
}

fn of_names() -> Vec<Plant> {
    let queue = "{url}/000000000000/chunks.fifo";
    let missing = |name, variable| refused(name, variable, None, &["is not set", "hint:"]);
    let empty = |name, variable| refused(name, variable, Some(""), &["is not set", "hint:"]);
    vec![
        missing("QUEUE_URL missing", "QUEUE_URL"),
        missing("DLQ_URL missing", "DLQ_URL"),
        missing("STATE_TABLE missing", "STATE_TABLE"),
        missing("SESSIONS_TABLE missing", "SESSIONS_TABLE"),
        empty("QUEUE_URL empty", "QUEUE_URL"),
        empty("DLQ_URL empty", "DLQ_URL"),
        empty("STATE_TABLE empty", "STATE_TABLE"),
        empty("SESSIONS_TABLE empty", "SESSIONS_TABLE"),
        refused(
            "a name instead of a URL",
            "QUEUE_URL",
            Some("foo"),
            &["QUEUE_URL must be the URL of a FIFO queue", "kvsw-env.sh"],
        ),
        refused("Region missing", "AWS_REGION", None, &["AWS_REGION"]),
        refused("Region empty", "AWS_REGION", Some(""), &["AWS_REGION"]),
        refused(
            "Region with spaces",
            "AWS_REGION",
            Some("us east 1"),
            &["\"us east 1\" is not a valid AWS Region", "hint: export AWS_REGION"],
        ),
        refused(
            "retention 0",
            "KVS_RETENTION_HOURS",
            Some("0"),
            &["KVS_RETENTION_HOURS must be a number of hours", "hint: unset KVS_RETENTION_HOURS"],
        ),
        env(
            "DLQ_URL is another queue",
            "DLQ_URL",
            "{url}/000000000000/other.fifo",
            (1, 2),
            &["it names arn:aws:sqs:us-east-1:000000000000:dlq.fifo, but DLQ_URL is"],
        ),
        env("DLQ_URL is QUEUE_URL", "DLQ_URL", queue, (1, 2), &["DLQ_URL names the chunk queue itself"]),
        env(
            "QUEUE_URL is DLQ_URL",
            "QUEUE_URL",
            "{url}/000000000000/dlq.fifo",
            (1, 2),
            &["name one queue, which has none", "set QUEUE_URL to"],
        ),
        Plant {
            env: vec![("QUEUE_URL", Some("{url}/000000000000/dlq.fifo")), ("DLQ_URL", Some(queue))],
            findings: 3,
            ..plant(
                "queues swapped",
                Vec::new(),
                &["QUEUE_URL and DLQ_URL are swapped", "swap the two variables"],
            )
        },
        env(
            "another account",
            "QUEUE_URL",
            "{url}/111111111111/chunks.fifo",
            (1, 4),
            &["111111111111/chunks.fifo, and there is no such queue"],
        ),
        env(
            "a queue that is not there",
            "DLQ_URL",
            "{url}/000000000000/gone.fifo",
            (1, 2),
            &["gone.fifo, and there is no such queue"],
        ),
        refused(
            "a stray space",
            "QUEUE_URL",
            Some("{url}/000000000000/chunks.fifo "),
            &["ending with .fifo"],
        ),
        refused("quotes", "QUEUE_URL", Some("\"{url}/000000000000/chunks.fifo\""), &["ending with .fifo"]),
        env("SQS is not there", "AWS_ENDPOINT_URL_SQS", NOWHERE, (3, 5), &["is the network up"]),
        env("DynamoDB is not there", "AWS_ENDPOINT_URL_DYNAMODB", NOWHERE, (3, 2), &["is the network up"]),
        env(
            "Kinesis Video is not there",
            "AWS_ENDPOINT_URL_KINESIS_VIDEO",
            NOWHERE,
            (3, 1),
            &["is the network up"],
        ),
        refused(
            "an endpoint that is no URL",
            "AWS_ENDPOINT_URL",
            Some("127.0.0.1:1"),
            &["not a valid service URL"],
        ),
        Plant {
            env: vec![
                ("AWS_ACCESS_KEY_ID", None),
                ("AWS_SECRET_ACCESS_KEY", None),
                ("AWS_EC2_METADATA_DISABLED", Some("true")),
            ],
            code: 3,
            findings: 9,
            ..plant(
                "no credentials",
                Vec::new(),
                &["there are no AWS credentials", "export AWS_ACCESS_KEY_ID"],
            )
        },
        plant(
            "Kinesis Video is another service",
            vec![("/streams", json!({"status": 400, "body": "<html>"}))],
            &["answered 400 without an error code", "is AWS_ENDPOINT_URL_KINESIS_VIDEO"],
        ),
    ]
}

fn of_functions() -> Vec<Plant> {
    let mapping = |name, at, value: Value, says: &[&'static str]| plant(name, vec![(at, value)], says);
    vec![
        mapping("mapping disabled", "/mapping/State", json!("Disabled"), &["is Disabled", "enable it"]),
        mapping(
            "no partial failures",
            "/mapping/FunctionResponseTypes",
            json!([]),
            &["set FunctionResponseTypes"],
        ),
        look("small batches", "/mapping/BatchSize", json!(1), &["set BatchSize to 10"]),
        Plant {
            findings: 3,
            ..mapping(
                "no mapping",
                "/mapping",
                json!([]),
                &["has 0 event source mappings", "it needs exactly one"],
            )
        },
        plant(
            "the writer's queue is another",
            vec![("/variables", json!({"QUEUE_URL": "x"}))],
            &["has QUEUE_URL=x"],
        ),
        plant(
            "the writer's table is another",
            vec![("/variables", json!({"STATE_TABLE": "x"}))],
            &["has STATE_TABLE=x"],
        ),
        plant(
            "a right is missing",
            vec![("/denied", json!(["kinesisvideo:PutMedia"]))],
            &["lacks kinesisvideo:PutMedia on streams", "WriterRole"],
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn each_planted_misconfiguration_is_named_with_its_cure_and_nothing_else() {
    let model: Model = Arc::new(Mutex::new(healthy()));
    let (served, address) = (Arc::clone(&model), Arc::new(Mutex::new(String::new())));
    let own = Arc::clone(&address);
    let url = serve_any(move |request| answer(&served.lock().unwrap(), &own.lock().unwrap(), request)).await;
    address.lock().unwrap().clone_from(&url);
    let queue = |name: &str| format!("{url}/{ACCOUNT}/{name}");
    let kvsw = Kvsw::with(&[
        ("QUEUE_URL", &queue("chunks.fifo")),
        ("DLQ_URL", &queue("dlq.fifo")),
        ("STATE_TABLE", "state"),
        ("SESSIONS_TABLE", "sessions"),
        ("AWS_ENDPOINT_URL", &url),
    ]);
    let well = kvsw.run(&["doctor"]).await;
    assert_eq!((well.code, not_fine(&well.stdout)), (0, 0), "{}", well.stdout);
    assert!(well.stdout.contains("nothing is wrong"), "{}", well.stdout);

    let plants = [of_queues(), of_tables(), of_names(), of_functions()];
    let plants: Vec<Plant> = plants.into_iter().flatten().collect();
    assert_eq!(plants.len(), 79, "SPECIFICATION.md says how many");
    let mut wrong = Vec::new();
    for plant in plants {
        *model.lock().unwrap() = planted(&plant);
        let kvsw = plant.env.iter().fold(kvsw.clone(), |kvsw, (name, value)| {
            kvsw.set(name, value.map(|value| value.replace("{url}", &url)).as_deref())
        });
        let ended = kvsw.run(&["doctor"]).await;
        wrong.extend(plant.misjudged(&ended));
    }
    assert!(wrong.is_empty(), "{} plants are misjudged:\n{}", wrong.len(), wrong.join("\n\n"));
}

impl Plant {
    /// What the doctor should have said otherwise.
    fn misjudged(&self, ended: &Ended) -> Option<String> {
        let said = format!("{}{}", ended.stdout, ended.stderr);
        let lacks: Vec<&&str> = self.says.iter().filter(|part| !said.contains(**part)).collect();
        let (code, findings) = (ended.code, not_fine(&ended.stdout));
        // The doctor does not send to itself.
        let well = code == self.code
            && findings == self.findings
            && lacks.is_empty()
            && !said.contains("`kvsw doctor` looks");
        let (expected_code, expected) = (self.code, self.findings);
        let told: Vec<&str> = said.lines().filter(|line| !line.starts_with("fine ")).collect();
        (!well).then(|| {
            format!(
                "{}: exit {code} for {expected_code}, {findings} findings for {expected}, lacks {lacks:?}\n{}",
                self.name,
                told.join("\n")
            )
        })
    }
}

/// Lines of findings that are not fine.
fn not_fine(stdout: &str) -> usize {
    let marks = ["look ", "WRONG ", "not checked ", "NO ANSWER "];
    stdout.lines().filter(|line| marks.iter().any(|mark| line.starts_with(mark))).count()
}

fn planted(plant: &Plant) -> Value {
    let mut model = healthy();
    for (at, value) in &plant.model {
        let (parent, name) = at.rsplit_once('/').unwrap();
        let parent = model.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        match value {
            Value::Null => drop(parent.remove(name)),
            value => drop(parent.insert(name.replace("~1", "/"), value.clone())),
        }
    }
    model
}
