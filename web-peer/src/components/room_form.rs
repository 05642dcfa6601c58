//! Which room we are in, a way into another, and a link to it.

use leptos::{ev::SubmitEvent, html, prelude::*};
use peerway_core::chat::RoomName;

use super::{copy_button::CopyButton, session};
use crate::{browser, session::Intent};

/// The head of the conversation.
#[component]
pub(super) fn RoomForm() -> impl IntoView {
    let session = session();
    let room = session.model.room;
    let field = NodeRef::<html::Input>::new();
    let problem = RwSignal::new(None);
    let on_submit = move |event: SubmitEvent| {
        event.prevent_default();
        let Some(field) = field.get_untracked() else { return };
        let entered = match field.value().trim() {
            "" => Ok(RoomName::default()),
            name => RoomName::parse(name),
        };
        match entered {
            Err(error) => problem.set(Some(format!("Not entered: {error}."))),
            Ok(entered) => match session.want(Intent::Enter(entered)) {
                Err(busy) => problem.set(Some(format!("Not entered: {busy}. Try again."))),
                Ok(()) => {
                    field.set_value("");
                    problem.set(None);
                }
            },
        }
    };
    let link = move || browser::link_with_fragment("room", room.get_untracked().as_str());
    view! {
        <div class="room">
            <h2 id="room-title">"Room " <span class="room-name" data-testid="room-name">{move || room.get().to_string()}</span></h2>
            <CopyButton label="Copy link" text=link />
            <form class="enter" on:submit=on_submit>
                <label class="offscreen" for="room-input">"Enter another room"</label>
                <input
                    id="room-input"
                    data-testid="room-input"
                    placeholder="Another room"
                    maxlength="64"
                    autocomplete="off"
                    autocapitalize="none"
                    node_ref=field
                />
                <button type="submit" data-testid="room-enter">"Enter"</button>
            </form>
            <p class="problem" role="alert">{problem}</p>
        </div>
    }
}
