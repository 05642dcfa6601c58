//! The event loop's part in being a client of other relays: has [`Reservations`] keep slots on those that were named and on
//! those that [`Candidates`] choose, and tells both what comes of it. Decides nothing itself.
//!
//! [`Reservations`]: peerway_core::behaviours::Reservations

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use libp2p::{Multiaddr, PeerId};
use peerway_core::{
    behaviours::{Reservations, ReservationsEvent},
    dial::route::Scope,
    now::Now,
    reservation::{MAX_RELAYS, RelayEvent, RelayFailure, RelayKey, RelaySpec},
};
use rand::rngs::SmallRng;

use super::EventLoop;
use crate::{
    candidates::{Action, CandidateStatus, Candidates},
    config,
    neighbours::Number,
    rooms::Kind,
};

/// What the event loop keeps for it. One key may be of a relay that was named, or of one that was not, never of both.
pub(super) struct Slots {
    /// Bounded by [`MAX_RELAYS`].
    named: BTreeMap<RelayKey, Number>,
    /// Bounded by the room that [`Candidates`] have.
    unnamed: BTreeMap<RelayKey, PeerId>,
    candidates: Candidates,
    /// On how many relays that nobody named there may be slots, if those that are named leave as many.
    most_unnamed: usize,
}

impl Slots {
    pub(super) fn new(config: &config::Relays, nearest: Scope, rng: SmallRng) -> Self {
        let most_unnamed = usize::from(config.unnamed);
        Self {
            named: BTreeMap::new(),
            unnamed: BTreeMap::new(),
            candidates: Candidates::new(nearest, most_unnamed, rng),
            most_unnamed,
        }
    }

    /// Whether one more relay can be named.
    pub(super) fn has_place(&self) -> bool {
        self.named.len() < MAX_RELAYS
    }

    /// Keeps a slot on a relay that was named.
    pub(super) fn keep(&mut self, reservations: &mut Reservations, number: Number, spec: RelaySpec, now: Now) {
        self.candidates.handle_named(spec.peer, &spec.addrs);
        let left = MAX_RELAYS.saturating_sub(self.named.len() + 1);
        self.candidates.handle_room(self.most_unnamed.min(left), now);
        self.drain(reservations, now);
        match reservations.add_relay(spec) {
            Ok(key) => drop(self.named.insert(key, number)),
            Err(error) => tracing::warn!(relay = %number, %error, "no slot is asked for there"),
        }
    }

    /// This peer answers where a relay was named.
    pub(super) fn handle_answers(&mut self, peer: PeerId) {
        self.unnamed.retain(|_, of| *of != peer);
        self.candidates.handle_answers(peer);
    }

    pub(super) fn handle_connected(&mut self, peer: PeerId, ip: IpAddr) {
        self.candidates.handle_connected(peer, ip);
    }

    pub(super) fn handle_disconnected(&mut self, peer: PeerId) {
        self.candidates.handle_disconnected(peer);
    }

    pub(super) fn poll_timeout(&self) -> Option<Duration> {
        self.candidates.poll_timeout()
    }

    pub(super) fn has_unnamed(&self) -> bool {
        self.candidates.has_slot()
    }

    pub(super) fn statuses(&self) -> Vec<CandidateStatus> {
        self.candidates.statuses()
    }

    /// Does what the candidates want.
    fn drain(&mut self, reservations: &mut Reservations, now: Now) {
        while let Some(action) = self.candidates.poll_action() {
            match action {
                Action::Ask { peer, addresses } => {
                    let spec = RelaySpec {
                        peer: Some(peer),
                        addrs: addresses,
                    };
                    match reservations.add_relay(spec) {
                        Ok(key) => drop(self.unnamed.insert(key, peer)),
                        Err(error) => {
                            let reason = RelayFailure::Unreachable(error.to_string());
                            self.candidates.handle_slot_lost(peer, reason, now);
                        }
                    }
                }
                Action::GiveUp { peer } => {
                    let key = self.unnamed.iter().find(|(_, of)| **of == peer).map(|(key, _)| *key);
                    if let Some(key) = key {
                        self.unnamed.remove(&key);
                        reservations.remove_relay(key);
                    }
                }
            }
        }
    }
}

impl EventLoop {
    pub(super) fn drain_slots(&mut self) {
        let now = self.now();
        if let Some(reservations) = self.swarm.behaviour_mut().reservations.as_mut() {
            self.mesh.slots.candidates.handle_timeout(now);
            self.mesh.slots.drain(reservations, now);
        }
    }

    pub(super) fn on_candidate_identified(&mut self, peer: PeerId, kind: Kind, addresses: &[Multiaddr]) {
        if !self.mesh.neighbours.is_named(peer) {
            let now = self.now();
            let candidates = &mut self.mesh.slots.candidates;
            candidates.handle_identified(peer, kind, addresses, now);
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "core may tell more some day; what it tells besides changes nothing here"
    )]
    pub(super) fn on_reservation_event(&mut self, event: ReservationsEvent) {
        let now = self.now();
        let mesh = &mut self.mesh;
        let slots = &mut mesh.slots;
        match event {
            ReservationsEvent::Relay(RelayEvent::Reserved { relay, .. }) => {
                if let Some(number) = slots.named.get(&relay) {
                    mesh.neighbours.handle_slot(*number);
                }
                if let Some(peer) = slots.unnamed.get(&relay) {
                    slots.candidates.handle_slot(*peer);
                }
            }
            ReservationsEvent::Relay(RelayEvent::Lost { relay, reason, .. }) => {
                if let Some(number) = slots.named.get(&relay) {
                    mesh.neighbours.handle_slot_lost(*number, reason.clone(), now);
                }
                if let Some(peer) = slots.unnamed.get(&relay) {
                    slots.candidates.handle_slot_lost(*peer, reason, now);
                }
            }
            other => tracing::debug!(?other, "slots"),
        }
        mesh.tell();
    }
}
