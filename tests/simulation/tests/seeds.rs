//! Ten thousand seeds without and with all kinds of trouble; `cargo run -p simulation -- --seeds N` for more.

use std::ops::Range;

use simulation::case::Case;
use simulation::case::kinds::{Kind, Kinds};
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

/// Seeds of all kinds that still break a promise.
const OPEN: [u64; 3] = [5163, 8870, 9989];

#[test]
fn ten_thousand_seeds_of_all_kinds_break_no_promise_but_those_that_are_open() {
    let mut from = 0;
    for seed in OPEN {
        hold(from..seed, Kinds::ALL);
        from = seed + 1;
    }
    hold(from..10_000, Kinds::ALL);
}

#[test]
fn what_is_open_is_told() {
    for seed in OPEN {
        let violations = Case::draw(seed, Kinds::ALL).judge();
        let first =
            violations.first().unwrap_or_else(|| panic!("seed {seed} holds now, and is not open any more"));
        eprintln!("seed {seed} still breaks a promise: {first}");
    }
}

/// Kinds of trouble by themselves, and for how many seeds.
const PASS: [(&[Kind], u64); 17] = [
    (&[Kind::Steady, Kind::Burst, Kind::Drift], 400),
    (&[Kind::Steady, Kind::Disorder, Kind::Drift], 400),
    (&[Kind::Clock], 160),
    (&[Kind::Hostile], 75),
    (&[Kind::Stall], 130),
    (&[Kind::SecondPage], 100),
    (&[Kind::Resend, Kind::End], 100),
    (&[Kind::Empty], 100),
    (&[Kind::Empty, Kind::Resend], 60),
    (&[Kind::Empty, Kind::SecondPage], 50),
    (&[Kind::Small], 100),
    (&[Kind::Pcm], 40),
    (&[Kind::Pieces], 40),
    (&[Kind::Recorders], 60),
    (&[Kind::Late], 40),
    (&[Kind::Archive], 40),
    (&[Kind::Late, Kind::Archive, Kind::Steady, Kind::Burst], 40),
];

#[test]
fn speakers_in_trouble_break_no_promise() {
    for (kinds, seeds) in PASS {
        hold(0..seeds, Kinds::of(kinds.iter().copied()));
    }
}

/// Seeds of all kinds that broke a promise, and hold now. (About 1 of 1,000 still breaks one.)
const MENDED: [u64; 39] = [
    10047, 10705, 11007, 11120, 11237, 11431, 11716, 12072, 12120, 12480, 12574, 12603, 13014, 13041, 13179,
    13257, 13405, 13748, 13766, 13787, 14259, 14509, 14987, 15578, 15720, 15787, 15862, 15881, 16323, 16732,
    16813, 18313, 18701, 19470, 21521, 22735, 24640, 26508, 28491,
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
