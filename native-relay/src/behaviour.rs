//! What the relay does in its swarm, and how each part is set up.
//!
//! Decides nothing at run time: [`crate::event_loop`] reacts to what happens here.

use std::time::Duration;

use libp2p::{
    gossipsub::{self, TopicHash, TopicSubscriptionFilter},
    identify,
    identity::Keypair,
    ping,
    relay::client,
    request_response::ProtocolSupport,
    swarm::{NetworkBehaviour, behaviour::toggle::Toggle},
};
use peerway_core::{
    behaviours::{
        AccessTokens, ConnectionLimits, GossipGate, OlderConnections, Reservations, Snapshots, access_tokens,
        message_id, snapshots,
    },
    protocol::{DISCOVERY_TOPIC, IDENTIFY_PROTOCOL_VERSION, RELAY_AGENT_VERSION},
    reservation::ReservationConfig,
};
use peerway_hop::Offer;
use rand::Rng;

use crate::{
    access::control::Control,
    admission::Admission,
    config::{Limits, Mode},
    limits::{self, count},
    memory::Memory,
    rooms,
};

/// The largest gossip frame that is read: what stock rust-libp2p peers pass on, and as much again as gossipsub may read
/// beyond a frame and then counts as a part of it. One that is larger makes the relay deaf to its sender while the
/// connection lives, because yamux does not tell the sender that its stream was dropped. Many connections may each hold
/// the beginning of a frame, so this is not larger. What is *forwarded* is smaller: [`crate::discovery`] says how much.
const MAX_FRAME_BYTES: usize = (64 + 8) * 1024;
/// The part of a frame that may be other than messages. A hello names up to [`MAX_TOPICS_PER_PEER`] rooms, of which each
/// takes 53 bytes.
const MAX_CONTROL_BYTES: usize = 64 * 1024;
/// Topics that one peer may have, and may name in one hello. (Stock rust-libp2p peers ignore a hello of more than 100
/// topics whole: a relay that follows more rooms than that says so in a message that such peers do not understand.)
const MAX_TOPICS_PER_PEER: usize = 1_024;
const PING: Duration = Duration::from_secs(10);

/// Gossip, as far as the relay takes part in it.
pub(crate) type Gossip = GossipGate<gossipsub::MaxCountSubscriptionFilter<OurTopics>>;

#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    // First: they refuse a connection before anything else spends something on it.
    pub(crate) admission: Admission,
    pub(crate) limits: ConnectionLimits,
    pub(crate) relay: peerway_hop::Behaviour,
    /// Slots on other relays, if this one is their client.
    pub(crate) reservations: Toggle<Reservations>,
    pub(crate) tokens: AccessTokens,
    pub(crate) snapshots: Snapshots,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    // Last, as it wants to be: nothing may deny a connection that it has admitted.
    pub(crate) gossip: Gossip,
}

impl Behaviour {
    /// `client` is what belongs to the transport for circuits.
    pub(crate) fn new(
        keys: &Keypair,
        limits: &Limits,
        access: &Control,
        mode: Mode,
        client: Option<client::Behaviour>,
    ) -> Self {
        let mut relay = peerway_hop::Behaviour::new(keys, limits::relay(limits));
        relay.set_access(access.clone());
        relay.set_networks(limits::networks(limits));
        if !mode.is_server() {
            relay.set_offer(Offer::Withheld);
        }
        let reservations =
            client.map(|client| Reservations::new(client, ReservationConfig::default(), rand::rng().random()));
        Self {
            admission: Admission::new(limits, Memory::of_this_machine(limits.memory), access.clone()),
            limits: ConnectionLimits::new(limits::connections(limits)),
            relay,
            reservations: reservations.into(),
            tokens: access_tokens(if mode.is_client() {
                ProtocolSupport::Full
            } else {
                ProtocolSupport::Inbound
            }),
            snapshots: snapshots(ProtocolSupport::Full),
            identify: identify::Behaviour::new(
                identify::Config::new(IDENTIFY_PROTOCOL_VERSION.to_owned(), keys.public())
                    .with_agent_version(RELAY_AGENT_VERSION.to_owned())
                    // Clients get the addresses that are meant for them, not every interface of this host.
                    .with_hide_listen_addrs(true)
                    .with_cache_size(0),
            ),
            ping: ping::Behaviour::new(ping::Config::new().with_interval(PING).with_timeout(PING)),
            gossip: gossip(keys, limits),
        }
    }
}

fn gossip(keys: &Keypair, limits: &Limits) -> Gossip {
    // As wide as it can get: with gossipsub's 12 the 13th page of a relay would be off its mesh and miss most of what it
    // forwards.
    let mesh = count(limits.connections);
    let config = gossipsub::ConfigBuilder::default()
        .mesh_outbound_min(0)
        .mesh_n_low(mesh)
        .mesh_n(mesh)
        .mesh_n_high(mesh)
        .heartbeat_initial_delay(Duration::from_millis(100))
        .heartbeat_interval(Duration::from_secs(1))
        .connection_handler_queue_len(count(limits.gossip_queue))
        .flood_publish(true)
        .validate_messages()
        .validation_mode(gossipsub::ValidationMode::Strict)
        .max_transmit_size(MAX_FRAME_BYTES)
        .max_control_message_size(MAX_CONTROL_BYTES)
        .message_id_fn(message_id)
        .build()
        .expect("the parameters are in the order that gossipsub wants, whatever the limits");
    let authenticity = gossipsub::MessageAuthenticity::Signed(keys.clone());
    let gossip = gossipsub::Behaviour::new_with_subscription_filter(authenticity, config, topics())
        .expect("strict validation and signing go together");
    // Circuits go to whichever connection of a peer comes first in a map: there must be one, the one that lives.
    GossipGate::new(gossip, OlderConnections::Close)
}

/// Which topics a peer may have in our memory: discovery and rooms. Others are left out, the rest of the hello counts.
pub(crate) struct OurTopics;

impl TopicSubscriptionFilter for OurTopics {
    fn can_subscribe(&mut self, topic: &TopicHash) -> bool {
        topic.as_str() == DISCOVERY_TOPIC || rooms::is_room(topic)
    }
}

fn topics() -> gossipsub::MaxCountSubscriptionFilter<OurTopics> {
    gossipsub::MaxCountSubscriptionFilter {
        filter: OurTopics,
        max_subscribed_topics: MAX_TOPICS_PER_PEER,
        max_subscriptions_per_request: MAX_TOPICS_PER_PEER,
    }
}
