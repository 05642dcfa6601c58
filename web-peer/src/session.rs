//! The page's one link to the network: it starts the node, folds its events into the [`Model`] that the components
//! draw, and carries out what the user wants ([`Intent`]).
//!
//! Nothing else in this crate touches the node. Decides nothing about the network; the node does.

mod clock;
mod diagnosis;
mod identity;
mod lifecycle;
mod model;
mod name;
mod pump;
mod relays;
mod source;

use futures::channel::mpsc;
use libp2p::PeerId;
use peerway_core::chat::RoomName;
use wasm_bindgen_futures::spawn_local;

pub(crate) use self::{
    clock::Skew,
    identity::{IdentityOrigin, InMemoryReason},
    model::{Model, Notice, NoticeKind, PeerCell, RelayStanding},
    source::SourceFailure,
};

/// Intents that wait for the session; a user who is faster is told so.
const MAX_INTENTS: usize = 64;

/// What the user wants.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Intent {
    /// Say this in the room.
    Say(String),
    /// Be called this from now on.
    Rename(Option<String>),
    /// Be in this room instead.
    Enter(RoomName),
    /// Try to reach this peer now.
    Reach(PeerId),
    /// Gather what is going on underneath.
    Diagnose,
}

/// What components hold: the model to draw, and a way to say what the user wants.
#[derive(Clone)]
pub(crate) struct Session {
    pub(crate) model: Model,
    intents: mpsc::Sender<Intent>,
}

/// The session is busy or has ended; nothing was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the page is busy")]
pub(crate) struct Busy;

impl Session {
    /// Starts the node and everything around it. Call it once, inside the reactive owner that lives as long as the page.
    pub(crate) fn start() -> Self {
        let (intents, wanted) = mpsc::channel(MAX_INTENTS);
        let model = Model::new(lifecycle::room_in_fragment());
        spawn_local(pump::run(model, wanted));
        Self { model, intents }
    }

    /// Hands an intent over. What comes of it shows in the model.
    pub(crate) fn want(&self, intent: Intent) -> Result<(), Busy> {
        self.intents.clone().try_send(intent).map_err(|_| Busy)
    }
}

#[cfg(test)]
#[cfg(target_family = "wasm")]
impl Session {
    /// A session without a node, for tests of what is drawn: the caller draws views and reads intents.
    pub(crate) fn unconnected() -> (Self, mpsc::Receiver<Intent>) {
        let (intents, wanted) = mpsc::channel(MAX_INTENTS);
        let model = Model::new(Ok(RoomName::default()));
        (Self { model, intents }, wanted)
    }
}
