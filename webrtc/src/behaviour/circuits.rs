//! The circuits that signalling can run on, and how they are told from other connections.
//!
//! Only keeps the books; [`Behaviour`](super::Behaviour) decides.

use std::collections::BTreeMap;

use libp2p_core::{ConnectedPoint, Multiaddr, multiaddr::Protocol};
use libp2p_identity::PeerId;
use libp2p_swarm::ConnectionId;

use crate::multiaddr;

/// The swarm's circuits; bounded by the swarm's connections.
#[derive(Debug, Default)]
pub(super) struct Circuits {
    /// The oldest first.
    by_peer: BTreeMap<PeerId, Vec<Circuit>>,
}

#[derive(Debug)]
struct Circuit {
    connection: ConnectionId,
    /// What is dialled to be signalled over it: `…/p2p-circuit/webrtc/p2p/<peer>`.
    address: Multiaddr,
}

impl Circuits {
    pub(super) fn add(&mut self, peer: PeerId, connection: ConnectionId, address: Multiaddr) {
        let circuits = self.by_peer.entry(peer).or_default();
        circuits.push(Circuit { connection, address });
    }

    pub(super) fn remove(&mut self, peer: PeerId, connection: ConnectionId) {
        if let Some(circuits) = self.by_peer.get_mut(&peer) {
            circuits.retain(|circuit| circuit.connection != connection);
            if circuits.is_empty() {
                self.by_peer.remove(&peer);
            }
        }
    }

    /// What to dial so that signalling runs on a circuit that there is.
    pub(super) fn address(&self, peer: PeerId) -> Option<&Multiaddr> {
        let circuit = self.by_peer.get(&peer)?.first()?;
        Some(&circuit.address)
    }

    /// The remote address of a direct connection that this circuit has signalled.
    pub(super) fn remote_of(&self, peer: PeerId, connection: ConnectionId) -> Multiaddr {
        let mut circuits = self.by_peer.get(&peer).into_iter().flatten();
        let signalled = circuits.find(|circuit| circuit.connection == connection);
        signalled.map_or_else(|| multiaddr::inbound_remote(peer), |circuit| circuit.address.clone())
    }

    /// The circuit that was asked for, else any.
    pub(super) fn choose(&self, peer: PeerId, wanted: &Multiaddr) -> Option<ConnectionId> {
        let circuits = self.by_peer.get(&peer)?;
        let wanted = multiaddr::advertise(wanted, peer);
        let same = circuits
            .iter()
            .find(|circuit| Some(&circuit.address) == wanted.as_ref());
        same.or(circuits.first()).map(|circuit| circuit.connection)
    }
}

/// What to dial to be signalled over this connection; `None` if it is no circuit.
pub(super) fn address_of(endpoint: &ConnectedPoint, peer: PeerId) -> Option<Multiaddr> {
    if multiaddr::is_direct_endpoint(endpoint) {
        return None;
    }
    let address = match endpoint {
        ConnectedPoint::Dialer { address, .. } => address,
        // The remote address of an inbound circuit does not name the relay; our own does.
        ConnectedPoint::Listener { local_addr, .. } => local_addr,
    };
    let until = address.iter().position(|part| part == Protocol::P2pCircuit)?;
    let base: Multiaddr = address.iter().take(until + 1).collect();
    multiaddr::advertise(&base, peer)
}
