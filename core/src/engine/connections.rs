//! What happens to connections, and what the parts make of it.

use std::time::Duration;

use libp2p::{Multiaddr, PeerId, swarm::ConnectionId};

use super::{Action, DialKey, Engine};
use crate::{
    access::TokenAnswer,
    dial::{AttemptId, DialFailure, Disconnection, Role, Route, plan::Rungs},
    node::Event,
    now::Now,
    reservation::{RelayFailure, RelayKey},
};

/// The end of a ping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ping {
    /// The pong came back after this time.
    Pong(Duration),
    /// No pong in time: the connection is dead.
    Lost,
}

impl Engine {
    /// A connection is established; `key` is that of our dial that made it, if there was one (circuits for signalling are
    /// dialled by libp2p itself), and `address` the remote's.
    #[expect(
        clippy::too_many_arguments,
        reason = "each says another thing about the one connection"
    )]
    pub fn handle_connected(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        route: Route,
        role: Role,
        key: Option<DialKey>,
        address: &Multiaddr,
        now: Now,
    ) {
        self.liveness.handle_alive(connection, now);
        match key {
            Some(DialKey::Relay(relay)) => {
                self.reservations
                    .handle_connected(relay, peer, connection, address, now);
            }
            Some(DialKey::Peer(_)) | None => self.peer_connected(peer, connection, route, role, now),
        }
        self.settle(now);
    }

    fn peer_connected(&mut self, peer: PeerId, connection: ConnectionId, route: Route, role: Role, now: Now) {
        // A relay of ours, or one that only carries a circuit: not a peer that anyone talks to.
        if self.reservations.is_relay(peer) {
            return;
        }
        self.discovery.handle_connected(peer, now);
        self.dialer.handle_connected(peer, connection, route, role, now);
    }

    /// A connection ended.
    pub fn handle_disconnected(&mut self, peer: PeerId, connection: ConnectionId, how: Disconnection, now: Now) {
        let how = self.liveness.handle_disconnected(connection, how);
        if let Some(relay) = self.reservations.key_of(peer) {
            self.reservations.handle_disconnected(connection, now);
            if !self.reservations.held().iter().any(|held| held.peer == peer) {
                self.asked.remove(&peer);
                self.lose_addresses(relay, now);
            }
        }
        self.dialer.handle_disconnected(peer, connection, how, now);
        if !self.dialer.is_connected(peer) {
            self.discovery.handle_disconnected(peer, now);
        }
        self.settle(now);
    }

    /// A dial for a relay failed.
    pub fn handle_relay_dial_failed(&mut self, relay: RelayKey, address: &Multiaddr, reason: RelayFailure, now: Now) {
        self.reservations.handle_dial_failed(relay, address, reason, now);
        self.settle(now);
    }

    /// A dial for a peer failed.
    pub fn handle_attempt_failed(&mut self, peer: PeerId, attempt: AttemptId, reason: DialFailure, now: Now) {
        let unknown_to_relay = reason == DialFailure::NoReservation;
        self.dialer.handle_attempt_failed(attempt, reason, now);
        // Its relay holds no slot for it: it left without a word. Heard again, it is discovered again.
        if unknown_to_relay {
            self.discovery.handle_unreachable(peer);
        }
        self.settle(now);
    }

    /// The other side tried to connect to us directly, and that failed.
    pub fn handle_offer_failed(&mut self, peer: PeerId, reason: DialFailure, now: Now) {
        self.report(Event::OfferFailed { peer, reason });
        self.settle(now);
    }

    /// A connection's ping ended.
    pub fn handle_ping(&mut self, peer: PeerId, connection: ConnectionId, ping: Ping, now: Now) {
        match ping {
            Ping::Lost => {
                self.liveness.handle_silence(connection);
                self.actions.push_back(Action::Close { connection });
            }
            Ping::Pong(round_trip) => {
                self.liveness.handle_alive(connection, now);
                self.reservations.handle_alive(connection, now);
                self.dialer.handle_alive(peer, connection, now);
                if let Some(relay) = self.reservations.key_of(peer) {
                    self.report(Event::RelayMeasured { relay, round_trip });
                } else if self.dialer.best(peer).is_some_and(|(best, _)| best == connection) {
                    self.report(Event::PeerMeasured { peer, round_trip });
                }
            }
        }
        self.settle(now);
    }

    /// What a relay makes of our token; `None` if it does not ask for tokens, or did not answer.
    pub fn handle_token_answer(&mut self, relay: PeerId, answer: Option<TokenAnswer>, now: Now) {
        self.reservations.handle_token_answer(relay, answer, now);
        self.settle(now);
    }

    /// A relay accepted a reservation, or renewed it.
    pub fn handle_reservation_accepted(&mut self, relay: PeerId, now: Now) {
        self.reservations.handle_reservation_accepted(relay, now);
        if self.asked.insert(relay) {
            self.actions.push_back(Action::RequestSnapshot { relay });
        }
        self.settle(now);
    }

    /// A reservation gave us this relayed address.
    pub fn handle_listen_address(&mut self, relay: RelayKey, address: Multiaddr, now: Now) {
        if self.listening.entry(relay).or_default().insert(address) {
            self.addresses_changed(now);
            self.settle(now);
        }
    }

    /// A reservation ended, or could not be had.
    pub fn handle_listener_closed(&mut self, relay: RelayKey, reason: RelayFailure, now: Now) {
        self.lose_addresses(relay, now);
        self.reservations.handle_listener_closed(relay, reason, now);
        self.settle(now);
    }

    fn lose_addresses(&mut self, relay: RelayKey, now: Now) {
        if self
            .listening
            .remove(&relay)
            .is_some_and(|addresses| !addresses.is_empty())
        {
            self.addresses_changed(now);
        }
    }

    fn addresses_changed(&mut self, now: Now) {
        let circuits = self.listening.values().flatten();
        let addresses = match self.rungs {
            Rungs::CircuitOnly => circuits.cloned().collect(),
            Rungs::WebRtcAndCircuit => {
                let both = |circuit: &Multiaddr| {
                    let direct = peerway_webrtc::multiaddr::advertise(circuit, self.local);
                    direct.into_iter().chain([circuit.clone()])
                };
                circuits.flat_map(both).collect()
            }
        };
        self.discovery.handle_addresses(addresses, now);
    }
}

impl Engine {
    /// Identify says that a peer does not offer reservations.
    pub fn handle_not_a_relay(&mut self, peer: PeerId, now: Now) {
        if let Some(relay) = self.reservations.key_of(peer) {
            self.reservations
                .handle_listener_closed(relay, RelayFailure::NotARelay, now);
            self.settle(now);
        }
    }
}
