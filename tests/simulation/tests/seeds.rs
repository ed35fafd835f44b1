//! Promises 1 to 6 under random faults, crashes, duplicates and reordering: ten thousand sessions' worth of trouble.

/// Seeds of one run of the tests; `cargo run -p simulation -- --seeds N` runs more.
const SEEDS: u64 = 10_000;

#[test]
fn no_promise_breaks_in_ten_thousand_seeds() {
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let failed = simulation::many::run_seeds(0..SEEDS, threads, 5);
    for (seed, violations) in &failed {
        println!("seed {seed}: {}", violations[0]);
        println!("  reproduce: cargo run -p simulation -- --seed {seed} --shrink --trace");
    }
    assert!(failed.is_empty(), "{} seeds broke a promise; the lines above reproduce them", failed.len());
}
