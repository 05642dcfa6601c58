//! Every string that goes on the wire: topics, protocol ids, agent versions.

use libp2p::StreamProtocol;

/// The gossipsub topic of the default discovery scope, the lobby.
pub const DISCOVERY_TOPIC: &str = "p2p-discovery";

/// Prefix of every room topic; the rest is hex of a truncated hash of the room's name (see [`crate::chat::RoomName::topic`]).
pub const ROOM_TOPIC_PREFIX: &str = "peerway/room/1/";

/// What is hashed in front of a room's name to make its topic.
pub const ROOM_HASH_PREFIX: &str = "peerway room ";

/// Asks a relay for the announcements it has recently heard.
pub const SNAPSHOT_PROTOCOL: StreamProtocol = StreamProtocol::new("/peerway/snapshot/1.0.0");

/// Shows a relay a token with which one may use it.
pub const ACCESS_PROTOCOL: StreamProtocol = StreamProtocol::new("/peerway/access/1.0.0");

/// The protocol version that identify carries.
pub const IDENTIFY_PROTOCOL_VERSION: &str = "peerway/1.0.0";

/// The agent version of a node that is not a relay.
pub const AGENT_VERSION: &str = concat!("peerway/", env!("CARGO_PKG_VERSION"));

/// The agent version of `native-relay`.
pub const RELAY_AGENT_VERSION: &str = concat!("peerway-relay/", env!("CARGO_PKG_VERSION"));
