//! A button that copies a text and says whether it could.

use std::time::Duration;

use leptos::prelude::*;
use wasm_bindgen_futures::spawn_local;

use crate::browser::{self, Copied};

/// How long the button says what came of it.
const SAID_FOR: Duration = Duration::from_secs(2);

/// Copies what `text` returns at the click.
#[component]
pub(super) fn CopyButton(
    /// What the button says, and does.
    label: &'static str,
    /// Made at the click: links change.
    text: impl Fn() -> String + 'static,
) -> impl IntoView {
    let outcome = RwSignal::new(None);
    let copy = move |_| {
        let text = text();
        spawn_local(async move {
            outcome.set(Some(browser::copy(text).await));
            set_timeout(move || outcome.set(None), SAID_FOR);
        });
    };
    let said = move || match outcome.get() {
        None => label,
        Some(Copied::Yes) => "Copied",
        Some(Copied::No) => "Select and copy it by hand",
    };
    view! {
        <button type="button" class="quiet" on:click=copy>
            <span aria-live="polite">{said}</span>
        </button>
    }
}
