//! The room: what is said in it, and the form to say something.

use leptos::{ev, html, prelude::*};
use peerway_core::chat::TEXT_MAX_BYTES;

use super::{message::Message, room_form::RoomForm, session};
use crate::session::Intent;

/// How far from the end a reader may be and still be carried along with new lines, in pixels.
const FOLLOW_WITHIN: i32 = 80;

/// The room we are in.
#[component]
pub(crate) fn Chat() -> impl IntoView {
    view! {
        <section class="panel chat" aria-labelledby="room-title">
            <RoomForm />
            <Log />
            <SayForm />
        </section>
    }
}

/// The lines. Follows the newest one unless the reader has scrolled up.
#[component]
fn Log() -> impl IntoView {
    let model = session().model;
    let log = NodeRef::<html::Div>::new();
    let follow = RwSignal::new(Follow::Newest);
    let on_scroll = move |_| {
        if let Some(log) = log.get_untracked() {
            let below = log.scroll_height() - log.scroll_top() - log.client_height();
            follow.set(if below <= FOLLOW_WITHIN {
                Follow::Newest
            } else {
                Follow::Reader
            });
        }
    };
    Effect::new(move |_| {
        model.lines.track();
        if let (Some(log), Follow::Newest) = (log.get(), follow.get_untracked()) {
            // After the lines of this change are drawn.
            request_animation_frame(move || log.set_scroll_top(log.scroll_height()));
        }
    });
    let dropped = move || match model.dropped_lines.get() {
        0 => None,
        count => Some(view! { <p class="empty">{format!("{count} older lines are no longer shown.")}</p> }),
    };
    view! {
        <div
            class="log"
            data-testid="chat-log"
            role="log"
            aria-live="polite"
            aria-label="Conversation"
            tabindex="0"
            node_ref=log
            on:scroll=on_scroll
        >
            {dropped}
            <Show when=move || model.lines.with(Vec::is_empty)>
                <p class="empty">"Nothing has been said here since you came."</p>
            </Show>
            <For
                each=move || model.lines.get()
                key=|line| (line.from, line.id.clone())
                children=|line| view! { <Message line /> }
            />
        </div>
    }
}

/// What the log shows when a line comes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Follow {
    Newest,
    /// Whatever the reader has scrolled to.
    Reader,
}

/// Where we type. Enter sends; Shift and Enter begin a new line.
#[component]
fn SayForm() -> impl IntoView {
    let session = session();
    let model = session.model;
    let field = NodeRef::<html::Textarea>::new();
    let problem = RwSignal::new(None);
    Effect::new(move |_| {
        let (Some((text, words)), Some(field)) = (model.refused_line.get(), field.get()) else {
            return;
        };
        // What was typed since is not thrown away for it.
        if field.value().is_empty() {
            field.set_value(&text);
        }
        problem.set(Some(words));
    });
    let say = move || {
        let Some(field) = field.get_untracked() else { return };
        let text = field.value();
        let outcome = check(&text).and_then(|()| {
            session
                .want(Intent::Say(text))
                .map_err(|busy| Problem::Said(format!("Not sent: {busy}. Try again.")))
        });
        match outcome {
            Ok(()) => {
                field.set_value("");
                problem.set(None);
            }
            Err(Problem::Empty) => problem.set(None),
            Err(Problem::Said(words)) => problem.set(Some(words)),
        }
        // Whoever clicked goes on typing; a failure to focus is no loss.
        let _ = field.focus();
    };
    let on_submit = {
        let say = say.clone();
        move |event: ev::SubmitEvent| {
            event.prevent_default();
            say();
        }
    };
    let on_keydown = move |event: ev::KeyboardEvent| {
        if event.key() == "Enter" && !event.shift_key() && !event.is_composing() {
            event.prevent_default();
            say();
        }
    };
    view! {
        <form class="say" on:submit=on_submit>
            <label class="offscreen" for="chat-input">"Message to everyone in this room"</label>
            <textarea
                id="chat-input"
                data-testid="chat-input"
                rows="1"
                placeholder=move || format!("Message to {}", model.room.get())
                autocomplete="off"
                node_ref=field
                on:keydown=on_keydown
            ></textarea>
            <button type="submit" class="primary" data-testid="chat-send">"Send"</button>
            <p class="problem" role="alert" data-testid="chat-problem">{problem}</p>
        </form>
    }
}

/// Why a line is not sent.
#[derive(Debug, PartialEq, Eq)]
enum Problem {
    /// There is nothing in it; nobody has to be told.
    Empty,
    /// In words.
    Said(String),
}

fn check(text: &str) -> Result<(), Problem> {
    if text.trim().is_empty() {
        return Err(Problem::Empty);
    }
    let over = text.len().saturating_sub(TEXT_MAX_BYTES);
    if over > 0 {
        return Err(Problem::Said(format!(
            "Not sent: it is too long by about {over} characters. Send it in parts."
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test;

    use super::*;

    #[wasm_bindgen_test(unsupported = test)]
    fn a_line_is_sent_unless_it_is_empty_or_too_long() {
        assert_eq!(check("hello"), Ok(()));
        assert_eq!(check(" \n\t"), Err(Problem::Empty));
        assert_eq!(check(&"x".repeat(TEXT_MAX_BYTES)), Ok(()));
        assert!(matches!(check(&"x".repeat(TEXT_MAX_BYTES + 1)), Err(Problem::Said(_))));
    }
}
