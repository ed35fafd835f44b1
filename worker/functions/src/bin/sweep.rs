//! Lambda on a schedule: `kvsw sweep`. Ends sessions that fell silent, deletes streams that are no longer needed.

use aws::settings::{Settings, process_env};
use functions::logs;
use kvsw::sweep::{Limits, sweep};
use kvsw::world::World;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use media::time::EpochMs;
use serde_json::Value;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    logs::init();
    let world = &World::connect(Settings::read(process_env)?).await?;
    let limits = Limits::read(process_env)?;
    aws::telemetry::cold_start("sweep");
    lambda_runtime::run(service_fn(move |event: LambdaEvent<Value>| async move {
        let swept = sweep(world, &limits.until(EpochMs(event.context.deadline), world.now())).await?;
        let (ended, deleted) = (swept.ended.len(), swept.deleted.len());
        tracing::info!(ended, deleted, more = swept.more, unknown = swept.unknown, "swept");
        Ok::<_, Error>(swept)
    }))
    .await
}
