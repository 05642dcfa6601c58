//! One peer's ladder: what is known of the peer, which rungs were tried since it last began at the bottom, when it goes on.
//!
//! Never starts an attempt itself: the [`Dialer`](super::Dialer) does, because attempts share limits.

use std::time::Duration;

use libp2p::{Multiaddr, PeerId};

use super::{
    AttemptId, Disconnection, Route,
    backoff::Backoff,
    links::{Links, Side},
    plan::{Interest, OurFacts, PeerFacts, Rung, Rungs, plan},
};
use crate::node::Reach;

/// Whoever hangs up closes one connection after the other, and not over each of them can it be told from a loss. What
/// ends this soon after one that was closed on purpose is taken for closed on purpose too.
const HANGS_UP_WITHIN: Duration = Duration::from_secs(3);

#[derive(Debug)]
pub(super) struct Ladder {
    pub(super) side: Side,
    pub(super) candidacy: Candidacy,
    pub(super) announced: Vec<Multiaddr>,
    pub(super) given: Option<Multiaddr>,
    pub(super) opened: Option<Reach>,
    pub(super) links: Links,
    pub(super) phase: Phase,
    /// Bounded: cleared whenever the ladder begins anew, and one plan has few rungs.
    tried: Vec<Multiaddr>,
    pub(super) backoff: Backoff,
    pub(super) last_dial: Option<Duration>,
    /// When the last connection ended that was closed on purpose.
    closed_at: Option<Duration>,
    /// The route that was last reported.
    pub(super) reported: Option<Route>,
    pub(super) told_unusable: Told,
}

/// Whether the peer is one that was heard of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Candidacy {
    /// Announced itself, and did not take it back.
    Heard,
    /// Only connected to us, or only opened by the user.
    Unheard,
}

/// Whether the reader was told that there is nothing to dial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    No,
    Yes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing to do: connected well enough, or nobody wants the peer.
    Resting,
    /// Goes on at this time.
    Due { at: Duration },
    /// Would go on, but the relays of its rungs carry as many attempts as they may.
    Queued { since: Duration },
    /// An attempt runs.
    Dialing { attempt: AttemptId },
}

impl Ladder {
    pub(super) fn new(side: Side) -> Self {
        Self {
            side,
            candidacy: Candidacy::Unheard,
            announced: Vec::new(),
            given: None,
            opened: None,
            links: Links::new(side),
            phase: Phase::Resting,
            tried: Vec::new(),
            backoff: Backoff::default(),
            last_dial: None,
            closed_at: None,
            reported: None,
            told_unusable: Told::No,
        }
    }

    pub(super) fn reach(&self) -> Reach {
        self.opened.unwrap_or_default()
    }

    /// Whether the connections there are leave nothing to be wished for.
    pub(super) fn is_satisfied(&self, rungs: Rungs) -> bool {
        let Some(best) = self.links.best(self.reach()) else {
            return false;
        };
        match (self.reach(), best.route) {
            (Reach::RelayOnly, Route::Circuit { .. }) => true,
            (Reach::RelayOnly, Route::Direct | Route::WebRtc) | (Reach::DirectOnly, Route::Circuit { .. }) => false,
            (Reach::PreferDirect | Reach::DirectOnly, Route::Direct | Route::WebRtc) => true,
            // An address that the user gave is better than the circuit.
            (Reach::PreferDirect, Route::Circuit { .. }) => rungs == Rungs::CircuitOnly && self.given.is_none(),
        }
    }

    /// The rungs not yet tried, the best first, leaving out what would only double a connection.
    pub(super) fn rungs(&self, peer: PeerId, interest: Interest, ours: OurFacts<'_>) -> Vec<Rung> {
        let facts = PeerFacts {
            peer,
            announced: &self.announced,
            given: self.given.as_ref(),
            interest,
        };
        let is_circuit = |route: Route| matches!(route, Route::Circuit { .. });
        let has_circuit = self.links.open().any(|link| is_circuit(link.route));
        let mut rungs = plan(facts, ours);
        rungs.retain(|rung| !(self.tried.contains(&rung.address) || has_circuit && is_circuit(rung.route)));
        rungs
    }

    pub(super) fn has_tried(&self) -> bool {
        !self.tried.is_empty()
    }

    pub(super) fn on_started(&mut self, attempt: AttemptId, rung: &Rung, now: Duration) {
        self.tried.push(rung.address.clone());
        self.last_dial = Some(now);
        self.told_unusable = Told::No;
        self.phase = Phase::Dialing { attempt };
    }

    /// A connection ended. Answers whether that, as far as we know, was somebody's wish.
    pub(super) fn on_ended(&mut self, disconnection: Disconnection, now: Duration) -> bool {
        match disconnection {
            Disconnection::Clean => {
                self.closed_at = Some(now);
                true
            }
            Disconnection::Lost => self
                .closed_at
                .is_some_and(|closed| now.saturating_sub(closed) <= HANGS_UP_WITHIN),
        }
    }

    /// How long it is still left alone, if that is for `after_goodbye` since it hung up.
    pub(super) fn left_alone_for(&self, after_goodbye: Duration, now: Duration) -> Duration {
        self.closed_at.map_or(Duration::ZERO, |closed| {
            closed.saturating_add(after_goodbye).saturating_sub(now)
        })
    }

    /// The user wants the peer, whatever it did.
    pub(super) fn on_opened(&mut self, reach: Reach) {
        self.opened = Some(reach);
        self.closed_at = None;
    }

    /// Begins at the bottom again at `at`.
    pub(super) fn begin_anew(&mut self, at: Duration) {
        self.tried.clear();
        if !matches!(self.phase, Phase::Dialing { .. }) {
            self.phase = Phase::Due { at };
        }
    }

    pub(super) fn rest(&mut self) {
        self.tried.clear();
        if !matches!(self.phase, Phase::Dialing { .. }) {
            self.phase = Phase::Resting;
        }
    }

    /// Whether nothing at all is worth remembering of the peer.
    pub(super) fn is_idle(&self) -> bool {
        let dialing = matches!(self.phase, Phase::Dialing { .. });
        self.candidacy == Candidacy::Unheard && self.opened.is_none() && self.links.is_empty() && !dialing
    }
}
