//! Which faults are armed, and when they fire.

use super::{Fault, FaultKind};
use crate::operation::Operation;
use serde::Serialize;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// A fault with its id and how often it fired.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Armed {
    /// Given by [`Faults::add`].
    pub id: u64,
    /// Times it fired.
    pub fired: u64,
    /// What and when.
    #[serde(flatten)]
    pub fault: Fault,
}

const STREAMS_MAX: usize = 100_000;

#[derive(Default)]
struct Script {
    next_id: u64,
    armed: Vec<(Armed, HashMap<String, u64>)>,
}

/// The faults of an emulator. All methods take effect at once.
#[derive(Default)]
pub struct Faults(Mutex<Script>);

impl Faults {
    /// Arms a fault and gives its id.
    pub fn add(&self, fault: Fault) -> u64 {
        let mut script = self.lock();
        script.next_id += 1;
        let id = script.next_id;
        script.armed.push((Armed { id, fired: 0, fault }, HashMap::new()));
        id
    }

    /// Disarms one fault; false if there is none with this id.
    pub fn remove(&self, id: u64) -> bool {
        let mut script = self.lock();
        let before = script.armed.len();
        script.armed.retain(|(armed, _)| armed.id != id);
        script.armed.len() < before
    }

    /// Disarms all.
    pub fn clear(&self) {
        self.lock().armed.clear();
    }

    /// What is armed, and how often each fired.
    pub fn list(&self) -> Vec<Armed> {
        self.lock().armed.iter().map(|(armed, _)| armed.clone()).collect()
    }

    /// Times that fault `id` fired; 0 if there is none.
    pub fn fired(&self, id: u64) -> u64 {
        self.lock().armed.iter().find(|(armed, _)| armed.id == id).map_or(0, |(armed, _)| armed.fired)
    }

    /// What happens to this request.
    pub(crate) fn at_request(&self, stream: &str, operation: Operation) -> Vec<FaultKind> {
        self.fire(stream, operation, false)
    }

    /// What happens to this fragment.
    pub(crate) fn at_fragment(&self, stream: &str) -> Vec<FaultKind> {
        self.fire(stream, Operation::PutMedia, true)
    }

    fn fire(&self, stream: &str, operation: Operation, fragment: bool) -> Vec<FaultKind> {
        let mut kinds = Vec::new();
        for (armed, seen) in &mut self.lock().armed {
            if armed.fault.kind.concerns_fragment() != fragment || !armed.fault.matches(stream, operation) {
                continue;
            }
            // Streams beyond this many share one count, so that made-up names cannot fill the memory.
            let name = if seen.len() < STREAMS_MAX || seen.contains_key(stream) { stream } else { "" };
            let seen = seen.entry(name.to_owned()).or_insert(0);
            *seen += 1;
            if armed.fires(*seen, stream) {
                armed.fired += 1;
                kinds.push(armed.fault.kind.clone());
            }
        }
        kinds
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Script> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Armed {
    fn fires(&self, opportunity: u64, stream: &str) -> bool {
        let fault = &self.fault;
        let count = fault.count.or(fault.nth.map(|_| 1));
        opportunity >= fault.nth.unwrap_or(1)
            && count.is_none_or(|count| self.fired < count)
            && fault.probability.is_none_or(|chance| luck(fault.seed, stream, opportunity) < chance)
    }
}

/// A number from 0 to 1 that depends on its arguments alone (FNV-1a, finished by SplitMix64).
fn luck(seed: u64, stream: &str, opportunity: u64) -> f64 {
    let fnv = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let bytes = stream.bytes().chain(seed.to_le_bytes()).chain(opportunity.to_le_bytes());
    let mut z = bytes.fold(0xcbf2_9ce4_8422_2325, fnv);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^= z >> 31;
    (z >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::{FaultKind, Point};

    #[test]
    fn the_nth_opportunity_of_each_stream_fires_once_unless_count_says_more() {
        let faults = Faults::default();
        faults.add(Fault::new(FaultKind::Throttle).operation(Operation::PutMedia).nth(2).count(3));
        let run =
            |stream| (0..4).map(|_| faults.at_request(stream, Operation::PutMedia).len()).collect::<Vec<_>>();
        assert_eq!(run("a"), [0, 1, 1, 1], "from the second on, three times in all");
        assert_eq!(run("b"), [0, 0, 0, 0], "the count is spent");
        assert!(faults.at_request("a", Operation::GetMedia).is_empty(), "another operation is not concerned");
        let id = faults.add(Fault::new(FaultKind::Throttle).nth(2));
        assert_eq!(run("c").iter().sum::<usize>(), 1, "nth alone fires once");
        assert_eq!(faults.fired(id), 1);
        assert!(faults.remove(id) && !faults.remove(id));
    }

    #[test]
    fn chance_depends_on_seed_and_stream_only_not_on_how_streams_interleave() {
        let run = |seed, streams: &[&str]| {
            let faults = Faults::default();
            faults.add(Fault::new(FaultKind::SlowPersist { ms: 1 }).probability(0.3, seed));
            let mut fired = Vec::new();
            for _ in 0..1000 {
                for stream in streams {
                    let fires = !faults.at_fragment(stream).is_empty();
                    if *stream == "a" {
                        fired.push(fires);
                    }
                }
            }
            fired
        };
        let alone = run(7, &["a"]);
        assert_eq!(alone, run(7, &["a", "b", "c"]), "other streams do not change a stream's luck");
        assert_ne!(alone, run(8, &["a"]), "another seed gives another run");
        let hits = alone.iter().filter(|fires| **fires).count();
        assert!((250..350).contains(&hits), "{hits} of 1000 at 0.3");
    }

    #[test]
    fn a_script_in_json_says_the_same_as_one_in_rust() {
        let json = r#"{"stream":"session-*","nth":2,"kind":{"type":"errorAck","id":5001,"at":"persisted"}}"#;
        let at = Point::Persisted;
        let kind = FaultKind::ErrorAck { id: 5001, code: None, at, bare: false, stored: false };
        let fault: Fault = serde_json::from_str(json).unwrap();
        assert_eq!(fault, Fault::new(kind).stream("session-*").nth(2));
        for wrong in [r#"{"kind":{"type":"nonsense"}}"#, r#"{"kindd":1}"#, r#"{"kind":{"type":"delay"}}"#] {
            assert!(serde_json::from_str::<Fault>(wrong).is_err(), "{wrong} is not a fault");
        }
    }
}
