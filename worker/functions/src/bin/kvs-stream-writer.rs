//! Lambda behind the chunk queue's event source mapping: writes each session's chunks to its Kinesis Video Stream.

use std::process::ExitCode;
use std::time::Duration;

use aws::Aws;
use aws::settings::{Settings, persisted_within_ms, process_env};
use aws::telemetry;
use aws_lambda_events::event::sqs::SqsEvent;
use functions::{logs, sqs_event};
use lambda_runtime::{Error, LambdaEvent, service_fn};
use media::time::EpochMs;
use writer::ports::{Clock as _, Ports as _};
use writer::{Config, Writer};

/// Longest time to announce the fragments to the event bus. The batch is written by then; only the invocation's response waits.
const ANNOUNCE_WITHIN: Duration = Duration::from_secs(1);

/// Kept from the invocation's time to send the answer.
const ANSWER_MS: u64 = 100;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    logs::init();
    logs::exit_code(run().await)
}

async fn run() -> Result<(), Error> {
    let ports = Aws::connect(&Settings::read(process_env)?).await?;
    let mut config = Config::default();
    config.persisted_within_ms = persisted_within_ms(process_env)?.unwrap_or(config.persisted_within_ms);
    let writer = &Writer::new(ports, config);
    telemetry::cold_start("kvs-stream-writer");
    lambda_runtime::run(service_fn(move |event: LambdaEvent<SqsEvent>| async move {
        writer.ports().begin(&event.context.request_id);
        let records = sqs_event::records(event.payload)?;
        let deadline = EpochMs(event.context.deadline);
        let answer = writer.handle(records, deadline).await;
        let left_ms = deadline.0.saturating_sub(writer.ports().clock().now().0 + ANSWER_MS);
        writer.ports().announce(ANNOUNCE_WITHIN.min(Duration::from_millis(left_ms))).await;
        Ok::<_, Error>(sqs_event::response(answer))
    }))
    .await
}
