//! For whoever wants to know more: the relays, the identity, the version.

use leptos::prelude::*;
use peerway_core::view::{RelayRow, RelayState};

use super::{diagnostics::Diagnostics, session};
use crate::{session::IdentityOrigin, words};

/// The page's foot.
#[component]
pub(crate) fn Details() -> impl IntoView {
    let model = session().model;
    let identity = move || {
        model
            .identity
            .with(|origin| origin.as_ref().map_or("—".to_owned(), kept))
    };
    let relays = move || {
        model.relay.with(|standing| {
            standing
                .rows()
                .iter()
                .map(|row| view! { <Relay row=row.clone() /> })
                .collect_view()
        })
    };
    view! {
        <footer class="foot">
            <details>
                <summary>"Details"</summary>
                <dl>
                    <dt>"Identity"</dt>
                    <dd>{identity}</dd>
                    {relays}
                    <dt>"Version"</dt>
                    <dd>{env!("CARGO_PKG_VERSION")}</dd>
                </dl>
                <Diagnostics />
            </details>
        </footer>
    }
}

/// One relay.
#[component]
fn Relay(row: RelayRow) -> impl IntoView {
    let state = match &row.state {
        RelayState::Connecting => "connecting".to_owned(),
        RelayState::Reserved => "reserved".to_owned(),
        RelayState::Lost { reason } | RelayState::Refused { reason } => reason.to_string(),
    };
    let round_trip = row.round_trip.map(|time| format!(", {}", words::round_trip(time)));
    let address = row.address.map(|address| address.to_string());
    view! {
        <dt>"Relay"</dt>
        <dd>
            <p>{state} {round_trip}</p>
            <p><code>{row.peer.map(|peer| peer.to_string())}</code></p>
            <p><code>{address}</code></p>
        </dd>
    }
}

fn kept(origin: &IdentityOrigin) -> String {
    match origin {
        IdentityOrigin::Remembered(slot) => format!("slot {}, kept by this browser", slot.0),
        IdentityOrigin::Made(slot) | IdentityOrigin::Replaced { slot, .. } => {
            format!("slot {}, new, kept by this browser", slot.0)
        }
        IdentityOrigin::InMemory(_) => "in memory, until this page is closed".to_owned(),
    }
}
