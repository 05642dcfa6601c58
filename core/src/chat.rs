//! Rooms: names, topics, lines; and the state machine that sends, receives, orders and bounds them.

mod room;

pub use room::{RoomName, RoomNameError};

use libp2p::PeerId;

use crate::now::UnixMillis;

/// One line, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChatMessage {
    /// Unique per source.
    pub id: String,
    /// Who said it: the gossip source, proven by its signature.
    pub from: PeerId,
    /// The name its author gave with it, bounded and cleaned; display only.
    pub name: Option<String>,
    /// The text, at most 4 KiB.
    pub text: String,
    /// When its author says it was sent; `None` for plain text from strangers.
    pub sent_at: Option<UnixMillis>,
    /// When we received it, by our wall clock.
    pub received_at: UnixMillis,
    /// Whether we said it.
    pub own: bool,
}
