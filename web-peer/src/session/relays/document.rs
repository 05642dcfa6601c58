//! `/relay.json`: what a relay says about itself. Pure.

use libp2p::{Multiaddr, PeerId};
use serde::Deserialize;

/// The part of the document that the page needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RelayDocument {
    /// The relay's peer id.
    pub(crate) peer: PeerId,
    /// Its addresses, in its order. Those that do not parse are left out: a newer relay may list what we do not know.
    pub(crate) addrs: Vec<Multiaddr>,
    /// Its STUN servers as URIs, in its order; not looked at yet.
    pub(crate) stun: Vec<String>,
}

/// Why a document is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DocumentError {
    /// It is not the JSON that a relay serves.
    #[error("it is not what a relay answers")]
    Shape,
    /// The peer id in it is none.
    #[error("the peer id in it is malformed")]
    PeerId,
}

impl RelayDocument {
    pub(crate) fn parse(body: &str) -> Result<Self, DocumentError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Wire {
            peer_id: String,
            #[serde(default)]
            addrs: Vec<String>,
            #[serde(default)]
            stun: Vec<String>,
        }
        let wire: Wire = serde_json::from_str(body).map_err(|_| DocumentError::Shape)?;
        Ok(Self {
            peer: wire.peer_id.parse().map_err(|_| DocumentError::PeerId)?,
            addrs: wire.addrs.iter().filter_map(|address| address.parse().ok()).collect(),
            stun: wire.stun,
        })
    }
}

#[cfg(test)]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test;

    use super::*;

    #[wasm_bindgen_test(unsupported = test)]
    fn when_a_relay_lists_what_we_do_not_know_the_rest_is_read() {
        let document = RelayDocument::parse(
            r#"{"peerId":"12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN",
                "addrs":["/ip4/127.0.0.1/tcp/8080/ws","/carrier-pigeon/7"],"stun":[],"more":{"to":"come"}}"#,
        )
        .unwrap();
        assert_eq!(document.addrs.len(), 1);
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn what_is_no_such_document_is_refused() {
        for (body, error) in [
            ("", DocumentError::Shape),
            ("<!doctype html>", DocumentError::Shape),
            ("{}", DocumentError::Shape),
            (r#"{"peerId":7}"#, DocumentError::Shape),
            (r#"{"peerId":"","addrs":[]}"#, DocumentError::PeerId),
            (r#"{"peerId":"12D3Koo","addrs":[]}"#, DocumentError::PeerId),
        ] {
            assert_eq!(RelayDocument::parse(body).unwrap_err(), error, "{body:?}");
        }
    }
}
