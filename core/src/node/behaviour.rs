//! The parts that a node's swarm is made of.

use libp2p::{
    PeerId, connection_limits, gossipsub, identify,
    identity::Keypair,
    ping, relay,
    request_response::ProtocolSupport,
    swarm::{NetworkBehaviour, behaviour::toggle::Toggle},
};

use crate::{
    behaviours::{self, GossipGate, OlderConnections, Snapshots, Streams},
    config::Config,
    protocol,
};

/// A circuit, the direct connection that replaces it, and one of each from the other side.
const CONNECTIONS_PER_PEER: u32 = 4;
/// Connections in all: relays, the peers we dial and those that dial us.
const CONNECTIONS: u32 = 256;
/// Largest gossip message: an announcement is at most 8 KiB, a line less.
const MAX_MESSAGE: usize = 16 * 1024;
/// Messages that wait for one peer; beyond, the oldest publishers' are dropped. The default of 5 000 is for servers.
const QUEUE_PER_PEER: usize = 256;
/// `mesh_n_high` must leave room for the relays, or a heartbeat prunes the only neighbour that forwards everything.
const MESH_HIGH: usize = 16;
/// Topics that a peer may name in one hello; relays follow rooms.
const TOPICS: usize = 1024;

/// Gossip of a node: no topic is refused, their number is bounded.
pub(super) type Filter = gossipsub::MaxCountSubscriptionFilter<gossipsub::AllowAllSubscriptionFilter>;

#[derive(NetworkBehaviour)]
pub(super) struct Behaviour {
    pub(super) relay: relay::client::Behaviour,
    pub(super) webrtc: Toggle<peerway_webrtc::Behaviour>,
    pub(super) limits: connection_limits::Behaviour,
    pub(super) identify: identify::Behaviour,
    pub(super) ping: ping::Behaviour,
    pub(super) snapshots: Snapshots,
    pub(super) streams: Streams,
    /// Last: see [`GossipGate`].
    pub(super) gossip: GossipGate<Filter>,
}

impl Behaviour {
    pub(super) fn new(
        key: &Keypair,
        relay: relay::client::Behaviour,
        webrtc: Option<peerway_webrtc::Behaviour>,
        config: &Config,
    ) -> Result<Self, &'static str> {
        let identify = identify::Config::new(protocol::IDENTIFY_PROTOCOL_VERSION.to_owned(), key.public())
            .with_agent_version(protocol::AGENT_VERSION.to_owned())
            .with_cache_size(0);
        let ping = ping::Config::new()
            .with_interval(config.ping_interval)
            .with_timeout(config.ping_timeout);
        let limits = connection_limits::ConnectionLimits::default()
            .with_max_established(Some(CONNECTIONS))
            .with_max_established_per_peer(Some(CONNECTIONS_PER_PEER));
        Ok(Self {
            relay,
            webrtc: webrtc.into(),
            limits: connection_limits::Behaviour::new(limits),
            identify: identify::Behaviour::new(identify),
            ping: ping::Behaviour::new(ping),
            snapshots: behaviours::snapshots(ProtocolSupport::Outbound),
            streams: Streams::new(),
            gossip: GossipGate::new(gossip(key)?, OlderConnections::Keep),
        })
    }
}

fn gossip(key: &Keypair) -> Result<gossipsub::Behaviour<gossipsub::IdentityTransform, Filter>, &'static str> {
    let config = gossipsub::ConfigBuilder::default()
        .validation_mode(gossipsub::ValidationMode::Strict)
        .validate_messages()
        .message_id_fn(behaviours::message_id)
        .max_transmit_size(MAX_MESSAGE)
        .connection_handler_queue_len(QUEUE_PER_PEER)
        .mesh_n_high(MESH_HIGH)
        .heartbeat_initial_delay(std::time::Duration::from_millis(100))
        .build()
        .map_err(|_| "gossipsub refuses its configuration")?;
    let filter = Filter {
        filter: gossipsub::AllowAllSubscriptionFilter {},
        max_subscribed_topics: TOPICS,
        max_subscriptions_per_request: TOPICS,
    };
    gossipsub::Behaviour::new_with_subscription_filter(
        gossipsub::MessageAuthenticity::Signed(key.clone()),
        config,
        filter,
    )
}

/// Whether a peer says that it offers reservations.
pub(super) fn offers_reservations(info: &identify::Info) -> bool {
    info.protocols.contains(&relay::HOP_PROTOCOL_NAME)
}

/// The peer's id, as its key proves it.
pub(super) fn peer_of(key: &Keypair) -> PeerId {
    PeerId::from(key.public())
}
