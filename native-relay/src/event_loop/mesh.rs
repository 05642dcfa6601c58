//! The event loop's part in being one network with other relays: tells [`Neighbours`] what happens, and does what they
//! decide. Decides nothing itself.

use std::collections::BTreeMap;

use libp2p::{
    Multiaddr, PeerId,
    core::ConnectedPoint,
    swarm::{
        ConnectionId, DialError,
        dial_opts::{DialOpts, PeerCondition},
    },
};
use peerway_core::{
    dial::{Role, route::Scope},
    snapshot::{Snapshot, SnapshotRequest},
};
use rand::{SeedableRng, rngs::SmallRng};

use super::EventLoop;
use crate::{
    config::{Config, Exposure},
    http::RelayDocument,
    neighbours::{Action, Neighbours, Number},
    rooms,
};

/// What the event loop keeps for it.
pub(crate) struct Mesh {
    pub(super) neighbours: Neighbours,
    /// Dials under way. Bounded by the relays that are named: each has one, and few that nobody waits for any more.
    dials: BTreeMap<ConnectionId, (Number, Multiaddr)>,
    /// What pages are told.
    document: RelayDocument,
}

impl Mesh {
    pub(crate) fn new(local: PeerId, config: &Config, document: RelayDocument) -> Self {
        let nearest = match config.exposure {
            Exposure::Loopback => Scope::Loopback,
            Exposure::Lan => Scope::Private,
            Exposure::Public => Scope::Public,
        };
        Self {
            neighbours: Neighbours::new(local, &config.relays.addresses, nearest, SmallRng::from_os_rng()),
            dials: BTreeMap::new(),
            document,
        }
    }
}

impl EventLoop {
    pub(super) fn drain_mesh(&mut self) {
        while let Some(action) = self.mesh.neighbours.poll_action() {
            match action {
                Action::Dial { relay, peer, address } => self.dial_relay(relay, peer, address),
                Action::Welcome { peer } => {
                    self.access.welcome(peer);
                    let behaviour = self.swarm.behaviour_mut();
                    behaviour.admission.welcome(peer);
                    behaviour.limits.bypass_peer_id(&peer);
                }
                Action::Dismiss { peer } => {
                    self.access.dismiss(peer);
                    let behaviour = self.swarm.behaviour_mut();
                    behaviour.admission.dismiss(peer);
                    behaviour.limits.remove_peer_id(&peer);
                }
                Action::AskWhoIsThere { peer } => {
                    let snapshots = &mut self.swarm.behaviour_mut().snapshots;
                    snapshots.send_request(&peer, SnapshotRequest {});
                }
                Action::Publish(relays) => self.mesh.document.set_relays(&relays),
            }
        }
    }

    fn dial_relay(&mut self, relay: Number, peer: Option<PeerId>, address: Multiaddr) {
        let opts = match peer {
            Some(peer) => DialOpts::peer_id(peer)
                .condition(PeerCondition::Disconnected)
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

    pub(super) fn on_mesh_connected(&mut self, peer: PeerId, connection: ConnectionId, endpoint: &ConnectedPoint) {
        let now = self.now();
        if let Some((relay, _)) = self.mesh.dials.remove(&connection) {
            self.mesh.neighbours.handle_dialled(relay, peer);
        }
        let role = match endpoint {
            ConnectedPoint::Dialer { .. } => Role::Dialer,
            ConnectedPoint::Listener { .. } => Role::Listener,
        };
        self.mesh.neighbours.handle_connected(peer, role, now);
    }

    pub(super) fn on_mesh_disconnected(&mut self, peer: PeerId) {
        let now = self.now();
        self.mesh.neighbours.handle_disconnected(peer, now);
    }

    pub(super) fn on_mesh_dial_failed(&mut self, connection: ConnectionId, error: &DialError) {
        if let Some((relay, address)) = self.mesh.dials.remove(&connection) {
            self.on_relay_dial_failed(relay, &address, error);
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "a foreign enum: all other errors are failures, whose reason says which"
    )]
    fn on_relay_dial_failed(&mut self, relay: Number, address: &Multiaddr, error: &DialError) {
        let now = self.now();
        match error {
            // It is connected already.
            DialError::DialPeerConditionFalse(_) => {}
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
    }

    /// What another relay has recently heard. Others are not asked, and have nothing to answer.
    pub(super) fn on_mesh_snapshot(&mut self, peer: PeerId, snapshot: &Snapshot) {
        if self.mesh.neighbours.is_named(peer) {
            let now = self.now();
            self.discovery.handle_snapshot(snapshot, now);
        }
    }
}
