//! Who has spoken in a room: which of their lines are new, and whether one of them says too much.
//!
//! Never holds a text.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use libp2p::PeerId;

use super::{IgnoreReason, rate::Meter, rate::RateLimit};

/// How many sources a room remembers. When full, the one silent for the longest time is forgotten: its lines would be
/// shown again if somebody repeated them, and its rate is measured anew.
pub const SOURCES_PER_ROOM: usize = 256;

/// How many ids are remembered of each source. When full, the oldest is forgotten; gossipsub's own memory of message
/// ids is shorter than the time in which a source can say so much.
pub const IDS_PER_SOURCE: usize = 128;

/// The sources of one room.
#[derive(Debug, Default)]
pub(super) struct Sources {
    known: BTreeMap<PeerId, Source>,
}

#[derive(Debug, Default)]
struct Source {
    ids: VecDeque<String>,
    meter: Meter,
    heard_at: Duration,
}

impl Sources {
    /// Takes note of a line, or says why it must not be shown. A line that is refused leaves no trace.
    pub(super) fn admit(
        &mut self,
        source: PeerId,
        id: &str,
        limit: &RateLimit,
        now: Duration,
    ) -> Result<(), IgnoreReason> {
        if !self.known.contains_key(&source) && self.known.len() >= SOURCES_PER_ROOM {
            self.forget_the_most_silent();
        }
        let source = self.known.entry(source).or_default();
        if source.ids.iter().any(|known| known == id) {
            return Err(IgnoreReason::Duplicate);
        }
        if !source.meter.has_room(limit, 0, now) {
            return Err(IgnoreReason::TooFast);
        }
        source.meter.count(limit, now);
        source.heard_at = now;
        if source.ids.len() >= IDS_PER_SOURCE {
            source.ids.pop_front();
        }
        source.ids.push_back(id.to_owned());
        Ok(())
    }

    fn forget_the_most_silent(&mut self) {
        let silent = self.known.iter().min_by_key(|(_, source)| source.heard_at);
        if let Some(peer) = silent.map(|(peer, _)| *peer) {
            self.known.remove(&peer);
        }
    }
}

#[cfg(test)]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test;

    use super::*;
    use crate::chat::tests::peer;

    const LIMIT: RateLimit = RateLimit {
        burst: 2,
        every: Duration::from_secs(1),
    };

    fn at(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn an_id_is_new_once_per_source() {
        let mut sources = Sources::default();
        assert_eq!(sources.admit(peer(1), "a", &LIMIT, at(0)), Ok(()));
        assert_eq!(sources.admit(peer(1), "a", &LIMIT, at(9)), Err(IgnoreReason::Duplicate));
        assert_eq!(sources.admit(peer(2), "a", &LIMIT, at(9)), Ok(()));
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn a_line_refused_for_haste_may_come_again() {
        let mut sources = Sources::default();
        assert_eq!(sources.admit(peer(1), "a", &LIMIT, at(0)), Ok(()));
        assert_eq!(sources.admit(peer(1), "b", &LIMIT, at(0)), Ok(()));
        assert_eq!(sources.admit(peer(1), "c", &LIMIT, at(0)), Err(IgnoreReason::TooFast));
        assert_eq!(
            sources.admit(peer(2), "c", &LIMIT, at(0)),
            Ok(()),
            "the haste of one is not another's"
        );
        assert_eq!(sources.admit(peer(1), "c", &LIMIT, at(1)), Ok(()));
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn when_full_the_oldest_id_and_the_most_silent_source_are_forgotten() {
        let mut sources = Sources::default();
        for n in 0..=IDS_PER_SOURCE as u64 {
            assert_eq!(sources.admit(peer(0), &n.to_string(), &LIMIT, at(n)), Ok(()));
        }
        assert_eq!(sources.known[&peer(0)].ids.len(), IDS_PER_SOURCE);
        assert_eq!(sources.known[&peer(0)].ids.front().map(String::as_str), Some("1"));

        for n in 1..=SOURCES_PER_ROOM as u32 {
            assert_eq!(sources.admit(peer(n), "a", &LIMIT, at(1000 + u64::from(n))), Ok(()));
        }
        assert_eq!(sources.known.len(), SOURCES_PER_ROOM);
        assert!(!sources.known.contains_key(&peer(0)));
    }
}
