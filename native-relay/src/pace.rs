//! How often one source may have something spread to everybody. Pure: a token bucket per source.
//!
//! Every message on the discovery topic goes to every peer of the relay, so one that talks all the time would cost all
//! of them. Honest peers announce every 15 s at the most, and a few times in a row while their addresses settle.

use std::{collections::BTreeMap, num::NonZeroU32, time::Duration};

use libp2p::PeerId;
use peerway_core::now::Now;

/// How many sources are watched at once. When full, a source that is not watched yet is let through: it takes that many
/// talkative ones, each with an identity that gossip has heard, to get there.
const MAX_SOURCES: usize = 4_096;

/// Whether a message is spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// It is.
    Fine,
    /// Its source has talked too much of late.
    TooFast,
}

/// Who has talked of late. Whoever has not is not remembered.
#[derive(Debug)]
pub(crate) struct Pacing {
    /// How long a message takes to be earned again.
    refill: Duration,
    /// How many messages in a row are spread.
    burst: NonZeroU32,
    /// When each source will have earned its whole burst again, on [`Now::mono`].
    full_at: BTreeMap<PeerId, Duration>,
}

impl Pacing {
    pub(crate) fn new(a_minute: NonZeroU32, burst: NonZeroU32) -> Self {
        Self {
            refill: Duration::from_secs(60) / a_minute.get(),
            burst,
            full_at: BTreeMap::new(),
        }
    }

    /// A source wants something spread.
    pub(crate) fn handle_message(&mut self, source: PeerId, now: Now) -> Pace {
        let full_at = self.full_at.get(&source).copied().unwrap_or_default().max(now.mono);
        if full_at.saturating_sub(now.mono) > self.refill * (self.burst.get() - 1) {
            return Pace::TooFast;
        }
        if self.full_at.len() >= MAX_SOURCES {
            self.full_at.retain(|_, full_at| *full_at > now.mono);
        }
        if self.full_at.len() < MAX_SOURCES || self.full_at.contains_key(&source) {
            self.full_at.insert(source, full_at.saturating_add(self.refill));
        }
        Pace::Fine
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// At 30 a minute.
    const REFILL: Duration = Duration::from_secs(2);
    const BURST: u32 = 16;

    fn pacing() -> Pacing {
        Pacing::new(30.try_into().unwrap(), BURST.try_into().unwrap())
    }

    #[test]
    fn when_a_source_talks_all_the_time_it_is_slowed_down_and_others_are_not() {
        let (mut pacing, mut now) = (pacing(), Now::default());
        let (loud, quiet) = (PeerId::random(), PeerId::random());
        let spread = (0..1_000)
            .filter(|_| pacing.handle_message(loud, now) == Pace::Fine)
            .count();
        assert_eq!(spread, BURST as usize);
        assert_eq!(pacing.handle_message(quiet, now), Pace::Fine);

        now = now.after(REFILL);
        assert_eq!(pacing.handle_message(loud, now), Pace::Fine);
        assert_eq!(pacing.handle_message(loud, now), Pace::TooFast);

        now = now.after(REFILL * BURST);
        let spread = (0..1_000)
            .filter(|_| pacing.handle_message(loud, now) == Pace::Fine)
            .count();
        assert_eq!(spread, BURST as usize);
    }

    #[test]
    fn when_more_sources_talk_than_are_watched_memory_stays_bounded_and_honest_ones_get_through() {
        let (mut pacing, now) = (pacing(), Now::default());
        for _ in 0..MAX_SOURCES + 100 {
            assert_eq!(pacing.handle_message(PeerId::random(), now), Pace::Fine);
        }
        assert_eq!(pacing.full_at.len(), MAX_SOURCES);
        pacing.handle_message(PeerId::random(), now.after(REFILL));
        assert_eq!(pacing.full_at.len(), 1, "those who were quiet since are forgotten");
    }
}
