//! Connections of the simulated network: dialled, pinged, closed.

use std::time::Duration;

use libp2p::{Multiaddr, PeerId, swarm::ConnectionId};

use super::{Delivery, Network, circuit};
use crate::{
    dial::{DialFailure, Disconnection, Role, Route},
    engine::{DialKey, Ping},
    protocol,
    reservation::{RelayFailure, RelayKey},
    sim::{DIAL_TIMEOUT, NodeId, PING_TIMEOUT, RelayId, node::Remote, relay::RelayState},
};

impl Network {
    pub(super) fn dial(&mut self, node: NodeId, key: DialKey, peer: Option<PeerId>, address: Multiaddr) {
        let Some(relay) = self.relay_at(&address) else {
            return self.later(
                DIAL_TIMEOUT,
                Delivery::DialTimedOut {
                    node,
                    key,
                    peer,
                    address,
                },
            );
        };
        if self.is_silent(node) {
            return self.later(
                DIAL_TIMEOUT,
                Delivery::DialTimedOut {
                    node,
                    key,
                    peer,
                    address,
                },
            );
        }
        let down = self.relays[relay.0].state == RelayState::Down;
        match key {
            DialKey::Relay(_) if down => {
                let reason = RelayFailure::Unreachable("refused".to_owned());
                self.dial_failed(node, key, peer, &address, reason, DialFailure::TimedOut);
            }
            DialKey::Relay(_) => self.connect_relay(node, relay, key),
            DialKey::Peer(_) => self.connect_circuit(node, relay, key, peer, address),
        }
    }

    pub(super) fn connect_relay(&mut self, node: NodeId, relay: RelayId, key: DialKey) {
        let connection = self.connection();
        let now = self.now;
        self.nodes[node.0].connections.insert(connection, Remote::Relay(relay));
        self.relays[relay.0].connected.insert(node);
        let topics = self.nodes[node.0].topics.clone();
        self.relays[relay.0].topics.insert(node, topics);
        let (peer, address) = (self.relays[relay.0].peer, self.relays[relay.0].address.clone());
        self.nodes[node.0].engine.handle_connected(
            peer,
            connection,
            Route::Direct,
            Role::Dialer,
            Some(key),
            &address,
            now,
        );
        self.soon(Delivery::Subscribed {
            node,
            relay,
            topic: protocol::DISCOVERY_TOPIC.to_owned(),
        });
        self.later(self.link.ping_interval, Delivery::Ping { node, connection });
        self.carry_out(node);
    }

    pub(super) fn connect_circuit(
        &mut self,
        node: NodeId,
        relay: RelayId,
        key: DialKey,
        peer: Option<PeerId>,
        address: Multiaddr,
    ) {
        let target = (0..self.nodes.len())
            .map(NodeId)
            .find(|n| Some(self.nodes[n.0].peer) == peer);
        let target = target.filter(|n| self.relays[relay.0].reserved.contains(n));
        let (Some(target), true) = (target, self.relays[relay.0].connected.contains(&node)) else {
            let failure = DialFailure::NoReservation;
            return self.dial_failed(node, key, peer, &address, RelayFailure::TimedOut, failure);
        };
        if self.is_silent(target) {
            return self.later(
                DIAL_TIMEOUT,
                Delivery::DialTimedOut {
                    node,
                    key,
                    peer,
                    address,
                },
            );
        }
        let (near, far) = (self.connection(), self.connection());
        self.attach(node, near, target, far, relay, Some(key));
        self.attach(target, far, node, near, relay, None);
    }

    pub(super) fn attach(
        &mut self,
        node: NodeId,
        connection: ConnectionId,
        other: NodeId,
        far: ConnectionId,
        via: RelayId,
        key: Option<DialKey>,
    ) {
        let remote = Remote::Circuit {
            via,
            node: other,
            connection: far,
        };
        let role = match key {
            Some(_) => Role::Dialer,
            None => Role::Listener,
        };
        let (peer, now) = (self.nodes[other.0].peer, self.now);
        let (relay, address) = (self.relays[via.0].peer, circuit(&self.relays[via.0]));
        self.nodes[node.0].connections.insert(connection, remote);
        self.nodes[node.0].engine.handle_connected(
            peer,
            connection,
            Route::Circuit { relay },
            role,
            key,
            &address,
            now,
        );
        self.later(self.link.ping_interval, Delivery::Ping { node, connection });
        self.carry_out(node);
    }

    pub(super) fn dial_failed(
        &mut self,
        node: NodeId,
        key: DialKey,
        peer: Option<PeerId>,
        address: &Multiaddr,
        relay: RelayFailure,
        failure: DialFailure,
    ) {
        let now = self.now;
        let engine = &mut self.nodes[node.0].engine;
        match (key, peer) {
            (DialKey::Relay(key), _) => engine.handle_relay_dial_failed(key, address, relay, now),
            (DialKey::Peer(attempt), Some(peer)) => engine.handle_attempt_failed(peer, attempt, failure, now),
            (DialKey::Peer(_), None) => unreachable!("a peer is always dialled by its id"),
        }
        self.carry_out(node);
    }

    pub(super) fn ping(&mut self, node: NodeId, connection: ConnectionId) {
        let Some(remote) = self.nodes[node.0].connections.get(&connection).copied() else {
            return;
        };
        let other = match remote {
            Remote::Relay(_) => None,
            Remote::Circuit { node, .. } => Some(node),
        };
        if self.is_silent(node) || other.is_some_and(|other| self.is_silent(other)) {
            return self.later(PING_TIMEOUT, Delivery::PingLost { node, connection });
        }
        let round_trip = self.latency() * 2;
        self.tell_ping(node, connection, Ping::Pong(round_trip));
        self.later(self.link.ping_interval, Delivery::Ping { node, connection });
    }

    pub(super) fn tell_ping(&mut self, node: NodeId, connection: ConnectionId, ping: Ping) {
        let peer = match self.nodes[node.0].connections.get(&connection) {
            Some(Remote::Relay(relay)) => self.relays[relay.0].peer,
            Some(Remote::Circuit { node, .. }) => self.nodes[node.0].peer,
            None => return,
        };
        let now = self.now;
        self.nodes[node.0].engine.handle_ping(peer, connection, ping, now);
        self.carry_out(node);
    }

    /// A node closes one of its connections: its own end at once, the other end when it hears of it.
    pub(super) fn close(&mut self, node: NodeId, connection: ConnectionId, how: Disconnection) {
        let Some(remote) = self.nodes[node.0].connections.get(&connection).copied() else {
            return;
        };
        let heard = !self.is_silent(node);
        match remote {
            Remote::Relay(relay) if heard => {
                self.relays[relay.0].forget(node);
                self.drop_connections(node, relay);
            }
            Remote::Circuit {
                node: other,
                connection: far,
                ..
            } if heard => {
                self.soon(Delivery::Closed {
                    node: other,
                    connection: far,
                    how,
                });
            }
            Remote::Relay(_) | Remote::Circuit { .. } => {}
        }
        self.later(Duration::ZERO, Delivery::Closed { node, connection, how });
    }

    /// Ends what a node has on a relay, both ends: its connection and the circuits through it.
    pub(super) fn drop_connections(&mut self, node: NodeId, relay: RelayId) {
        let ended: Vec<(ConnectionId, Remote)> = self.nodes[node.0]
            .connections
            .iter()
            .filter(|(_, remote)| match remote {
                Remote::Relay(at) => *at == relay,
                Remote::Circuit { via, .. } => *via == relay,
            })
            .map(|(id, remote)| (*id, *remote))
            .collect();
        let how = Disconnection::Lost;
        for (connection, remote) in ended {
            self.soon(Delivery::Closed { node, connection, how });
            if let Remote::Circuit {
                node: other,
                connection: far,
                ..
            } = remote
            {
                self.soon(Delivery::Closed {
                    node: other,
                    connection: far,
                    how,
                });
            }
        }
    }

    pub(super) fn closed(&mut self, node: NodeId, connection: ConnectionId, how: Disconnection) {
        let Some(remote) = self.nodes[node.0].connections.remove(&connection) else {
            return;
        };
        let now = self.now;
        let peer = match remote {
            Remote::Relay(relay) => self.relays[relay.0].peer,
            Remote::Circuit { node, .. } => self.nodes[node.0].peer,
        };
        self.nodes[node.0]
            .engine
            .handle_disconnected(peer, connection, how, now);
        if let Remote::Relay(relay) = remote {
            let ended: Vec<RelayKey> = self.nodes[node.0]
                .listeners
                .iter()
                .filter(|(_, at)| **at == relay)
                .map(|(key, _)| *key)
                .collect();
            for key in ended {
                self.nodes[node.0].listeners.remove(&key);
                let reason = RelayFailure::Disconnected;
                self.nodes[node.0].engine.handle_listener_closed(key, reason, now);
            }
        }
        self.carry_out(node);
    }
}
