//! Gossipsub on one connection per peer: the newest that is not a circuit.
//!
//! gossipsub greets a peer (tells it our subscriptions) only on the *first* of its connections, and all connections of
//! a peer drain one queue. A peer that comes back while we still believe in its dead connection is therefore never
//! greeted, and half of what we send goes into the void. On a circuit gossip would eat the circuit's byte limit.
//!
//! So this wrapper decides which connection gossipsub sees. A newer one is shown to it as "the old one closed, a first
//! one was established", which makes it greet again with a fresh queue. What the peer subscribed to is carried over: a
//! peer that merely opened a second connection does not greet twice.
//!
//! It never closes a connection, unless told to with [`OlderConnections::Close`].

mod handler;
#[cfg(test)]
#[cfg(not(target_family = "wasm"))]
mod tests;

use std::{
    collections::{HashMap, VecDeque},
    task::{Context, Poll},
};

use either::Either;
use libp2p::{
    Multiaddr, PeerId,
    core::{ConnectedPoint, Endpoint, transport::PortUse},
    gossipsub::{self, AllowAllSubscriptionFilter, IdentityTransform, TopicSubscriptionFilter},
    swarm::{
        CloseConnection, ConnectionClosed, ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, NotifyHandler,
        THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
        behaviour::{ConnectionEstablished, DialFailure, ListenFailure},
        dummy,
    },
};

use self::handler::{GateHandler, GossipEvent, GossipHandler, In};
use super::is_circuit;

/// What becomes of a peer's older connections when a newer one is established.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OlderConnections {
    /// They stay, without gossip. Right for peers, which upgrade from one kind of connection to another.
    Keep,
    /// They are closed. Right for relays: circuits are routed to whichever connection comes first in a map.
    Close,
}

/// Topics of one peer that are carried over to its newer connection. A peer with more is asked nothing: the rest is
/// forgotten until it subscribes again.
const CARRIED_TOPICS: usize = 128;

/// gossipsub behind a gate. Put it *last* in a behaviour, so that no other part can deny a connection it admitted.
pub struct GossipGate<F: TopicSubscriptionFilter + Send + 'static = AllowAllSubscriptionFilter> {
    inner: gossipsub::Behaviour<IdentityTransform, F>,
    older: OlderConnections,
    peers: HashMap<PeerId, Peer>,
    /// Connections that were admitted but are not reported as established yet.
    pending: HashMap<ConnectionId, PeerId>,
    actions: VecDeque<ToSwarm<gossipsub::Event, Either<In, std::convert::Infallible>>>,
}

#[derive(Default)]
struct Peer {
    /// All live connections that are not circuits, the newest last. Bounded by the swarm's connection limits.
    connections: Vec<(ConnectionId, ConnectedPoint)>,
    /// The one that gossipsub sees.
    shown: Option<ConnectionId>,
    /// The peer's subscriptions, as one message that can be shown to gossipsub again.
    subscriptions: Option<GossipEvent>,
}

impl<F: TopicSubscriptionFilter + Send + 'static> GossipGate<F> {
    /// Puts `inner` behind the gate.
    #[must_use]
    pub fn new(inner: gossipsub::Behaviour<IdentityTransform, F>, older: OlderConnections) -> Self {
        Self {
            inner,
            older,
            peers: HashMap::new(),
            pending: HashMap::new(),
            actions: VecDeque::new(),
        }
    }

    /// The gossipsub behaviour: who is subscribed to what.
    #[must_use]
    pub fn gossip(&self) -> &gossipsub::Behaviour<IdentityTransform, F> {
        &self.inner
    }

    /// The gossipsub behaviour: to subscribe and publish.
    pub fn gossip_mut(&mut self) -> &mut gossipsub::Behaviour<IdentityTransform, F> {
        &mut self.inner
    }

    /// Creates gossipsub's handler for a new connection. From here on gossipsub sees this connection and no other.
    ///
    /// This happens at admission, not once the connection is established: the peer may open a gossip stream at once.
    fn admit(
        &mut self,
        peer_id: PeerId,
        connection: ConnectionId,
        endpoint: &ConnectedPoint,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        if is_circuit(endpoint) {
            return Ok(Either::Right(dummy::ConnectionHandler));
        }
        self.hide(peer_id);
        self.pending.insert(connection, peer_id);
        let handler = self.inner_handler(peer_id, connection, endpoint)?;
        Ok(Either::Left(GateHandler::new(handler)))
    }

    /// Tells gossipsub that the connection it sees of this peer is closed, the last one.
    fn hide(&mut self, peer_id: PeerId) {
        let Some(peer) = self.peers.get_mut(&peer_id) else {
            return;
        };
        let Some(shown) = peer.shown.take() else { return };
        if let Some((connection, endpoint)) = peer.connections.iter().find(|(id, _)| *id == shown).cloned() {
            self.inner_closed(peer_id, connection, &endpoint, 0);
        }
    }

    fn on_established(&mut self, peer_id: PeerId, connection: ConnectionId, endpoint: &ConnectedPoint) {
        self.pending.remove(&connection);
        let peer = self.peers.entry(peer_id).or_default();
        if self.older == OlderConnections::Close {
            self.actions
                .extend(peer.connections.iter().map(|(older, _)| ToSwarm::CloseConnection {
                    peer_id,
                    connection: CloseConnection::One(*older),
                }));
        }
        peer.connections.push((connection, endpoint.clone()));
        peer.shown = Some(connection);
        let carried = peer.subscriptions.as_ref().and_then(handler::copy_subscriptions);
        self.inner_established(peer_id, connection, endpoint);
        if let Some(carried) = carried {
            self.inner.on_connection_handler_event(peer_id, connection, carried);
        }
    }

    /// A connection that we admitted and some other part of the behaviour denied: back to the one before.
    fn on_denied(&mut self, connection: ConnectionId) {
        let Some(peer_id) = self.pending.remove(&connection) else {
            return;
        };
        let Some(peer) = self.peers.get_mut(&peer_id) else {
            // gossipsub knows a peer without connections now, until the next one; it holds one empty queue.
            return;
        };
        let Some((newest, endpoint)) = peer.connections.last().cloned() else {
            return;
        };
        peer.shown = Some(newest);
        self.show_again(peer_id, newest, &endpoint);
        self.inner_closed(peer_id, connection, &endpoint, 1);
    }

    /// Makes gossipsub see a connection that was hidden: a new handler with the peer's current queue, and a greeting.
    fn show_again(&mut self, peer_id: PeerId, connection: ConnectionId, endpoint: &ConnectedPoint) {
        let Ok(handler) = self.inner_handler(peer_id, connection, endpoint) else {
            return;
        };
        self.actions.push_back(ToSwarm::NotifyHandler {
            peer_id,
            handler: NotifyHandler::One(connection),
            event: Either::Left(In::Replace(Box::new(handler))),
        });
        self.inner_established(peer_id, connection, endpoint);
    }

    /// gossipsub's own admission of a connection. It never denies; if it did, the connection would stay without gossip.
    fn inner_handler(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        endpoint: &ConnectedPoint,
    ) -> Result<GossipHandler, ConnectionDenied> {
        match endpoint {
            ConnectedPoint::Dialer {
                address,
                role_override,
                port_use,
            } => {
                self.inner
                    .handle_established_outbound_connection(connection, peer, address, *role_override, *port_use)
            }
            ConnectedPoint::Listener {
                local_addr,
                send_back_addr,
            } => self
                .inner
                .handle_established_inbound_connection(connection, peer, local_addr, send_back_addr),
        }
    }

    fn on_closed(&mut self, peer_id: PeerId, connection: ConnectionId, endpoint: &ConnectedPoint) {
        let Some(peer) = self.peers.get_mut(&peer_id) else {
            return;
        };
        peer.connections.retain(|(id, _)| *id != connection);
        let newest = peer.connections.last().cloned();
        let was_shown = peer.shown == Some(connection);
        if was_shown {
            peer.shown = newest.as_ref().map(|(id, _)| *id);
        }
        match newest {
            None => {
                self.peers.remove(&peer_id);
                if was_shown {
                    self.inner_closed(peer_id, connection, endpoint, 0);
                }
            }
            // The queue and the peer's subscriptions live on: the closed connection's handler is gone, it takes nothing.
            Some((id, point)) if was_shown => {
                self.show_again(peer_id, id, &point);
                self.inner_closed(peer_id, connection, endpoint, 1);
            }
            Some(_) => {}
        }
    }

    fn inner_established(&mut self, peer_id: PeerId, connection: ConnectionId, endpoint: &ConnectedPoint) {
        self.inner
            .on_swarm_event(FromSwarm::ConnectionEstablished(ConnectionEstablished {
                peer_id,
                connection_id: connection,
                endpoint,
                failed_addresses: &[],
                other_established: 0,
            }));
    }

    fn inner_closed(&mut self, peer_id: PeerId, connection: ConnectionId, endpoint: &ConnectedPoint, remaining: usize) {
        self.inner.on_swarm_event(FromSwarm::ConnectionClosed(ConnectionClosed {
            peer_id,
            connection_id: connection,
            endpoint,
            cause: None,
            remaining_established: remaining,
        }));
    }
}

impl<F: TopicSubscriptionFilter + Send + 'static> NetworkBehaviour for GossipGate<F> {
    type ConnectionHandler = Either<GateHandler, dummy::ConnectionHandler>;
    type ToSwarm = gossipsub::Event;

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        local_addr: &Multiaddr,
        send_back_addr: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        let endpoint = ConnectedPoint::Listener {
            local_addr: local_addr.clone(),
            send_back_addr: send_back_addr.clone(),
        };
        self.admit(peer, connection, &endpoint)
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role_override: Endpoint,
        port_use: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        let endpoint = ConnectedPoint::Dialer {
            address: address.clone(),
            role_override,
            port_use,
        };
        self.admit(peer, connection, &endpoint)
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "libp2p's enum: all other events concern gossipsub not by connection"
    )]
    fn on_swarm_event(&mut self, event: FromSwarm) {
        match event {
            FromSwarm::ConnectionEstablished(ConnectionEstablished {
                peer_id,
                connection_id,
                endpoint,
                ..
            }) => {
                if !is_circuit(endpoint) {
                    self.on_established(peer_id, connection_id, endpoint);
                }
            }
            FromSwarm::ConnectionClosed(ConnectionClosed {
                peer_id,
                connection_id,
                endpoint,
                ..
            }) => self.on_closed(peer_id, connection_id, endpoint),
            FromSwarm::DialFailure(DialFailure { connection_id, .. })
            | FromSwarm::ListenFailure(ListenFailure { connection_id, .. }) => {
                self.on_denied(connection_id);
            }
            // gossipsub only keeps IP addresses for its peer score by it, which knows connections we hide.
            FromSwarm::AddressChange(_) => {}
            other => self.inner.on_swarm_event(other),
        }
    }

    fn on_connection_handler_event(
        &mut self,
        peer_id: PeerId,
        connection: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        let event = match event {
            Either::Left(event) => event,
            Either::Right(never) => match never {},
        };
        let Some(peer) = self.peers.get_mut(&peer_id) else {
            return;
        };
        handler::record_subscriptions(&mut peer.subscriptions, &event, CARRIED_TOPICS);
        // A peer that sees our connections in another order talks on another one of them: messages are welcome from
        // each. The state of a connection that gossipsub does not see is not its business.
        if peer.shown == Some(connection) || handler::is_message(&event) {
            self.inner.on_connection_handler_event(peer_id, connection, event);
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        if let Some(action) = self.actions.pop_front() {
            return Poll::Ready(action);
        }
        self.inner
            .poll(cx)
            .map(|action| action.map_in(|event| Either::Left(In::Inner(event))))
    }
}
