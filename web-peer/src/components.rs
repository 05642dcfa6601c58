//! What is drawn. Components read the session's model and hand intents back; they decide nothing else.
//!
//! Text that comes from peers is only ever a text node.

#![expect(
    unreachable_pub,
    reason = "the component macro makes public items in private modules"
)]

mod chat;
mod copy_button;
mod details;
mod diagnostics;
mod header;
mod message;
mod notices;
mod peers;
mod relay_status;
mod room_form;
#[cfg(test)]
#[cfg(target_family = "wasm")]
mod tests;

use leptos::prelude::*;

use crate::session::Session;

pub(crate) use self::{chat::Chat, details::Details, header::Header, notices::Notices, peers::Peers};

/// The session that every component draws from.
fn session() -> Session {
    use_context().expect("the page provides a session")
}
