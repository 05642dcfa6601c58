//! What happens to the page as a whole: it is hidden, shown, put on line, left, brought back.

use futures::channel::mpsc;
use peerway_core::{
    access::{AccessToken, AccessTokenError},
    chat::RoomName,
    node::Nudge,
};
use wasm_bindgen::JsCast;

use crate::browser::{self, Listener};

/// Happenings that wait for the session. They are hints: one that finds no room repeats another that waits.
const MAX_WAITING: usize = 8;

/// The fragment's key for the room.
pub(super) const ROOM_KEY: &str = "room";
/// The fragment's key for the token with which the relay may be used.
const TOKEN_KEY: &str = "token";

/// Something happened to the page.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Happening {
    /// The world may have changed.
    Nudged(Nudge),
    /// The page is being left.
    Left,
    /// The page was brought back from the back/forward cache, where its connections died.
    Revived,
    /// The user (or a link) changed the fragment.
    FragmentChanged,
}

/// Listens until it is dropped.
pub(super) struct Lifecycle {
    _listeners: [Listener; 5],
}

/// Starts listening.
pub(super) fn listen() -> (Lifecycle, mpsc::Receiver<Happening>) {
    let (happened, happenings) = mpsc::channel(MAX_WAITING);
    let tell = |happening: fn(web_sys::Event) -> Option<Happening>| {
        let mut happened = happened.clone();
        move |event| {
            if let Some(happening) = happening(event) {
                let _ = happened.try_send(happening);
            }
        }
    };
    let window = browser::window();
    let document = window.document().expect("a page has a document");
    let listeners = [
        Listener::new(&window, "online", tell(|_| Some(Happening::Nudged(Nudge::Online)))),
        Listener::new(&document, "visibilitychange", tell(|_| became_visible())),
        Listener::new(&window, "pagehide", tell(|_| Some(Happening::Left))),
        Listener::new(&window, "pageshow", tell(shown)),
        Listener::new(&window, "hashchange", tell(|_| Some(Happening::FragmentChanged))),
    ];
    let lifecycle = Lifecycle { _listeners: listeners };
    (lifecycle, happenings)
}

/// The room that the URL names, if it names one that can be. `Err` carries what it names otherwise.
pub(super) fn room_in_fragment() -> Result<RoomName, peerway_core::chat::RoomNameError> {
    match browser::fragment(ROOM_KEY) {
        Some(name) => RoomName::parse(&name),
        None => Ok(RoomName::default()),
    }
}

/// The token that the URL carries for the relay, if it carries one. A fragment is sent to no server.
pub(super) fn token_in_fragment() -> Result<Option<AccessToken>, AccessTokenError> {
    browser::fragment(TOKEN_KEY).map(|token| token.parse()).transpose()
}

fn became_visible() -> Option<Happening> {
    let document = browser::window().document()?;
    (document.visibility_state() == web_sys::VisibilityState::Visible).then_some(Happening::Nudged(Nudge::Visible))
}

fn shown(event: web_sys::Event) -> Option<Happening> {
    let event: web_sys::PageTransitionEvent = event.dyn_into().ok()?;
    event.persisted().then_some(Happening::Revived)
}
