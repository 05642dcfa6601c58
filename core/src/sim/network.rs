//! The simulated network: a queue of deliveries in virtual time, and what each does.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use libp2p::{Multiaddr, PeerId, identity::Keypair, multiaddr::Protocol, swarm::ConnectionId};
use rand::{Rng, SeedableRng, rngs::SmallRng};

use super::{
    DIAL_TIMEOUT, GOSSIP_OVERHEAD, PING_INTERVAL, PING_TIMEOUT,
    node::{Link, Remote, SimNode},
    relay::{RelayState, SimRelay},
};
use crate::{
    announcement::Announcement,
    chat::RoomName,
    config::Config,
    dial::{DialFailure, Disconnection, Route},
    engine::{Action, DialKey, Engine, Ping, PublishKey},
    node::Event,
    now::{Now, UnixMillis},
    protocol,
    reservation::{RelayFailure, RelayKey, RelaySpec},
    snapshot::Snapshot,
    view::View,
};

/// Names a node of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub usize);

/// Names a relay of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelayId(pub usize);

/// How packets travel.
#[derive(Clone, Debug)]
pub struct LinkConfig {
    /// Shortest time one way between a node and a relay.
    pub least_latency: Duration,
    /// Longest time one way.
    pub most_latency: Duration,
    /// The share of gossip messages that is lost on each hop, 0 to 1. Everything else is carried by streams and is not.
    pub gossip_loss: f64,
}

impl Default for LinkConfig {
    fn default() -> Self {
        Self {
            least_latency: Duration::from_millis(5),
            most_latency: Duration::from_millis(80),
            gossip_loss: 0.0,
        }
    }
}

/// The network. See the module.
pub struct Network {
    now: Now,
    rng: SmallRng,
    link: LinkConfig,
    config: Config,
    relays: Vec<SimRelay>,
    nodes: Vec<SimNode>,
    queue: BTreeMap<(Duration, u64), Delivery>,
    order: u64,
    connections: usize,
}

/// Something that happens to a node at a time.
enum Delivery {
    Dialed {
        node: NodeId,
        key: DialKey,
        peer: Option<PeerId>,
        address: Multiaddr,
    },
    DialTimedOut { node: NodeId, key: DialKey, peer: Option<PeerId>, address: Multiaddr },
    ReservationAsked {
        node: NodeId,
        relay: RelayId,
        key: RelayKey,
    },
    ReservationAnswered {
        node: NodeId,
        relay: RelayId,
        key: RelayKey,
    },
    Subscribed {
        node: NodeId,
        relay: RelayId,
        topic: String,
    },
    Gossip {
        node: NodeId,
        from: PeerId,
        sequence: u64,
        topic: String,
        data: Vec<u8>,
    },
    GossipAtRelay {
        relay: RelayId,
        by: NodeId,
        sequence: u64,
        topic: String,
        data: Vec<u8>,
    },
    SnapshotAsked {
        node: NodeId,
        relay: RelayId,
    },
    Snapshot {
        node: NodeId,
        snapshot: Snapshot,
    },
    Ping {
        node: NodeId,
        connection: ConnectionId,
    },
    PingLost {
        node: NodeId,
        connection: ConnectionId,
    },
    Closed {
        node: NodeId,
        connection: ConnectionId,
        how: Disconnection,
    },
}

impl Network {
    /// An empty network; all its chance comes from `seed`.
    #[must_use]
    pub fn new(seed: u64, link: LinkConfig) -> Self {
        Self {
            now: Now {
                mono: Duration::ZERO,
                wall: UnixMillis(1_800_000_000_000),
            },
            rng: SmallRng::seed_from_u64(seed),
            link,
            config: Config::default(),
            relays: Vec::new(),
            nodes: Vec::new(),
            queue: BTreeMap::new(),
            order: 0,
            connections: 0,
        }
    }

    /// A relay, running.
    pub fn add_relay(&mut self) -> RelayId {
        let id = RelayId(self.relays.len());
        let peer = self.identity();
        let host = u8::try_from(id.0 + 1).expect("fewer than 255 relays");
        let address: Multiaddr = format!("/ip4/203.0.113.{host}/tcp/8080/ws")
            .parse()
            .expect("an address");
        self.relays.push(SimRelay::new(peer, address));
        id
    }

    /// A node that knows these relays and takes part in the lobby room.
    pub fn add_node(&mut self, relays: &[RelayId]) -> NodeId {
        let id = NodeId(self.nodes.len());
        let peer = self.identity();
        let mut engine = Engine::new(peer, &self.config, None, self.rng.random());
        engine.join(RoomName::default(), self.now).expect("the first room");
        for relay in relays {
            let relay = &self.relays[relay.0];
            let spec = RelaySpec {
                peer: Some(relay.peer),
                addrs: vec![relay.address.clone()],
            };
            engine.add_relay(spec, self.now).expect("few relays, with addresses");
        }
        self.nodes.push(SimNode {
            peer,
            engine,
            view: View::new(peer),
            connections: BTreeMap::new(),
            topics: BTreeSet::new(),
            listeners: BTreeMap::new(),
            events: Vec::new(),
            discovery_bytes: 0,
            next_sequence: self.now.wall.0,
            link: Link::Open,
        });
        self.carry_out(id);
        id
    }

    fn identity(&mut self) -> PeerId {
        let mut secret: [u8; 32] = self.rng.random();
        let key = Keypair::ed25519_from_bytes(&mut secret).expect("32 bytes are a key");
        PeerId::from(key.public())
    }

    /// The virtual time.
    #[must_use]
    pub fn now(&self) -> Now {
        self.now
    }

    /// A node's peer id.
    #[must_use]
    pub fn peer(&self, node: NodeId) -> PeerId {
        self.nodes[node.0].peer
    }

    /// A node's engine.
    #[must_use]
    pub fn engine(&self, node: NodeId) -> &Engine {
        &self.nodes[node.0].engine
    }

    /// A node's view.
    #[must_use]
    pub fn view(&self, node: NodeId) -> &View {
        &self.nodes[node.0].view
    }

    /// What a node reported since this was last asked.
    pub fn take_events(&mut self, node: NodeId) -> Vec<Event> {
        std::mem::take(&mut self.nodes[node.0].events)
    }

    /// Bytes of discovery that a node has received.
    #[must_use]
    pub fn discovery_bytes(&self, node: NodeId) -> usize {
        self.nodes[node.0].discovery_bytes
    }

    /// Whether a node holds a reservation on a relay, by the relay's own books.
    #[must_use]
    pub fn is_reserved(&self, node: NodeId, relay: RelayId) -> bool {
        self.relays[relay.0].reserved.contains(&node)
    }

    /// A node says a line in the lobby room.
    pub fn say(&mut self, node: NodeId, text: &str) {
        let said = self.nodes[node.0].engine.say(&RoomName::default(), text, self.now);
        said.expect("a short line");
        self.carry_out(node);
    }

    /// Kills a relay: every connection to it and every circuit through it ends at once.
    pub fn kill(&mut self, relay: RelayId) {
        for node in self.relays[relay.0].kill() {
            self.drop_connections(node, relay);
        }
    }

    /// Starts a killed relay again: same identity, no memory.
    pub fn start(&mut self, relay: RelayId) {
        self.relays[relay.0].state = RelayState::Up;
    }

    /// From now on a node's packets vanish.
    pub fn silence(&mut self, node: NodeId) {
        self.nodes[node.0].link = Link::Silent;
    }

    /// A silenced node's packets get through again. What was lost stays lost.
    pub fn unsilence(&mut self, node: NodeId) {
        self.nodes[node.0].link = Link::Open;
    }

    /// A node closes for good, without a goodbye.
    pub fn vanish(&mut self, node: NodeId) {
        for relay in 0..self.relays.len() {
            self.relays[relay].forget(node);
            self.drop_connections(node, RelayId(relay));
        }
        self.silence(node);
    }

    /// Lets virtual time pass.
    pub fn run_for(&mut self, time: Duration) {
        self.run_until(self.now.mono + time, |_| false);
    }

    /// Lets virtual time pass until `done` or for `time`; whether it was done.
    pub fn run_until_done(&mut self, time: Duration, done: impl Fn(&Self) -> bool) -> bool {
        self.run_until(self.now.mono + time, &done);
        done(self)
    }

    fn run_until(&mut self, end: Duration, done: impl Fn(&Self) -> bool) {
        while !done(self) {
            let delivery = self.queue.first_key_value().map(|((due, _), _)| *due);
            let timer = (0..self.nodes.len())
                .filter_map(|n| self.nodes[n].engine.poll_timeout().map(|due| (due, n)))
                .min();
            match (delivery, timer) {
                (Some(due), timer) if timer.is_none_or(|(at, _)| due <= at) && due <= end => {
                    self.advance_to(due);
                    if let Some((_, delivery)) = self.queue.pop_first() {
                        self.deliver(delivery);
                    }
                }
                (_, Some((due, node))) if due <= end => {
                    self.advance_to(due);
                    let now = self.now;
                    self.nodes[node].engine.handle_timeout(now);
                    assert!(
                        self.nodes[node]
                            .engine
                            .poll_timeout()
                            .is_none_or(|next| next > now.mono)
                            || self.nodes[node].engine.has_actions(),
                        "a timer that does not move on would spin for ever"
                    );
                    self.carry_out(NodeId(node));
                }
                _ => {
                    self.advance_to(end);
                    return;
                }
            }
        }
    }

    fn advance_to(&mut self, due: Duration) {
        let by = due.saturating_sub(self.now.mono);
        self.now = self.now.after(by);
    }

    fn latency(&mut self) -> Duration {
        let (least, most) = (self.link.least_latency, self.link.most_latency);
        self.rng.random_range(least..=most)
    }

    fn later(&mut self, after: Duration, delivery: Delivery) {
        self.order += 1;
        self.queue.insert((self.now.mono + after, self.order), delivery);
    }

    fn soon(&mut self, delivery: Delivery) {
        let latency = self.latency();
        self.later(latency, delivery);
    }

    fn connection(&mut self) -> ConnectionId {
        self.connections += 1;
        ConnectionId::new_unchecked(self.connections)
    }

    fn is_silent(&self, node: NodeId) -> bool {
        self.nodes[node.0].link == Link::Silent
    }

    /// Does what a node's engine asks for.
    fn carry_out(&mut self, node: NodeId) {
        while let Some(action) = self.nodes[node.0].engine.poll_action() {
            match action {
                Action::Dial { key, peer, address } => self.soon(Delivery::Dialed {
                    node,
                    key,
                    peer,
                    address,
                }),
                Action::Listen { relay: key, address } => {
                    if let Some(relay) = self.relay_at(&address) {
                        self.nodes[node.0].listeners.insert(key, relay);
                        self.soon(Delivery::ReservationAsked { node, relay, key });
                    }
                }
                Action::StopListening { relay } => {
                    if let Some(at) = self.nodes[node.0].listeners.remove(&relay) {
                        self.relays[at.0].reserved.remove(&node);
                    }
                }
                Action::Close { connection } => self.close(node, connection, Disconnection::Clean),
                Action::Subscribe { topic } => self.subscribe(node, topic),
                Action::Unsubscribe { topic } => {
                    self.nodes[node.0].topics.remove(&topic);
                    for relay in &mut self.relays {
                        if let Some(topics) = relay.topics.get_mut(&node) {
                            topics.remove(&topic);
                        }
                    }
                }
                Action::Publish { key, topic, data } => self.publish(node, &key, &topic, &data),
                Action::RequestSnapshot { relay } => {
                    if let Some(relay) = self.relay_of(relay) {
                        self.soon(Delivery::SnapshotAsked { node, relay });
                    }
                }
                Action::Report(event) => {
                    let now = self.now;
                    let _ = self.nodes[node.0].view.apply(&event, now);
                    self.nodes[node.0].events.push(event);
                }
            }
        }
    }

    fn subscribe(&mut self, node: NodeId, topic: String) {
        self.nodes[node.0].topics.insert(topic.clone());
        let relays: Vec<RelayId> = self.nodes[node.0].relays().collect();
        for relay in relays {
            let topics = self.relays[relay.0].topics.entry(node).or_default();
            topics.insert(topic.clone());
        }
    }

    fn publish(&mut self, node: NodeId, key: &PublishKey, topic: &str, data: &[u8]) {
        let relays: Vec<RelayId> = self.nodes[node.0].relays().collect();
        let now = self.now;
        if relays.is_empty() {
            self.nodes[node.0].engine.handle_publish_failed(key, now);
            return;
        }
        self.nodes[node.0].next_sequence += 1;
        let sequence = self.nodes[node.0].next_sequence;
        for relay in relays {
            self.soon(Delivery::GossipAtRelay {
                relay,
                by: node,
                sequence,
                topic: topic.to_owned(),
                data: data.to_vec(),
            });
        }
        self.nodes[node.0].engine.handle_published(key, now);
    }

    fn deliver(&mut self, delivery: Delivery) {
        let now = self.now;
        match delivery {
            Delivery::Dialed {
                node,
                key,
                peer,
                address,
            } => self.dial(node, key, peer, address),
            Delivery::DialTimedOut { node, key, peer, address } => {
                self.dial_failed(node, key, peer, &address, RelayFailure::TimedOut, DialFailure::TimedOut);
            }
            Delivery::ReservationAsked { node, relay, key } => {
                let reachable = self.relays[relay.0].connected.contains(&node) && !self.is_silent(node);
                if reachable {
                    self.relays[relay.0].reserved.insert(node);
                    self.soon(Delivery::ReservationAnswered { node, relay, key });
                }
            }
            Delivery::ReservationAnswered { node, relay, key } => {
                if self.nodes[node.0].to_relay(relay).is_some() && !self.is_silent(node) {
                    let peer = self.relays[relay.0].peer;
                    let address = circuit(&self.relays[relay.0]).with(Protocol::P2p(self.nodes[node.0].peer));
                    let engine = &mut self.nodes[node.0].engine;
                    engine.handle_reservation_accepted(peer, now);
                    engine.handle_listen_address(key, address, now);
                    self.carry_out(node);
                }
            }
            Delivery::Subscribed { node, relay, topic } => {
                if self.nodes[node.0].to_relay(relay).is_some() && !self.is_silent(node) {
                    let peer = self.relays[relay.0].peer;
                    self.nodes[node.0].engine.handle_subscribed(peer, &topic, now);
                    self.carry_out(node);
                }
            }
            Delivery::Gossip {
                node,
                from,
                sequence,
                topic,
                data,
            } => {
                if !self.is_silent(node) {
                    if topic == protocol::DISCOVERY_TOPIC {
                        self.nodes[node.0].discovery_bytes += data.len() + GOSSIP_OVERHEAD;
                    }
                    let engine = &mut self.nodes[node.0].engine;
                    engine.handle_gossip(from, Some(sequence), &topic, &data, now);
                    self.carry_out(node);
                }
            }
            Delivery::GossipAtRelay {
                relay,
                by,
                sequence,
                topic,
                data,
            } => {
                self.forward(relay, by, sequence, &topic, &data);
            }
            Delivery::SnapshotAsked { node, relay } => {
                if self.relays[relay.0].connected.contains(&node) && !self.is_silent(node) {
                    let snapshot = self.relays[relay.0].recent.answer(now);
                    self.soon(Delivery::Snapshot { node, snapshot });
                }
            }
            Delivery::Snapshot { node, snapshot } => {
                if !self.is_silent(node) {
                    let size = serde_json::to_vec(&snapshot).map(|json| json.len()).unwrap_or_default();
                    self.nodes[node.0].discovery_bytes += size;
                    self.nodes[node.0].engine.handle_snapshot(&snapshot, now);
                    self.carry_out(node);
                }
            }
            Delivery::Ping { node, connection } => self.ping(node, connection),
            Delivery::PingLost { node, connection } => self.tell_ping(node, connection, Ping::Lost),
            Delivery::Closed { node, connection, how } => self.closed(node, connection, how),
        }
    }

    fn dial(&mut self, node: NodeId, key: DialKey, peer: Option<PeerId>, address: Multiaddr) {
        let Some(relay) = self.relay_at(&address) else {
            return self.later(DIAL_TIMEOUT, Delivery::DialTimedOut { node, key, peer, address });
        };
        if self.is_silent(node) {
            return self.later(DIAL_TIMEOUT, Delivery::DialTimedOut { node, key, peer, address });
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

    fn connect_relay(&mut self, node: NodeId, relay: RelayId, key: DialKey) {
        let connection = self.connection();
        let now = self.now;
        self.nodes[node.0].connections.insert(connection, Remote::Relay(relay));
        self.relays[relay.0].connected.insert(node);
        let topics = self.nodes[node.0].topics.clone();
        self.relays[relay.0].topics.insert(node, topics);
        let (peer, address) = (self.relays[relay.0].peer, self.relays[relay.0].address.clone());
        self.nodes[node.0]
            .engine
            .handle_connected(peer, connection, Route::Direct, Some(key), &address, now);
        self.soon(Delivery::Subscribed {
            node,
            relay,
            topic: protocol::DISCOVERY_TOPIC.to_owned(),
        });
        self.later(PING_INTERVAL, Delivery::Ping { node, connection });
        self.carry_out(node);
    }

    fn connect_circuit(&mut self, node: NodeId, relay: RelayId, key: DialKey, peer: Option<PeerId>, address: Multiaddr) {
        let target = (0..self.nodes.len())
            .map(NodeId)
            .find(|n| Some(self.nodes[n.0].peer) == peer);
        let target = target.filter(|n| self.relays[relay.0].reserved.contains(n));
        let (Some(target), true) = (target, self.relays[relay.0].connected.contains(&node)) else {
            let failure = DialFailure::NoReservation;
            return self.dial_failed(node, key, peer, &address, RelayFailure::TimedOut, failure);
        };
        if self.is_silent(target) {
            return self.later(DIAL_TIMEOUT, Delivery::DialTimedOut { node, key, peer, address });
        }
        let (near, far) = (self.connection(), self.connection());
        self.attach(node, near, target, far, relay, Some(key));
        self.attach(target, far, node, near, relay, None);
    }

    fn attach(
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
        let (peer, now) = (self.nodes[other.0].peer, self.now);
        let (relay, address) = (self.relays[via.0].peer, circuit(&self.relays[via.0]));
        self.nodes[node.0].connections.insert(connection, remote);
        self.nodes[node.0]
            .engine
            .handle_connected(peer, connection, Route::Circuit { relay }, key, &address, now);
        self.later(PING_INTERVAL, Delivery::Ping { node, connection });
        self.carry_out(node);
    }

    fn dial_failed(
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

    fn forward(&mut self, relay: RelayId, by: NodeId, sequence: u64, topic: &str, data: &[u8]) {
        let from = self.nodes[by.0].peer;
        if self.is_silent(by) || self.relays[relay.0].state == RelayState::Down {
            return;
        }
        let now = self.now;
        if topic == protocol::DISCOVERY_TOPIC {
            let Ok(announcement) = Announcement::decode(from, data) else {
                return;
            };
            self.relays[relay.0]
                .recent
                .handle_announcement(&announcement, Some(sequence), now);
        }
        let subscribers: Vec<NodeId> = self.relays[relay.0]
            .topics
            .iter()
            .filter(|(node, topics)| **node != by && topics.contains(topic))
            .map(|(node, _)| *node)
            .collect();
        for node in subscribers {
            if !self.rng.random_bool(self.link.gossip_loss) {
                self.soon(Delivery::Gossip {
                    node,
                    from,
                    sequence,
                    topic: topic.to_owned(),
                    data: data.to_vec(),
                });
            }
        }
    }

    fn ping(&mut self, node: NodeId, connection: ConnectionId) {
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
        self.later(PING_INTERVAL, Delivery::Ping { node, connection });
    }

    fn tell_ping(&mut self, node: NodeId, connection: ConnectionId, ping: Ping) {
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
    fn close(&mut self, node: NodeId, connection: ConnectionId, how: Disconnection) {
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
    fn drop_connections(&mut self, node: NodeId, relay: RelayId) {
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

    fn closed(&mut self, node: NodeId, connection: ConnectionId, how: Disconnection) {
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

    fn relay_of(&self, peer: PeerId) -> Option<RelayId> {
        self.relays.iter().position(|relay| relay.peer == peer).map(RelayId)
    }

    fn relay_at(&self, address: &Multiaddr) -> Option<RelayId> {
        let relay = address.iter().find_map(|part| match part {
            Protocol::P2p(peer) => self.relay_of(peer),
            #[expect(clippy::wildcard_enum_match_arm, reason = "only a peer id names a relay")]
            _ => None,
        });
        relay.or_else(|| {
            self.relays
                .iter()
                .position(|relay| relay.address == *address)
                .map(RelayId)
        })
    }
}

fn circuit(relay: &SimRelay) -> Multiaddr {
    relay
        .address
        .clone()
        .with(Protocol::P2p(relay.peer))
        .with(Protocol::P2pCircuit)
}
