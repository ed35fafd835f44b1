//! Stored state that libFuzzer makes up: it is refused, or it is read as it will be stored again. The first byte tells which kind.
#![no_main]

use ingest::checkpoint::Checkpoint;
use ingest::snapshot::Snapshot;
use libfuzzer_sys::fuzz_target;
use worker_fuzz::within_budget;

fuzz_target!(|input: &[u8]| {
    let Some((kind, bytes)) = input.split_first() else { return };
    within_budget(bytes.len(), || match kind % 3 {
        0 => {
            if let Ok(checkpoint) = Checkpoint::decode(bytes) {
                assert_eq!(
                    Checkpoint::decode(&checkpoint.encode()),
                    Ok(checkpoint),
                    "a checkpoint stays what it is"
                );
            }
        }
        1 => {
            if let Ok(snapshot) = Snapshot::decode(bytes) {
                assert_eq!(Snapshot::decode(&snapshot.encode()), Ok(snapshot), "a snapshot stays what it is");
            }
        }
        _ => drop(ingest::aside::decode(bytes)),
    });
});
