//! The parts that a node's swarm is made of.

use libp2p::{
    PeerId, identify,
    identity::Keypair,
    ping, relay,
    request_response::ProtocolSupport,
    swarm::{NetworkBehaviour, behaviour::toggle::Toggle},
};

use crate::{
    behaviours::{
        self, AccessTokens, ConnectionBounds, ConnectionLimits, GossipError, GossipFilter, GossipGate,
        OlderConnections, Snapshots, Streams,
    },
    config::Config,
    protocol,
};

/// A circuit, the direct connection that replaces it, and one of each from the other side.
const CONNECTIONS_PER_PEER: usize = 4;
/// Connections in all: relays, the peers we dial and those that dial us.
const CONNECTIONS: usize = 256;
#[derive(NetworkBehaviour)]
pub(super) struct Behaviour {
    pub(super) relay: relay::client::Behaviour,
    pub(super) webrtc: Toggle<peerway_webrtc::Behaviour>,
    pub(super) limits: ConnectionLimits,
    pub(super) identify: identify::Behaviour,
    pub(super) ping: ping::Behaviour,
    pub(super) snapshots: Snapshots,
    pub(super) tokens: AccessTokens,
    pub(super) streams: Streams,
    /// Last: see [`GossipGate`].
    pub(super) gossip: GossipGate<GossipFilter>,
}

impl Behaviour {
    pub(super) fn new(
        key: &Keypair,
        relay: relay::client::Behaviour,
        webrtc: Option<peerway_webrtc::Behaviour>,
        config: &Config,
    ) -> Result<Self, GossipError> {
        let identify = identify::Config::new(protocol::IDENTIFY_PROTOCOL_VERSION.to_owned(), key.public())
            .with_agent_version(protocol::AGENT_VERSION.to_owned())
            .with_cache_size(0);
        let ping = ping::Config::new()
            .with_interval(config.ping_interval)
            .with_timeout(config.ping_timeout);
        let limits = ConnectionBounds {
            pending: None,
            established: Some(CONNECTIONS),
            per_peer: Some(CONNECTIONS_PER_PEER),
        };
        Ok(Self {
            relay,
            webrtc: webrtc.into(),
            limits: ConnectionLimits::new(limits),
            identify: identify::Behaviour::new(identify),
            ping: ping::Behaviour::new(ping),
            snapshots: behaviours::snapshots(ProtocolSupport::Outbound),
            tokens: behaviours::access_tokens(ProtocolSupport::Outbound),
            streams: Streams::new(),
            gossip: GossipGate::new(behaviours::gossip(key)?, OlderConnections::Keep),
        })
    }
}

/// Whether a peer says that it offers reservations.
pub(super) fn offers_reservations(info: &identify::Info) -> bool {
    info.protocols.contains(&relay::HOP_PROTOCOL_NAME)
}

/// The peer's id, as its key proves it.
pub(super) fn peer_of(key: &Keypair) -> PeerId {
    PeerId::from(key.public())
}
