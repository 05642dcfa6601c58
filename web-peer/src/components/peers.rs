//! Who is here, and how each is reached.

use leptos::prelude::*;

use super::session;
use crate::{
    session::{Intent, PeerCell},
    words,
};

/// The list of peers.
#[component]
pub(crate) fn Peers() -> impl IntoView {
    let peers = session().model.peers;
    let present = move || {
        peers.with(|cells| {
            cells
                .iter()
                .filter(|cell| cell.row.with(|row| row.gone_at.is_none()))
                .count()
        })
    };
    let present = Memo::new(move |_| present());
    view! {
        <section class="panel peers" aria-labelledby="peers-title">
            <h2 id="peers-title">
                "People here " <span class="count" aria-label="number of peers">{present}</span>
            </h2>
            <Show when=move || peers.with(Vec::is_empty)>
                <p class="empty">
                    "Nobody else yet. Whoever opens this page, in another browser or tab, appears here."
                </p>
            </Show>
            <ul class="rows" data-testid="peer-list">
                <For each=move || peers.get() key=|cell| cell.peer children=|cell| view! { <Peer cell /> } />
            </ul>
        </section>
    }
}

/// One peer. Drawn anew by parts: a measurement changes a number, nothing else.
#[component]
fn Peer(cell: PeerCell) -> impl IntoView {
    let session = session();
    let PeerCell { peer, row } = cell;
    let row = RwSignal::from(row);
    let id = peer.to_string();
    let id_title = id.clone();
    let short = StoredValue::new(words::short_id(&id));
    let name = Memo::new(move |_| row.with(|row| row.name.clone()));
    let route = Memo::new(move |_| row.with(words::route));
    let presence = Memo::new(move |_| row.with(|row| if row.gone_at.is_some() { "gone" } else { "here" }));
    let relay = session.model.relay;
    let reason = Memo::new(move |_| relay.with(|standing| row.with(|row| words::route_reason(row, standing.rows()))));
    let round_trip = Memo::new(move |_| {
        row.with(|row| match (row.round_trip, &row.route) {
            (Some(time), Some(_)) => words::round_trip(time),
            (Some(_), None) | (None, _) => String::new(),
        })
    });
    let failed =
        Memo::new(move |_| row.with(|row| row.route.is_none() && row.gone_at.is_none() && row.last_failure.is_some()));
    let reach = move |_| {
        // A session that is busy is one that is trying already.
        let _ = session.want(Intent::Reach(peer));
    };
    let retry = move || {
        failed.get().then(|| {
            let reach = reach.clone();
            view! { <button type="button" class="quiet" on:click=reach>"Try now"</button> }
        })
    };
    view! {
        <li
            class="peer"
            data-testid="peer-row"
            data-peer-id=id.clone()
            data-route=move || route.get().0
            data-presence=presence
        >
            <span class="dot" aria-hidden="true"></span>
            <span class="who">
                <span class="name" title=id.clone()>{move || name.get().unwrap_or_else(|| short.get_value())}</span>
                <Show when=move || name.get().is_some()>
                    <code class="id" title=id_title.clone()>{short.get_value()}</code>
                </Show>
            </span>
            <span class="how">
                <span class="route">{move || route.get().1}</span>
                <span class="rtt">{round_trip}</span>
            </span>
            <span class="why">{reason} {retry}</span>
        </li>
    }
}
