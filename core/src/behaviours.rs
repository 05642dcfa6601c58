//! The parts of a node as [`NetworkBehaviour`](libp2p::swarm::NetworkBehaviour)s, for anyone's swarm.
//!
//! * [`GossipGate`]: gossipsub that runs on one connection per peer, never on a circuit.
//! * [`Streams`]: raw streams, opened on the best connection to a peer.
//! * [`snapshots`]: asks relays for what they have recently heard.

mod gossip_gate;
mod streams;

pub use gossip_gate::{GossipGate, OlderConnections};
pub use streams::{AcceptError, IncomingStreams, OpenError, OpenStream, Streams};

use libp2p::{
    StreamProtocol,
    core::ConnectedPoint,
    gossipsub::{self, MessageId},
    multiaddr::Protocol,
    request_response::{self, ProtocolSupport},
};

use crate::{protocol, snapshot as wire};

/// Request-response behaviour of `/peerway/snapshot/1.0.0`.
pub type Snapshots = request_response::json::Behaviour<wire::SnapshotRequest, wire::Snapshot>;

/// The snapshot behaviour, asking or answering, with both sizes bounded.
#[must_use]
pub fn snapshots(support: ProtocolSupport) -> Snapshots {
    let codec = request_response::json::codec::Codec::default()
        .set_request_size_maximum(wire::MAX_REQUEST_SIZE as u64)
        .set_response_size_maximum(wire::MAX_SNAPSHOT_SIZE as u64);
    let protocols: [(StreamProtocol, ProtocolSupport); 1] = [(protocol::SNAPSHOT_PROTOCOL, support)];
    Snapshots::with_codec(codec, protocols, request_response::Config::default())
}

/// The message id that js-libp2p computes by default for ed25519 sources: the source's multihash digest, then the
/// sequence number, big-endian. With the same ids on both sides IHAVE and IDONTWANT work between the two.
#[must_use]
pub fn message_id(message: &gossipsub::Message) -> MessageId {
    let mut id = message.source.map(|source| source.to_bytes()).unwrap_or_default();
    id.drain(..id.len().min(MULTIHASH_HEADER));
    id.extend_from_slice(&message.sequence_number.unwrap_or_default().to_be_bytes());
    MessageId::from(id)
}

/// Multihash code and length in front of the digest of an ed25519 peer id.
const MULTIHASH_HEADER: usize = 2;

/// Whether the connection is carried by a relay. `/p2p-circuit/webrtc` only names the relay that signals for it.
fn is_circuit(endpoint: &ConnectedPoint) -> bool {
    let address = match endpoint {
        ConnectedPoint::Dialer { address, .. } => address,
        ConnectedPoint::Listener { local_addr, .. } => local_addr,
    };
    let mut parts = address.iter().skip_while(|part| *part != Protocol::P2pCircuit);
    parts.next().is_some() && !parts.any(|part| part == Protocol::WebRTC)
}
