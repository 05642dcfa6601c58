//! One relay that was named: who it is, which address is tried, how the connection stands.
//!
//! Knows nothing of the others.

use std::time::Duration;

use libp2p::{Multiaddr, PeerId};
use peerway_core::{
    dial::{Role, backoff::Backoff},
    reservation::{RelayFailure, RelaySpec},
};
use rand::rngs::SmallRng;

use super::{
    Dialling, GOOD, NeighbourState, NeighbourStatus, Number, PATIENCE, Published, RETRY, RETRY_AFTER_REFUSAL,
    SlotState, YIELD,
};
use crate::{config::RelayAddress, rooms::Kind};

#[derive(Debug)]
pub(super) struct Neighbour {
    /// Who it must be.
    pub(super) named: Option<PeerId>,
    /// Who it is, as far as anybody knows.
    pub(super) peer: Option<PeerId>,
    /// Never empty.
    addresses: Vec<Multiaddr>,
    state: State,
    /// Whether it ever dialled us, so that it is worth waiting for.
    dials_us: DialsUs,
    backoff: Backoff,
    refusals: Backoff,
    /// Why it is not there, until it is.
    failure: Option<RelayFailure>,
    dialling: Dialling,
    slot: SlotState,
}

#[derive(Debug)]
enum State {
    Waiting {
        until: Duration,
    },
    Dialling {
        /// The index of the address.
        at: usize,
        until: Duration,
        failures: Vec<RelayFailure>,
    },
    /// The next address was chosen, and is not yet dialled.
    Next {
        at: usize,
        failures: Vec<RelayFailure>,
    },
    /// Round or connection are over; how long to wait is not yet said.
    Over {
        reason: RelayFailure,
        wait: Wait,
    },
    Connected {
        since: Duration,
        is: Identity,
    },
    Itself,
}

#[derive(Clone, Debug)]
enum Identity {
    Unknown,
    Relay(Option<Published>),
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DialsUs {
    NotYet,
    Has,
}

/// Whether a relay is one of the network since this very moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Joined {
    Now,
    No,
}

/// What kind of failure one waits after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    /// It may be over soon.
    Short,
    /// Everywhere somebody else answered.
    Long,
}

/// What is to be done about one relay.
#[derive(Debug)]
pub(super) enum Step {
    Dial { peer: Option<PeerId>, address: Multiaddr },
}

impl Neighbour {
    pub(super) fn new(local: PeerId, address: &RelayAddress, dialling: Dialling) -> Self {
        let state = if address.peer() == Some(local) {
            State::Itself
        } else {
            State::Waiting { until: Duration::ZERO }
        };
        Self {
            named: address.peer(),
            peer: address.peer(),
            addresses: vec![address.transport().clone()],
            state,
            dials_us: DialsUs::NotYet,
            backoff: Backoff::default(),
            refusals: Backoff::default(),
            failure: None,
            dialling,
            slot: match dialling {
                Dialling::Here => SlotState::NotWanted,
                Dialling::Elsewhere => SlotState::Awaited,
            },
        }
    }

    pub(super) fn spec(&self) -> RelaySpec {
        RelaySpec {
            peer: self.named,
            addrs: self.addresses.clone(),
        }
    }

    pub(super) fn wants_slot(&self) -> bool {
        self.dialling == Dialling::Elsewhere && !matches!(self.state, State::Itself)
    }

    pub(super) fn has_slot(&self) -> bool {
        self.slot == SlotState::Held
    }

    /// Whether whoever answers at this address is it.
    pub(super) fn is_at(&self, address: &Multiaddr) -> bool {
        self.named.is_none() && self.has_address(address)
    }

    /// Whether it is tried there.
    pub(super) fn has_address(&self, address: &Multiaddr) -> bool {
        self.addresses.contains(address)
    }

    /// The peer that is named here answers where that one is: what is known of it holds here, too.
    pub(super) fn is_the_same_as(&mut self, other: &Self) {
        if let State::Connected { since, is } = &other.state {
            self.state = State::Connected {
                since: *since,
                is: is.clone(),
            };
            self.slot = other.slot.clone();
        }
    }

    pub(super) fn on_slot(&mut self, number: Number) {
        if self.slot != SlotState::Held {
            let peer = self.peer.map(tracing::field::display);
            tracing::info!(relay = %number, peer, "reachable through this relay");
            self.slot = SlotState::Held;
        }
    }

    pub(super) fn on_slot_lost(&mut self, number: Number, reason: RelayFailure) {
        let lost = SlotState::Failed(reason.clone());
        if self.slot != lost {
            let peer = self.peer.map(tracing::field::display);
            tracing::warn!(relay = %number, peer, %reason, "not reachable through this relay; a slot is asked for again");
            self.slot = lost;
        }
        if !matches!(self.state, State::Connected { .. }) {
            self.failure = Some(reason);
        }
    }

    pub(super) fn add_address(&mut self, address: &Multiaddr) {
        if !self.addresses.contains(address) {
            self.addresses.push(address.clone());
        }
    }

    pub(super) fn on_connected(&mut self, number: Number, role: Role, now: Duration) {
        if role == Role::Listener {
            self.dials_us = DialsUs::Has;
        }
        match self.state {
            State::Connected { .. } | State::Itself => {}
            State::Waiting { .. } | State::Dialling { .. } | State::Next { .. } | State::Over { .. } => {
                tracing::debug!(relay = %number, ?role, "relay connected");
                self.state = State::Connected {
                    since: now,
                    is: Identity::Unknown,
                };
            }
        }
    }

    pub(super) fn on_disconnected(&mut self, number: Number, now: Duration) {
        if let State::Connected { since, is } = &self.state {
            if now.saturating_sub(*since) >= GOOD && matches!(is, Identity::Relay(_)) {
                self.backoff.reset();
                self.refusals.reset();
            }
            tracing::debug!(relay = %number, "relay disconnected");
            self.state = State::Over {
                reason: RelayFailure::Disconnected,
                wait: Wait::Short,
            };
        }
    }

    pub(super) fn on_dial_failed(&mut self, number: Number, address: &Multiaddr, reason: RelayFailure) {
        tracing::debug!(relay = %number, %address, %reason, "dial failed");
        if let State::Dialling { at, failures, .. } = &mut self.state
            && self.addresses.get(*at) == Some(address)
        {
            failures.push(reason);
            let (at, failures) = (*at, std::mem::take(failures));
            self.next_address(at, failures);
        }
    }

    pub(super) fn on_is_itself(&mut self) {
        if self.named.is_none() {
            self.state = State::Itself;
        }
    }

    /// Whether that is news: a relay has joined us.
    pub(super) fn on_identified(
        &mut self,
        number: Number,
        kind: Kind,
        published: impl FnOnce() -> Option<Published>,
    ) -> Joined {
        let State::Connected { is, .. } = &mut self.state else {
            return Joined::No;
        };
        match kind {
            Kind::Relay => {
                let before = std::mem::replace(is, Identity::Relay(published()));
                self.failure = None;
                match before {
                    Identity::Relay(_) => Joined::No,
                    Identity::Unknown | Identity::Other => {
                        let peer = self.peer.map(tracing::field::display);
                        tracing::info!(relay = %number, peer, "one network with this relay");
                        Joined::Now
                    }
                }
            }
            Kind::Member => {
                *is = Identity::Other;
                self.fail(number, RelayFailure::NotARelay);
                Joined::No
            }
        }
    }

    /// The next thing to do at this time. Ask until there is none.
    pub(super) fn step(&mut self, number: Number, local: PeerId, rng: &mut SmallRng, now: Duration) -> Option<Step> {
        match &mut self.state {
            State::Dialling { at, until, failures } if *until <= now => {
                failures.push(RelayFailure::TimedOut);
                let (at, failures) = (*at, std::mem::take(failures));
                self.next_address(at, failures);
                self.step(number, local, rng, now)
            }
            State::Over { reason, wait } => {
                let (reason, wait) = (reason.clone(), *wait);
                let wait = self.wait(wait, local, rng);
                self.fail(number, reason);
                self.state = State::Waiting {
                    until: now.saturating_add(wait),
                };
                None
            }
            State::Waiting { until } if *until <= now && self.dialling == Dialling::Here => {
                Some(self.dial(0, Vec::new(), now))
            }
            State::Next { at, failures } => {
                let (at, failures) = (*at, std::mem::take(failures));
                Some(self.dial(at, failures, now))
            }
            State::Waiting { .. } | State::Dialling { .. } | State::Connected { .. } | State::Itself => None,
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Duration> {
        match self.state {
            State::Waiting { .. } if self.dialling == Dialling::Elsewhere => None,
            State::Waiting { until } | State::Dialling { until, .. } => Some(until),
            State::Next { .. } | State::Over { .. } | State::Connected { .. } | State::Itself => None,
        }
    }

    pub(super) fn status(&self) -> NeighbourStatus {
        let state = match &self.state {
            State::Itself => NeighbourState::Itself,
            State::Connected { is, .. } => match is {
                Identity::Unknown => NeighbourState::Connected,
                Identity::Relay(_) => NeighbourState::Joined,
                Identity::Other => NeighbourState::Failed(RelayFailure::NotARelay),
            },
            State::Waiting { .. } | State::Dialling { .. } | State::Next { .. } | State::Over { .. } => {
                let failure = self.failure.clone();
                failure.map_or(NeighbourState::Connecting, NeighbourState::Failed)
            }
        };
        NeighbourStatus {
            peer: self.peer,
            addresses: self.addresses.clone(),
            state,
            slot: self.slot.clone(),
        }
    }

    /// What pages may be told of it.
    pub(super) fn published(&self) -> Option<&Published> {
        match &self.state {
            State::Connected {
                is: Identity::Relay(published),
                ..
            } => published.as_ref(),
            State::Connected { .. }
            | State::Waiting { .. }
            | State::Dialling { .. }
            | State::Next { .. }
            | State::Over { .. }
            | State::Itself => None,
        }
    }

    fn dial(&mut self, at: usize, failures: Vec<RelayFailure>, now: Duration) -> Step {
        self.state = State::Dialling {
            at,
            until: now.saturating_add(PATIENCE),
            failures,
        };
        Step::Dial {
            peer: self.named,
            address: self.addresses[at].clone(),
        }
    }

    /// Goes on to the next address of the round, or ends it.
    fn next_address(&mut self, at: usize, failures: Vec<RelayFailure>) {
        if at + 1 < self.addresses.len() {
            self.state = State::Next { at: at + 1, failures };
            return;
        }
        // Silence says least.
        let tells = |failure: &&RelayFailure| **failure != RelayFailure::TimedOut;
        let reason = failures.iter().find(tells).cloned().unwrap_or(RelayFailure::TimedOut);
        let wait = if failures.iter().all(|failure| *failure == RelayFailure::WrongPeer) {
            Wait::Long
        } else {
            Wait::Short
        };
        self.state = State::Over { reason, wait };
    }

    fn wait(&mut self, wait: Wait, local: PeerId, rng: &mut SmallRng) -> Duration {
        let wait = match wait {
            Wait::Short => self.backoff.after_failure(&RETRY, rng),
            Wait::Long => return self.refusals.after_failure(&RETRY_AFTER_REFUSAL, rng),
        };
        let yields = self.dials_us == DialsUs::Has && self.peer.is_some_and(|peer| peer.to_bytes() < local.to_bytes());
        if yields { wait.saturating_add(YIELD) } else { wait }
    }

    /// Keeps the reason and says it, but not again and again.
    fn fail(&mut self, number: Number, reason: RelayFailure) {
        if self.failure.as_ref() == Some(&reason) {
            return;
        }
        let peer = self.peer.map(tracing::field::display);
        tracing::warn!(relay = %number, peer, %reason, "not one network with this relay; it is tried again");
        self.failure = Some(reason);
    }
}
