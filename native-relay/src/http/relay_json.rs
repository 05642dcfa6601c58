//! `/relay.json`: what a page must know to use this relay.
//!
//! For everybody, pages of other origins included. Its `Date` header is what pages compare their clock with.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{MethodRouter, get},
};
use bytes::Bytes;
use libp2p::{Multiaddr, PeerId};
use peerway_core::protocol::DISCOVERY_TOPIC;
use serde::Serialize;

/// What `/relay.json` says about this relay.
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
    /// Relays that this one knows, in the same form as itself.
    relays: Vec<Neighbour>,
    version: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Neighbour {
    peer_id: String,
    addrs: Vec<String>,
}

pub(super) fn routes<S: Clone + Send + Sync + 'static>(facts: &Facts) -> MethodRouter<S> {
    let body = Bytes::from(encode(facts));
    get(move || std::future::ready(answer(body))).options(preflight)
}

fn encode(facts: &Facts) -> Vec<u8> {
    let json = RelayJson {
        peer_id: facts.peer.to_string(),
        addrs: facts.addresses.iter().map(Multiaddr::to_string).collect(),
        stun: facts.stun.clone(),
        topics: [DISCOVERY_TOPIC],
        relays: Vec::new(),
        version: env!("CARGO_PKG_VERSION"),
    };
    serde_json::to_vec(&json).expect("strings and lists of strings are always JSON")
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
