//! Which attempts at a direct connection run, and with whom.
//!
//! Finds or dials the circuit for each dial of the transport, settles what happens when two peers dial each other,
//! bounds the number of sessions, and tells how each attempt goes. Advertises every confirmed circuit address as one with
//! `/webrtc`. The sessions themselves run in the circuits' [`handler`](crate::handler).

mod attempts;
mod circuits;
mod config;
mod direct;
mod event;
#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    task::{Context, Poll, Waker},
};

use either::Either;
use futures::StreamExt;
use libp2p_core::{
    ConnectedPoint, Endpoint, Multiaddr,
    transport::{PortUse, TransportError},
};
use libp2p_identity::PeerId;
use libp2p_swarm::{
    CloseConnection, ConnectionClosed, ConnectionDenied, ConnectionId, DialError, DialFailure, FromSwarm,
    NetworkBehaviour, NotifyHandler, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
    behaviour::ConnectionEstablished,
    dial_opts::{DialOpts, PeerCondition},
    dummy,
};
use send_wrapper::SendWrapper;

use self::{
    attempts::{Attempt, Attempts, Stage},
    circuits::Circuits,
    direct::Direct,
};
use crate::{
    IceServer, RtcError, Stats,
    glare::{self, Decision},
    handler::{Command, Handler, Report},
    multiaddr,
    signaling::{Cancellation, Phase, Role, SessionError},
    transport::{Dial, Ends, Inbound},
};

pub use attempts::AttemptId;
pub use config::{Config, InboundPolicy, MAX_SESSIONS};
pub use event::{Error, Event, UpgradeError};

type Action = ToSwarm<Event, Either<Command, std::convert::Infallible>>;

/// Makes direct connections; see [`new`](crate::new).
pub struct Behaviour {
    local: PeerId,
    config: Config,
    ends: Ends,
    circuits: Circuits,
    attempts: Attempts,
    direct: Direct,
    actions: VecDeque<Action>,
    waker: Option<Waker>,
}

impl Behaviour {
    pub(crate) fn new(local: PeerId, config: Config, ends: Ends) -> Self {
        Self {
            local,
            config,
            ends,
            circuits: Circuits::default(),
            attempts: Attempts::default(),
            direct: Direct::new(local),
            actions: VecDeque::new(),
            waker: None,
        }
    }

    /// Tries to reach a peer directly with whom there is a circuit. [`Event`]s tell how it goes.
    ///
    /// # Errors
    /// See [`UpgradeError`]; nothing was begun.
    pub fn upgrade(&mut self, peer: PeerId) -> Result<AttemptId, UpgradeError> {
        let address = self.circuits.address(peer).ok_or(UpgradeError::NoCircuit)?.clone();
        if self.attempts.running(peer, Role::Initiator).is_some() {
            return Err(UpgradeError::AlreadyTrying);
        }
        if self.attempts.count_running() >= self.config.max_sessions {
            return Err(UpgradeError::Busy);
        }
        let attempt = self.attempts.begin(peer, Role::Initiator, Stage::Announced);
        let opts = DialOpts::peer_id(peer)
            .addresses(vec![address])
            .condition(PeerCondition::Always)
            .build();
        self.attempts.set_dial(attempt, opts.connection_id());
        self.act(ToSwarm::Dial { opts });
        Ok(attempt)
    }

    /// Ends an attempt that is under way. One that is connected or has failed is left as it is.
    pub fn cancel(&mut self, attempt: AttemptId) {
        self.give_up(attempt, Cancellation::Unwanted);
    }

    /// The servers for attempts that begin from now on.
    pub fn set_ice_servers(&mut self, servers: Vec<IceServer>) {
        self.config.ice_servers = servers;
    }

    /// Whose offers are answered from now on.
    pub fn set_inbound_policy(&mut self, policy: InboundPolicy) {
        self.config.inbound = policy;
    }

    /// What the browser counts of a direct connection; `None` if there is no such connection.
    #[must_use]
    pub fn stats(
        &self,
        connection: ConnectionId,
    ) -> Option<impl Future<Output = Result<Stats, RtcError>> + Send + 'static> {
        let counters = self.direct.counters(connection)?;
        Some(SendWrapper::new(counters.read()))
    }

    fn act(&mut self, action: Action) {
        self.actions.push_back(action);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn emit(&mut self, event: Event) {
        self.act(ToSwarm::GenerateEvent(event));
    }

    fn command(&mut self, peer: PeerId, connection: ConnectionId, command: Command) {
        self.act(ToSwarm::NotifyHandler {
            peer_id: peer,
            handler: NotifyHandler::One(connection),
            event: Either::Left(command),
        });
    }

    /// The transport was asked to dial.
    fn on_dial(&mut self, Dial { target, reply }: Dial) {
        let peer = target.peer;
        let refuse = |reply: futures::channel::oneshot::Sender<_>, error: Error| {
            // Nobody to tell if the swarm has given it up.
            let _ = reply.send(Err(error));
        };
        let announced = self.attempts.announced(peer);
        if announced.is_none() {
            if self.attempts.running(peer, Role::Initiator).is_some() {
                return refuse(reply, Error::AlreadyTrying);
            }
            if self.attempts.running(peer, Role::Recipient).is_some() {
                return refuse(reply, SessionError::Cancelled(Cancellation::Glare).into());
            }
            if self.attempts.count_running() >= self.config.max_sessions {
                return refuse(reply, Error::Busy);
            }
        }
        let attempt = announced.unwrap_or_else(|| self.attempts.begin(peer, Role::Initiator, Stage::Announced));
        self.attempts.set_reply(attempt, reply);
        match self.circuits.choose(peer, &target.circuit) {
            Some(connection) => self.offer(attempt, peer, connection),
            None => {
                let opts = DialOpts::peer_id(peer)
                    .addresses(vec![target.circuit])
                    // The dial of the address with `/webrtc` counts as one already.
                    .condition(PeerCondition::Always)
                    .build();
                self.attempts
                    .set_stage(attempt, Stage::DialingCircuit(opts.connection_id()));
                self.emit(Event::Phase {
                    attempt,
                    peer,
                    role: Role::Initiator,
                    phase: Phase::Circuit,
                });
                self.act(ToSwarm::Dial { opts });
            }
        }
    }

    fn offer(&mut self, attempt: AttemptId, peer: PeerId, connection: ConnectionId) {
        self.attempts.set_stage(attempt, Stage::Running { connection });
        self.on_phase(attempt, Phase::Signaling);
        let command = Command::Offer {
            attempt,
            servers: self.config.ice_servers.clone(),
            session: self.config.session,
        };
        self.command(peer, connection, command);
    }

    /// The other peer opened a signalling stream.
    fn on_offered(&mut self, peer: PeerId, connection: ConnectionId) {
        let own = self.attempts.running(peer, Role::Initiator);
        let decision = glare::decide(self.local, peer, own.map(|(_, phase)| phase));
        let welcome = match self.config.inbound {
            InboundPolicy::Accept => true,
            InboundPolicy::Refuse => false,
        };
        // One at a time: who asks anew, over another circuit, has given the first up, or wants to hold more than its part.
        let older = self.attempts.running(peer, Role::Recipient);
        let has_room = self.attempts.count_running() < self.config.max_sessions
            || own.is_some() && decision == Decision::YieldAndAnswer
            || older.is_some();
        if decision == Decision::Refuse || !welcome || !has_room {
            tracing::debug!(?decision, "an offer was refused");
            return self.command(peer, connection, Command::Refuse);
        }
        if let (Decision::YieldAndAnswer, Some((attempt, _))) = (decision, own) {
            self.give_up(attempt, Cancellation::Glare);
        }
        if let Some((older, _)) = older {
            self.give_up(older, Cancellation::Replaced);
        }
        let attempt = self
            .attempts
            .begin(peer, Role::Recipient, Stage::Running { connection });
        let command = Command::Answer {
            attempt,
            servers: self.config.ice_servers.clone(),
            session: self.config.session,
        };
        self.command(peer, connection, command);
    }

    fn give_up(&mut self, attempt: AttemptId, why: Cancellation) {
        match self.attempts.stage(attempt) {
            Some((peer, Stage::Running { connection })) => {
                self.command(peer, connection, Command::Cancel { attempt, why });
            }
            Some((_, Stage::Announced | Stage::DialingCircuit(_))) => {
                self.fail(attempt, SessionError::Cancelled(why).into());
            }
            Some((_, Stage::Connected)) | None => {}
        }
    }

    fn on_report(&mut self, peer: PeerId, circuit: ConnectionId, report: Report) {
        match report {
            Report::Offered => self.on_offered(peer, circuit),
            Report::Phase { attempt, phase } => {
                // Of that the swarm tells, with the connection's id.
                if phase != Phase::Connected {
                    self.on_phase(attempt, phase);
                }
            }
            Report::Connected { attempt, connection } => {
                let Some((role, reply)) = self.attempts.set_connected(attempt, connection.counters()) else {
                    return;
                };
                let delivered = match (role, reply) {
                    (Role::Initiator, Some(reply)) => reply.send(Ok(connection)).map_err(|_| Error::Stopped),
                    (Role::Initiator, None) => Err(Error::Stopped),
                    (Role::Recipient, _) => {
                        let inbound = Inbound::new(peer, connection, self.circuits.remote_of(peer, circuit));
                        self.ends.inbound.try_send(inbound).map_err(|_| Error::Busy)
                    }
                };
                if let Err(error) = delivered {
                    self.fail(attempt, error);
                }
            }
            Report::Failed { attempt, error } => self.fail(attempt, error),
        }
    }

    fn on_phase(&mut self, attempt: AttemptId, phase: Phase) {
        if let Some((peer, role)) = self.attempts.set_phase(attempt, phase) {
            self.emit(Event::Phase {
                attempt,
                peer,
                role,
                phase,
            });
        }
    }

    fn fail(&mut self, attempt: AttemptId, error: Error) {
        let Some(Attempt {
            peer,
            role,
            phase,
            reply,
            ..
        }) = self.attempts.end(attempt)
        else {
            return;
        };
        if let Some(reply) = reply {
            // Nobody to tell if the swarm has given the dial up.
            let _ = reply.send(Err(error.clone()));
        }
        self.emit(Event::Failed {
            attempt,
            peer,
            role,
            phase,
            error,
        });
    }

    fn on_established(&mut self, peer: PeerId, connection: ConnectionId, endpoint: &ConnectedPoint) {
        if multiaddr::is_direct_endpoint(endpoint) {
            let role = match endpoint {
                ConnectedPoint::Dialer { .. } => Role::Initiator,
                ConnectedPoint::Listener { .. } => Role::Recipient,
            };
            let handed = self.attempts.take_connected(peer, role);
            let (attempt, counters) = handed.map_or((None, None), |(attempt, counters)| (Some(attempt), counters));
            self.direct.add(peer, connection, role, counters);
            if let Some(attempt) = attempt {
                self.emit(Event::Connected {
                    attempt,
                    peer,
                    role,
                    connection,
                });
            }
        } else if let Some(address) = circuits::address_of(endpoint, peer) {
            self.circuits.add(peer, connection, address);
            if let Some(attempt) = self.attempts.dialing(connection) {
                self.offer(attempt, peer, connection);
            }
        }
    }

    fn on_closed(&mut self, peer: PeerId, connection: ConnectionId) {
        self.direct.remove(peer, connection);
        self.circuits.remove(peer, connection);
        for attempt in self.attempts.on_connection(connection) {
            self.fail(attempt, Error::Circuit("it was closed".to_owned()));
        }
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Either<Handler, dummy::ConnectionHandler>;
    type ToSwarm = Event;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        local_addr: &Multiaddr,
        remote_addr: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        let endpoint = ConnectedPoint::Listener {
            local_addr: local_addr.clone(),
            send_back_addr: remote_addr.clone(),
        };
        Ok(handler(&endpoint, peer))
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
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
        Ok(handler(&endpoint, peer))
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "libp2p's enum: the others change nothing here"
    )]
    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
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
                if let Some(attempt) = self.attempts.dialing(connection_id) {
                    self.fail(attempt, Error::Circuit(cause(error)));
                } else if let Some(attempt) = self.attempts.dialed(connection_id) {
                    // The swarm did not even ask the transport.
                    self.fail(attempt, Error::Stopped);
                }
            }
            FromSwarm::ExternalAddrConfirmed(confirmed) => {
                if let Some(address) = multiaddr::advertise(confirmed.addr, self.local) {
                    self.act(ToSwarm::ExternalAddrConfirmed(address));
                }
            }
            FromSwarm::ExternalAddrExpired(expired) => {
                if let Some(address) = multiaddr::advertise(expired.addr, self.local) {
                    self.act(ToSwarm::ExternalAddrExpired(address));
                }
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, connection: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {
            Either::Left(report) => self.on_report(peer, connection, report),
            Either::Right(never) => match never {},
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Event, THandlerInEvent<Self>>> {
        loop {
            if let Some(action) = self.actions.pop_front() {
                return Poll::Ready(action);
            }
            if let Poll::Ready(Some(dial)) = self.ends.dials.poll_next_unpin(cx) {
                self.on_dial(dial);
                continue;
            }
            if let Poll::Ready(attempt) = self.attempts.poll_given_up(cx) {
                self.give_up(attempt, Cancellation::Unwanted);
                continue;
            }
            if let Poll::Ready((peer_id, connection)) = self.direct.poll_surplus(cx) {
                let connection = CloseConnection::One(connection);
                return Poll::Ready(ToSwarm::CloseConnection { peer_id, connection });
            }
            self.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
    }
}

/// The innermost cause of the last address: that is where transports say what went wrong.
fn cause(error: &DialError) -> String {
    let mut cause: &dyn std::error::Error = error;
    if let DialError::Transport(failures) = error
        && let Some((_, TransportError::Other(failure))) = failures.last()
    {
        cause = failure;
    }
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

fn handler(endpoint: &ConnectedPoint, peer: PeerId) -> Either<Handler, dummy::ConnectionHandler> {
    match circuits::address_of(endpoint, peer) {
        Some(_) => Either::Left(Handler::new()),
        None => Either::Right(dummy::ConnectionHandler),
    }
}
