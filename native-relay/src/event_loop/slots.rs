//! The event loop's part in being a client of other relays: has [`Reservations`] keep slots on those that were named and on
//! those that [`Candidates`] choose, and tells both what comes of it. Decides nothing itself.
//!
//! [`Reservations`]: peerway_core::behaviours::Reservations

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use libp2p::{Multiaddr, PeerId};
use peerway_core::{
    access::{AccessToken, TokenAnswer},
    behaviours::{Reservations, ReservationsEvent},
    now::Now,
    reservation::{MAX_RELAYS, RelayEvent, RelayFailure, RelayKey, RelaySpec},
};
use rand::rngs::SmallRng;

use super::{EventLoop, mesh::nearest};
use crate::{
    access::control::ip_of,
    candidates::{Action, CandidateStatus, Candidates, Here},
    config::Config,
    neighbours::Number,
    rooms::Kind,
};

/// What the event loop keeps for it. A key is of relays that were named, or of one that was not, never of both.
pub(super) struct Slots {
    /// Those with one key are one relay that was named more than once. Bounded by [`MAX_RELAYS`].
    named: BTreeMap<RelayKey, BTreeSet<Number>>,
    /// Of relays that nobody named until they answered where one was named, whose own key is theirs now as well: each is
    /// kept in the place of a relay. Bounded likewise.
    adopted: BTreeSet<RelayKey>,
    /// Bounded by the room that [`Candidates`] have.
    unnamed: BTreeMap<RelayKey, PeerId>,
    candidates: Candidates,
    /// What relays are shown that are named with their id.
    token: Option<AccessToken>,
    /// On how many relays that nobody named there may be slots, if those that are named leave as many.
    most_unnamed: usize,
}

impl Slots {
    pub(super) fn new(config: &Config, token: Option<AccessToken>, addresses: &[Multiaddr], rng: SmallRng) -> Self {
        let most_unnamed = if config.relays.mode.is_client() {
            usize::from(config.relays.unnamed)
        } else {
            0
        };
        let here = Here {
            nearest: nearest(config),
            shared: config.limits.shared_networks.clone(),
            own: addresses.iter().filter_map(ip_of).collect(),
        };
        Self {
            named: BTreeMap::new(),
            adopted: BTreeSet::new(),
            unnamed: BTreeMap::new(),
            candidates: Candidates::new(here, most_unnamed, rng),
            token,
            most_unnamed,
        }
    }

    /// Whether one more relay can be named.
    pub(super) fn has_place(&self) -> bool {
        self.named.len() + self.adopted.len() < MAX_RELAYS
    }

    /// Keeps a slot on a relay that was named.
    pub(super) fn keep(&mut self, reservations: &mut Reservations, number: Number, spec: RelaySpec, now: Now) {
        self.candidates.handle_named(spec.peer, &spec.addrs);
        let is_known = self.named.values().any(|numbers| numbers.contains(&number));
        self.make_room(usize::from(!is_known), now);
        self.drain(reservations, now);
        let token = self.token.clone().filter(|_| spec.peer.is_some());
        match reservations.add_relay(spec) {
            Ok(key) => {
                self.named.entry(key).or_default().insert(number);
                if let Some(token) = token {
                    reservations.set_token(key, token);
                }
            }
            Err(error) => tracing::warn!(relay = %number, %error, "no slot is asked for there"),
        }
        // It may have been one that is known.
        self.make_room(0, now);
    }

    /// For relays that nobody named there is the room that those leave that are named, and so many more.
    fn make_room(&mut self, more: usize, now: Now) {
        let left = MAX_RELAYS.saturating_sub(self.named.len() + self.adopted.len() + more);
        self.candidates.handle_room(self.most_unnamed.min(left), now);
    }

    /// This peer answers where a relay was named.
    pub(super) fn handle_answers(&mut self, peer: PeerId, now: Now) {
        let of_peer = self.unnamed.iter().find(|(_, of)| **of == peer);
        if let Some(key) = of_peer.map(|(key, _)| *key) {
            self.unnamed.remove(&key);
            self.adopted.insert(key);
        }
        self.candidates.handle_answers(peer);
        self.make_room(0, now);
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
                        // What answered there, and was not told of, is named.
                        Ok(key) if self.named.contains_key(&key) => self.candidates.handle_answers(peer),
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
        let is_wanted = self.mesh.slots.most_unnamed > 0 && !self.mesh.neighbours.is_named(peer);
        if is_wanted && self.access.serves(peer) {
            let now = self.now();
            let candidates = &mut self.mesh.slots.candidates;
            candidates.handle_identified(peer, kind, addresses, now);
        }
    }

    /// Other rules hold: this relay is reached through nobody whom it would not let in.
    pub(super) fn on_access_changed(&mut self) {
        let taken: Vec<PeerId> = self.mesh.slots.candidates.taken().collect();
        for peer in taken {
            if !self.access.serves(peer) {
                self.mesh.slots.candidates.handle_denied(peer);
            }
        }
    }

    /// What a relay makes of the token that it was shown; `None` if it does not ask for tokens, or did not answer.
    pub(super) fn on_token_answer(&mut self, relay: PeerId, answer: Option<TokenAnswer>) {
        if let Some(reservations) = self.swarm.behaviour_mut().reservations.as_mut() {
            reservations.handle_token_answer(relay, answer);
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
                for number in slots.named.get(&relay).into_iter().flatten() {
                    mesh.neighbours.handle_slot(*number);
                }
                match slots.unnamed.get(&relay) {
                    Some(peer) if self.access.serves(*peer) => slots.candidates.handle_slot(*peer, now),
                    Some(peer) => slots.candidates.handle_slot_lost(*peer, RelayFailure::NotAllowed, now),
                    None => {}
                }
            }
            ReservationsEvent::Relay(RelayEvent::Lost { relay, reason, .. }) => {
                for number in slots.named.get(&relay).into_iter().flatten() {
                    mesh.neighbours.handle_slot_lost(*number, reason.clone(), now);
                }
                if let Some(peer) = slots.unnamed.get(&relay) {
                    slots.candidates.handle_slot_lost(*peer, reason, now);
                }
            }
            ReservationsEvent::TokenWanted { relay, token } => {
                let tokens = &mut self.swarm.behaviour_mut().tokens;
                tokens.send_request(&relay, token.request());
            }
            other => tracing::debug!(?other, "slots"),
        }
        mesh.tell();
    }
}
