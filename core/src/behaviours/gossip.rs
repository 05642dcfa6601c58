//! gossipsub as Peerway's peers run it. Decides its settings and nothing else: what is passed on is for the owner.

#[cfg(test)]
#[cfg(not(target_family = "wasm"))]
mod tests;

use std::time::Duration;

use libp2p::{
    gossipsub::{
        AllowAllSubscriptionFilter, Behaviour, ConfigBuilder, IdentityTransform, MaxCountSubscriptionFilter,
        MessageAuthenticity, ValidationMode,
    },
    identity::Keypair,
};

use super::message_id;

/// Largest gossip frame that is read. One that is larger makes us deaf to its sender while the connection lives:
/// gossipsub closes the stream and drops it, yamux tells the sender nothing, and so that goes on writing to a stream that
/// is gone. So this is the most that any stock peer passes on, js-libp2p's; go-libp2p's stop at 1 MiB, rust-libp2p's at
/// 64 KiB. How large a *message* may be is for those who read it to say. It costs that much memory for each connection
/// on which somebody begins a frame and does not end it.
const MAX_FRAME: usize = 4 * 1024 * 1024;
/// gossipsub takes what was read beyond a frame for a part of it, and reads that much at once.
const READ_AHEAD: usize = 8 * 1024;
/// The part of a frame that may be other than messages: a greeting that names [`TOPICS`] rooms, of which each takes 53
/// bytes, does not fit into gossipsub's default.
const MAX_CONTROL: usize = 64 * 1024;
/// Messages that wait for one peer; beyond, the oldest publishers' are dropped. The default of 5 000 is for servers.
const QUEUE_PER_PEER: usize = 256;
/// `mesh_n_high` must leave room for the relays, or a heartbeat prunes the only neighbour that forwards everything.
const MESH_HIGH: usize = 16;
/// Topics that a peer may name in one hello; relays follow rooms.
const TOPICS: usize = 1024;
/// The default of five seconds is how long a newcomer would be outside every mesh.
const FIRST_HEARTBEAT: Duration = Duration::from_millis(100);

/// No topic is refused, their number is bounded.
pub type GossipFilter = MaxCountSubscriptionFilter<AllowAllSubscriptionFilter>;

/// gossipsub refuses its settings, or the key: use another key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("gossipsub refuses its settings: {0}")]
pub struct GossipError(&'static str);

/// gossipsub, signing with `key`, that understands other Peerway peers and js-libp2p's, and passes on only what its
/// owner has validated (`report_message_validation_result`).
pub fn gossip(key: &Keypair) -> Result<Behaviour<IdentityTransform, GossipFilter>, GossipError> {
    let config = ConfigBuilder::default()
        .validation_mode(ValidationMode::Strict)
        .validate_messages()
        .message_id_fn(message_id)
        .max_transmit_size(MAX_FRAME + READ_AHEAD)
        .max_control_message_size(MAX_CONTROL)
        .connection_handler_queue_len(QUEUE_PER_PEER)
        .mesh_n_high(MESH_HIGH)
        .heartbeat_initial_delay(FIRST_HEARTBEAT)
        .build()
        .map_err(|_| GossipError("they contradict each other"))?;
    let filter = GossipFilter {
        filter: AllowAllSubscriptionFilter {},
        max_subscribed_topics: TOPICS,
        max_subscriptions_per_request: TOPICS,
    };
    Behaviour::new_with_subscription_filter(MessageAuthenticity::Signed(key.clone()), config, filter)
        .map_err(GossipError)
}
