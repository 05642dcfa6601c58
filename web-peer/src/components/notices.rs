//! What the user should know, each dismissed by itself.

use leptos::prelude::*;

use super::{relay_status::RelayTrouble, session};
use crate::{
    session::{Notice, NoticeKind},
    words,
};

/// All notices, the oldest first.
#[component]
pub(crate) fn Notices() -> impl IntoView {
    let model = session().model;
    let draw = move |notice: Notice| {
        let words = words::notice(&notice.kind);
        let dismiss = move |_| model.dismiss(notice.id);
        view! {
            <div class="notice" data-testid="notice" data-kind=kind(&notice.kind)>
                <p><strong>{words.what}</strong> " " {words.next}</p>
                <button type="button" class="quiet" aria-label="Dismiss this notice" on:click=dismiss>"Dismiss"</button>
            </div>
        }
    };
    view! {
        <section class="notices" aria-label="Notices">
            <RelayTrouble />
            <div aria-live="polite">
                <For each=move || model.notices.get() key=|notice| notice.id children=draw />
            </div>
        </section>
    }
}

/// Names the kind for tests and styles.
fn kind(kind: &NoticeKind) -> &'static str {
    match kind {
        NoticeKind::Identity(_) => "identity",
        NoticeKind::Parameter(_) => "relay-parameter",
        NoticeKind::Stun(_) => "stun-parameter",
        NoticeKind::Room(_) => "room",
        NoticeKind::Token(_) => "token",
        NoticeKind::Clock(_) => "clock",
        NoticeKind::NotStarted(_) => "not-started",
        NoticeKind::Stopped => "stopped",
    }
}
