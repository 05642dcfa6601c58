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
    /// Other relays of its network, in its order: ids and addresses as above. At most [`MAX_RELAYS`].
    pub(crate) relays: Vec<(PeerId, Vec<Multiaddr>)>,
    /// How strangers reach it.
    pub(crate) reach: Reach,
}

/// How strangers reach a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// At its addresses. Also what is taken for a word that we do not know.
    Direct,
    /// Only through its own relays: nobody is reached by strangers through it.
    Circuit,
}

/// Other relays that are read; those beyond are not seen.
const MAX_RELAYS: usize = 16;

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
            #[serde(default)]
            relays: Vec<OtherRelay>,
            #[serde(default)]
            reach: String,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct OtherRelay {
            peer_id: String,
            #[serde(default)]
            addrs: Vec<String>,
        }
        let addresses = |texts: &[String]| texts.iter().filter_map(|address| address.parse().ok()).collect();
        let wire: Wire = serde_json::from_str(body).map_err(|_| DocumentError::Shape)?;
        Ok(Self {
            peer: wire.peer_id.parse().map_err(|_| DocumentError::PeerId)?,
            addrs: addresses(&wire.addrs),
            stun: wire.stun,
            relays: wire
                .relays
                .iter()
                .take(MAX_RELAYS)
                .filter_map(|relay| Some((relay.peer_id.parse().ok()?, addresses(&relay.addrs))))
                .collect(),
            reach: match wire.reach.as_str() {
                "circuit" => Reach::Circuit,
                _ => Reach::Direct,
            },
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
        assert_eq!(document.relays, []);
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn other_relays_are_read_one_by_one_and_not_without_end() {
        const OTHER: &str = "12D3KooWNvSZnPi3RrhrTwEY4LuuBeB6K6facKUCJcyWG1aoDd2p";
        let other = |id: &str| format!(r#"{{"peerId":"{id}","addrs":["/ip4/127.0.0.1/tcp/8081/ws","nowhere"]}}"#);
        let document = |relays: &[String]| {
            let relays = relays.join(",");
            let body =
                format!(r#"{{"peerId":"12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN","relays":[{relays}]}}"#);
            RelayDocument::parse(&body).unwrap()
        };
        let address = "/ip4/127.0.0.1/tcp/8081/ws".parse().unwrap();
        let read = document(&[other("nobody"), other(OTHER)]);
        assert_eq!(read.relays, [(OTHER.parse().unwrap(), vec![address])]);
        assert_eq!(document(&vec![other(OTHER); 1_000]).relays.len(), MAX_RELAYS);
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn a_relay_is_reached_at_its_addresses_unless_it_says_otherwise() {
        for (said, reach) in [
            ("", Reach::Direct),
            (r#","reach":"direct""#, Reach::Direct),
            (r#","reach":"carrier pigeon""#, Reach::Direct),
            (r#","reach":"circuit""#, Reach::Circuit),
        ] {
            let body = format!(r#"{{"peerId":"12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN"{said}}}"#);
            assert_eq!(RelayDocument::parse(&body).unwrap().reach, reach, "{said}");
        }
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
