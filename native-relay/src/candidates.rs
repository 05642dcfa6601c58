//! Relays that nobody named, on which this one, a client of relays, tries to get a slot: those that connect here and of
//! whom identify says that they carry circuits.
//!
//! 1. There are never more slots and tries than there is room for ([`Candidates::handle_room`]). Whoever came first is
//!    tried first, and one try a second begins at most.
//! 2. What a peer says of itself is not taken on trust: an address is dialled if it is of the host that the peer came from,
//!    or public, never a private one elsewhere, where a stranger might want something to knock. Names are not resolved.
//!    And it must reach as far as this relay's own addresses, else the slot is of no use.
//! 3. Who gives no slot within [`PATIENCE`] or refuses is let go, and not tried again for a while, longer each time; nor is
//!    one whose slot is lost and does not come back in that time. Then it is the next one's turn.
//! 4. Whom the operator names is none of these any more, and an address that the operator names is nobody's here: a
//!    stranger who claims it must not come before whoever answers there.
//!
//! Never dials: who keeps the slots does.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, VecDeque},
    net::IpAddr,
    time::Duration,
};

use libp2p::{Multiaddr, PeerId};
use peerway_core::{
    dial::{
        backoff::{Backoff, BackoffConfig},
        route::{AddressForm, Classified, Host, Scope, classify},
    },
    now::Now,
    reservation::RelayFailure,
};
use rand::rngs::SmallRng;

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
/// Relays that are remembered. When there are more, one that is gone and gave no slot makes room; else the newest is not
/// heard, until it says again what it is.
const MAX_CANDIDATES: usize = 32;
/// Those of them that come from one source.
const MAX_FROM_ONE_SOURCE: usize = 4;
/// Addresses of one relay that are tried: one for each transport.
const MAX_ADDRESSES: usize = 4;

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
    addresses: Vec<Multiaddr>,
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
    Held,
    /// A slot was held, and is asked for again.
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
            State::Asked { .. } | State::Held | State::Lost { .. } => true,
            State::Waiting { .. } | State::Failed { .. } => false,
        }
    }

    fn due(&self) -> Option<Duration> {
        match self.state {
            State::Asked { until } | State::Lost { until, .. } | State::Failed { until, .. } => Some(until),
            State::Waiting { .. } | State::Held => None,
        }
    }
}

/// The state machine. World in: `handle_*`; decisions out: [`Candidates::poll_action`].
pub(crate) struct Candidates {
    /// How near an address may be.
    nearest: Scope,
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
    /// `nearest` is the scope of this relay's own addresses; `room` is how many slots there may ever be.
    pub(crate) fn new(nearest: Scope, room: usize, rng: SmallRng) -> Self {
        Self {
            nearest,
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
            Kind::Relay => self.usable(peer, addresses, ip),
            Kind::Member => Vec::new(),
        };
        match self.candidates.get_mut(&peer) {
            Some(candidate) if candidate.takes_room() => {}
            Some(candidate) if !addresses.is_empty() => candidate.addresses = addresses,
            Some(candidate) => {
                if matches!(candidate.state, State::Waiting { .. }) {
                    self.candidates.remove(&peer);
                }
            }
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
    }

    /// There is room for as many slots; never for more than at the beginning.
    pub(crate) fn handle_room(&mut self, room: usize, now: Now) {
        self.room = room;
        let mut taking = self.taking();
        // Those that have no slot yet go first.
        while taking > room {
            let least = self.candidates.iter_mut().filter(|(_, one)| one.takes_room());
            let Some((peer, candidate)) = least.min_by_key(|(_, one)| matches!(one.state, State::Held)) else {
                break;
            };
            let peer = *peer;
            if self.connected.contains_key(&peer) {
                candidate.state = State::Waiting { since: now.mono };
            } else {
                self.candidates.remove(&peer);
            }
            self.actions.push_back(Action::GiveUp { peer });
            taking -= 1;
        }
        self.settle(now);
    }

    /// There is a slot on this relay.
    pub(crate) fn handle_slot(&mut self, peer: PeerId) {
        let Some(candidate) = self.candidates.get_mut(&peer).filter(|one| one.takes_room()) else {
            return;
        };
        if !matches!(candidate.state, State::Held) {
            tracing::info!(%peer, "reachable through a relay that nobody named");
            candidate.state = State::Held;
            candidate.retries.reset();
        }
    }

    /// There is no slot on this relay, or no connection to it. It is asked for again until [`Action::GiveUp`].
    pub(crate) fn handle_slot_lost(&mut self, peer: PeerId, reason: RelayFailure, now: Now) {
        let until = now.mono.saturating_add(PATIENCE);
        if let Some(candidate) = self.candidates.get_mut(&peer) {
            match candidate.state {
                State::Waiting { .. } | State::Failed { .. } => {}
                _ if is_refusal(&reason) => self.let_go(peer, reason, now.mono),
                // Where it says that it is nobody answers.
                State::Asked { .. } if matches!(reason, RelayFailure::Unreachable(_)) => {
                    self.let_go(peer, reason, now.mono);
                }
                State::Held => {
                    tracing::info!(%peer, %reason, "not reachable through a relay that nobody named; a slot is asked for again");
                    candidate.state = State::Lost { reason, until };
                }
                State::Asked { until } | State::Lost { until, .. } => candidate.state = State::Lost { reason, until },
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
        self.candidates.values().any(|one| matches!(one.state, State::Held))
    }

    /// How it stands with each that was tried.
    pub(crate) fn statuses(&self) -> Vec<CandidateStatus> {
        let status = |(peer, candidate): (&PeerId, &Candidate)| {
            let slot = match &candidate.state {
                State::Waiting { .. } => return None,
                State::Asked { .. } => SlotState::Awaited,
                State::Held => SlotState::Held,
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

    /// Those of its addresses at which it is tried, those on the host that it came from first.
    fn usable(&self, peer: PeerId, addresses: &[Multiaddr], ip: IpAddr) -> Vec<Multiaddr> {
        let (mut here, mut elsewhere) = (Vec::new(), Vec::new());
        for address in addresses {
            let Some(Classified {
                target,
                form: AddressForm::Direct(direct),
            }) = classify(address)
            else {
                continue;
            };
            let Host::Ip(host) = direct.host else {
                continue;
            };
            if direct.scope < self.nearest
                || target.is_some_and(|target| target != peer)
                || self.named.contains(&direct.address)
            {
                continue;
            }
            let to = match direct.scope {
                _ if host == ip.to_canonical() => &mut here,
                Scope::Public => &mut elsewhere,
                Scope::Loopback | Scope::Private => continue,
            };
            if to.len() < MAX_ADDRESSES && !to.contains(&direct.address) {
                to.push(direct.address);
            }
        }
        here.append(&mut elsewhere);
        here.truncate(MAX_ADDRESSES);
        here
    }

    fn taking(&self) -> usize {
        self.candidates.values().filter(|one| one.takes_room()).count()
    }

    fn add(&mut self, peer: PeerId, source: Source, addresses: Vec<Multiaddr>, now: Duration) {
        let same = self.candidates.values().filter(|one| one.source == source).count();
        if same >= MAX_FROM_ONE_SOURCE || self.candidates.len() >= MAX_CANDIDATES {
            let gone = |(of, one): &(&PeerId, &Candidate)| {
                matches!(one.state, State::Failed { .. })
                    && !self.connected.contains_key(of)
                    && (same < MAX_FROM_ONE_SOURCE || one.source == source)
            };
            let Some(gone) = self.candidates.iter().find(gone).map(|(of, _)| *of) else {
                tracing::debug!(%peer, "as many relays that nobody named are known as may be: no slot is tried there");
                return;
            };
            self.candidates.remove(&gone);
        }
        let candidate = Candidate {
            source,
            addresses,
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
                Some(state @ State::Failed { .. }) if self.connected.contains_key(&peer) => {
                    *state = State::Waiting { since: now };
                }
                Some(State::Failed { .. }) => drop(self.candidates.remove(&peer)),
                Some(State::Waiting { .. } | State::Held) | None => {}
            }
        }
        if now < self.next || self.taking() >= self.room {
            return;
        }
        let waiting = self.candidates.iter_mut().filter_map(|(peer, one)| match one.state {
            State::Waiting { since } => Some((since, *peer, one)),
            State::Asked { .. } | State::Held | State::Lost { .. } | State::Failed { .. } => None,
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
