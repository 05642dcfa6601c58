//! One line of the conversation.

use std::sync::Arc;

use leptos::prelude::*;
use peerway_core::{chat::ChatMessage, now::UnixMillis, view::Unsent};

use super::session;
use crate::words;

/// A line: who, when, what. Drawn once; only whether our own has left changes.
#[component]
pub(super) fn Message(line: Arc<ChatMessage>) -> impl IntoView {
    let unsent = session().model.unsent;
    let id = line.from.to_string();
    let author = line.name.clone().unwrap_or_else(|| words::short_id(&id));
    let unsent = {
        let line = Arc::clone(&line);
        Memo::new(move |_| unsent.with(|unsent| unsent.get(&line.id).copied().filter(|_| line.own)))
    };
    let (class, author) = if line.own {
        ("line own", "You".to_owned())
    } else {
        ("line", author)
    };
    let state = move || match unsent.get() {
        None => "",
        Some(Unsent::Waiting) => "waiting for someone to hear it",
        Some(Unsent::GivenUp) => "not sent: nobody was there to hear it",
    };
    view! {
        <article class=class>
            <p class="byline">
                <span class="author" title=id.clone()>{author}</span>
                <time>{time_of_day(line.received_at)}</time>
                <span class="unsent" data-testid="message-state">{state}</span>
            </p>
            <p class="text" data-testid="chat-message" data-peer-id=id>{line.text.clone()}</p>
        </article>
    }
}

/// Hours and minutes, as the user's locale writes them.
fn time_of_day(at: UnixMillis) -> String {
    let date = js_sys::Date::new(&(at.0 as f64).into());
    let options = js_sys::Object::new();
    for key in ["hour", "minute"] {
        // Setting a field of a fresh object cannot fail.
        let _ = js_sys::Reflect::set(&options, &key.into(), &"2-digit".into());
    }
    date.to_locale_time_string_with_options("default", &options).into()
}
