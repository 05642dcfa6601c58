//! `/relay.json`: what a page must know to use this relay.
//!
//! For everybody, pages of other origins included. Its `Date` header is what pages compare their clock with.

use std::sync::Arc;

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{MethodRouter, get},
};
use bytes::Bytes;
use libp2p::{Multiaddr, PeerId};
use peerway_core::protocol::DISCOVERY_TOPIC;
use serde::Serialize;
use tokio::sync::watch;

use crate::{event_loop::Reach, neighbours::Published};

/// The document as it is right now. It is encoded when it changes, not when somebody asks.
#[derive(Clone, Debug)]
pub(crate) struct RelayDocument {
    facts: Arc<Facts>,
    body: watch::Sender<Bytes>,
}

impl RelayDocument {
    /// No other relay is known yet.
    pub(crate) fn new(facts: Facts) -> Self {
        let body = watch::Sender::new(encode(&facts, &[], Reach::Direct));
        Self {
            facts: Arc::new(facts),
            body,
        }
    }

    /// From now on, these are the other relays, and this is how strangers reach this one.
    pub(crate) fn update(&self, relays: &[Published], reach: Reach) {
        self.body.send_replace(encode(&self.facts, relays, reach));
    }
}

/// What `/relay.json` says about this relay, whatever happens.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) peer: PeerId,
    /// Each ends in `/p2p/<peer>`.
    pub(crate) addresses: Vec<Multiaddr>,
    /// Where it answers STUN: URIs of RFC 7064.
    pub(crate) stun: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RelayJson {
    peer_id: String,
    addrs: Vec<String>,
    /// STUN servers as `stun:HOST:PORT`.
    stun: Vec<String>,
    /// Discovery scopes that this relay forwards.
    topics: [&'static str; 1],
    /// Relays that this one makes one network with and that are there now, in the same form as itself.
    relays: Vec<Neighbour>,
    /// How strangers reach this relay: `direct` at its addresses, `circuit` only through its relays. There are no circuits
    /// inside circuits, so then whoever wants to be reached by strangers holds a slot on those.
    reach: &'static str,
    version: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Neighbour {
    peer_id: String,
    addrs: Vec<String>,
}

pub(super) fn routes<S: Clone + Send + Sync + 'static>(document: &RelayDocument) -> MethodRouter<S> {
    let body = document.body.subscribe();
    get(move || std::future::ready(answer(body.borrow().clone()))).options(preflight)
}

fn encode(facts: &Facts, relays: &[Published], reach: Reach) -> Bytes {
    let text = |addresses: &[Multiaddr]| addresses.iter().map(Multiaddr::to_string).collect();
    let json = RelayJson {
        peer_id: facts.peer.to_string(),
        addrs: text(&facts.addresses),
        stun: facts.stun.clone(),
        topics: [DISCOVERY_TOPIC],
        relays: relays
            .iter()
            .map(|relay| Neighbour {
                peer_id: relay.peer.to_string(),
                addrs: text(&relay.addresses),
            })
            .collect(),
        reach: reach.name(),
        version: env!("CARGO_PKG_VERSION"),
    };
    serde_json::to_vec(&json)
        .expect("strings and lists of strings are always JSON")
        .into()
}

fn answer(body: Bytes) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*")),
        (header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("Date")),
    ];
    (headers, body).into_response()
}

/// Browsers ask before a public page may read from a host in a private network.
async fn preflight() -> Response {
    let headers = [
        ("access-control-allow-origin", "*"),
        ("access-control-allow-methods", "GET"),
        ("access-control-allow-private-network", "true"),
    ];
    (StatusCode::NO_CONTENT, headers).into_response()
}
