//! `kvsw doctor`: is the deployment set up as the writer needs it? It only asks, and changes nothing.

mod clock;
mod finding;
mod keys;
mod lambda;
mod queues;
pub(crate) mod signed;
mod tables;

use aws::failure::call;
use ingest::failure::ServiceFailure;
use reader::text::count;

pub use finding::{Diagnosis, Finding, Verdict};

use crate::args::Doctor;
use crate::error::{Exit, Result};
use crate::output::Output;
use crate::world::World;

/// Looks at everything.
pub async fn diagnose(world: &World, args: &Doctor, env: &impl Fn(&str) -> Option<String>) -> Diagnosis {
    let (queue, dlq) = futures::join!(
        world.queue_attributes(&world.settings.queue_url),
        world.queue_attributes(&world.settings.dlq_url)
    );
    let mut findings = vec![configuration(world, env)];
    let queue_arn = queue.as_ref().ok().and_then(|queue| queue.get("QueueArn"));
    let (lambda, writer) =
        lambda::check(world, env, queue_arn.map(String::as_str), args.writer.as_deref()).await;
    let timeout = writer.timeout.unwrap_or(args.timeout);
    match (&queue, &dlq) {
        (Ok(queue), Ok(dlq)) => findings.extend(queues::both(queue, dlq, timeout)),
        (Ok(queue), Err(error)) => {
            findings.extend(queues::queue(queue, None, timeout));
            findings.push(Finding::failed("DLQ", error));
        }
        (Err(error), Ok(dlq)) => {
            findings.push(Finding::failed("chunk queue", error));
            findings.extend(queues::dlq(dlq, None));
        }
        (Err(queue), Err(dlq)) => {
            findings.extend([Finding::failed("chunk queue", queue), Finding::failed("DLQ", dlq)]);
        }
    }
    for (subject, attributes) in [("chunk queue", &queue), ("DLQ", &dlq)] {
        if let Ok(attributes) = attributes {
            findings.extend(keys::check(world, env, subject, attributes).await);
        }
    }
    findings.extend(lambda);
    let (tables, streams, clock) = futures::join!(tables::check(world), streams(world), clock::check(world));
    findings.extend(tables);
    findings.extend([streams, clock]);
    Diagnosis { findings }
}

fn configuration(world: &World, env: &impl Fn(&str) -> Option<String>) -> Finding {
    let local: Vec<&str> = ["", "_SQS", "_DYNAMODB", "_KINESIS_VIDEO", "_LAMBDA", "_IAM", "_KMS"]
        .into_iter()
        .filter(|service| env(&format!("AWS_ENDPOINT_URL{service}")).is_some_and(|url| !url.is_empty()))
        .collect();
    let region = world.config.region().map(ToString::to_string).unwrap_or_default();
    let endpoints = match local.len() {
        0 => "AWS's own endpoints".to_owned(),
        n => count(n, "endpoint variable"),
    };
    Finding::fine("configuration", format!("Region {region}, {endpoints}, all names are set"))
}

/// Kinesis Video answers at all.
async fn streams(world: &World) -> Finding {
    match call("ListStreams", world.streams.list_streams().max_results(1).send()).await {
        Ok(_) => Finding::fine("Kinesis Video", "answers"),
        // A service of another kind answers in words that the SDK does not know.
        Err(ServiceFailure::Service { status, code, .. }) if code.is_empty() && status < 500 => {
            let seen = format!("answered {status} without an error code");
            let action =
                "is AWS_ENDPOINT_URL_KINESIS_VIDEO the address of Kinesis Video? Unset it for AWS itself";
            Finding::new("Kinesis Video", Verdict::Wrong, seen, action)
        }
        Err(failure) => Finding::failed("Kinesis Video", &failure.into()),
    }
}

/// The command.
///
/// # Errors
/// None: what goes wrong is a finding.
pub async fn run(world: &World, output: &Output, args: &Doctor) -> Result<Exit> {
    let diagnosis = diagnose(world, args, &aws::settings::process_env).await;
    output.show(&diagnosis)?;
    Ok(diagnosis.exit())
}
