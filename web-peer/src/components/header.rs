//! Who we are: the name, the peer id, and how we stand with the relay.

use leptos::{ev::SubmitEvent, html, prelude::*};
use peerway_core::name::NAME_MAX_CHARS;

use super::{copy_button::CopyButton, relay_status::RelayPill, session};
use crate::session::Intent;

/// The page's head.
#[component]
pub(crate) fn Header() -> impl IntoView {
    let local = session().model.local;
    let id = move || local.get().map(|peer| peer.to_string()).unwrap_or_default();
    view! {
        <header class="top">
            <h1 class="brand">"Peerway"</h1>
            <RelayPill />
            <div class="self">
                <NameForm />
                <div class="self-id">
                    <span class="label" id="self-id-label">"Your peer id"</span>
                    <code
                        class="id"
                        data-testid="self-id"
                        tabindex="0"
                        aria-labelledby="self-id-label"
                        title=id
                    >
                        {id}
                    </code>
                    <CopyButton label="Copy" text=id />
                </div>
            </div>
        </header>
    }
}

/// The name others see. It is taken over when the field is left or Enter is pressed.
#[component]
fn NameForm() -> impl IntoView {
    let session = session();
    let name = session.model.name;
    let field = NodeRef::<html::Input>::new();
    let rename = move || {
        let Some(field) = field.get_untracked() else { return };
        let typed = Some(field.value()).filter(|typed| !typed.is_empty());
        if typed != name.get_untracked() && session.want(Intent::Rename(typed)).is_err() {
            // Busy: the field goes back to the name that stands.
            field.set_value(&name.get_untracked().unwrap_or_default());
        }
    };
    let on_submit = {
        let rename = rename.clone();
        move |event: SubmitEvent| {
            event.prevent_default();
            rename();
        }
    };
    view! {
        <form class="name" on:submit=on_submit>
            <label class="label" for="name">"Your name"</label>
            <input
                id="name"
                data-testid="name-input"
                node_ref=field
                maxlength=NAME_MAX_CHARS.to_string()
                autocomplete="nickname"
                placeholder="optional"
                prop:value=move || name.get().unwrap_or_default()
                on:change=move |_| rename()
            />
        </form>
    }
}
