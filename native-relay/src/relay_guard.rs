//! libp2p's relay behaviour, made to remember every connection that lives.
//!
//! When a reservation ends, libp2p-relay 0.22 forgets not only the reservation but its connection, and with the last one
//! the peer. What that connection says next it takes for impossible: a renewal that is being answered at that moment
//! panics (`valid connection`), and so the whole relay ends. Any client can choose that moment.
//!
//! This wrapper decides two things. After a reservation's end it reports the connection as established once more, as it
//! was reported first: the relay then knows it as what it is, a connection without reservation. And what comes from a
//! connection that is not established is dropped. So at every event the relay knows the connection that it comes from.
//!
//! It never invents a connection, never holds back or reorders what a live one says, and decides nothing about limits.

#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    task::{Context, Poll},
};

use either::Either;
use libp2p::{
    Multiaddr, PeerId,
    core::{ConnectedPoint, Endpoint, transport::PortUse},
    relay,
    swarm::{
        ConnectionClosed, ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
        THandlerOutEvent, ToSwarm, behaviour::ConnectionEstablished,
    },
};

/// [`relay::Behaviour`] that a client cannot end. Use it in its place.
pub struct RelayGuard {
    inner: relay::Behaviour,
    /// Every established connection, as it was reported. Bounded by the swarm's connection limits.
    live: HashMap<ConnectionId, Reported>,
}

/// What the swarm said when a connection was established.
struct Reported {
    peer: PeerId,
    endpoint: ConnectedPoint,
    other_established: usize,
}

/// What the relay's handler tells its behaviour; the crate exports it only as a part of an associated type.
type HopEvent = <THandlerOutEvent<relay::Behaviour> as LeftOf>::Left;

impl RelayGuard {
    /// Guards `inner`.
    #[must_use]
    pub fn new(inner: relay::Behaviour) -> Self {
        Self {
            inner,
            live: HashMap::new(),
        }
    }

    fn report_again(&mut self, connection: ConnectionId) {
        if let Some(reported) = self.live.get(&connection) {
            self.inner
                .on_swarm_event(FromSwarm::ConnectionEstablished(ConnectionEstablished {
                    peer_id: reported.peer,
                    connection_id: connection,
                    endpoint: &reported.endpoint,
                    failed_addresses: &[],
                    other_established: reported.other_established,
                }));
        }
    }
}

impl NetworkBehaviour for RelayGuard {
    type ConnectionHandler = THandler<relay::Behaviour>;
    type ToSwarm = relay::Event;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        local_addr: &Multiaddr,
        remote_addr: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.inner
            .handle_pending_inbound_connection(connection, local_addr, remote_addr)
    }

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        local_addr: &Multiaddr,
        remote_addr: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.inner
            .handle_established_inbound_connection(connection, peer, local_addr, remote_addr)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: Option<PeerId>,
        addresses: &[Multiaddr],
        effective_role: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        self.inner
            .handle_pending_outbound_connection(connection, peer, addresses, effective_role)
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role_override: Endpoint,
        port_use: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.inner
            .handle_established_outbound_connection(connection, peer, address, role_override, port_use)
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "libp2p's enum: all other events say nothing of what lives"
    )]
    fn on_swarm_event(&mut self, event: FromSwarm) {
        match &event {
            FromSwarm::ConnectionEstablished(ConnectionEstablished {
                peer_id,
                connection_id,
                endpoint,
                other_established,
                ..
            }) => {
                let reported = Reported {
                    peer: *peer_id,
                    endpoint: (*endpoint).clone(),
                    other_established: *other_established,
                };
                self.live.insert(*connection_id, reported);
            }
            FromSwarm::ConnectionClosed(ConnectionClosed { connection_id, .. }) => {
                self.live.remove(connection_id);
            }
            _ => {}
        }
        self.inner.on_swarm_event(event);
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, connection: ConnectionId, event: THandlerOutEvent<Self>) {
        if !self.live.contains_key(&connection) {
            return;
        }
        let forgets = matches!(event, Either::Left(HopEvent::ReservationTimedOut {}));
        self.inner.on_connection_handler_event(peer, connection, event);
        if forgets {
            self.report_again(connection);
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        self.inner.poll(cx)
    }
}

/// Names the left one of two types that only an alias names together.
trait LeftOf {
    type Left;
}

impl<L, R> LeftOf for Either<L, R> {
    type Left = L;
}
