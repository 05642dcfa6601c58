//! The page's layout: who we are above, who is here on one side, what is said on the other.

#![expect(
    unreachable_pub,
    reason = "the component macro makes public items in private modules"
)]

use leptos::prelude::*;

use crate::components::{Chat, Details, Header, Notices, Peers};

/// The whole page.
#[component]
pub(crate) fn App() -> impl IntoView {
    view! {
        <a class="skip" href="#chat-input">"Skip to the conversation"</a>
        <Header />
        <Notices />
        <main class="layout">
            <Peers />
            <Chat />
        </main>
        <Details />
    }
}
