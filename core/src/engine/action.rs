//! What an engine asks of its owner.

use libp2p::{Multiaddr, PeerId, swarm::ConnectionId};

use crate::{
    access::AccessToken, chat::RoomName, dial::AttemptId, discovery::Publication, node::Event, reservation::RelayKey,
};

/// On whose behalf a dial is made; comes back with its outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DialKey {
    /// To hold a reservation.
    Relay(RelayKey),
    /// To reach a peer.
    Peer(AttemptId),
}

/// What is published; comes back with its outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublishKey {
    /// What we say of ourselves.
    Discovery(Publication),
    /// A line in a room.
    Line {
        /// Which room.
        room: RoomName,
        /// The line's id.
        id: String,
    },
}

/// Something to do in the world.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Dial this one address, even if a connection exists. Its end is told by `handle_connected` or
    /// `handle_dial_failed`, with the same key.
    Dial {
        /// On whose behalf.
        key: DialKey,
        /// Who must answer; `None` if whoever answers is welcome.
        peer: Option<PeerId>,
        /// Where.
        address: Multiaddr,
    },
    /// Ask for a reservation by listening on this `…/p2p-circuit` address.
    Listen {
        /// For which relay.
        relay: RelayKey,
        /// Where.
        address: Multiaddr,
    },
    /// Show this relay a token. What becomes of it is told by `handle_token_answer`.
    Present {
        /// Which relay.
        relay: PeerId,
        /// What it shall see, and nobody else.
        token: AccessToken,
    },
    /// Stop listening through this relay.
    StopListening {
        /// Which relay.
        relay: RelayKey,
    },
    /// Close a connection.
    Close {
        /// Which.
        connection: ConnectionId,
    },
    /// Subscribe to a gossipsub topic.
    Subscribe {
        /// Which.
        topic: String,
    },
    /// Leave a gossipsub topic.
    Unsubscribe {
        /// Which.
        topic: String,
    },
    /// Publish on a gossipsub topic. Its end is told by `handle_published` or `handle_publish_failed`.
    Publish {
        /// What it is.
        key: PublishKey,
        /// Where.
        topic: String,
        /// The message.
        data: Vec<u8>,
    },
    /// Ask a relay for what it has recently heard.
    RequestSnapshot {
        /// Which relay.
        relay: PeerId,
    },
    /// Tell the application.
    Report(Event),
}
