//! The only place that touches the swarm and reads the clock: hands events to what decides, does what was decided.

pub(crate) mod mesh;
mod slots;

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures::StreamExt;
use libp2p::{
    PeerId, StreamProtocol, Swarm, gossipsub, identify, ping,
    request_response::{self, Message},
    swarm::{ConnectionId, SwarmEvent},
};
use peerway_core::{
    access::{TokenAnswer, TokenRequest},
    now::{Now, UnixMillis},
    snapshot::{Snapshot, SnapshotRequest},
};
use peerway_hop::{HOP_PROTOCOL, Stage};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, timeout},
};

use self::mesh::Mesh;
use crate::{
    Phase,
    access::{Reason, control::Control},
    behaviour::{Behaviour, BehaviourEvent},
    books::Books,
    boxed::Boxed,
    candidates::CandidateStatus,
    config::{Limits, RelayAddress},
    discovery::Discovery,
    ledger::report::{Page, Report},
    neighbours::NeighbourStatus,
    relay::NameRelayError,
    rooms::{self, Rooms},
};

/// How long connections get to close when the relay stops.
const CLOSING: Duration = Duration::from_secs(2);

/// The requests that may wait for the loop; whoever asks beyond that waits.
pub(crate) const MAX_WAITING_REQUESTS: usize = 16;

/// A question to the loop.
pub(crate) enum Request {
    /// What the relay is doing.
    Status(oneshot::Sender<Status>),
    /// What the ledger says.
    Report(oneshot::Sender<Report>),
    /// What the ledger says of peers, beginning behind one.
    Peers {
        after: Option<PeerId>,
        answer: oneshot::Sender<Page>,
    },
    /// Make one network with this relay, too.
    NameRelay {
        address: RelayAddress,
        answer: oneshot::Sender<Result<(), NameRelayError>>,
    },
    /// Other rules hold: close the connections of those whom they deny.
    AccessChanged,
}

/// What the relay is doing right now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Peers that are connected.
    pub connected: usize,
    /// Peers that hold a reservation.
    pub reservations: usize,
    /// Circuits that stand.
    pub circuits: usize,
    /// For each topic that the relay takes part in, how many peers it forwards to at once.
    pub mesh: BTreeMap<String, usize>,
    /// How it stands with the relays that were named, in the order of the configuration.
    pub relays: Vec<NeighbourStatus>,
    /// How it stands with the relays that nobody named, on which a slot is held, asked for, or was not had.
    pub unnamed: Vec<CandidateStatus>,
    /// How strangers reach this relay.
    pub reach: Reach,
}

/// How those reach a relay who are in none of its networks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// At its addresses, as far as these go.
    #[default]
    Direct,
    /// It has no public address, and a slot on another relay: only through that one. There are no circuits inside circuits,
    /// so its own clients are reached by strangers only if they hold a slot there as well.
    Circuit,
}

impl Reach {
    /// What `/relay.json` and statistics call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Circuit => "circuit",
        }
    }
}

pub(crate) struct EventLoop {
    swarm: Swarm<Boxed<Behaviour>>,
    access: Control,
    books: Books,
    discovery: Discovery,
    rooms: Rooms,
    mesh: Mesh,
    phase: watch::Sender<Phase>,
    stop: watch::Receiver<Phase>,
    requests: mpsc::Receiver<Request>,
    started: Instant,
}

impl EventLoop {
    pub(crate) fn new(
        swarm: Swarm<Boxed<Behaviour>>,
        access: Control,
        books: Books,
        limits: &Limits,
        mesh: Mesh,
        phase: watch::Sender<Phase>,
        requests: mpsc::Receiver<Request>,
    ) -> Self {
        let stop = phase.subscribe();
        Self {
            swarm,
            access,
            books,
            discovery: Discovery::new(limits),
            rooms: Rooms::new(limits),
            mesh,
            phase,
            stop,
            requests,
            started: Instant::now(),
        }
    }

    /// Runs until the phase is [`Phase::Stopping`], then closes every connection. Begins with what has happened before.
    pub(crate) async fn run(mut self, early: Vec<SwarmEvent<BehaviourEvent>>) {
        early.into_iter().for_each(|event| self.on_event(event));
        self.phase.send_if_modified(|phase| {
            let starting = *phase == Phase::Starting;
            *phase = if starting { Phase::Serving } else { *phase };
            starting
        });
        loop {
            let now = self.now();
            self.rooms.handle_timeout(now);
            self.mesh.neighbours.handle_timeout(now);
            for connection in self.access.handle_timeout(now) {
                tracing::debug!(%connection, "no right token was presented in time; closing the connection");
                self.books.write_access_withdrawn(Reason::TokenMissing);
                self.close_connection(connection);
            }
            self.drain();
            let timeouts = [
                self.rooms.poll_timeout(),
                self.access.poll_timeout(),
                self.mesh.neighbours.poll_timeout(),
                self.mesh.slots.poll_timeout(),
            ];
            let deadline = timeouts.into_iter().flatten().min().map(|mono| self.started + mono);
            tokio::select! {
                event = self.swarm.select_next_some() => self.on_event(event),
                Some(request) = self.requests.recv() => self.on_request(request),
                () = sleep_until(deadline) => {}
                () = stopping(&mut self.stop) => break,
            }
        }
        // Whoever still tries to send something must not keep the process.
        let _ = timeout(CLOSING, self.close()).await;
    }

    async fn close(&mut self) {
        let peers: Vec<PeerId> = self.swarm.connected_peers().copied().collect();
        for peer in peers {
            // An error means that it is gone already.
            let _ = self.swarm.disconnect_peer_id(peer);
        }
        while self.swarm.connected_peers().next().is_some() {
            let event = self.swarm.select_next_some().await;
            self.books.write(&event, self.now());
        }
    }

    fn now(&self) -> Now {
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_millis();
        Now {
            mono: self.started.elapsed(),
            wall: UnixMillis(u64::try_from(wall).unwrap_or(u64::MAX)),
        }
    }

    fn drain(&mut self) {
        self.drain_mesh();
        self.drain_slots();
        while let Some(action) = self.rooms.poll_action() {
            let gossip = self.swarm.behaviour_mut().gossip.gossip_mut();
            match action {
                rooms::Action::Follow(topic) => {
                    tracing::debug!(%topic, "following a room");
                    if let Err(error) = gossip.subscribe(&gossipsub::IdentTopic::new(topic.as_str())) {
                        tracing::warn!(%topic, %error, "cannot follow a room");
                    }
                }
                rooms::Action::Leave(topic) => {
                    tracing::debug!(%topic, "leaving a room");
                    gossip.unsubscribe(&gossipsub::IdentTopic::new(topic.as_str()));
                }
            }
        }
    }

    fn on_request(&mut self, request: Request) {
        match request {
            Request::Status(answer) => self.on_status_request(answer),
            // Whoever asked may have given up; so below.
            Request::Report(answer) => drop(answer.send(self.report())),
            Request::Peers { after, answer } => drop(answer.send(self.books.ledger().page(after, self.now()))),
            Request::NameRelay { address, answer } => drop(answer.send(self.name_relay(&address))),
            Request::AccessChanged => {
                // The relay server asks again about what it granted.
                let access = self.access.clone();
                self.swarm.behaviour_mut().relay.set_access(access);
                for (connection, peer, reason) in self.access.refused() {
                    tracing::info!(%peer, reason = reason.name(), "access withdrawn");
                    self.books.write_access_withdrawn(reason);
                    self.close_connection(connection);
                }
                self.on_access_changed();
            }
        }
    }

    fn on_status_request(&self, answer: oneshot::Sender<Status>) {
        let gossip = self.swarm.behaviour().gossip.gossip();
        let mesh = gossip
            .topics()
            .map(|topic| (topic.to_string(), gossip.mesh_peers(topic).count()))
            .collect();
        let connected = self.swarm.connected_peers().count();
        // Whoever asked may have given up.
        let _ = answer.send(Status {
            connected,
            reservations: self.swarm.behaviour().relay.holders(),
            circuits: open_circuits(&self.swarm.behaviour().relay),
            mesh,
            relays: self.mesh.neighbours.statuses(),
            unnamed: self.mesh.slots.statuses(),
            reach: self.mesh.reach(),
        });
    }

    fn report(&self) -> Report {
        Report {
            standing: self.books.ledger().standing(),
            rooms: self.rooms.followed(),
            counts: self.books.ledger().counts().clone(),
            traffic: self.swarm.behaviour().relay.traffic(),
            stun: self.books.stun(),
            relays: self.mesh.neighbours.statuses(),
            unnamed: self.mesh.slots.statuses(),
            reach: self.mesh.reach(),
            uptime: self.now().mono,
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "a foreign enum, of which most events need no reaction"
    )]
    fn on_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        self.books.write(&event, self.now());
        self.on_mesh_event(&event);
        match event {
            SwarmEvent::Behaviour(event) => self.on_behaviour_event(event),
            SwarmEvent::ConnectionEstablished {
                peer_id,
                num_established,
                ..
            } => {
                tracing::debug!(%peer_id, %num_established, "connected");
                self.access.handle_connected(peer_id, self.now());
                self.discovery.handle_connected(peer_id);
            }
            SwarmEvent::ConnectionClosed {
                peer_id,
                num_established: 0,
                cause,
                ..
            } => {
                tracing::debug!(%peer_id, ?cause, "disconnected");
                self.discovery.handle_disconnected(peer_id);
                self.rooms.handle_disconnected(peer_id, self.now());
            }
            SwarmEvent::IncomingConnectionError { error, .. } => {
                tracing::debug!(%error, "an incoming connection failed");
            }
            SwarmEvent::ListenerError { listener_id, error } => {
                tracing::warn!(%listener_id, %error, "a listener has trouble");
            }
            SwarmEvent::ListenerClosed {
                listener_id,
                reason,
                addresses,
            } if !mesh::is_of_a_slot(&addresses) => {
                tracing::error!(%listener_id, ?reason, "a listener closed");
            }
            _ => {}
        }
    }

    fn on_behaviour_event(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Admission(never) | BehaviourEvent::Limits(never) => match never {},
            // It has been written down.
            BehaviourEvent::Relay(_) => {}
            BehaviourEvent::Reservations(event) => self.on_reservation_event(event),
            BehaviourEvent::Gossip(event) => self.on_gossip_event(event),
            BehaviourEvent::Tokens(event) => self.on_token_event(event),
            BehaviourEvent::Snapshots(event) => self.on_snapshot_event(event),
            BehaviourEvent::Identify(event) => self.on_identify_event(event),
            BehaviourEvent::Ping(event) => self.on_ping_event(event),
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "a foreign enum")]
    fn on_gossip_event(&mut self, event: gossipsub::Event) {
        let now = self.now();
        match event {
            gossipsub::Event::Message {
                propagation_source,
                message_id,
                message,
            } => {
                let verdict = self.discovery.handle_message(&message, now);
                self.books.write_gossip(&message.topic, &verdict);
                let gossip = self.swarm.behaviour_mut().gossip.gossip_mut();
                gossip.report_message_validation_result(&message_id, &propagation_source, verdict);
            }
            gossipsub::Event::Subscribed { peer_id, topic } if self.swarm.is_connected(&peer_id) => {
                if let Some(reservations) = self.swarm.behaviour_mut().reservations.as_mut() {
                    reservations.handle_gossip(peer_id);
                }
                self.rooms.handle_subscribed(peer_id, topic, now);
            }
            gossipsub::Event::Unsubscribed { peer_id, topic } => {
                self.rooms.handle_unsubscribed(peer_id, &topic, now);
            }
            event => tracing::trace!(?event, "gossip"),
        }
    }

    fn on_token_event(&mut self, event: request_response::Event<TokenRequest, TokenAnswer>) {
        match event {
            request_response::Event::Message {
                peer,
                message: Message::Request { request, channel, .. },
                ..
            } => {
                let answer = self.access.handle_token(peer, &request.token, self.now());
                self.books.write_token(peer, answer);
                // An error means that whoever asked is gone.
                let _ = self.swarm.behaviour_mut().tokens.send_response(channel, answer);
            }
            request_response::Event::Message {
                peer,
                message: Message::Response { response, .. },
                ..
            } => self.on_token_answer(peer, Some(response)),
            request_response::Event::OutboundFailure { peer, error, .. } => {
                tracing::debug!(%peer, %error, "no answer to a token");
                self.on_token_answer(peer, None);
            }
            request_response::Event::InboundFailure { .. } | request_response::Event::ResponseSent { .. } => {}
        }
    }

    fn on_snapshot_event(&mut self, event: request_response::Event<SnapshotRequest, Snapshot>) {
        match event {
            request_response::Event::Message {
                message: Message::Request { channel, .. },
                ..
            } => {
                let answer = self.discovery.answer(self.now());
                // An error means that whoever asked is gone.
                let _ = self.swarm.behaviour_mut().snapshots.send_response(channel, answer);
            }
            request_response::Event::Message {
                peer,
                message: Message::Response { response, .. },
                ..
            } => self.on_mesh_snapshot(peer, &response),
            request_response::Event::OutboundFailure { peer, error, .. } => {
                tracing::debug!(%peer, %error, "no snapshot of another relay");
            }
            request_response::Event::InboundFailure { .. } | request_response::Event::ResponseSent { .. } => {}
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "a foreign enum, of which one event counts"
    )]
    fn on_identify_event(&mut self, event: identify::Event) {
        match event {
            identify::Event::Received { peer_id, info, .. } if self.swarm.is_connected(&peer_id) => {
                let kind = kind_of(&info.protocols);
                tracing::debug!(%peer_id, agent = info.agent_version, ?kind, "identified");
                self.rooms.handle_identified(peer_id, kind, self.now());
                self.on_mesh_identified(peer_id, kind, &info.listen_addrs);
            }
            _ => {}
        }
    }

    /// ping itself never closes anything. A peer that does not speak ping (js-libp2p's is optional) is kept.
    fn on_ping_event(
        &mut self,
        ping::Event {
            peer,
            connection,
            result,
        }: ping::Event,
    ) {
        match result {
            Ok(_) => {
                if let Some(reservations) = self.swarm.behaviour_mut().reservations.as_mut() {
                    reservations.handle_alive(connection);
                }
            }
            Err(ping::Failure::Unsupported) => {}
            Err(error @ (ping::Failure::Timeout | ping::Failure::Other { .. })) => {
                tracing::debug!(%peer, %error, "no answer to a ping; closing the connection");
                self.close_connection(connection);
            }
        }
    }

    fn close_connection(&mut self, connection: ConnectionId) {
        // `false` means that it is closed already.
        let _ = self.swarm.close_connection(connection);
    }
}

impl Drop for EventLoop {
    /// However the loop ends, nobody is sent here any more.
    fn drop(&mut self) {
        self.phase.send_replace(Phase::Stopping);
    }
}

/// Those that stand; others are being opened.
fn open_circuits(relay: &peerway_hop::Behaviour) -> usize {
    relay.circuits().filter(|circuit| circuit.stage == Stage::Open).count()
}

/// Whoever offers to carry circuits is a relay.
fn kind_of(protocols: &[StreamProtocol]) -> rooms::Kind {
    if protocols.contains(&HOP_PROTOCOL) {
        rooms::Kind::Relay
    } else {
        rooms::Kind::Member
    }
}

/// Completes when the phase is [`Phase::Stopping`], or nobody is left to say so.
pub(crate) async fn stopping(phase: &mut watch::Receiver<Phase>) {
    let _ = phase.wait_for(|phase| *phase == Phase::Stopping).await;
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
