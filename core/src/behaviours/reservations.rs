//! Keeps reservations on relays, in anyone's swarm: [the machine](crate::reservation::Reservations)
//! with a clock and a swarm around it.
//!
//! Decides nothing itself. It owns the client half of circuit relay v2, because a granted reservation is seen only
//! there, and dials relays and nobody else.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    task::{Context, Poll},
};

use libp2p::{
    Multiaddr, PeerId,
    core::{ConnectedPoint, Endpoint, transport::ListenerId, transport::PortUse},
    relay::client,
    swarm::{
        CloseConnection, ConnectionClosed, ConnectionDenied, ConnectionId, DialFailure, FromSwarm, ListenOpts,
        ListenerClosed, ListenerError, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
        behaviour::ConnectionEstablished,
        dial_opts::{DialOpts, PeerCondition},
    },
};
use rand::{SeedableRng, rngs::SmallRng};

use super::alarm::{Alarm, Passage};
use crate::{
    access::{AccessToken, TokenAnswer},
    dial::route::without_peer,
    node::failure,
    reservation::{
        self, AddRelayError, HeldRelay, RelayEvent, RelayFailure, RelayKey, RelaySpec, ReservationAction,
        ReservationConfig,
    },
};

/// What [`Reservations`] tells the owner of the swarm.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReservationsEvent {
    /// How we stand with a relay.
    Relay(RelayEvent),
    /// Show this relay the token, with [`access_tokens`](super::access_tokens) for instance, and say what it answered:
    /// [`Reservations::handle_token_answer`]. Nothing is asked of the relay before.
    TokenWanted {
        /// Which.
        relay: PeerId,
        /// What was given to [`Reservations::set_token`].
        token: AccessToken,
    },
    /// Of the relay client inside: circuits that came and went, every renewal.
    Client(client::Event),
}

/// A connection that stands, and is none of ours.
#[derive(Clone, Debug)]
struct Other {
    /// Where it was dialled; `None` if the peer dialled us.
    address: Option<Multiaddr>,
    /// Whether the peer has subscribed to a topic since.
    gossip: Gossip,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gossip {
    Heard,
    NotHeard,
}

/// A connection that a slot is kept on.
#[derive(Debug)]
struct Used {
    peer: PeerId,
    /// What it is when it is not used any more; `None` if it was dialled for the slot.
    before: Option<Other>,
}

type Action = ToSwarm<ReservationsEvent, THandlerInEvent<client::Behaviour>>;

/// Holds a connection to and a reservation on each relay it is given, and gets them back when they are lost.
///
/// The swarm's transport must be the one that came with the relay client, and nobody else should `listen_on` the circuits of
/// these relays, or dial them once they are added: a reservation lives on one connection, and two would quarrel. So a
/// connection that stands is used, if its peer is known to be the relay (`peer` is in what is added): one that it dialled,
/// whatever its addresses, or one that was dialled before at an address that is added. When the relay is removed, that one
/// stays. The relayed addresses are listen addresses of the swarm like any other.
///
/// It learns by itself of everything that the swarm sees. Two things the swarm does not see, so its owner tells it:
/// that a relay takes part in gossip ([`handle_gossip`](Self::handle_gossip), unless it is configured
/// [`without_gossip`](ReservationConfig::without_gossip)), and that a ping came back
/// ([`handle_alive`](Self::handle_alive)), without which a host that slept reconnects to every relay.
pub struct Reservations {
    machine: reservation::Reservations,
    client: client::Behaviour,
    alarm: Alarm,
    /// Dials under way. Bounded by the machine's relays and their addresses.
    dials: BTreeMap<ConnectionId, (RelayKey, Multiaddr)>,
    /// Connections that are used. Bounded likewise.
    connections: BTreeMap<ConnectionId, Used>,
    /// Connections that were not dialled here and are not used. Bounded by the swarm's limits on connections.
    others: BTreeMap<(PeerId, ConnectionId), Other>,
    /// Used ones that are not to be closed although the machine says so: they were there before, for another reason.
    released: BTreeSet<ConnectionId>,
    /// Reservations asked for or held: at most one for each relay.
    listeners: HashMap<ListenerId, RelayKey>,
    /// What the swarm has not fetched yet: a few for each event that it told.
    actions: VecDeque<Action>,
}

impl Reservations {
    /// Knows no relay yet. All its randomness, which is how long it waits before it tries again, comes from `seed`.
    #[must_use]
    pub fn new(client: client::Behaviour, config: ReservationConfig, seed: u64) -> Self {
        Self {
            machine: reservation::Reservations::new(config, SmallRng::seed_from_u64(seed)),
            client,
            alarm: Alarm::new(),
            dials: BTreeMap::new(),
            connections: BTreeMap::new(),
            others: BTreeMap::new(),
            released: BTreeSet::new(),
            listeners: HashMap::new(),
            actions: VecDeque::new(),
        }
    }

    /// Keep a reservation on this relay too. One that is known already gains the addresses and keeps its key.
    pub fn add_relay(&mut self, relay: RelaySpec) -> Result<RelayKey, AddRelayError> {
        let now = self.alarm.now();
        self.machine.handle_relay_added(relay, now)
    }

    /// Show this relay a token from its next connection on, before anything is asked of it
    /// ([`ReservationsEvent::TokenWanted`]).
    pub fn set_token(&mut self, relay: RelayKey, token: AccessToken) {
        let now = self.alarm.now();
        self.machine.handle_token(relay, token, now);
    }

    /// What a relay makes of its token; `None` if it does not ask for tokens, or did not answer.
    pub fn handle_token_answer(&mut self, relay: PeerId, answer: Option<TokenAnswer>) {
        let now = self.alarm.now();
        self.machine.handle_token_answer(relay, answer, now);
    }

    /// Keep none on this relay any more: its slot is given back, and its connection closed if it was dialled for it.
    pub fn remove_relay(&mut self, relay: RelayKey) {
        let peer = self.machine.peer_of(relay);
        let stay = self
            .connections
            .iter()
            .filter(|(_, used)| Some(used.peer) == peer && used.before.is_some());
        self.released.extend(stay.map(|(connection, _)| *connection));
        let now = self.alarm.now();
        self.machine.handle_relay_removed(relay, now);
    }

    /// The relays we are connected to, those with a reservation first.
    #[must_use]
    pub fn held(&self) -> Vec<HeldRelay> {
        self.machine.held()
    }

    /// The relays that keep a slot for us, and the address of the connection that carries it.
    pub fn reserved(&self) -> impl Iterator<Item = (PeerId, &Multiaddr)> {
        self.machine.reserved()
    }

    /// This peer subscribed to a topic: gossip flows between us.
    pub fn handle_gossip(&mut self, peer: PeerId) {
        for (_, other) in self.others.range_mut(of(peer)) {
            other.gossip = Gossip::Heard;
        }
        let now = self.alarm.now();
        self.machine.handle_gossip(peer, now);
    }

    /// A ping came back over this connection.
    pub fn handle_alive(&mut self, connection: ConnectionId) {
        let now = self.alarm.now();
        self.machine.handle_alive(connection, now);
    }

    /// The world may have changed (a network came back, a page became visible): what waits is tried now.
    pub fn nudge(&mut self) {
        let now = self.alarm.now();
        self.machine.handle_nudge(now);
    }

    /// Moves the machine on to the current time and makes its actions the swarm's.
    fn advance(&mut self) {
        let now = self.alarm.now();
        if self.alarm.passage(now) == Passage::Slept {
            self.machine.handle_wake(now);
        }
        self.machine.handle_timeout(now);
        while let Some(action) = self.machine.poll_action() {
            self.carry_out(action);
        }
    }

    fn carry_out(&mut self, action: ReservationAction) {
        match action {
            ReservationAction::Dial { relay, peer, address } => self.dial(relay, peer, address),
            ReservationAction::Listen { relay, address } => {
                let opts = ListenOpts::new(address);
                self.listeners.insert(opts.listener_id(), relay);
                self.actions.push_back(ToSwarm::ListenOn { opts });
            }
            ReservationAction::Present { peer, token, .. } => {
                let event = ReservationsEvent::TokenWanted { relay: peer, token };
                self.actions.push_back(ToSwarm::GenerateEvent(event));
            }
            ReservationAction::StopListening { relay } => {
                let of_relay = self.listeners.iter().filter(|(_, key)| **key == relay);
                let remove = of_relay.map(|(id, _)| ToSwarm::RemoveListener { id: *id });
                self.actions.extend(remove);
            }
            ReservationAction::Close { connection } => self.close(connection),
            ReservationAction::Report(event) => {
                let event = ReservationsEvent::Relay(event);
                self.actions.push_back(ToSwarm::GenerateEvent(event));
            }
        }
    }

    fn close(&mut self, connection: ConnectionId) {
        let is_released = self.released.remove(&connection);
        let Some(used) = self.connections.get_mut(&connection) else {
            return;
        };
        let peer_id = used.peer;
        match used.before.take().filter(|_| is_released) {
            Some(before) => {
                self.connections.remove(&connection);
                self.others.insert((peer_id, connection), before);
            }
            None => self.actions.push_back(ToSwarm::CloseConnection {
                peer_id,
                connection: CloseConnection::One(connection),
            }),
        }
    }

    fn dial(&mut self, relay: RelayKey, peer: Option<PeerId>, address: Multiaddr) {
        if let Some(peer) = peer
            && let Some((connection, other)) = self.other_connection(peer, &address)
        {
            self.others.remove(&(peer, connection));
            return self.use_connection(relay, peer, connection, &address, Some(other));
        }
        let opts = match peer {
            Some(peer) => DialOpts::peer_id(peer)
                // Whether a further connection makes sense is the machine's to decide.
                .condition(PeerCondition::Always)
                .addresses(vec![address.clone()])
                .build(),
            None => DialOpts::unknown_peer_id().address(address.clone()).build(),
        };
        self.dials.insert(opts.connection_id(), (relay, address));
        self.actions.push_back(ToSwarm::Dial { opts });
    }

    fn on_established(&mut self, peer: PeerId, connection: ConnectionId, endpoint: &ConnectedPoint) {
        let address = endpoint.get_remote_address();
        if let Some((relay, _)) = self.dials.remove(&connection) {
            self.use_connection(relay, peer, connection, address, None);
        } else if !endpoint.is_relayed() {
            let other = Other {
                address: endpoint.is_dialer().then(|| without_peer(address)),
                gossip: Gossip::NotHeard,
            };
            self.others.insert((peer, connection), other);
        }
    }

    /// `before` is what it was if it was not dialled for this.
    fn use_connection(
        &mut self,
        relay: RelayKey,
        peer: PeerId,
        connection: ConnectionId,
        address: &Multiaddr,
        before: Option<Other>,
    ) {
        let now = self.alarm.now();
        let gossip = before.as_ref().map(|other| other.gossip);
        self.connections.insert(connection, Used { peer, before });
        self.machine.handle_connected(relay, peer, connection, address, now);
        if gossip == Some(Gossip::Heard) {
            self.machine.handle_gossip(peer, now);
        }
    }

    /// A second connection would be worse than none: libp2p asks for reservations over the first, relays may close that.
    /// And if the relay is a client of ours as well, each would close what the other one dials. The newest is the one that
    /// the relay's own gossip gate keeps.
    fn other_connection(&self, peer: PeerId, address: &Multiaddr) -> Option<(ConnectionId, Other)> {
        let fits = |other: &Other| other.address.as_ref().is_none_or(|at| at == address);
        let mut others = self.others.range(of(peer)).rev();
        let ((_, connection), other) = others.find(|(_, other)| fits(other))?;
        Some((*connection, other.clone()))
    }

    fn on_closed(&mut self, peer: PeerId, connection: ConnectionId) {
        self.others.remove(&(peer, connection));
        self.released.remove(&connection);
        if self.connections.remove(&connection).is_some() {
            let now = self.alarm.now();
            self.machine.handle_disconnected(connection, now);
        }
    }

    fn on_listener_ended(&mut self, listener: ListenerId, reason: RelayFailure) {
        if let Some(relay) = self.listeners.remove(&listener) {
            let now = self.alarm.now();
            self.machine.handle_listener_closed(relay, reason, now);
        }
    }

    fn on_client_event(&mut self, event: client::Event) {
        if let client::Event::ReservationReqAccepted { relay_peer_id, .. } = &event {
            let now = self.alarm.now();
            self.machine.handle_reservation_accepted(*relay_peer_id, now);
        }
        let event = ReservationsEvent::Client(event);
        self.actions.push_back(ToSwarm::GenerateEvent(event));
    }
}

/// The keys of all connections of a peer.
fn of(peer: PeerId) -> std::ops::RangeInclusive<(PeerId, ConnectionId)> {
    let [first, last] = [usize::MIN, usize::MAX].map(ConnectionId::new_unchecked);
    (peer, first)..=(peer, last)
}

impl NetworkBehaviour for Reservations {
    type ConnectionHandler = THandler<client::Behaviour>;
    type ToSwarm = ReservationsEvent;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.client.handle_pending_inbound_connection(connection, local, remote)
    }

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.client
            .handle_established_inbound_connection(connection, peer, local, remote)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: Option<PeerId>,
        addresses: &[Multiaddr],
        role: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        self.client
            .handle_pending_outbound_connection(connection, peer, addresses, role)
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port_use: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.client
            .handle_established_outbound_connection(connection, peer, address, role, port_use)
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "libp2p's enum: the others say nothing of relays"
    )]
    fn on_swarm_event(&mut self, event: FromSwarm) {
        // The client first: what the machine asks for then presupposes that it knows the connection.
        self.client.on_swarm_event(event);
        match event {
            FromSwarm::ConnectionEstablished(ConnectionEstablished {
                peer_id,
                connection_id,
                endpoint,
                ..
            }) => self.on_established(peer_id, connection_id, endpoint),
            FromSwarm::ConnectionClosed(ConnectionClosed {
                peer_id, connection_id, ..
            }) => self.on_closed(peer_id, connection_id),
            FromSwarm::DialFailure(DialFailure {
                connection_id, error, ..
            }) => {
                if let Some((relay, address)) = self.dials.remove(&connection_id) {
                    tracing::debug!(?relay, %error, "dial failed");
                    let now = self.alarm.now();
                    self.machine
                        .handle_dial_failed(relay, &address, failure::of_relay(error), now);
                }
            }
            // It could not even be opened: a listener on a relay has no other error.
            FromSwarm::ListenerError(ListenerError { listener_id, err }) => {
                self.on_listener_ended(listener_id, failure::of_reservation(err));
            }
            FromSwarm::ListenerClosed(ListenerClosed {
                listener_id, reason, ..
            }) => {
                let reason = match reason {
                    Ok(()) => RelayFailure::Disconnected,
                    Err(error) => failure::of_reservation(error),
                };
                self.on_listener_ended(listener_id, reason);
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, connection: ConnectionId, event: THandlerOutEvent<Self>) {
        self.client.on_connection_handler_event(peer, connection, event);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        loop {
            self.advance();
            if let Some(action) = self.actions.pop_front() {
                return Poll::Ready(action);
            }
            match self.client.poll(cx) {
                Poll::Ready(ToSwarm::GenerateEvent(event)) => self.on_client_event(event),
                Poll::Ready(action) => return Poll::Ready(action.map_out(ReservationsEvent::Client)),
                Poll::Pending if self.alarm.poll(cx, self.machine.poll_timeout()).is_pending() => {
                    return Poll::Pending;
                }
                Poll::Pending => {}
            }
        }
    }
}
