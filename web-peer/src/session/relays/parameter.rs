//! `?relay=MULTIADDR`: relays that the user names. Pure.

use libp2p::{Multiaddr, PeerId, multiaddr::Protocol};
use peerway_core::reservation::RelaySpec;

use super::{MAX_ADDRESSES, PageOrigin, Scheme, allowed, split_peer, transport};

/// Relays taken from one URL; further ones are named in an error.
const MAX_RELAYS: usize = 4;

/// What is wrong with a `?relay=`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ParameterError {
    /// There is none.
    #[error("nothing stands after “relay=”")]
    Empty,
    /// It cannot be read as a multiaddr at all.
    #[error("“{text}” is not a multiaddr: {reason}")]
    NotAMultiaddr { text: String, reason: String },
    /// It is an address of something else than a relay's listener.
    #[error("“{text}” leads through a relay; the address of the relay itself is needed")]
    Circuit { text: String },
    /// Pages cannot speak its transport.
    #[error("“{text}” is not an address a browser can connect to")]
    NoTransport { text: String },
    /// The browser blocks it on this page.
    #[error("“{text}” is not encrypted, and a page loaded over https may not use it")]
    NeedsTls { text: String },
    /// One too many.
    #[error("“{text}” is one relay too many")]
    TooMany { text: String },
}

/// The relays that the values name, in order, and what is wrong with the others. Addresses of one peer become one relay.
pub(crate) fn from_parameters(origin: Option<&PageOrigin>, values: &[String]) -> (Vec<RelaySpec>, Vec<ParameterError>) {
    let mut relays: Vec<RelaySpec> = Vec::new();
    let mut errors = Vec::new();
    for value in values {
        match parse(origin, value.trim()) {
            Ok((address, peer)) => add(&mut relays, &mut errors, address, peer, value),
            Err(error) => errors.push(error),
        }
    }
    // What the page shows of them has to stay readable.
    errors.truncate(MAX_RELAYS);
    (relays, errors)
}

fn add(
    relays: &mut Vec<RelaySpec>,
    errors: &mut Vec<ParameterError>,
    address: Multiaddr,
    peer: Option<PeerId>,
    value: &str,
) {
    let room_for_more = relays.len() < MAX_RELAYS;
    let known = relays.iter_mut().find(|relay| peer.is_some() && relay.peer == peer);
    match known {
        Some(relay) if relay.addrs.contains(&address) => {}
        Some(relay) if relay.addrs.len() < MAX_ADDRESSES => relay.addrs.push(address),
        None if room_for_more => relays.push(RelaySpec {
            peer,
            addrs: vec![address],
        }),
        Some(_) | None => errors.push(ParameterError::TooMany { text: quote(value) }),
    }
}

fn parse(origin: Option<&PageOrigin>, value: &str) -> Result<(Multiaddr, Option<PeerId>), ParameterError> {
    let text = quote(value);
    if value.is_empty() {
        return Err(ParameterError::Empty);
    }
    let address: Multiaddr = match value.parse() {
        Ok(address) => address,
        Err(error) => {
            return Err(ParameterError::NotAMultiaddr {
                text,
                reason: reason(value, &error),
            });
        }
    };
    if address.iter().any(|part| part == Protocol::P2pCircuit) {
        return Err(ParameterError::Circuit { text });
    }
    let (address, peer) = split_peer(&address);
    let Some(transport) = transport(&address) else {
        return Err(ParameterError::NoTransport { text });
    };
    match origin {
        Some(origin) if !allowed(origin, transport) => Err(ParameterError::NeedsTls { text }),
        // Without an origin the page was loaded from a file, which no browser counts as https.
        Some(PageOrigin {
            scheme: Scheme::Http | Scheme::Https,
            ..
        })
        | None => Ok((address, peer)),
    }
}

/// The parser's words name what it stumbled over, not what the user forgot.
fn reason(value: &str, error: &libp2p::multiaddr::Error) -> String {
    if !value.starts_with('/') {
        "it has to begin with “/”, as in /ip4/192.0.2.1/tcp/8080/ws".to_owned()
    } else {
        error.to_string()
    }
}

/// What the user gave, short enough to be shown.
fn quote(value: &str) -> String {
    const SHOWN: usize = 80;
    let mut text: String = value.chars().take(SHOWN).collect();
    if text.len() < value.len() {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test;

    use super::*;

    const RELAY: &str = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";

    fn from(scheme: &str, values: &[&str]) -> (Vec<RelaySpec>, Vec<ParameterError>) {
        let values: Vec<String> = values.iter().map(ToString::to_string).collect();
        from_parameters(PageOrigin::new(scheme, "page.example", 80).as_ref(), &values)
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn addresses_of_one_peer_are_one_relay_and_those_without_an_id_are_their_own() {
        let first = format!("/ip4/127.0.0.1/tcp/8080/ws/p2p/{RELAY}");
        let second = format!("/dns/relay.example/tcp/443/tls/ws/p2p/{RELAY}");
        let (relays, errors) = from("http", &[&first, "/ip4/127.0.0.1/tcp/1/ws", &second, &first]);
        assert_eq!(errors, []);
        assert_eq!(relays.len(), 2);
        assert_eq!(relays[0].peer, RELAY.parse().ok());
        assert_eq!(relays[0].addrs.len(), 2);
        assert_eq!(relays[1].peer, None);
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn what_is_wrong_is_named() {
        let circuit = format!("/ip4/127.0.0.1/tcp/1/ws/p2p/{RELAY}/p2p-circuit");
        for (value, scheme, expected) in [
            ("", "http", "nothing stands after"),
            ("relay.example:8080", "http", "begin with “/”"),
            ("/ip4/999.0.0.1/tcp/1/ws", "http", "not a multiaddr"),
            ("/ip4/127.0.0.1/tcp/4001", "http", "a browser can connect to"),
            ("/ip4/127.0.0.1/udp/4001/quic-v1", "http", "a browser can connect to"),
            (&circuit, "http", "through a relay"),
            ("/ip4/203.0.113.1/tcp/1/ws", "https", "not encrypted"),
        ] {
            let (relays, errors) = from(scheme, &[value]);
            assert_eq!(relays, [], "{value}");
            assert!(errors[0].to_string().contains(expected), "{value}: {}", errors[0]);
        }
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn when_one_of_two_is_wrong_the_other_is_used() {
        let (relays, errors) = from("http", &["nonsense", "/ip4/127.0.0.1/tcp/1/ws"]);
        assert_eq!((relays.len(), errors.len()), (1, 1));
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn when_there_are_too_many_the_rest_is_refused_and_long_values_are_cut() {
        let values: Vec<String> = (1..50).map(|port| format!("/ip4/127.0.0.1/tcp/{port}/ws")).collect();
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        let (relays, errors) = from("http", &values);
        assert_eq!(relays.len(), MAX_RELAYS);
        assert_eq!(errors.len(), MAX_RELAYS);
        let (_, errors) = from("http", &["é".repeat(10_000).as_str()]);
        assert!(errors[0].to_string().len() < 500);
    }
}
