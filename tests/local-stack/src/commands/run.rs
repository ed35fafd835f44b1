//! `local-stack run`: the stack stays up.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use local_stack::backend::BackendKind;
use local_stack::resources::SessionStatus;
use local_stack::stack::{Stack, StackConfig};
use local_stack::studio::{Studio, StudioConfig};
use local_stack::{kept_logs, project};
use tokio::signal::unix::{SignalKind, signal};

/// How to run it.
#[derive(clap::Args)]
pub struct Arguments {
    /// SQS and DynamoDB: ministack, localstack or aws.
    #[arg(long, env = "BACKEND", default_value = "ministack", hide_possible_values = true)]
    backend: BackendKind,
    /// Port of the WebSocket gateway; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Port of the studio, the page to speak from; another one where it is taken, 0 for any.
    #[arg(long, default_value_t = 4480)]
    studio_port: u16,
    /// A session that may send audio; may be given more than once.
    #[arg(long = "session", value_name = "ID", default_value = "demo-1")]
    sessions: Vec<String>,
    /// RUST_LOG of the functions.
    #[arg(long, value_name = "FILTER", default_value = "info")]
    rust_log: String,
}

/// Runs the stack until Ctrl-C or TERM, and keeps its logs.
pub async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let folder = project::run_folder().context("no folder for the logs")?;
    let ended = up(arguments, &folder).await;
    let place = kept_logs::place();
    match kept_logs::keep(&folder, &place) {
        Ok(()) => eprintln!("the logs of this run are in {}", place.display()),
        Err(error) => {
            eprintln!("the logs of this run are in {} ({}: {error})", folder.display(), place.display())
        }
    }
    ended
}

/// Starts the stack, prints where everything is, and ends it at Ctrl-C or TERM.
async fn up(arguments: Arguments, folder: &Path) -> anyhow::Result<ExitCode> {
    // Listened for before anything starts, so that an early Ctrl-C ends cleanly too.
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    let mut config = StackConfig::for_sessions(arguments.sessions.len());
    config.backend = arguments.backend;
    config.folder = Some(folder.to_owned());
    config.gateway.port = arguments.port;
    config.rust_log = arguments.rust_log;
    // For the studio: its fault switches, and its view of the chunks.
    (config.fault_proxy, config.chunk_lines) = (true, true);
    let stack = tokio::select! {
        stack = Stack::start(config) => Arc::new(stack.context("the stack did not start")?),
        _ = interrupted.recv() => return Ok(ExitCode::SUCCESS),
        _ = terminated.recv() => return Ok(ExitCode::SUCCESS),
    };
    if stack.backend() != BackendKind::Aws {
        for session in &arguments.sessions {
            stack.put_session(session, SessionStatus::Active).await?;
        }
    }
    let studio = StudioConfig {
        port: arguments.studio_port,
        ws_url: stack.ws_url(),
        session: arguments.sessions.first().cloned().unwrap_or_default(),
        grants: stack.grants(),
        lines: stack.lines(),
        acts: stack.acts(),
    };
    let studio = Studio::start(studio).await.context("the studio did not start")?;
    print!("{}", description(&stack, &studio.url(), &arguments.sessions));
    tokio::select! {
        _ = interrupted.recv() => {}
        _ = terminated.recv() => {}
    }
    eprintln!("ending");
    drop(studio);
    shutdown(stack).await;
    Ok(ExitCode::SUCCESS)
}

/// Ends the stack, once nothing that the page asked for is just beginning.
async fn shutdown(mut stack: Arc<Stack>) {
    loop {
        match Arc::try_unwrap(stack) {
            Ok(stack) => return stack.shutdown().await,
            Err(shared) => stack = shared,
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// What a person needs to talk to the stack.
fn description(stack: &Stack, studio: &str, sessions: &[String]) -> String {
    let session = sessions.first().map_or("demo-1", String::as_str);
    let resources = stack.resources();
    let kinesis_video = stack.kinesis_video_endpoint();
    let ws = format!("{}?sessionId={session}&role=speaker", stack.ws_url());
    format!(
        "The stack is up ({}). Ctrl-C ends it.\n\
         \n  Speak           {studio}?session={session}\
         \n  WebSocket       {ws}\
         \n  SQS, DynamoDB   {}\
         \n  Kinesis Video   {}\
         \n  queue           {}\
         \n  DLQ             {}\
         \n  tables          {}, {}, {}\
         \n  sessions        {}\
         \n  logs            {}; of the last run they stay in {}\n\
         \nTalk to it:\n{}\
         \nOperate it:\n{}",
        stack.backend(),
        stack.backend_endpoint().unwrap_or("AWS"),
        kinesis_video.as_deref().unwrap_or("AWS"),
        resources.queue_url,
        resources.dlq_url,
        resources.sessions_table,
        resources.connections_table,
        resources.state_table,
        sessions.join(", "),
        stack.folder().display(),
        kept_logs::place().display(),
        talk(stack, session, &ws),
        operate(stack, session),
    )
}

/// Commands that speak to each part.
fn talk(stack: &Stack, session: &str, ws: &str) -> String {
    let resources = stack.resources();
    let endpoint = |url: Option<&str>| url.map(|url| format!(" --endpoint-url {url}")).unwrap_or_default();
    let aws = endpoint(stack.backend_endpoint());
    let kvs = endpoint(stack.kinesis_video_endpoint().as_deref());
    let credentials = credentials(stack);
    let curl = stack.kinesis_video_endpoint().map(|url| {
        format!(
            "  curl --aws-sigv4 aws:amz:us-east-1:kinesisvideo --user test:test --json '{{}}' {url}/listStreams\n"
        )
    });
    format!(
        "{credentials}\
         \x20 websocat '{ws}'   # then type {{\"action\":\"audioChunk\", …}}\n\
         \x20 aws sqs get-queue-attributes --attribute-names All --queue-url {}{aws}\n\
         \x20 aws dynamodb scan --table-name {}{aws}\n\
         \x20 aws kinesis-video-archived-media list-fragments --stream-name session-{session}{kvs} \\\n\
         \x20     --fragment-selector 'FragmentSelectorType=SERVER_TIMESTAMP,TimestampRange={{StartTimestamp=0,EndTimestamp=4102444800}}'\n{}",
        resources.queue_url,
        resources.state_table,
        curl.unwrap_or_default(),
    )
}

/// What the emulators take for credentials.
fn credentials(stack: &Stack) -> &'static str {
    match stack.backend() {
        BackendKind::Aws => "",
        BackendKind::MiniStack | BackendKind::LocalStack => {
            "  export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_DEFAULT_REGION=us-east-1\n"
        }
    }
}

/// kvsw, and the variables that it needs: all of them, so that these lines alone are enough.
fn operate(stack: &Stack, session: &str) -> String {
    let variables = stack.writer().config().environment.iter().filter(|(name, _)| of_kvsw(name));
    let variables: String = variables.map(|(name, value)| format!("  export {name}={value}\n")).collect();
    let credentials = credentials(stack);
    format!("{credentials}{variables}  cargo run -p kvsw -- session show {session}\n")
}

/// Whether kvsw needs this variable of the writer's to find everything. Credentials are nobody's business.
fn of_kvsw(name: &str) -> bool {
    let places = ["AWS_REGION", "AWS_ENDPOINT_URL"];
    places.iter().any(|place| name.starts_with(place)) || name.ends_with("_URL") || name.ends_with("_TABLE")
}
