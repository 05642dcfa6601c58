//! Thin wrappers around what the browser offers: each turns one API, and its absence, into plain Rust.
//!
//! Never decides anything: what to do about an answer is `session`'s business.

mod channel;
mod clipboard;
mod fetch;
mod listener;
mod location;
mod locks;
mod marks;
mod storage;
mod turn;

pub(crate) use channel::Channel;
pub(crate) use clipboard::{Copied, copy};
pub(crate) use fetch::{FetchError, get_text};
pub(crate) use listener::Listener;
pub(crate) use location::{fragment, link_with_fragment, origin, query_values, reload, set_fragment};
pub(crate) use locks::{HeldLock, LockFailure, Patience, acquire};
pub(crate) use marks::mark;
pub(crate) use storage::{StorageFull, Store};
pub(crate) use turn::turn;

/// The page's window. There is always one: the crate runs in a page and nowhere else.
pub(crate) fn window() -> web_sys::Window {
    web_sys::window().expect("the crate runs in a page")
}

/// The browser's wall clock, in milliseconds since the Unix epoch.
pub(crate) fn wall_millis() -> f64 {
    js_sys::Date::now()
}

/// Between 0 and 1, for jitter and tie-breaks; not for secrets.
pub(crate) fn random_fraction() -> f64 {
    js_sys::Math::random()
}
