//! Lambda on a schedule: `kvsw sweep`. Ends sessions that fell silent, deletes streams that are no longer needed.

use aws::settings::{Settings, process_env};
use aws::telemetry;
use functions::logs;
use kvsw::sweep::{Limits, sweep};
use kvsw::world::World;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use media::time::EpochMs;
use serde_json::{Value, json};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    logs::init();
    let world = &World::connect(Settings::read(process_env)?).await?;
    let limits = Limits::read(process_env)?;
    telemetry::cold_start("sweep");
    lambda_runtime::run(service_fn(move |event: LambdaEvent<Value>| async move {
        let swept = sweep(world, &limits.until(EpochMs(event.context.deadline), world.now())).await?;
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
