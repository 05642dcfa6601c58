//! Numbers that only grow: how often something happened, by its name, and how long things took.

use std::{collections::BTreeMap, time::Duration};

use super::labels::Label;

/// How often each of a closed list of things happened.
#[derive(Clone, Debug)]
pub(crate) struct Tally<K>(BTreeMap<K, u64>);

impl<K> Default for Tally<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Copy + Ord> Tally<K> {
    /// It happened once more.
    pub(crate) fn add(&mut self, what: K) {
        *self.0.entry(what).or_default() += 1;
    }

    /// How often it happened.
    pub(crate) fn get(&self, what: K) -> u64 {
        self.0.get(&what).copied().unwrap_or_default()
    }
}

impl<K: Label> Tally<K> {
    /// Each by its name, those that never happened included.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        K::ALL.iter().map(|what| (what.name(), self.get(*what)))
    }
}

/// Upper bounds of the buckets in seconds; one without a bound follows. Circuits are closed by peers as soon as they are
/// directly connected, or last as long as they may.
pub(crate) const BOUNDS: [f64; 8] = [0.1, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 1_800.0];

/// How long things took.
#[derive(Clone, Debug, Default)]
pub(crate) struct Durations {
    buckets: [u64; BOUNDS.len() + 1],
    seconds: f64,
}

impl Durations {
    pub(crate) fn add(&mut self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        let bucket = BOUNDS.iter().position(|bound| seconds <= *bound);
        self.buckets[bucket.unwrap_or(BOUNDS.len())] += 1;
        self.seconds += seconds;
    }

    /// All of them together.
    pub(crate) fn seconds(&self) -> f64 {
        self.seconds
    }

    /// How many there were.
    pub(crate) fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// How many were longer than the bound before and at most as long as this one.
    pub(crate) fn buckets(&self) -> impl Iterator<Item = (f64, u64)> {
        BOUNDS.into_iter().chain([f64::INFINITY]).zip(self.buckets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_a_duration_is_a_bound_it_is_in_the_bucket_below_it() {
        let mut durations = Durations::default();
        for seconds in [0, 1, 2, 1_800, 1_801] {
            durations.add(Duration::from_secs(seconds));
        }
        let filled: Vec<_> = durations.buckets().filter(|(_, count)| *count > 0).collect();
        assert_eq!(filled, [(0.1, 1), (1.0, 1), (5.0, 1), (1_800.0, 1), (f64::INFINITY, 1)]);
        assert_eq!((durations.count(), durations.seconds()), (5, 3_604.0));
    }
}
