//! Glare: both peers dial each other at the same time. Decides, for one pair of peers, which session goes on, and which of
//! two direct connections is closed if both got through. It answers nobody and closes nothing itself.
//!
//! 1. The session that the lower id began stays: the lower refuses the other's offer, the higher drops its own and answers.
//! 2. Who is still dialling the circuit gives way to an offer that is there already, whoever it is: then there is only one.
//! 3. If both sessions got through, the higher closes the connection that it dialled. The lower closes that one too, but
//!    only after [`GRACE`]: the higher may be a peer that knows no such rule, as js-libp2p's.
//! 4. Connections that were established more than [`GRACE`] apart are no glare: the other peer has lost the older one.
//!
//! Both sides come to the same result without a word, because both know both ids. "Lower" is by the bytes of the multihash.

use std::time::Duration;

use libp2p_identity::PeerId;
use libp2p_swarm::ConnectionId;
use web_time::Instant;

use crate::signaling::{Phase, Role};

/// How long the lower id waits for the higher to close what it dialled, and how far apart two connections may be
/// established to be taken for one glare.
pub(crate) const GRACE: Duration = Duration::from_secs(10);

/// What to do about an offer of the other peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Decision {
    /// Answer it; there is no session of our own.
    Answer,
    /// Cancel our own session ([`Cancellation::Glare`](crate::signaling::Cancellation::Glare)), then answer it.
    YieldAndAnswer,
    /// Reset its stream: our own session goes on.
    Refuse,
}

/// Decides about an offer of `remote`. `own` is the phase of the attempt that `local` makes towards it, if there is one.
#[must_use]
pub(crate) fn decide(local: PeerId, remote: PeerId, own: Option<Phase>) -> Decision {
    match (own, rank(local, remote)) {
        // A peer that offers although we are connected has lost that connection: it needs a new one.
        (None | Some(Phase::Connected), Rank::Lower | Rank::Higher) => Decision::Answer,
        (Some(Phase::Circuit), Rank::Lower | Rank::Higher) => Decision::YieldAndAnswer,
        // From the moment in which a stream is asked for, two may cross: if both gave way, neither went on.
        (Some(Phase::Signaling | Phase::Offer | Phase::Answer | Phase::Candidates), Rank::Lower) => Decision::Refuse,
        (Some(Phase::Signaling | Phase::Offer | Phase::Answer | Phase::Candidates), Rank::Higher) => {
            Decision::YieldAndAnswer
        }
    }
}

/// The direct connections to one peer: after any `handle_*` drain [`Self::poll_close`].
#[derive(Debug)]
pub(crate) struct Connections {
    rank: Rank,
    /// The newest that we dialled.
    ours: Option<Established>,
    /// The newest that the other peer dialled.
    theirs: Option<Established>,
    close: Option<ConnectionId>,
}

#[derive(Clone, Copy, Debug)]
struct Established {
    connection: ConnectionId,
    at: Instant,
}

/// Whose id is lower.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rank {
    /// Ours.
    Lower,
    /// The other's.
    Higher,
}

impl Connections {
    /// None yet.
    #[must_use]
    pub(crate) fn new(local: PeerId, remote: PeerId) -> Self {
        Self {
            rank: rank(local, remote),
            ours: None,
            theirs: None,
            close: None,
        }
    }

    /// A direct connection is established, in which we had this role.
    pub(crate) fn handle_established(&mut self, connection: ConnectionId, role: Role, now: Instant) {
        let established = Some(Established { connection, at: now });
        match role {
            Role::Initiator => self.ours = established,
            Role::Recipient => self.theirs = established,
        }
        if let (Rank::Higher, Some((ours, _))) = (self.rank, self.glare()) {
            self.close = Some(ours.connection);
            self.ours = None;
        }
    }

    /// A direct connection ended.
    pub(crate) fn handle_closed(&mut self, connection: ConnectionId) {
        for slot in [&mut self.ours, &mut self.theirs] {
            if slot.is_some_and(|established| established.connection == connection) {
                *slot = None;
            }
        }
    }

    /// Time passed.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_some_and(|due| due <= now) {
            self.close = self.theirs.take().map(|theirs| theirs.connection);
        }
    }

    /// The next connection to close.
    pub(crate) fn poll_close(&mut self) -> Option<ConnectionId> {
        self.close.take()
    }

    /// When [`Self::handle_timeout`] is wanted.
    #[must_use]
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        match self.rank {
            Rank::Lower => self.glare().map(|(ours, theirs)| ours.at.max(theirs.at) + GRACE),
            Rank::Higher => None,
        }
    }

    /// Whether nothing is worth remembering.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.ours.is_none() && self.theirs.is_none() && self.close.is_none()
    }

    /// What each side dialled, if these are one glare.
    fn glare(&self) -> Option<(Established, Established)> {
        let (ours, theirs) = (self.ours?, self.theirs?);
        let apart = ours.at.max(theirs.at) - ours.at.min(theirs.at);
        (apart <= GRACE).then_some((ours, theirs))
    }
}

/// A peer has no sessions with itself; if it had, it would yield.
fn rank(local: PeerId, remote: PeerId) -> Rank {
    if local.to_bytes() < remote.to_bytes() {
        Rank::Lower
    } else {
        Rank::Higher
    }
}

#[cfg(test)]
mod tests;
