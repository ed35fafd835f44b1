//! Ten thousand seeds without and with all kinds of trouble; `cargo run -p simulation -- --seeds N` for more.

use std::ops::Range;

use simulation::case::Case;
use simulation::case::kinds::Kinds;
use simulation::many::run_seeds;
use simulation::shrink::shrink;

fn hold(seeds: Range<u64>, kinds: Kinds) {
    if let Some((seed, violations)) = run_seeds(seeds, kinds, 0, 1, |_, _| ()).first() {
        let small = shrink(&Case::draw(*seed, kinds), &violations[0]);
        panic!(
            "seed {seed}: {}\nreproduce: cargo run -p simulation -- --seed {seed}{} --shrink --trace\n{small:#?}",
            violations[0],
            kinds.argument()
        );
    }
}

#[test]
fn ten_thousand_seeds_break_no_promise() {
    hold(0..10_000, Kinds::NONE);
}

#[test]
fn ten_thousand_seeds_of_all_kinds_break_no_promise() {
    hold(0..10_000, Kinds::ALL);
}

/// Further ones that broke a promise, and hold now. (About 1 of 1,000 still breaks one.)
const MENDED: [u64; 42] = [
    10047, 10705, 10965, 11007, 11120, 11237, 11431, 11716, 12072, 12120, 12480, 12574, 12603, 13014, 13041,
    13179, 13257, 13405, 13748, 13766, 13787, 14259, 14509, 14987, 15578, 15720, 15787, 15862, 15881, 16323,
    16732, 16813, 17743, 18313, 18701, 19470, 21521, 22735, 24640, 26439, 26508, 28491,
];

#[test]
fn what_broke_in_several_kinds_of_trouble_holds() {
    MENDED.into_iter().for_each(|seed| hold(seed..seed + 1, Kinds::ALL));
}

#[test]
fn a_seed_is_the_same_run_to_the_last_call() {
    for seed in [7, 4711, 25_613] {
        for kinds in [Kinds::NONE, Kinds::ALL] {
            let trace = || Case::draw(seed, kinds).judge_traced(true).0.world.trace;
            assert_eq!(trace(), trace(), "seed {seed} with {kinds:?} does not reproduce");
        }
    }
}
