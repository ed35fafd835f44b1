//! Many seeds on several threads.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::thread;

use crate::case::Case;
use crate::case::kinds::Kinds;
use crate::clock::lock;
use crate::invariants::Violation;

/// Runs all seeds (0 threads: one per core) until `failures` of them failed; returns those, by seed. `done` is called for each.
pub fn run_seeds(
    seeds: impl Iterator<Item = u64> + Send,
    kinds: Kinds,
    threads: usize,
    failures: usize,
    done: impl Fn(u64, &[Violation]) + Sync,
) -> Vec<(u64, Vec<Violation>)> {
    let threads = match threads {
        0 => thread::available_parallelism().map_or(1, usize::from),
        n => n,
    };
    let seeds = Mutex::new(seeds);
    let failed = Mutex::new(Vec::new());
    let work = || {
        while lock(&failed).len() < failures {
            let Some(seed) = lock(&seeds).next() else { break };
            let violations = judge(seed, kinds);
            done(seed, &violations);
            if !violations.is_empty() {
                lock(&failed).push((seed, violations));
            }
        }
    };
    thread::scope(|scope| (0..threads).for_each(|_| _ = scope.spawn(work)));
    let mut failed = failed.into_inner().unwrap_or_default();
    failed.sort_by_key(|(seed, _)| *seed);
    failed
}

/// A panic breaks promise 5.
fn judge(seed: u64, kinds: Kinds) -> Vec<Violation> {
    catch_unwind(AssertUnwindSafe(|| Case::draw(seed, kinds).judge())).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
        vec![Violation { promise: 5, what: format!("panic: {text}") }]
    })
}
