//! The simulated network: a queue of deliveries in virtual time, and what each does.

mod actions;
mod connections;
mod deliveries;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use libp2p::{Multiaddr, PeerId, identity::Keypair, multiaddr::Protocol, swarm::ConnectionId};
use rand::{Rng, SeedableRng, rngs::SmallRng};

use self::deliveries::Delivery;
use super::{
    PING_INTERVAL,
    node::{Link, SimNode},
    relay::{RelayState, SimRelay},
};
use crate::{
    chat::RoomName,
    config::Config,
    engine::Engine,
    node::Event,
    now::{Now, UnixMillis},
    reservation::RelaySpec,
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
    /// How often connections are pinged; less often makes long simulations cheaper.
    pub ping_interval: Duration,
}

impl Default for LinkConfig {
    fn default() -> Self {
        Self {
            least_latency: Duration::from_millis(5),
            most_latency: Duration::from_millis(80),
            gossip_loss: 0.0,
            ping_interval: PING_INTERVAL,
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
    /// Each node's next timer, the earliest first, and where in it each node stands.
    timers: BTreeSet<(Duration, NodeId)>,
    due: BTreeMap<NodeId, Duration>,
    order: u64,
    connections: usize,
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
            config: Config {
                ping_interval: link.ping_interval,
                ..Config::default()
            },
            link,
            relays: Vec::new(),
            nodes: Vec::new(),
            queue: BTreeMap::new(),
            timers: BTreeSet::new(),
            due: BTreeMap::new(),
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
            let timer = self.timers.first().copied();
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
                    self.nodes[node.0].engine.handle_timeout(now);
                    assert!(
                        self.nodes[node.0]
                            .engine
                            .poll_timeout()
                            .is_none_or(|next| next > now.mono)
                            || self.nodes[node.0].engine.has_actions(),
                        "a timer that does not move on would spin for ever"
                    );
                    self.carry_out(node);
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

    /// Does what a node's engine asks for, and notes when it wants to be woken.
    fn carry_out(&mut self, node: NodeId) {
        self.carry_out_actions(node);
        let next = self.nodes[node.0].engine.poll_timeout();
        if let Some(before) = self.due.remove(&node) {
            self.timers.remove(&(before, node));
        }
        if let Some(next) = next {
            self.due.insert(node, next);
            self.timers.insert((next, node));
        }
    }

    pub(super) fn relay_of(&self, peer: PeerId) -> Option<RelayId> {
        self.relays.iter().position(|relay| relay.peer == peer).map(RelayId)
    }

    pub(super) fn relay_at(&self, address: &Multiaddr) -> Option<RelayId> {
        let relay = address.iter().find_map(|part| {
            let Protocol::P2p(peer) = part else { return None };
            self.relay_of(peer)
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
