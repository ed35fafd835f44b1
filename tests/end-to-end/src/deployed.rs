//! The deployment, as an account would have it: `scripts/deploy.sh` puts the packages and `infra/template.yaml` into an emulator,
//! whose own event source mapping then runs the packaged `bootstrap` on real chunks. Nothing of this project's local stack takes
//! part but the Kinesis Video emulator, which no other has.

mod import;

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures::FutureExt as _;
use kvs_emulator::{Emulator, Fault, FaultKind, Point};
use local_stack::backend::{Backend, BackendKind, local_sdk_config};
use local_stack::replay::read_back::read_back;
use local_stack::replay::recording::Line;
use local_stack::resources::{SessionStatus, put_session};
use local_stack::{process, project};
use serde_json::{Map, Value, json};

use crate::beginning;

const STACK: &str = "kvs-stream-writer-test";
/// A second deployment in the same account.
const OTHER: &str = "kvs-stream-writer-other";
/// 9 s of speech for each session.
const CHUNKS: u64 = 30;
/// The sessions' names: one whose fragments are taken, one whose second fragment is refused for good.
const SESSIONS: [&str; 2] = ["deployed-well", "deployed-poisoned"];
/// A chunk of a third session that is no message at all.
const NONSENSE: &str = "deployed-nonsense";
/// Emulators take their time; the writer itself needs some seconds.
const PATIENCE: Duration = Duration::from_secs(90);

/// Deploys, uses, redrives and tears down on one emulator.
pub async fn deployed(kind: BackendKind) {
    let clock = Instant::now();
    let folder = project::run_folder().unwrap();
    let emulator = kvs_emulator::start(kvs_emulator::Config::strict()).await.unwrap();
    let backend = Backend::start_account(kind, &folder, &emulator.endpoint()).await.unwrap();
    let account = Account {
        kind,
        stack: STACK,
        folder: folder.clone(),
        endpoint: backend.endpoint().unwrap().to_owned(),
        clock,
    };
    account.told("up");
    let checked = AssertUnwindSafe(checks(&account, &emulator)).catch_unwind().await;
    if checked.is_err() {
        println!("{kind}: the end of its logs:\n{}", account.last_lines(40));
    }
    backend.stop().await;
    emulator.shutdown().await;
    if let Err(found) = checked {
        std::panic::resume_unwind(found);
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

/// The emulated account and the scripts' view of one deployment in it.
#[derive(Clone)]
struct Account {
    kind: BackendKind,
    stack: &'static str,
    folder: PathBuf,
    endpoint: String,
    clock: Instant,
}

async fn checks(account: &Account, emulator: &Emulator) {
    if std::env::var_os("PACKAGES").is_none() {
        account
            .script("package.sh", &["--from", &text(&bin_dir()), "--out", &text(&account.packages())])
            .await;
    }
    account.told("packed");
    account.deploy().await;
    let outputs = account.outputs().await;
    account.listen_to_the_bus(&outputs).await;
    account.told("deployed");
    let other = Account { stack: OTHER, ..account.clone() };
    other.deploy().await;
    let others = other.outputs().await;
    account.shares_nothing_with(&other).await;
    account.told("deployed a second time, beside the first");

    // The second fragment that the stream is sent is refused for good: its batch is parked, live audio goes on.
    emulator.faults().add(Fault {
        stream: format!("session-{}", SESSIONS[1]),
        operation: None,
        nth: Some(2),
        probability: None,
        seed: 0,
        count: Some(1),
        kind: FaultKind::ErrorAck { id: 4006, code: None, at: Point::Received, bare: false, stored: false },
    });
    let (parked, ()) = futures::join!(account.is_used(emulator, &outputs), account.smoke_test(emulator));
    account.told("spoken, one batch parked, and the smoke test passed");

    if account.keeps_what_is_retained() {
        account.script("teardown.sh", &["--yes"]).await;
        account.is_gone(&outputs).await;
        let said = account.deploy().await;
        assert!(said.contains("taking in what an older"), "{said}");
        assert_eq!(account.outputs().await.dlq, outputs.dlq, "the new stack has another dead-letter queue");
        account.told("torn down, and deployed again over what was kept");
    }
    account.redrive(emulator, &outputs, &parked).await;
    account.told("redriven");
    account.heard_of_each_fragment(emulator, &outputs).await;
    account.script("teardown.sh", &["--yes", "--everything"]).await;
    other.still_stands(&others).await;
    other.script("teardown.sh", &["--yes", "--everything"]).await;
    if !account.keeps_what_is_retained() {
        other.becomes_whole_from_its_import().await;
        account.told("deployed over the part of the template that an import is made with");
        other.script("teardown.sh", &["--yes", "--everything"]).await;
    }
    account.holds_nothing().await;
    account.told("torn down");
}

/// The recording's chunks, as if they had been spoken just now.
fn spoken() -> Vec<Map<String, Value>> {
    let recording = beginning("chromium-speech-default", CHUNKS as usize);
    let last = recording.lines.iter().filter_map(Line::captured_ms).max().unwrap();
    let now = now_ms();
    let chunk = |line: Line| {
        let at = line.captured_ms().unwrap();
        let Line::Message(mut fields) = line else { panic!("shipped recordings hold messages only") };
        fields.insert("timestamp".into(), json!(now - (last - at)));
        fields
    };
    recording.lines.into_iter().map(chunk).collect()
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}

/// What the stack says of itself.
struct Outputs {
    queue: String,
    dlq: String,
    sessions: String,
    state: String,
    /// Where the bus sends what it is told.
    heard: String,
}

impl Account {
    fn told(&self, what: &str) {
        println!("{}: {what} after {:.1} s", self.kind, self.clock.elapsed().as_secs_f64());
    }

    /// `PACKAGES` (of `make package`), or those that this test packs from the binaries of this build.
    fn packages(&self) -> PathBuf {
        std::env::var_os("PACKAGES").map_or_else(|| self.folder.join("package"), PathBuf::from)
    }

    fn environment(&self) -> [(&'static str, String); 7] {
        [
            ("AWS_ENDPOINT_URL", self.endpoint.clone()),
            ("AWS_ACCESS_KEY_ID", "test".into()),
            ("AWS_SECRET_ACCESS_KEY", "test".into()),
            ("AWS_REGION", "us-east-1".into()),
            ("AWS_DEFAULT_REGION", "us-east-1".into()), // the AWS command line knows only this one
            ("PACKAGES", text(&self.packages())),
            ("STACK", self.stack.into()),
        ]
    }

    /// Runs a program to its good end and gives what it printed.
    async fn run(&self, program: &Path, arguments: &[&str], environment: &[(&str, String)]) -> String {
        let mut command = process::command(program);
        command.args(arguments).envs(self.environment()).envs(environment.iter().cloned());
        let output = command.stdin(Stdio::null()).output().await.unwrap();
        let said = [output.stdout.clone(), output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(output.status.success(), "{} {arguments:?}: {}\n{said}", program.display(), output.status);
        String::from_utf8(output.stdout).unwrap()
    }

    async fn script(&self, name: &str, arguments: &[&str]) -> String {
        self.run(&project::root().join("scripts").join(name), arguments, &[]).await
    }

    async fn aws(&self, arguments: &[&str]) -> Value {
        let python = self.script("venv.sh", &["aws"]).await;
        let aws = Path::new(python.trim()).with_file_name("aws");
        let said = self
            .run(&aws, &[arguments, &["--output", "json", "--endpoint-url", &self.endpoint]].concat(), &[])
            .await;
        serde_json::from_str(&said).unwrap_or_default()
    }

    async fn deploy(&self) -> String {
        let parameters =
            ["TokenIssuer=https://issuer.example", "TokenAudience=test", "AlarmEmail=on-call@example.com"];
        self.script("deploy.sh", &[&["--env", "test", "--arch", "x86_64"], &parameters[..]].concat()).await
    }

    /// LocalStack 4.12 deletes with a stack what its template retains.
    fn keeps_what_is_retained(&self) -> bool {
        let keeps = self.kind != BackendKind::LocalStack;
        if !keeps {
            println!("{}: it deletes what DeletionPolicy keeps: nothing is taken in again", self.kind);
        }
        keeps
    }

    async fn outputs(&self) -> Outputs {
        let stacks = self.aws(&["cloudformation", "describe-stacks", "--stack-name", self.stack]).await;
        let all = stacks["Stacks"][0]["Outputs"].as_array().unwrap();
        let named = |name: &str| {
            let found = all.iter().find(|output| output["OutputKey"] == name);
            let value = found.unwrap_or_else(|| panic!("no output {name} in {all:?}"));
            // The emulators answer on the loopback interface under any name; only this one needs no look-up.
            value["OutputValue"].as_str().unwrap().replace("//localhost:", "//127.0.0.1:")
        };
        Outputs {
            queue: named("QueueUrl"),
            dlq: named("DlqUrl"),
            sessions: named("SessionsTable"),
            state: named("StateTable"),
            heard: String::new(),
        }
        .with_heard(self)
        .await
    }

    /// A rule that sends what the bus is told of fragments to a queue, as a reader would have one.
    async fn listen_to_the_bus(&self, outputs: &Outputs) {
        let pattern =
            json!({"source": ["kvs-stream-writer"], "detail-type": ["Fragment Persisted"]}).to_string();
        self.aws(&["events", "put-rule", "--name", "heard", "--event-pattern", &pattern]).await;
        let target = "Id=heard,Arn=arn:aws:sqs:us-east-1:000000000000:heard";
        self.aws(&["events", "put-targets", "--rule", "heard", "--targets", target]).await;
        assert!(outputs.heard.ends_with("/heard"));
    }

    fn sqs(&self) -> aws_sdk_sqs::Client {
        aws_sdk_sqs::Client::new(&local_sdk_config(&self.endpoint))
    }

    fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        aws_sdk_dynamodb::Client::new(&local_sdk_config(&self.endpoint))
    }

    async fn begin_sessions(&self, outputs: &Outputs) {
        let dynamodb = self.dynamodb();
        for session in SESSIONS.iter().chain([&NONSENSE]) {
            put_session(&dynamodb, &outputs.sessions, session, SessionStatus::Active).await.unwrap();
        }
        self.send(outputs, NONSENSE, "nonsense".into(), "{\"action\":".into()).await;
    }

    /// Sends the chunks as connection-handler does, as fast as the emulator takes them.
    async fn speak(&self, outputs: &Outputs, chunks: &[Map<String, Value>]) {
        for chunk in chunks {
            for session in SESSIONS {
                let mut message = chunk.clone();
                message.insert("sessionId".into(), json!(session));
                let id = format!("chunk-{}", chunk["chunkIndex"]);
                self.send(outputs, session, id, Value::from(message).to_string()).await;
            }
        }
    }

    /// Two sessions speak, and one batch is parked; gives its chunks.
    async fn is_used(&self, emulator: &Emulator, outputs: &Outputs) -> BTreeSet<u64> {
        self.begin_sessions(outputs).await;
        let spoken = spoken();
        let mut thirds = spoken.chunks(spoken.len().div_ceil(3));
        let mut next = || thirds.next().unwrap();
        self.speak(outputs, next()).await;
        self.until("a fragment is written", async || !written(emulator, SESSIONS[1]).is_empty()).await;
        self.speak(outputs, next()).await;
        // The nonsense, and a batch: what is spoken now comes behind them.
        self.until("a batch is parked", async || self.depth(&outputs.dlq).await >= 2).await;
        self.speak(outputs, next()).await;
        self.end_sessions(outputs).await;
        self.settled(emulator, outputs).await
    }

    /// `make smoke-test QUEUE=yes`, as somebody who has just deployed runs it. (These emulators have no WebSocket APIs.)
    async fn smoke_test(&self, emulator: &Emulator) {
        let environment = [
            ("AWS_ENDPOINT_URL_KINESIS_VIDEO", emulator.endpoint()),
            ("KVSW", text(&bin_dir().join("kvsw"))),
        ];
        let script = project::root().join("scripts/smoke-test.sh");
        let said = self.run(&script, &["--env", "test", "--queue"], &environment).await;
        assert!(said.contains("smoke-test: passed"), "{said}");
    }

    async fn end_sessions(&self, outputs: &Outputs) {
        for session in SESSIONS {
            let end = json!({"action": "endStream", "sessionId": session, "timestamp": now_ms(), "chunkIndex": CHUNKS - 1});
            self.send(outputs, session, "end".into(), end.to_string()).await;
        }
    }

    async fn send(&self, outputs: &Outputs, session: &str, id: String, body: String) {
        let sent = self.sqs().send_message().queue_url(&outputs.queue).message_group_id(session);
        sent.message_deduplication_id(id).message_body(body).send().await.unwrap();
    }

    /// Waits until something is so.
    async fn until(&self, what: &str, is_so: impl AsyncFn() -> bool) {
        let waiting = Instant::now();
        while !is_so().await {
            assert!(waiting.elapsed() < PATIENCE, "not within {} s: {what}", PATIENCE.as_secs());
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// Waits until each chunk is in a stream or parked; gives the parked chunks of the poisoned session.
    async fn settled(&self, emulator: &Emulator, outputs: &Outputs) -> BTreeSet<u64> {
        let all: BTreeSet<u64> = (0..CHUNKS).collect();
        let waiting = Instant::now();
        loop {
            let (well, poisoned) = (written(emulator, SESSIONS[0]), written(emulator, SESSIONS[1]));
            let missing: BTreeSet<u64> = all.difference(&poisoned).copied().collect();
            let (queue, dlq) = (self.depth(&outputs.queue).await, self.depth(&outputs.dlq).await);
            if well == all && queue == 0 && dlq == missing.len() + 1 {
                assert!(
                    !missing.is_empty() && missing.len() < CHUNKS as usize,
                    "one batch of the poisoned session is parked and no more: {missing:?}"
                );
                assert!(poisoned.last() > missing.last(), "the live audio goes on after it: {poisoned:?}");
                return missing;
            }
            assert!(
                waiting.elapsed() < PATIENCE,
                "not settled: written {} and {} of {CHUNKS}, queue {queue}, DLQ {dlq}",
                well.len(),
                poisoned.len()
            );
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    async fn depth(&self, url: &str) -> usize {
        use aws_sdk_sqs::types::QueueAttributeName as A;
        let names = [A::ApproximateNumberOfMessages, A::ApproximateNumberOfMessagesNotVisible];
        let attributes = local_stack::resources::queue_attributes(&self.sqs(), url, &names).await.unwrap();
        names.iter().filter_map(|name| attributes.get(name)?.parse::<usize>().ok()).sum()
    }

    /// The operator's redrive brings the parked batch back; afterwards the poisoned session sounds like the other one.
    async fn redrive(&self, emulator: &Emulator, outputs: &Outputs, parked: &BTreeSet<u64>) {
        let environment = [
            ("QUEUE_URL", outputs.queue.clone()),
            ("DLQ_URL", outputs.dlq.clone()),
            ("SESSIONS_TABLE", outputs.sessions.clone()),
            ("STATE_TABLE", outputs.state.clone()),
            ("AWS_ENDPOINT_URL_SQS", self.endpoint.clone()),
            ("AWS_ENDPOINT_URL_DYNAMODB", self.endpoint.clone()),
            ("AWS_ENDPOINT_URL_KINESIS_VIDEO", emulator.endpoint()),
        ];
        let arguments = ["dlq", "redrive", "--session", SESSIONS[1], "--wait", "60s"];
        let said = self.run(&bin_dir().join("kvsw"), &arguments, &environment).await;
        let restored = written(emulator, SESSIONS[1]);
        assert_eq!(restored, (0..CHUNKS).collect(), "parked were {parked:?}; kvsw said {said}");
        let sound = async |session: &str| {
            let config = local_sdk_config(&emulator.endpoint());
            let mut blocks = Vec::new();
            for fragment in read_back(&config, &format!("session-{session}")).await.unwrap() {
                blocks.extend(fragment.blocks);
            }
            blocks.sort_by_key(|(at, _)| *at);
            blocks.into_iter().flat_map(|(_, pcm)| pcm).collect::<Vec<u8>>()
        };
        let (well, poisoned) = (sound(SESSIONS[0]).await, sound(SESSIONS[1]).await);
        assert!(well.len() > 2 * 16_000 * 8, "{} bytes of sound", well.len());
        assert!(
            well == poisoned,
            "after the redrive the sound is what it would have been without the failure"
        );
    }

    /// Each fragment was announced once, under its number and its stream's ARN.
    async fn heard_of_each_fragment(&self, emulator: &Emulator, outputs: &Outputs) {
        let numbers = SESSIONS.iter().flat_map(|session| emulator.fragments(&format!("session-{session}")));
        let mut unheard: BTreeSet<String> = numbers.map(|fragment| fragment.number.clone()).collect();
        let (sqs, waiting) = (self.sqs(), Instant::now());
        while !unheard.is_empty() {
            let asked = sqs
                .receive_message()
                .queue_url(&outputs.heard)
                .max_number_of_messages(10)
                .wait_time_seconds(1);
            for message in asked.send().await.unwrap().messages.unwrap_or_default() {
                let event: Value = serde_json::from_str(&message.body.unwrap()).unwrap();
                let detail = &event["detail"];
                unheard.remove(detail["fragmentNumber"].as_str().unwrap());
                let session = detail["sessionId"].as_str().unwrap();
                let arn = detail["streamArn"].as_str().unwrap();
                assert!(arn.contains(&format!(":stream/session-{session}/")), "{event}");
                assert_eq!(event["resources"][0], arn);
                assert!(detail["durationMs"].as_u64() > Some(0), "{event}");
                sqs.delete_message()
                    .queue_url(&outputs.heard)
                    .receipt_handle(message.receipt_handle.unwrap())
                    .send()
                    .await
                    .unwrap();
            }
            assert!(waiting.elapsed() < PATIENCE, "the bus was not told of {unheard:?}");
        }
    }

    /// Every alarm, dashboard and metric of this project's own is one deployment's.
    async fn shares_nothing_with(&self, other: &Self) {
        let all = self.aws(&["cloudwatch", "describe-alarms"]).await;
        let alarms = all["MetricAlarms"].as_array().unwrap();
        for stack in [self.stack, other.stack] {
            let own: Vec<_> =
                alarms.iter().filter(|alarm| alarm["AlarmName"].to_string().contains(stack)).collect();
            let watching: Vec<_> =
                own.iter().filter(|alarm| alarm["Namespace"] == "KvsStreamWriter").collect();
            assert!(
                watching.len() >= 6,
                "{} of {} alarms of {stack} watch its own metrics",
                watching.len(),
                own.len()
            );
            for alarm in watching {
                assert_eq!(alarm["Dimensions"][0], json!({"Name": "stack", "Value": stack}), "{alarm}");
            }
        }
        if self.kind == BackendKind::LocalStack {
            println!("{}: dashboards are not checked: it makes none of the template's", self.kind);
            return;
        }
        let dashboards = self.aws(&["cloudwatch", "list-dashboards"]).await["DashboardEntries"].to_string();
        assert!(dashboards.contains(self.stack) && dashboards.contains(other.stack), "{dashboards}");
    }

    /// The stack is gone; what holds audio that exists nowhere else is not.
    async fn is_gone(&self, outputs: &Outputs) {
        let queues = self.queues().await;
        assert!(
            !queues.contains(&format!("{}-chunks.fifo", self.stack)),
            "the chunk queue is left behind: {queues}"
        );
        assert!(
            queues.contains(&format!("{}-chunks-dlq.fifo", self.stack)),
            "parked audio is lost: {queues}"
        );
        let tables = self.tables().await;
        for table in [&outputs.state, &outputs.sessions] {
            assert!(
                tables.contains(table),
                "the table {table} is lost, and with it what parked audio needs: {tables}"
            );
        }
        let functions = self.aws(&["lambda", "list-functions"]).await.to_string();
        assert!(!functions.contains(self.stack), "functions are left behind: {functions}");
    }

    /// This deployment is whole although another one was torn down.
    async fn still_stands(&self, outputs: &Outputs) {
        let (queues, tables) = (self.queues().await, self.tables().await);
        let functions = self.aws(&["lambda", "list-functions"]).await;
        assert_eq!(functions["Functions"].as_array().map(Vec::len), Some(4), "{functions}");
        assert!(queues.contains(&format!("{}-chunks.fifo", self.stack)), "{queues}");
        assert!(tables.contains(&outputs.state) && tables.contains(&outputs.sessions), "{tables}");
    }

    /// No trace of any deployment but the bucket with the code.
    async fn holds_nothing(&self) {
        let (queues, tables) = (self.queues().await, self.tables().await);
        assert!(!queues.contains("-chunks"), "{queues}");
        assert_eq!(tables, "[]", "tables are left behind");
        for (service, list, what) in [
            ("lambda", "list-functions", "Functions"),
            ("cloudwatch", "describe-alarms", "MetricAlarms"),
            ("cloudwatch", "list-dashboards", "DashboardEntries"),
            ("logs", "describe-log-groups", "logGroups"),
            ("sns", "list-topics", "Topics"),
        ] {
            let found = self.aws(&[service, list]).await[what].to_string();
            assert!(!found.contains("kvs-stream-writer"), "{list}: {found}");
        }
    }

    async fn queues(&self) -> String {
        self.aws(&["sqs", "list-queues"]).await.to_string()
    }

    async fn tables(&self) -> String {
        self.aws(&["dynamodb", "list-tables"]).await["TableNames"].to_string()
    }

    fn last_lines(&self, count: usize) -> String {
        let logs = std::fs::read_dir(&self.folder).unwrap().flatten().map(|entry| entry.path());
        let logs = logs.filter(|path| path.extension().is_some_and(|extension| extension == "log"));
        let end = |path: PathBuf| {
            let log = String::from_utf8_lossy(&std::fs::read(&path).unwrap_or_default()).into_owned();
            let lines: Vec<&str> = log.lines().collect();
            format!("--- {}\n{}\n", path.display(), lines[lines.len().saturating_sub(count)..].join("\n"))
        };
        logs.map(end).collect()
    }
}

impl Outputs {
    async fn with_heard(self, account: &Account) -> Self {
        let made = account.sqs().create_queue().queue_name("heard").send().await.unwrap();
        Self { heard: made.queue_url.unwrap(), ..self }
    }
}

/// Chunks that are in the session's stream.
fn written(emulator: &Emulator, session: &str) -> BTreeSet<u64> {
    let fragments = emulator.fragments(&format!("session-{session}"));
    let number = |fragment: &kvs_emulator::StoredFragment, tag: &str| fragment.tag(tag)?.parse::<u64>().ok();
    let ranges = fragments.iter().filter_map(|f| Some(number(f, "chunkFirst")?..=number(f, "chunkLast")?));
    ranges.flatten().collect()
}

/// Where the binaries of this build are: the test's own lies in `deps`, a folder below.
pub(crate) fn bin_dir() -> PathBuf {
    let program = std::env::current_exe().unwrap();
    let chosen = std::env::var_os("KVS_BIN_DIR").map(PathBuf::from);
    chosen.unwrap_or_else(|| program.ancestors().nth(2).unwrap().to_owned())
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}
