//! Relays that nobody named, on which this one, a client of relays, tries to get a slot: those that connect here and of
//! whom identify says that they carry circuits.
//!
//! 1. There are never more slots and tries than there is room for ([`Candidates::handle_room`]). Whoever came first is
//!    tried first, and one try a second begins at most.
//! 2. What a peer says of itself is not taken on trust: an address is dialled if it is of the host that the peer came from,
//!    or public, never a private one elsewhere, where a stranger might want something to knock. If many come from the same
//!    host, as through a proxy on this machine, it is nobody's. Names are not resolved, and a WebSocket has no path, which
//!    would be the stranger's to say. And an address must reach as far as this relay's own, else the slot is of no use.
//! 3. Who gives no slot within [`PATIENCE`] or refuses is let go, and not tried again for a while, longer each time; nor is
//!    one whose slot is lost and does not come back in that time, or soon after it was given. Then it is the next one's turn.
//! 4. Whom the operator names is none of these any more, and an address that the operator names is nobody's here: a
//!    stranger who claims it must not come before whoever answers there. Whom the operator denies is let go
//!    ([`Candidates::handle_denied`]).
//!
//! Never dials: who keeps the slots does.

mod addresses;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, VecDeque},
    net::IpAddr,
    time::Duration,
};

use libp2p::{Multiaddr, PeerId};
use peerway_core::{
    dial::backoff::{Backoff, BackoffConfig},
    now::Now,
    reservation::RelayFailure,
};
use rand::rngs::SmallRng;

pub(crate) use self::addresses::Here;
use crate::{neighbours::SlotState, rooms::Kind, source::Source};

/// How long a relay may take to give a slot, or to give a lost one anew: all its addresses, one after the other, and its
/// answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// The time between the beginnings of two tries: whoever makes us try costs us no more than that.
const PACE: Duration = Duration::from_secs(1);
/// Waiting before one is tried again that gave no slot.
const RETRY: BackoffConfig = BackoffConfig {
    first: Duration::from_secs(15),
    max: Duration::from_secs(5 * 60),
};
/// A slot that was held as long was a good one: after it, waiting begins small again, and it may take its time to come back.
const GOOD: Duration = Duration::from_secs(60);
/// Relays that are remembered. When there are more, the one that was let go most often makes room; else the newest is not
/// heard, until it says again what it is.
const MAX_CANDIDATES: usize = 32;
/// Those of them that come from one source.
const MAX_FROM_ONE_SOURCE: usize = 4;

/// How it stands with a relay that nobody named and on which a slot is held, asked for, or was not had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CandidateStatus {
    /// Who it is.
    pub peer: PeerId,
    /// Where it is tried, without `/p2p`.
    pub addresses: Vec<Multiaddr>,
    /// Whether this relay has a slot on it; never [`SlotState::NotWanted`].
    pub slot: SlotState,
}

/// What the event loop is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Keep a slot on this relay, and tell [`Candidates::handle_slot`] and [`Candidates::handle_slot_lost`].
    Ask {
        peer: PeerId,
        /// Without `/p2p`. Never empty.
        addresses: Vec<Multiaddr>,
    },
    /// Keep none there any more.
    GiveUp { peer: PeerId },
}

#[derive(Debug)]
struct Candidate {
    source: Source,
    /// Where it is tried, or will be.
    addresses: Vec<Multiaddr>,
    /// What it said since its last try began: where it is tried next. None at all: it is no relay any more.
    said: Option<Vec<Multiaddr>>,
    state: State,
    retries: Backoff,
}

#[derive(Debug)]
enum State {
    /// Its turn has not come.
    Waiting {
        since: Duration,
    },
    Asked {
        until: Duration,
    },
    Held {
        since: Duration,
        /// Until when it may be lost and come back although it was not held for long: of the try that it came from.
        until: Duration,
    },
    /// The slot, or the try, came to nothing, and is made again.
    Lost {
        reason: RelayFailure,
        until: Duration,
    },
    /// Let go.
    Failed {
        reason: RelayFailure,
        until: Duration,
    },
}

impl Candidate {
    fn takes_room(&self) -> bool {
        match self.state {
            State::Asked { .. } | State::Held { .. } | State::Lost { .. } => true,
            State::Waiting { .. } | State::Failed { .. } => false,
        }
    }

    fn due(&self) -> Option<Duration> {
        match self.state {
            State::Asked { until } | State::Lost { until, .. } | State::Failed { until, .. } => Some(until),
            State::Waiting { .. } | State::Held { .. } => None,
        }
    }
}

/// The state machine. World in: `handle_*`; decisions out: [`Candidates::poll_action`].
pub(crate) struct Candidates {
    here: Here,
    rng: SmallRng,
    /// Slots that are wanted, tries counted.
    room: usize,
    /// Addresses of relays that the operator named. Bounded by what may be named.
    named: Vec<Multiaddr>,
    /// Where those are that are connected. Bounded by the limits on connections; empty if there is never room.
    connected: BTreeMap<PeerId, IpAddr>,
    /// Bounded by [`MAX_CANDIDATES`].
    candidates: BTreeMap<PeerId, Candidate>,
    /// When the next try may begin.
    next: Duration,
    /// Bounded by the candidates: one that is let go is asked no sooner than it is due.
    actions: VecDeque<Action>,
    /// Whether a slot is ever wanted.
    wanted: Wanted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Sometimes,
    Never,
}

impl Candidates {
    /// `room` is how many slots there may ever be.
    pub(crate) fn new(here: Here, room: usize, rng: SmallRng) -> Self {
        Self {
            here,
            rng,
            room,
            named: Vec::new(),
            connected: BTreeMap::new(),
            candidates: BTreeMap::new(),
            next: Duration::ZERO,
            actions: VecDeque::new(),
            wanted: if room == 0 { Wanted::Never } else { Wanted::Sometimes },
        }
    }

    /// A direct connection to this peer stands, from or to this address.
    pub(crate) fn handle_connected(&mut self, peer: PeerId, ip: IpAddr) {
        if self.wanted == Wanted::Sometimes {
            self.connected.insert(peer, ip);
        }
    }

    /// The last direct connection to this peer is gone.
    pub(crate) fn handle_disconnected(&mut self, peer: PeerId) {
        self.connected.remove(&peer);
        if let Some(candidate) = self.candidates.get(&peer)
            && matches!(candidate.state, State::Waiting { .. })
        {
            self.candidates.remove(&peer);
        }
    }

    /// Identify told what a peer is, and where; `peer` is not one of those that the operator named.
    pub(crate) fn handle_identified(&mut self, peer: PeerId, kind: Kind, addresses: &[Multiaddr], now: Now) {
        let Some(ip) = self.connected.get(&peer).copied() else {
            return;
        };
        let addresses = match kind {
            Kind::Relay => self.here.usable(peer, addresses, ip, &self.named),
            Kind::Member => Vec::new(),
        };
        match self.candidates.get_mut(&peer) {
            Some(candidate) if matches!(candidate.state, State::Waiting { .. }) => {
                if addresses.is_empty() {
                    self.candidates.remove(&peer);
                } else {
                    candidate.addresses = addresses;
                }
            }
            Some(candidate) => candidate.said = Some(addresses),
            None if addresses.is_empty() => {
                if kind == Kind::Relay {
                    tracing::debug!(%peer, "a relay without an address that is of use: no slot is tried there");
                }
            }
            None => self.add(peer, Source::of(ip), addresses, now.mono),
        }
        self.settle(now);
    }

    /// The operator named a relay: its connections begin anew, as those of a relay that is named.
    pub(crate) fn handle_named(&mut self, peer: Option<PeerId>, addresses: &[Multiaddr]) {
        let new = addresses.iter().filter(|address| !self.named.contains(address));
        let new: Vec<_> = new.cloned().collect();
        self.named.extend(new);
        let actions = &mut self.actions;
        self.candidates.retain(|of, candidate| {
            let before = candidate.addresses.len();
            candidate.addresses.retain(|address| !addresses.contains(address));
            if let Some(said) = &mut candidate.said {
                said.retain(|address| !addresses.contains(address));
            }
            let touched = Some(*of) == peer || candidate.addresses.len() < before;
            let given_up = touched && candidate.takes_room();
            if given_up {
                actions.push_back(Action::GiveUp { peer: *of });
            }
            Some(*of) != peer && !given_up && !candidate.addresses.is_empty()
        });
    }

    /// At an address that the operator named this peer answers: its slot stays, and what becomes of it is told elsewhere.
    pub(crate) fn handle_answers(&mut self, peer: PeerId) {
        self.candidates.remove(&peer);
        self.actions
            .retain(|action| !matches!(action, Action::Ask { peer: asked, .. } if *asked == peer));
    }

    /// There is room for as many slots; never for more than at the beginning.
    pub(crate) fn handle_room(&mut self, room: usize, now: Now) {
        self.room = room;
        let mut taking = self.taking();
        // Those that have no slot yet go first.
        while taking > room {
            let least = self.candidates.iter_mut().filter(|(_, one)| one.takes_room());
            let Some((peer, candidate)) = least.min_by_key(|(_, one)| matches!(one.state, State::Held { .. })) else {
                break;
            };
            let peer = *peer;
            candidate.state = State::Waiting { since: now.mono };
            self.back_in_line(peer, now.mono);
            self.actions.push_back(Action::GiveUp { peer });
            taking -= 1;
        }
        self.settle(now);
    }

    /// This peer may not use this relay any more, and this relay will not be reached through it.
    pub(crate) fn handle_denied(&mut self, peer: PeerId) {
        if let Some(candidate) = self.candidates.remove(&peer)
            && candidate.takes_room()
        {
            tracing::info!(%peer, "a relay that nobody named is denied; its slot is given up");
            self.actions.push_back(Action::GiveUp { peer });
        }
    }

    /// Those on which slots are held or asked for.
    pub(crate) fn taken(&self) -> impl Iterator<Item = PeerId> {
        let taken = self.candidates.iter().filter(|(_, one)| one.takes_room());
        taken.map(|(peer, _)| *peer)
    }

    /// There is a slot on this relay.
    pub(crate) fn handle_slot(&mut self, peer: PeerId, now: Now) {
        let Some(candidate) = self.candidates.get_mut(&peer).filter(|one| one.takes_room()) else {
            return;
        };
        if let State::Asked { until } | State::Lost { until, .. } = candidate.state {
            tracing::info!(%peer, "reachable through a relay that nobody named");
            candidate.state = State::Held { since: now.mono, until };
        }
    }

    /// There is no slot on this relay, or no connection to it. It is asked for again until [`Action::GiveUp`].
    pub(crate) fn handle_slot_lost(&mut self, peer: PeerId, reason: RelayFailure, now: Now) {
        if let Some(candidate) = self.candidates.get_mut(&peer) {
            match candidate.state {
                State::Waiting { .. } | State::Failed { .. } => {}
                _ if is_refusal(&reason) => self.let_go(peer, reason, now.mono),
                // Where it says that it is nobody answers.
                State::Asked { .. } if matches!(reason, RelayFailure::Unreachable(_)) => {
                    self.let_go(peer, reason, now.mono);
                }
                State::Asked { until } | State::Lost { until, .. } => candidate.state = State::Lost { reason, until },
                State::Held { since, until } => {
                    let was_good = now.mono.saturating_sub(since) >= GOOD;
                    if was_good {
                        candidate.retries.reset();
                    }
                    let until = if was_good {
                        now.mono.saturating_add(PATIENCE)
                    } else {
                        until
                    };
                    if until <= now.mono {
                        self.let_go(peer, reason, now.mono);
                    } else {
                        tracing::info!(%peer, %reason, "not reachable through a relay that nobody named; a slot is asked for again");
                        candidate.state = State::Lost { reason, until };
                    }
                }
            }
        }
        self.settle(now);
    }

    /// Time has passed.
    pub(crate) fn handle_timeout(&mut self, now: Now) {
        self.settle(now);
    }

    /// When to call [`Self::handle_timeout`] at the latest.
    pub(crate) fn poll_timeout(&self) -> Option<Duration> {
        let waits = self
            .candidates
            .values()
            .any(|one| matches!(one.state, State::Waiting { .. }));
        let next = (waits && self.taking() < self.room).then_some(self.next);
        self.candidates.values().filter_map(Candidate::due).chain(next).min()
    }

    /// The next thing to do.
    pub(crate) fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Whether there is a slot on any of them.
    pub(crate) fn has_slot(&self) -> bool {
        self.candidates
            .values()
            .any(|one| matches!(one.state, State::Held { .. }))
    }

    /// How it stands with each that was tried.
    pub(crate) fn statuses(&self) -> Vec<CandidateStatus> {
        let status = |(peer, candidate): (&PeerId, &Candidate)| {
            let slot = match &candidate.state {
                State::Waiting { .. } => return None,
                State::Asked { .. } => SlotState::Awaited,
                State::Held { .. } => SlotState::Held,
                State::Lost { reason, .. } | State::Failed { reason, .. } => SlotState::Failed(reason.clone()),
            };
            Some(CandidateStatus {
                peer: *peer,
                addresses: candidate.addresses.clone(),
                slot,
            })
        };
        self.candidates.iter().filter_map(status).collect()
    }

    fn taking(&self) -> usize {
        self.candidates.values().filter(|one| one.takes_room()).count()
    }

    fn add(&mut self, peer: PeerId, source: Source, addresses: Vec<Multiaddr>, now: Duration) {
        let same = self.candidates.values().filter(|one| one.source == source).count();
        if same >= MAX_FROM_ONE_SOURCE || self.candidates.len() >= MAX_CANDIDATES {
            let worst = self.candidates.iter().filter(|(_, one)| {
                matches!(one.state, State::Failed { .. }) && (same < MAX_FROM_ONE_SOURCE || one.source == source)
            });
            let Some(worst) = worst.max_by_key(|(_, one)| one.retries.failures()).map(|(of, _)| *of) else {
                tracing::debug!(%peer, "as many relays that nobody named are known as may be: no slot is tried there");
                return;
            };
            self.candidates.remove(&worst);
        }
        let candidate = Candidate {
            source,
            addresses,
            said: None,
            state: State::Waiting { since: now },
            retries: Backoff::default(),
        };
        self.candidates.insert(peer, candidate);
    }

    fn let_go(&mut self, peer: PeerId, reason: RelayFailure, now: Duration) {
        if let Some(candidate) = self.candidates.get_mut(&peer) {
            let wait = candidate.retries.after_failure(&RETRY, &mut self.rng);
            tracing::info!(%peer, %reason, retry_in = ?wait, "no slot on a relay that nobody named");
            candidate.state = State::Failed {
                reason,
                until: now.saturating_add(wait),
            };
            self.actions.push_back(Action::GiveUp { peer });
        }
    }

    /// One that was let go may be tried again, if it is still there and still a relay.
    fn back_in_line(&mut self, peer: PeerId, now: Duration) {
        if let Some(candidate) = self.candidates.get_mut(&peer) {
            if let Some(said) = candidate.said.take() {
                candidate.addresses = said;
            }
            candidate.state = State::Waiting { since: now };
            if candidate.addresses.is_empty() || !self.connected.contains_key(&peer) {
                self.candidates.remove(&peer);
            }
        }
    }

    /// Ends what is due, and begins what there is room for.
    fn settle(&mut self, now: Now) {
        let now = now.mono;
        let due = |(peer, one): (&PeerId, &Candidate)| one.due().is_some_and(|due| due <= now).then_some(*peer);
        let due: Vec<PeerId> = self.candidates.iter().filter_map(due).collect();
        for peer in due {
            match self.candidates.get_mut(&peer).map(|one| &mut one.state) {
                Some(State::Asked { .. }) => self.let_go(peer, RelayFailure::TimedOut, now),
                Some(State::Lost { reason, .. }) => {
                    let reason = reason.clone();
                    self.let_go(peer, reason, now);
                }
                Some(State::Failed { .. }) => self.back_in_line(peer, now),
                Some(State::Waiting { .. } | State::Held { .. }) | None => {}
            }
        }
        if now < self.next || self.taking() >= self.room {
            return;
        }
        let waiting = self.candidates.iter_mut().filter_map(|(peer, one)| match one.state {
            State::Waiting { since } => Some((since, *peer, one)),
            State::Asked { .. } | State::Held { .. } | State::Lost { .. } | State::Failed { .. } => None,
        });
        if let Some((_, peer, first)) = waiting.min_by_key(|(since, peer, _)| (*since, *peer)) {
            tracing::debug!(%peer, addresses = ?first.addresses, "asking a relay that nobody named for a slot");
            first.state = State::Asked {
                until: now.saturating_add(PATIENCE),
            };
            self.next = now.saturating_add(PACE);
            let addresses = first.addresses.clone();
            self.actions.push_back(Action::Ask { peer, addresses });
        }
    }
}

/// Whether asking again soon is of no use.
fn is_refusal(reason: &RelayFailure) -> bool {
    matches!(
        reason,
        RelayFailure::WrongPeer
            | RelayFailure::WrongToken
            | RelayFailure::NotAllowed
            | RelayFailure::Refused(_)
            | RelayFailure::NotARelay
    )
}
