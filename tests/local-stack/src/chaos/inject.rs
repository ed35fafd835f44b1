//! The schedule, carried out on a running stack.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kvs_emulator::FaultKind;
use serde::Serialize;
use tokio::time::Instant;

use super::schedule::{Kill, Schedule};
use crate::lock::lock;
use crate::proxy::Call;
use crate::stack::Stack;

/// How long a kill waits for a worker that is at work.
const AT_WORK_WITHIN: Duration = Duration::from_secs(2);
/// How often it looks.
const LOOK: Duration = Duration::from_millis(5);

/// What was done to the stack.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Injected {
    /// Worker processes killed (SIGKILL) in the middle of an invocation.
    pub kills: u64,
    /// Kills that found all workers idle.
    pub kills_idle: u64,
    /// ErrorIds that PutMedia answered.
    pub ack_errors: BTreeSet<u16>,
    /// Kinesis Video's faults that happened, by kind.
    pub media: BTreeMap<String, u64>,
    /// Calls to SQS and DynamoDB that were broken or delayed.
    pub calls: u64,
    /// Deliveries that were disturbed.
    pub deliveries: u64,
}

/// Carries out the schedule beside `work`, for `length`; then all faults are taken back. Returns when `work` is done too.
pub async fn during<T>(
    stack: &Stack,
    schedule: &Arc<Schedule>,
    length: Duration,
    work: impl Future<Output = T>,
) -> (T, Injected) {
    let began = Instant::now();
    arm(stack, schedule, began);
    let trouble = async {
        let (mut injected, refused) =
            tokio::join!(kill_all(stack, schedule, began), away(stack, schedule, began));
        tokio::time::sleep_until(began + length).await;
        disarm(stack, &mut injected);
        injected.media.insert("away".to_owned(), refused);
        injected
    };
    tokio::join!(work, trouble)
}

async fn kill_all(stack: &Stack, schedule: &Schedule, began: Instant) -> Injected {
    let mut injected = Injected::default();
    for kill in &schedule.kills {
        tokio::time::sleep_until(began + kill.after).await;
        match kill_at_work(stack, kill).await {
            true => injected.kills += 1,
            false => injected.kills_idle += 1,
        }
    }
    injected
}

/// Kinesis Video's outage; how many calls it refused.
async fn away(stack: &Stack, schedule: &Schedule, began: Instant) -> u64 {
    let (Some(emulator), Some((outage, fault))) = (stack.emulator(), schedule.kinesis_video_away()) else {
        return 0;
    };
    tokio::time::sleep_until(began + outage.from).await;
    let id = emulator.faults().add(fault);
    tokio::time::sleep_until(began + outage.until).await;
    let refused = emulator.faults().fired(id);
    emulator.faults().remove(id);
    refused
}

/// Kills a worker that is at work, or after a while without any, an idle one.
async fn kill_at_work(stack: &Stack, kill: &Kill) -> bool {
    let patience = Instant::now() + AT_WORK_WITHIN;
    while Instant::now() < patience {
        if stack.writer().busy() > 0 {
            tokio::time::sleep(kill.into).await;
            if stack.writer().kill_busy(kill.pick).await.is_some() {
                return true;
            }
        }
        tokio::time::sleep(LOOK).await;
    }
    stack.writer().kill_one(kill.pick).await;
    false
}

fn arm(stack: &Stack, schedule: &Arc<Schedule>, began: Instant) {
    if let Some(emulator) = stack.emulator() {
        for fault in &schedule.media {
            emulator.faults().add(fault.clone());
        }
    }
    if let Some(proxy) = stack.proxy() {
        let schedule = Arc::clone(schedule);
        let calls: Mutex<BTreeMap<String, u64>> = Mutex::default();
        proxy.sabotage(Some(Arc::new(move |call: &Call| {
            let mut calls = lock(&calls);
            let n = calls.entry(call.operation.clone()).or_default();
            *n += 1;
            schedule.call(call, *n, began.elapsed())
        })));
    }
    let schedule = Arc::clone(schedule);
    let deliveries = AtomicU64::new(0);
    let disturber = move || schedule.delivery(deliveries.fetch_add(1, Ordering::Relaxed));
    stack.mapping().disturb(Some(Arc::new(disturber)));
}

fn disarm(stack: &Stack, injected: &mut Injected) {
    stack.mapping().disturb(None);
    injected.deliveries = stack.mapping_stats().disturbed;
    if let Some(proxy) = stack.proxy() {
        proxy.sabotage(None);
        injected.calls = proxy.faults();
    }
    if let Some(emulator) = stack.emulator() {
        for armed in emulator.faults().list().into_iter().filter(|armed| armed.fired > 0) {
            if let FaultKind::ErrorAck { id, .. } = armed.fault.kind {
                injected.ack_errors.insert(id);
            }
            *injected.media.entry(name(&armed.fault.kind)).or_default() += armed.fired;
        }
        emulator.faults().clear();
    }
}

/// The kind's name in the emulator's scripts.
fn name(kind: &FaultKind) -> String {
    let json = serde_json::to_value(kind).unwrap_or_default();
    let stored = if json["stored"] == true { " (stored)" } else { "" };
    format!("{}{stored}", json["type"].as_str().unwrap_or_default())
}
