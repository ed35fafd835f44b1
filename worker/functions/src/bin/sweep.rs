//! Lambda on a schedule: ends sessions that fell silent, deletes streams that are no longer needed.

use aws::config::load_in_region;
use aws::settings::{Settings, process_env};
use aws::telemetry;
use functions::logs;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use media::time::EpochMs;
use serde_json::{Value, json};
use sweep::{Limits, World, sweep};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    logs::init();
    let settings = Settings::read(process_env)?;
    let world = &World::new(&load_in_region().await?, settings);
    let limits = Limits::read(process_env)?;
    telemetry::cold_start("sweep");
    lambda_runtime::run(service_fn(move |event: LambdaEvent<Value>| async move {
        let swept = sweep(world, &limits.until(EpochMs(event.context.deadline))).await?;
        let (ended, deleted) = (swept.ended.len(), swept.deleted.len());
        let fields = json!({
            "event": "swept", "ended": ended, "heldBack": swept.held_back, "deleted": deleted, "more": swept.more,
            "unknown": swept.unknown,
        });
        telemetry::count(fields, ("streams", swept.streams as u64), &[]);
        Ok::<_, Error>(swept)
    }))
    .await
}
