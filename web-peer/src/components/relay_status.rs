//! How we stand with the relay: a pill in the header, and words below it when something is wrong.

use leptos::prelude::*;

use super::session;
use crate::words;

/// The state in three words.
#[component]
pub(super) fn RelayPill() -> impl IntoView {
    let standing = session().model.relay;
    let state = Memo::new(move |_| standing.with(|standing| standing.state()));
    let label = Memo::new(move |_| standing.with(words::relay_label));
    view! {
        <p class="pill" data-testid="relay-status" data-state=state role="status">
            <span class="dot" aria-hidden="true"></span>
            {label}
        </p>
    }
}

/// What is wrong and what to do; nothing while all is well.
#[component]
pub(super) fn RelayTrouble() -> impl IntoView {
    let standing = session().model.relay;
    let trouble = Memo::new(move |_| standing.with(words::relay_trouble));
    let notice = move || {
        trouble.get().map(|words| {
            view! {
                <div class="notice trouble" data-testid="relay-trouble">
                    <p><strong>{words.what}</strong> " " {words.next}</p>
                </div>
            }
        })
    };
    view! { <div aria-live="polite">{notice}</div> }
}
