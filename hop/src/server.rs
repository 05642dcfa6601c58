//! The relay without a network: who gets a reservation, who gets a circuit, when each ends.
//!
//! Decides everything of that. Never touches a stream or a clock; time is an argument. After any `handle_*` drain
//! [`Server::poll_action`]; call [`Server::handle_timeout`] when [`Server::poll_timeout`] says so.
//!
//! ```text
//!   source                         server                            destination
//!                                  handle_reserve      ◀── RESERVE ──
//!                                  Grant / Refuse      ── STATUS ──▶
//!   ── CONNECT ──▶                 handle_connect
//!                                  Open                ── CONNECT ──▶
//!                                  handle_accepted     ◀── STATUS ───
//!   ◀── STATUS ───                 Bridge
//!   ◀════════════ bytes, which are no business of the server ════════▶
//!                                  handle_ended        however it came to that
//! ```
//!
//! - A reservation belongs to a connection. Total and network limits count peers, so a peer whose network changed gets in
//!   on a new connection while the old one is still believed to live.
//! - A renewal is a request on a connection that has a slot, expired or not. Only the application can refuse it.
//! - A circuit counts from its admission; once it stands, until its [ticket](crate::ticket) has come back. So what is
//!   counted is what is in use.

use std::collections::{BTreeMap, VecDeque};

use libp2p_core::Multiaddr;
use libp2p_identity::PeerId;
use libp2p_swarm::ConnectionId;
use web_time::Instant;

use crate::{
    AccessControl, CircuitId, CircuitRequest, Config, Denial, Event, OpenError, Outcome, Refusal, ReservationEnd,
    ReservationRequest, Traffic,
    network::{Network, Networks, Route},
    ticket::Ending,
};

mod circuits;
mod slots;

use circuits::{Circuits, State};
use slots::{Granted, Slots};

/// One connection of one peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Client {
    pub(crate) peer: PeerId,
    pub(crate) connection: ConnectionId,
}

/// A request of one connection that waits for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub(crate) u64);

/// Whether there is an address to announce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reachability {
    Unknown,
    Reachable,
}

/// What shall be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Tell the client that its reservation stands, and keep its connection.
    Grant { client: Client, request: RequestId },
    /// Tell the client that it gets nothing.
    Refuse {
        client: Client,
        request: RequestId,
        refusal: Refusal,
    },
    /// The client's reservation is over: its connection may close.
    Release { client: Client },
    /// Ask the destination whether it takes a circuit.
    Open {
        circuit: CircuitId,
        destination: Client,
        source: PeerId,
    },
    /// Tell the source that its circuit stands, and carry it.
    Bridge {
        circuit: CircuitId,
        source: Client,
        request: RequestId,
    },
    /// Reset the circuit's streams.
    Cut { circuit: CircuitId },
    /// Tell the application.
    Report(Event),
}

/// What is known of a connection. Bounded by the swarm's connection limits.
#[derive(Debug)]
struct Connection {
    peer: PeerId,
    address: Multiaddr,
    network: Option<Network>,
    route: Route,
}

pub(crate) struct Server {
    config: Config,
    access: Box<dyn AccessControl>,
    networks: Box<Networks>,
    reachability: Reachability,
    connections: BTreeMap<ConnectionId, Connection>,
    slots: Slots,
    circuits: Circuits,
    /// Drained after each `handle_*`; a few for each slot or circuit that the call was about.
    actions: VecDeque<Action>,
}

impl Server {
    pub(crate) fn new(config: Config, access: Box<dyn AccessControl>) -> Self {
        Self {
            config,
            access,
            networks: Box::new(Network::of),
            reachability: Reachability::Unknown,
            connections: BTreeMap::new(),
            slots: Slots::default(),
            circuits: Circuits::default(),
            actions: VecDeque::new(),
        }
    }

    /// A connection stands.
    pub(crate) fn handle_connected(&mut self, client: Client, address: Multiaddr, route: Route) {
        let connection = Connection {
            peer: client.peer,
            network: (self.networks)(&address),
            address,
            route,
        };
        self.connections.insert(client.connection, connection);
    }

    /// A connection is no more.
    pub(crate) fn handle_disconnected(&mut self, connection: ConnectionId) {
        self.connections.remove(&connection);
        self.end_slot(connection, ReservationEnd::ConnectionClosed);
        for id in self.circuits.at(connection) {
            let Some(circuit) = self.circuits.get(id) else {
                continue;
            };
            match circuit.state {
                State::Opening { .. } if circuit.source.connection == connection => {
                    self.end_opening(id, Denial::SourceGone);
                }
                State::Opening { .. } => self.end_opening(id, Denial::Destination(OpenError::Gone)),
                // The other end would take it for an end of this direction only, and wait.
                State::Open => self.cut(id, Outcome::ConnectionClosed),
                State::Cut(_) => {}
            }
        }
    }

    /// Whether there is an address to announce changed.
    pub(crate) fn handle_reachability(&mut self, reachability: Reachability) {
        self.reachability = reachability;
    }

    /// Other limits from now on. Nobody loses what they have.
    pub(crate) fn handle_config(&mut self, config: Config) {
        self.config = config;
    }

    /// Connections are counted in other networks from now on; those that stand are counted as before.
    pub(crate) fn handle_networks(&mut self, networks: Box<Networks>) {
        self.networks = networks;
    }

    /// Another word of the application from now on, also on what was granted before.
    pub(crate) fn handle_access(&mut self, access: Box<dyn AccessControl>) {
        self.access = access;
        let held: Vec<_> = self.slots.iter().map(|(connection, _)| connection).collect();
        for connection in held {
            if self.ask_for_reservation(connection).is_err() {
                self.end_slot(connection, ReservationEnd::AccessWithdrawn);
            }
        }
        let circuits: Vec<_> = self.circuits.iter().map(|(id, circuit)| (id, *circuit)).collect();
        for (id, circuit) in circuits {
            let Err(denial) = self.ask_for_circuit(circuit.source.connection, circuit.destination.peer) else {
                continue;
            };
            match circuit.state {
                State::Opening { .. } => self.end_opening(id, denial),
                State::Open => self.cut(id, Outcome::AccessWithdrawn),
                State::Cut(_) => {}
            }
        }
    }

    /// A client asks for a reservation.
    pub(crate) fn handle_reserve(&mut self, client: Client, request: RequestId, now: Instant) {
        let Client { peer, connection } = client;
        match self.may_reserve(client) {
            Ok(network) => {
                let limits = &self.config.reservations;
                let granted = self.slots.grant(connection, peer, network, limits, now);
                self.actions.push_back(Action::Grant { client, request });
                self.report(match granted {
                    Granted::New => Event::ReservationAccepted { peer, connection },
                    Granted::Renewed => Event::ReservationRenewed { peer, connection },
                });
            }
            Err(denial) => {
                if matches!(denial, Denial::Access { .. }) {
                    self.end_slot(connection, ReservationEnd::AccessWithdrawn);
                }
                self.refuse(client, request, denial.refusal());
                self.report(Event::ReservationDenied {
                    peer,
                    connection,
                    denial,
                });
            }
        }
    }

    /// A client asks for a circuit.
    pub(crate) fn handle_connect(&mut self, source: Client, request: RequestId, destination: PeerId, now: Instant) {
        match self.may_connect(source, destination) {
            Ok(destination) => {
                let limits = &self.config.circuits;
                let circuit = self.circuits.admit(source, destination, request, limits, now);
                self.actions.push_back(Action::Open {
                    circuit,
                    destination,
                    source: source.peer,
                });
            }
            Err(denial) => {
                self.refuse(source, request, denial.refusal());
                self.report(Event::CircuitDenied {
                    source: source.peer,
                    destination,
                    denial,
                });
            }
        }
    }

    /// What a client sent is no request. It is told so where it was read.
    pub(crate) fn handle_rejected(&mut self, client: Client, refusal: Refusal) {
        self.report(Event::RequestRejected {
            peer: client.peer,
            connection: client.connection,
            refusal,
        });
    }

    /// The destination takes the circuit. Whoever has waited too long is not bridged: its ticket comes back.
    pub(crate) fn handle_accepted(&mut self, circuit: CircuitId, now: Instant) {
        let limits = &self.config.circuits;
        let Some((opened, request)) = self.circuits.open(circuit, limits, now) else {
            return;
        };
        self.actions.push_back(Action::Bridge {
            circuit,
            source: opened.source,
            request,
        });
        self.report(Event::CircuitAccepted {
            circuit,
            source: opened.source.peer,
            destination: opened.destination.peer,
        });
    }

    /// A circuit's ticket came back.
    pub(crate) fn handle_ended(&mut self, circuit: CircuitId, ending: Ending, traffic: Traffic, now: Instant) {
        let outcome = match (self.circuits.get(circuit).map(|circuit| circuit.state), ending) {
            (None, _) => return,
            (Some(State::Opening { .. }), Ending::NotOpened(error)) => {
                return self.end_opening(circuit, Denial::Destination(error));
            }
            (Some(State::Opening { .. }), Ending::Dropped | Ending::Closed(_)) => {
                return self.end_opening(circuit, Denial::Destination(OpenError::Gone));
            }
            // Whatever it ended with, it ended because it was told to.
            (Some(State::Cut(outcome)), _) | (Some(State::Open), Ending::Closed(outcome)) => outcome,
            (Some(State::Open), Ending::Dropped | Ending::NotOpened(_)) => Outcome::ConnectionClosed,
        };
        if let Some(ended) = self.circuits.end(circuit) {
            self.report(Event::CircuitClosed {
                circuit,
                source: ended.source.peer,
                destination: ended.destination.peer,
                outcome,
                traffic,
                duration: now.saturating_duration_since(ended.since),
            });
        }
    }

    /// Time passed.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        while let Some(connection) = self.slots.expired(now) {
            self.end_slot(connection, ReservationEnd::Expired);
        }
        while let Some(id) = self.circuits.overdue(now) {
            match self.circuits.get(id).map(|circuit| circuit.state) {
                Some(State::Opening { .. }) => self.end_opening(id, Denial::Destination(OpenError::TimedOut)),
                Some(State::Open | State::Cut(_)) | None => self.cut(id, Outcome::DurationLimit),
            }
        }
    }

    /// The next thing to do.
    pub(crate) fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`Self::handle_timeout`] is wanted.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.slots
            .next_expiry()
            .into_iter()
            .chain(self.circuits.next_deadline())
            .min()
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    pub(crate) fn slots(&self) -> &Slots {
        &self.slots
    }

    pub(crate) fn circuits(&self) -> &Circuits {
        &self.circuits
    }

    fn may_reserve(&mut self, client: Client) -> Result<Option<Network>, Denial> {
        let network = self.ask_for_reservation(client.connection)?;
        if self.reachability == Reachability::Unknown {
            return Err(Denial::NoAddress);
        }
        let limits = &self.config.reservations;
        self.slots
            .room(client.connection, client.peer, network, limits)
            .map_err(Denial::Full)?;
        Ok(network)
    }

    fn may_connect(&mut self, source: Client, destination: PeerId) -> Result<Client, Denial> {
        self.ask_for_circuit(source.connection, destination)?;
        let connection = self.slots.reach(destination).ok_or(Denial::NoReservation)?;
        let limits = &self.config.circuits;
        self.circuits
            .room(source.peer, destination, limits)
            .map_err(Denial::Full)?;
        Ok(Client {
            peer: destination,
            connection,
        })
    }

    fn ask_for_reservation(&mut self, connection: ConnectionId) -> Result<Option<Network>, Denial> {
        let known = direct(&self.connections, connection)?;
        let request = ReservationRequest {
            peer: known.peer,
            address: &known.address,
        };
        self.access.reservation(request).into_result()?;
        Ok(known.network)
    }

    fn ask_for_circuit(&mut self, source: ConnectionId, destination: PeerId) -> Result<(), Denial> {
        let known = direct(&self.connections, source)?;
        let request = CircuitRequest {
            source: known.peer,
            address: &known.address,
            destination,
        };
        self.access.circuit(request).into_result()
    }

    fn end_slot(&mut self, connection: ConnectionId, end: ReservationEnd) {
        if let Some(slot) = self.slots.end(connection) {
            let client = Client {
                peer: slot.peer,
                connection,
            };
            self.actions.push_back(Action::Release { client });
            self.report(Event::ReservationEnded {
                peer: slot.peer,
                connection,
                end,
            });
        }
    }

    fn end_opening(&mut self, circuit: CircuitId, denial: Denial) {
        let Some(ended) = self.circuits.end(circuit) else {
            return;
        };
        if let State::Opening { request } = ended.state {
            self.refuse(ended.source, request, denial.refusal());
        }
        self.report(Event::CircuitDenied {
            source: ended.source.peer,
            destination: ended.destination.peer,
            denial,
        });
    }

    fn cut(&mut self, circuit: CircuitId, outcome: Outcome) {
        self.circuits.cut(circuit, outcome);
        self.actions.push_back(Action::Cut { circuit });
    }

    fn refuse(&mut self, client: Client, request: RequestId, refusal: Refusal) {
        self.actions.push_back(Action::Refuse {
            client,
            request,
            refusal,
        });
    }

    fn report(&mut self, event: Event) {
        self.actions.push_back(Action::Report(event));
    }
}

/// A connection that requests may come over. One that is not known has closed while its request was on the way.
fn direct(connections: &BTreeMap<ConnectionId, Connection>, connection: ConnectionId) -> Result<&Connection, Denial> {
    match connections.get(&connection) {
        Some(known) if known.route == Route::Direct => Ok(known),
        Some(_) => Err(Denial::Relayed),
        None => Err(Denial::SourceGone),
    }
}

#[cfg(test)]
mod tests;
