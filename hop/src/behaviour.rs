//! The relay in a swarm: hands what happens to the [server](crate::server), and does what that decides.
//!
//! Decides nothing. The only place that reads the clock for the server, and that holds a circuit's stream on its way from
//! the destination's connection to the source's.

use std::{
    collections::{BTreeMap, VecDeque},
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use either::Either;
use futures::FutureExt;
use futures_timer::Delay;
use libp2p_core::{Endpoint, Multiaddr, multiaddr::Protocol, transport::PortUse};
use libp2p_identity::{Keypair, PeerId};
use libp2p_swarm::{
    ConnectionClosed, ConnectionDenied, ConnectionId, ExternalAddresses, FromSwarm, NetworkBehaviour, NotifyHandler,
    Stream, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm, behaviour::ConnectionEstablished, dummy,
};
use web_time::Instant;

use crate::{
    AccessControl, CircuitId, Config, Event, Everybody, Traffic,
    handler::{Command, Handler, Report},
    message,
    network::{Network, Route},
    server::{Action, Client, Reachability, Server},
    ticket::{Returns, Stub, Ticket},
    voucher,
};

/// A circuit relay v2 server.
///
/// It offers HOP on every connection that is not itself relayed, and serves it once the swarm has an external address
/// ([`Swarm::add_external_address`](libp2p_swarm::Swarm::add_external_address)): a reservation without addresses is worth
/// nothing.
pub struct Behaviour {
    server: Server,
    keys: Keypair,
    addresses: ExternalAddresses,
    /// One for each ticket that is out.
    stubs: BTreeMap<CircuitId, Stub>,
    /// What was carried under tickets that have come back.
    carried: Traffic,
    /// What a destination has just accepted; taken when the server says what becomes of it, in the same call.
    accepted: Option<(Ticket, Box<Stream>)>,
    returns: Arc<Returns>,
    /// Drained before anything else is asked of the swarm.
    queue: VecDeque<ToSwarm<Event, THandlerInEvent<Self>>>,
    timer: Option<(Instant, Delay)>,
    offer: Offer,
}

/// Whether a relay says that it is one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Offer {
    /// It offers HOP.
    #[default]
    Offered,
    /// It does not: for a program that is a relay by configuration only.
    Withheld,
}

/// A connection that carries a reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reservation {
    /// Who is reachable.
    pub peer: PeerId,
    /// Over which connection.
    pub connection: ConnectionId,
    /// How long ago it was granted or renewed.
    pub age: Duration,
}

/// A circuit that stands, or is being opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Circuit {
    /// Which one.
    pub circuit: CircuitId,
    /// Who opened it.
    pub source: PeerId,
    /// Whom it leads to.
    pub destination: PeerId,
    /// What it has carried so far.
    pub traffic: Traffic,
    /// How long it has stood, or has been opened.
    pub age: Duration,
    /// How far it has come.
    pub stage: Stage,
}

/// How far a circuit has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stage {
    /// The destination was asked and has not answered. [`Event::CircuitAccepted`] or [`Event::CircuitDenied`] is to come.
    Opening,
    /// [`Event::CircuitAccepted`] was told, and [`Event::CircuitClosed`] is to come.
    Open,
}

impl Behaviour {
    /// For the swarm of these keys, which sign its vouchers. Everybody may use it; see [`Self::set_access`].
    #[must_use]
    pub fn new(keys: &Keypair, config: Config) -> Self {
        Self {
            server: Server::new(config, Box::new(Everybody)),
            keys: keys.clone(),
            addresses: ExternalAddresses::default(),
            stubs: BTreeMap::new(),
            carried: Traffic::default(),
            accepted: None,
            returns: Arc::default(),
            queue: VecDeque::new(),
            timer: None,
            offer: Offer::default(),
        }
    }

    /// Offers HOP, or not, on connections that are established from now on.
    pub fn set_offer(&mut self, offer: Offer) {
        self.offer = offer;
    }

    /// Asks `access` from now on. It is also asked about what was granted before: reservations and circuits that it does not
    /// allow end, all others go on.
    pub fn set_access(&mut self, access: impl AccessControl) {
        self.server.handle_access(Box::new(access));
        self.drain();
    }

    /// Applies other limits from now on; nobody loses what they have. Limits on handshakes are those of when a connection
    /// was established.
    pub fn set_config(&mut self, config: Config) {
        self.server.handle_config(config);
    }

    /// Says in which network a connection is counted, by the address that it comes from; `None`: in none, so that
    /// [`ReservationLimits::per_network`](crate::ReservationLimits::per_network) does not concern it. That is for networks
    /// that stand for many, such as a proxy in front of the relay. Asked once for each connection, when it is established;
    /// those that stand are counted as before. Without this, [`Network::of`].
    pub fn set_networks(&mut self, networks: impl Fn(&Multiaddr) -> Option<Network> + Send + 'static) {
        self.server.handle_networks(Box::new(networks));
    }

    /// What is allowed.
    #[must_use]
    pub fn config(&self) -> &Config {
        self.server.config()
    }

    /// How many peers hold a reservation.
    #[must_use]
    pub fn holders(&self) -> usize {
        self.server.slots().holders()
    }

    /// Whether this peer holds a reservation.
    #[must_use]
    pub fn is_holder(&self, peer: PeerId) -> bool {
        self.server.slots().reach(peer).is_some()
    }

    /// All reservations, one for each connection that carries one.
    pub fn reservations(&self) -> impl Iterator<Item = Reservation> {
        let now = Instant::now();
        self.server.slots().iter().map(move |(connection, slot)| Reservation {
            peer: slot.peer,
            connection,
            age: now.saturating_duration_since(slot.granted),
        })
    }

    /// How many circuits there are, those included that are being opened.
    #[must_use]
    pub fn circuit_count(&self) -> usize {
        self.server.circuits().len()
    }

    /// What all circuits have carried since the behaviour was made, those included that stand. It never shrinks, and once
    /// none stands it is the sum of what every [`Event::CircuitClosed`] said.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.stubs.values().map(Stub::traffic).fold(self.carried, Traffic::plus)
    }

    /// All circuits, those included that are being opened.
    pub fn circuits(&self) -> impl Iterator<Item = Circuit> {
        let now = Instant::now();
        self.server.circuits().iter().map(move |(circuit, known)| Circuit {
            circuit,
            source: known.source.peer,
            destination: known.destination.peer,
            traffic: self.stubs.get(&circuit).map(Stub::traffic).unwrap_or_default(),
            age: now.saturating_duration_since(known.since),
            stage: known.state.stage(),
        })
    }

    fn handler(&self, route: Route) -> THandler<Self> {
        match (route, self.offer) {
            (Route::Direct, Offer::Offered) => Either::Left(Handler::new(self.server.config().handshakes.clone())),
            // There are no circuits inside circuits: such a connection is not even offered HOP.
            (Route::Relayed, _) | (Route::Direct, Offer::Withheld) => Either::Right(dummy::ConnectionHandler),
        }
    }

    fn drain(&mut self) {
        while let Some(action) = self.server.poll_action() {
            self.act(action);
        }
        // Whoever was not bridged waited too long, and its ticket comes back.
        self.accepted = None;
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Grant { client, request } => {
                let answer = self.reserved(client.peer);
                self.command(client, Command::Grant { request, answer });
            }
            Action::Refuse {
                client,
                request,
                refusal,
            } => self.command(client, Command::Refuse { request, refusal }),
            Action::Release { client } => self.command(client, Command::Release),
            Action::Open {
                circuit,
                destination,
                source,
            } => {
                let (ticket, stub) = Ticket::new(circuit, &self.returns);
                self.stubs.insert(circuit, stub);
                let message = message::incoming(source, &self.server.config().circuits);
                self.command(destination, Command::Open { ticket, message });
            }
            Action::Bridge {
                circuit,
                source,
                request,
            } => {
                let Some((ticket, destination)) = self.accepted.take_if(|(ticket, _)| ticket.circuit() == circuit)
                else {
                    return;
                };
                let limits = self.server.config().circuits.clone();
                let answer = message::connected(&limits);
                let bridge = Command::Bridge {
                    request,
                    answer,
                    ticket,
                    destination,
                    limits,
                };
                self.command(source, bridge);
            }
            Action::Cut { circuit } => {
                if let Some(stub) = self.stubs.get(&circuit) {
                    stub.cut();
                }
            }
            Action::Report(event) => self.queue.push_back(ToSwarm::GenerateEvent(event)),
        }
    }

    fn command(&mut self, client: Client, command: Command) {
        self.queue.push_back(ToSwarm::NotifyHandler {
            peer_id: client.peer,
            handler: NotifyHandler::One(client.connection),
            event: Either::Left(command),
        });
    }

    fn reserved(&self, peer: PeerId) -> Vec<u8> {
        let config = self.server.config();
        let expire = message::expiry(config.reservations.lifetime);
        let voucher = voucher::issue(&self.keys, peer, expire).unwrap_or_else(|error| {
            // They are advisory: a reservation without one is as good.
            tracing::warn!(%error, "cannot sign a voucher");
            Vec::new()
        });
        message::reserved(expire, &self.announced(), voucher, &config.circuits)
    }

    /// "All the public relay addrs, including the peer ID of the relay node". Not those that lead through another relay.
    fn announced(&self) -> Vec<Multiaddr> {
        let local = self.keys.public().to_peer_id();
        let direct = self
            .addresses
            .iter()
            .filter(|address| Route::of(address) == Route::Direct);
        direct
            .map(|address| match address.iter().last() {
                Some(Protocol::P2p(_)) => address.clone(),
                _ => address.clone().with(Protocol::P2p(local)),
            })
            .collect()
    }

    fn on_report(&mut self, client: Client, report: Report) {
        let now = Instant::now();
        match report {
            Report::Reserve { request } => self.server.handle_reserve(client, request, now),
            Report::Connect { request, destination } => self.server.handle_connect(client, request, destination, now),
            Report::Rejected { refusal } => self.server.handle_rejected(client, refusal),
            Report::Accepted { ticket, stream } => {
                let circuit = ticket.circuit();
                self.accepted = Some((ticket, stream));
                self.server.handle_accepted(circuit, now);
            }
        }
        self.drain();
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(due) = self.server.poll_timeout() else {
            self.timer = None;
            return Poll::Pending;
        };
        let now = Instant::now();
        if due <= now {
            self.server.handle_timeout(now);
            return Poll::Ready(());
        }
        let timer = match &mut self.timer {
            Some(timer) if timer.0 == due => timer,
            timer => timer.insert((due, Delay::new(due - now))),
        };
        if timer.1.poll_unpin(cx).is_pending() {
            return Poll::Pending;
        }
        // It may be early by less than the host's clock shows, and must not be asked again once it is over.
        self.timer = None;
        self.server.handle_timeout(due);
        Poll::Ready(())
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Either<Handler, dummy::ConnectionHandler>;
    type ToSwarm = Event;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        local_addr: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler(Route::of(local_addr)))
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        address: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler(Route::of(address)))
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "libp2p's enum: all other events say nothing of connections"
    )]
    fn on_swarm_event(&mut self, event: FromSwarm) {
        if self.addresses.on_swarm_event(&event) {
            let reachability = match self.announced().is_empty() {
                true => Reachability::Unknown,
                false => Reachability::Reachable,
            };
            self.server.handle_reachability(reachability);
        }
        match event {
            FromSwarm::ConnectionEstablished(ConnectionEstablished {
                peer_id,
                connection_id,
                endpoint,
                ..
            }) => {
                let (at, remote) = match endpoint {
                    libp2p_core::ConnectedPoint::Dialer { address, .. } => (address, address),
                    libp2p_core::ConnectedPoint::Listener {
                        local_addr,
                        send_back_addr,
                    } => (local_addr, send_back_addr),
                };
                let client = Client {
                    peer: peer_id,
                    connection: connection_id,
                };
                self.server.handle_connected(client, remote.clone(), Route::of(at));
            }
            FromSwarm::ConnectionClosed(ConnectionClosed { connection_id, .. }) => {
                self.server.handle_disconnected(connection_id);
            }
            _ => {}
        }
        self.drain();
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, connection: ConnectionId, event: THandlerOutEvent<Self>) {
        let report = match event {
            Either::Left(report) => report,
            Either::Right(never) => unreachable(never),
        };
        self.on_report(Client { peer, connection }, report);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        loop {
            if let Some(next) = self.queue.pop_front() {
                return Poll::Ready(next);
            }
            let now = Instant::now();
            for (circuit, ending) in self.returns.poll(cx) {
                let stub = self.stubs.remove(&circuit);
                let traffic = stub.as_ref().map(Stub::traffic).unwrap_or_default();
                self.carried = self.carried.plus(traffic);
                self.server.handle_ended(circuit, ending, traffic, now);
            }
            let _ = self.poll_timer(cx);
            self.drain();
            if self.queue.is_empty() {
                return Poll::Pending;
            }
        }
    }
}

fn unreachable(never: Infallible) -> ! {
    match never {}
}
