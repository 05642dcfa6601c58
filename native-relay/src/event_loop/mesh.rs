//! The event loop's part in being one network with other relays: tells [`Neighbours`] what happens, and does what they
//! decide. Decides nothing itself.

use std::collections::{BTreeMap, BTreeSet};

use libp2p::{
    Multiaddr, PeerId, Swarm,
    core::ConnectedPoint,
    multiaddr::Protocol,
    swarm::{
        ConnectionId, DialError, SwarmEvent,
        dial_opts::{DialOpts, PeerCondition},
    },
};
use peerway_core::{
    access::AccessToken,
    dial::{
        Role,
        route::{AddressForm, Scope, classify},
    },
    now::Now,
    snapshot::{Snapshot, SnapshotRequest},
};
use rand::{SeedableRng, rngs::SmallRng};

use super::{EventLoop, Reach, slots::Slots};
use crate::{
    access::control::ip_of,
    behaviour::{Behaviour, BehaviourEvent},
    boxed::Boxed,
    config::{Config, Exposure, RelayAddress},
    http::RelayDocument,
    neighbours::{Action, Dialling, Neighbours, Number, Published},
    relay::NameRelayError,
    rooms,
};

/// Addresses through other relays that this one tells others. Each slot gives as many as its relay has; identify's messages
/// end at 4 096 bytes, and a relay's own addresses are in them, too.
const MAX_CIRCUIT_ADDRESSES: usize = 4;

/// Relays that are connected and not named of which it is kept what they said. One of more that is named then is one network
/// with this one when it says it again.
const MAX_MET: usize = 64;

/// What the event loop keeps for it.
pub(crate) struct Mesh {
    pub(super) neighbours: Neighbours,
    /// Dials under way. Bounded by the relays that are named: each has one, and few that nobody waits for any more.
    dials: BTreeMap<ConnectionId, (Number, Multiaddr)>,
    /// Connections that are not circuits, on which there is no gossip. Bounded by the limits on connections.
    connections: BTreeMap<PeerId, BTreeSet<ConnectionId>>,
    pub(super) slots: Slots,
    /// What those that are connected and say that they are relays say of where they are: they may be named some day.
    /// Bounded by [`MAX_MET`].
    met: BTreeMap<PeerId, Vec<Multiaddr>>,
    has_public_address: bool,
    told_reach: Reach,
    relays: Vec<Published>,
    /// What pages are told.
    document: RelayDocument,
}

impl Mesh {
    pub(crate) fn new(
        swarm: &mut Swarm<Boxed<Behaviour>>,
        config: &Config,
        token: Option<AccessToken>,
        addresses: &[Multiaddr],
        document: RelayDocument,
    ) -> Self {
        let dialling = if config.relays.mode.is_client() {
            Dialling::Elsewhere
        } else {
            Dialling::Here
        };
        let local = *swarm.local_peer_id();
        let rng = SmallRng::from_os_rng;
        let neighbours = Neighbours::new(local, &config.relays.addresses, nearest(config), dialling, rng());
        let mut slots = Slots::new(config, token, addresses, rng());
        if let Some(reservations) = swarm.behaviour_mut().reservations.as_mut() {
            for (number, spec) in neighbours.specs() {
                slots.keep(reservations, number, spec, Now::default());
            }
        }
        Self {
            neighbours,
            dials: BTreeMap::new(),
            connections: BTreeMap::new(),
            slots,
            met: BTreeMap::new(),
            has_public_address: addresses.iter().any(is_public),
            told_reach: Reach::Direct,
            relays: Vec::new(),
            document,
        }
    }

    pub(super) fn reach(&self) -> Reach {
        if !self.has_public_address && (self.neighbours.has_slot() || self.slots.has_unnamed()) {
            Reach::Circuit
        } else {
            Reach::Direct
        }
    }

    pub(super) fn tell(&mut self) {
        let reach = self.reach();
        if std::mem::replace(&mut self.told_reach, reach) != reach && reach == Reach::Circuit {
            tracing::info!(
                "strangers reach this relay only through a circuit, and there are none inside circuits: its clients are \
                 reached by them if they hold a slot on a relay with a public address"
            );
        }
        self.document.update(&self.relays, reach);
    }
}

impl EventLoop {
    pub(super) fn name_relay(&mut self, address: &RelayAddress) -> Result<(), NameRelayError> {
        let now = self.now();
        let behaviour = self.swarm.behaviour_mut();
        // A client that has no place for one more slot dials nobody it could not hold one on.
        let client = behaviour.reservations.as_mut();
        if client.is_some() && !self.mesh.slots.has_place() {
            return Err(NameRelayError::TooMany);
        }
        let peer = address.peer();
        let is_connected = peer.is_some_and(|peer| self.mesh.connections.contains_key(&peer));
        let (number, wanted) = self.mesh.neighbours.handle_named(address, is_connected, now)?;
        if let Some(peer) = peer
            && let Some(addresses) = self.mesh.met.get(&peer)
        {
            let kind = rooms::Kind::Relay;
            self.mesh.neighbours.handle_identified(peer, kind, addresses, now);
        }
        if let (Some(reservations), Some(spec)) = (client, wanted) {
            self.mesh.slots.keep(reservations, number, spec, now);
        }
        if let Some(ip) = address.ip() {
            behaviour.admission.welcome_address(ip);
        }
        Ok(())
    }

    pub(super) fn drain_mesh(&mut self) {
        while let Some(action) = self.mesh.neighbours.poll_action() {
            match action {
                Action::Dial { relay, peer, address } => self.dial_relay(relay, peer, address),
                Action::Welcome { peer } => {
                    let now = self.now();
                    self.mesh.slots.handle_answers(peer, now);
                    self.access.welcome(peer);
                    let behaviour = self.swarm.behaviour_mut();
                    behaviour.admission.welcome(peer);
                    behaviour.limits.exempt(peer);
                }
                Action::Dismiss { peer } => {
                    self.access.dismiss(peer);
                    let behaviour = self.swarm.behaviour_mut();
                    behaviour.admission.dismiss(peer);
                    behaviour.limits.no_longer_exempt(peer);
                }
                Action::AskWhoIsThere { peer } => {
                    let snapshots = &mut self.swarm.behaviour_mut().snapshots;
                    snapshots.send_request(&peer, SnapshotRequest {});
                }
                Action::Publish(relays) => {
                    self.mesh.relays = relays;
                    self.mesh.tell();
                }
            }
        }
    }

    fn dial_relay(&mut self, relay: Number, peer: Option<PeerId>, address: Multiaddr) {
        let opts = match peer {
            Some(peer) => DialOpts::peer_id(peer)
                // Whether one is dialled is decided elsewhere: also beside a dial that takes long.
                .condition(PeerCondition::Always)
                .addresses(vec![address.clone()])
                .build(),
            None => DialOpts::unknown_peer_id().address(address.clone()).build(),
        };
        let connection = opts.connection_id();
        tracing::debug!(%relay, %address, "dialling a relay");
        match self.swarm.dial(opts) {
            Ok(()) => {
                self.mesh.dials.insert(connection, (relay, address));
            }
            Err(error) => self.on_relay_dial_failed(relay, &address, &error),
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "a foreign enum: all other events say nothing of connections"
    )]
    pub(super) fn on_mesh_event(&mut self, event: &SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::ConnectionEstablished {
                peer_id,
                connection_id,
                endpoint,
                ..
            } if !endpoint.is_relayed() => self.on_mesh_connected(*peer_id, *connection_id, endpoint),
            SwarmEvent::ConnectionClosed {
                peer_id, connection_id, ..
            } => self.on_mesh_closed(*peer_id, *connection_id),
            SwarmEvent::OutgoingConnectionError {
                connection_id, error, ..
            } => {
                if let Some((relay, address)) = self.mesh.dials.remove(connection_id) {
                    self.on_relay_dial_failed(relay, &address, error);
                }
            }
            SwarmEvent::ExternalAddrConfirmed { address } if is_circuit(address) => {
                let circuits = self.swarm.external_addresses().filter(|address| is_circuit(address));
                if circuits.count() > MAX_CIRCUIT_ADDRESSES {
                    let least = self.least_wanted(address);
                    self.swarm.remove_external_address(&least);
                }
            }
            _ => {}
        }
    }

    /// Of the circuit addresses, of which there is one too many: one through a relay that nobody named, else the newest.
    fn least_wanted(&self, newest: &Multiaddr) -> Multiaddr {
        let is_unnamed = |address: &&Multiaddr| {
            let named = |part| matches!(part, Protocol::P2p(relay) if self.mesh.neighbours.is_named(relay));
            // Behind the circuit is this relay itself.
            let mut before = address.iter().take_while(|part| *part != Protocol::P2pCircuit);
            is_circuit(address) && !before.any(named)
        };
        let mut unnamed = self.swarm.external_addresses().filter(is_unnamed);
        unnamed.next().unwrap_or(newest).clone()
    }

    fn on_mesh_connected(&mut self, peer: PeerId, connection: ConnectionId, endpoint: &ConnectedPoint) {
        let now = self.now();
        let mesh = &mut self.mesh;
        mesh.connections.entry(peer).or_default().insert(connection);
        let role = match endpoint {
            ConnectedPoint::Dialer { address, .. } => {
                match mesh.dials.remove(&connection) {
                    Some((relay, _)) => mesh.neighbours.handle_dialled(relay, peer),
                    None => mesh.neighbours.handle_dialled_at(&without_peer(address), peer),
                }
                Role::Dialer
            }
            ConnectedPoint::Listener { .. } => Role::Listener,
        };
        mesh.neighbours.handle_connected(peer, role, now);
        if let Some(ip) = ip_of(endpoint.get_remote_address()) {
            mesh.slots.handle_connected(peer, ip);
        }
    }

    fn on_mesh_closed(&mut self, peer: PeerId, connection: ConnectionId) {
        let now = self.now();
        if let Some(connections) = self.mesh.connections.get_mut(&peer)
            && connections.remove(&connection)
            && connections.is_empty()
        {
            self.mesh.connections.remove(&peer);
            self.mesh.neighbours.handle_disconnected(peer, now);
            self.mesh.slots.handle_disconnected(peer);
            self.mesh.met.remove(&peer);
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "a foreign enum: all other errors are failures, whose reason says which"
    )]
    fn on_relay_dial_failed(&mut self, relay: Number, address: &Multiaddr, error: &DialError) {
        let now = self.now();
        match error {
            DialError::LocalPeerId { .. } => self.mesh.neighbours.handle_is_itself(relay, now),
            error => {
                if let DialError::WrongPeerId { obtained, .. } = error {
                    tracing::info!(%relay, %obtained, "who answers is not the relay that was named");
                }
                self.mesh
                    .neighbours
                    .handle_dial_failed(relay, address, error.into(), now);
            }
        }
    }

    pub(super) fn on_mesh_identified(&mut self, peer: PeerId, kind: rooms::Kind, addresses: &[Multiaddr]) {
        let now = self.now();
        self.mesh.neighbours.handle_identified(peer, kind, addresses, now);
        let met = &mut self.mesh.met;
        match kind {
            rooms::Kind::Relay if met.len() < MAX_MET || met.contains_key(&peer) => {
                met.insert(peer, addresses.to_vec());
            }
            rooms::Kind::Relay => {}
            rooms::Kind::Member => drop(met.remove(&peer)),
        }
        self.on_candidate_identified(peer, kind, addresses);
    }

    /// What another relay has recently heard. Others are not asked, and have nothing to answer.
    pub(super) fn on_mesh_snapshot(&mut self, peer: PeerId, snapshot: &Snapshot) {
        if self.mesh.neighbours.is_named(peer) {
            let now = self.now();
            self.discovery.handle_snapshot(snapshot, now);
        }
    }
}

/// The scope of this relay's own addresses.
pub(super) fn nearest(config: &Config) -> Scope {
    match config.exposure {
        Exposure::Loopback => Scope::Loopback,
        Exposure::Lan => Scope::Private,
        Exposure::Public => Scope::Public,
    }
}

/// Whether a listener with these addresses stood for a slot on another relay, granted or not. Others always have addresses.
pub(super) fn is_of_a_slot(addresses: &[Multiaddr]) -> bool {
    addresses.iter().all(is_circuit)
}

fn is_public(address: &Multiaddr) -> bool {
    match classify(address).map(|address| address.form) {
        Some(AddressForm::Direct(direct)) => direct.scope == Scope::Public,
        Some(AddressForm::Circuit(_) | AddressForm::WebRtc(_)) | None => false,
    }
}

fn is_circuit(address: &Multiaddr) -> bool {
    address.iter().any(|part| part == Protocol::P2pCircuit)
}

fn without_peer(address: &Multiaddr) -> Multiaddr {
    let mut address = address.clone();
    if matches!(address.iter().last(), Some(Protocol::P2p(_))) {
        address.pop();
    }
    address
}
