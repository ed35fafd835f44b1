//! Ten thousand seeds; `cargo run -p simulation -- --seeds N` for more.

use simulation::case::Case;
use simulation::case::kinds::Kinds;
use simulation::many::run_seeds;
use simulation::shrink::shrink;

#[test]
fn ten_thousand_seeds_break_no_promise() {
    let failed = run_seeds(0..10_000, Kinds::NONE, 0, 1, |_, _| ());
    if let Some((seed, violations)) = failed.first() {
        let small = shrink(&Case::draw(*seed, Kinds::NONE), &violations[0]);
        panic!(
            "seed {seed}: {}\nreproduce: cargo run -p simulation -- --seed {seed} --shrink --trace\n{small:#?}",
            violations[0]
        );
    }
}

#[test]
fn a_seed_is_the_same_run_to_the_last_call() {
    for seed in [7, 4711, 25_613] {
        let trace = || Case::draw(seed, Kinds::NONE).judge_traced(true).0.world.trace;
        assert_eq!(trace(), trace(), "seed {seed} does not reproduce");
    }
}
