//! Sets of whole numbers as runs: chunk indices, milliseconds. Their cost is that of the runs, not of what they span.

use std::fmt;

use serde::Serialize;

/// Runs that are written out; of more, their number.
const SHOWN: usize = 6;

/// Runs `from..to`, in order, none touching the next. As JSON: first and last of each run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranges(Vec<(u64, u64)>);

impl Ranges {
    /// One run; none at all if it is empty.
    pub fn one(from: u64, to: u64) -> Self {
        if from < to { Self(vec![(from, to)]) } else { Self::default() }
    }

    /// One run, both ends included.
    pub fn inclusive(first: u64, last: u64) -> Self {
        Self::one(first, last.saturating_add(1))
    }

    /// The runs, each `from..to`.
    pub fn runs(&self) -> &[(u64, u64)] {
        &self.0
    }

    /// How many numbers.
    pub fn len(&self) -> u64 {
        self.0.iter().map(|(from, to)| to - from).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a run.
    pub fn add(&mut self, from: u64, to: u64) {
        if from >= to {
            return;
        }
        let touching = |&&(f, t): &&(u64, u64)| f <= to && from <= t;
        let first = self.0.iter().take_while(|(_, t)| *t < from).count();
        let count = self.0[first..].iter().take_while(touching).count();
        let merged =
            self.0[first..first + count].iter().fold((from, to), |(a, b), &(f, t)| (a.min(f), b.max(t)));
        self.0.splice(first..first + count, [merged]);
    }

    /// Adds all that another set holds.
    pub fn add_all(&mut self, other: &Self) {
        other.0.iter().for_each(|&(from, to)| self.add(from, to));
    }

    /// Whether the number is one of them.
    pub fn holds(&self, number: u64) -> bool {
        self.0.iter().any(|(from, to)| (*from..*to).contains(&number))
    }

    /// What both hold.
    pub fn and(&self, other: &Self) -> Self {
        let (mut i, mut j, mut both) = (0, 0, Vec::new());
        while let (Some(&(a, b)), Some(&(c, d))) = (self.0.get(i), other.0.get(j)) {
            if a.max(c) < b.min(d) {
                both.push((a.max(c), b.min(d)));
            }
            if b < d { i += 1 } else { j += 1 }
        }
        Self(both)
    }

    /// What `other` does not hold.
    pub fn without(&self, other: &Self) -> Self {
        let mut left = Vec::new();
        for &(from, to) in &self.0 {
            let mut next = from;
            for &(f, t) in other.0.iter().skip_while(|(_, t)| *t <= from).take_while(|(f, _)| *f < to) {
                if f > next {
                    left.push((next, f));
                }
                next = next.max(t);
            }
            if next < to {
                left.push((next, to));
            }
        }
        Self(left)
    }

    /// First and last of each run.
    pub fn pairs(&self) -> Vec<(u64, u64)> {
        self.0.iter().map(|(from, to)| (*from, to - 1)).collect()
    }
}

/// First and last of each run, `0-2, 7`; of many runs, the first few.
impl fmt::Display for Ranges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (first, last)) in self.pairs().into_iter().take(SHOWN).enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            match first == last {
                true => write!(f, "{comma}{first}")?,
                false => write!(f, "{comma}{first}-{last}")?,
            }
        }
        match self.0.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, ", … {more} more"),
        }
    }
}

impl FromIterator<u64> for Ranges {
    fn from_iter<I: IntoIterator<Item = u64>>(numbers: I) -> Self {
        let mut numbers: Vec<u64> = numbers.into_iter().filter(|n| *n < u64::MAX).collect();
        numbers.sort_unstable();
        let mut runs: Vec<(u64, u64)> = Vec::new();
        for n in numbers {
            match runs.last_mut() {
                Some((_, to)) if n <= *to => *to = n + 1,
                _ => runs.push((n, n + 1)),
            }
        }
        Self(runs)
    }
}

impl Serialize for Ranges {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.pairs().serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn some() -> impl Strategy<Value = Vec<(u64, u64)>> {
        prop::collection::vec((0..60_u64, 0..12_u64), 0..12)
            .prop_map(|runs| runs.into_iter().map(|(from, len)| (from, from + len)).collect())
    }

    fn ranges(runs: &[(u64, u64)]) -> (Ranges, BTreeSet<u64>) {
        let mut ranges = Ranges::default();
        runs.iter().for_each(|(from, to)| ranges.add(*from, *to));
        (ranges, runs.iter().flat_map(|(from, to)| *from..*to).collect())
    }

    fn told(ranges: &Ranges) -> Vec<u64> {
        ranges.runs().iter().flat_map(|(from, to)| *from..*to).collect()
    }

    #[test]
    fn of_many_runs_the_first_few_are_written() {
        let text = |numbers: &[u64]| numbers.iter().copied().collect::<Ranges>().to_string();
        assert_eq!(text(&[7, 0, 1, 2]), "0-2, 7");
        assert_eq!(text(&[0, 2, 4, 6, 8, 10, 12, 14]), "0, 2, 4, 6, 8, 10, … 2 more");
        assert_eq!(text(&[]), "");
    }

    proptest! {
        #[test]
        fn single_numbers_are_the_set_that_they_make(numbers in prop::collection::vec(0..200_u64, 0..60)) {
            let ranges: Ranges = numbers.iter().copied().collect();
            prop_assert_eq!(told(&ranges), numbers.into_iter().collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>());
            prop_assert!(ranges.runs().windows(2).all(|w| w[0].1 < w[1].0), "runs that touch are one");
        }

        #[test]
        fn runs_behave_as_the_sets_they_stand_for(a in some(), b in some()) {
            let ((ra, sa), (rb, sb)) = (ranges(&a), ranges(&b));
            prop_assert_eq!(told(&ra), sa.iter().copied().collect::<Vec<_>>());
            prop_assert!(ra.runs().windows(2).all(|w| w[0].1 < w[1].0), "runs that touch are one");
            prop_assert_eq!(told(&ra.and(&rb)), sa.intersection(&sb).copied().collect::<Vec<_>>());
            prop_assert_eq!(told(&ra.without(&rb)), sa.difference(&sb).copied().collect::<Vec<_>>());
            prop_assert_eq!(ra.len(), sa.len() as u64);
            prop_assert!((0..80).all(|n| ra.holds(n) == sa.contains(&n)));
            let mut both = ra.clone();
            both.add_all(&rb);
            prop_assert_eq!(told(&both), sa.union(&sb).copied().collect::<Vec<_>>());
        }
    }
}
