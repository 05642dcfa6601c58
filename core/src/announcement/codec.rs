//! The wire format: one JSON object with `peerId`, `addrs` and, optionally, `name`; unknown keys are ignored.
//!
//! Decides the shape and bounds the work of reading it. Never judges what an address means.

use std::fmt;

use libp2p::{Multiaddr, PeerId};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error as _, IgnoredAny, SeqAccess, Visitor},
};
use serde_json::Value;

use super::MAX_ADDRESSES_READ;
use crate::name::clean_name;

/// The longest text of a peer id that is looked at. Base58 decoding takes quadratic time, so it must not see kilobytes.
pub(crate) const MAX_PEER_ID_BYTES: usize = 128;

/// What was read, not yet verified.
pub(super) struct Wire {
    /// `None` if `peerId` is a string that names no peer.
    pub(super) peer: Option<PeerId>,
    /// Not necessarily strings.
    pub(super) addrs: Vec<Value>,
    /// Already cleaned.
    pub(super) name: Option<String>,
}

pub(super) fn read(bytes: &[u8]) -> Result<Wire, serde_json::Error> {
    let text = std::str::from_utf8(bytes).map_err(serde_json::Error::custom)?;
    // Serde would also take a list of the fields in order; other readers would not.
    if !text.trim_start().starts_with('{') {
        return Err(serde_json::Error::custom("not an object"));
    }
    let body: Body = serde_json::from_str(text)?;
    // Apart from the body, so that no name, of whatever type, refuses the whole.
    let name = serde_json::from_str::<Named>(text).ok().and_then(|named| named.name);
    Ok(Wire {
        peer: (body.peer_id.len() <= MAX_PEER_ID_BYTES)
            .then(|| body.peer_id.parse().ok())
            .flatten(),
        addrs: body.addrs.0,
        name: name.and_then(|name| clean_name(&name.0)),
    })
}

pub(super) fn write(peer: PeerId, addrs: &[Multiaddr], name: Option<&str>) -> Vec<u8> {
    let addrs = addrs.iter().map(Multiaddr::to_string).collect();
    serde_json::to_vec(&Sent {
        peer_id: peer.to_base58(),
        addrs,
        name,
    })
    .expect("strings always serialize")
}

#[derive(Deserialize)]
struct Body {
    #[serde(rename = "peerId")]
    peer_id: String,
    addrs: FirstValues<MAX_ADDRESSES_READ>,
}

#[derive(Deserialize)]
struct Named {
    name: Option<LossyText>,
}

#[derive(Serialize)]
struct Sent<'a> {
    #[serde(rename = "peerId")]
    peer_id: String,
    addrs: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
}

/// The first `N` elements of a list, of whatever type; the rest is passed over without being kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct FirstValues<const N: usize>(pub(crate) Vec<Value>);

impl<'de, const N: usize> Deserialize<'de> for FirstValues<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Elements<const N: usize>;

        impl<'de, const N: usize> Visitor<'de> for Elements<N> {
            type Value = FirstValues<N>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut values = Vec::new();
                while values.len() < N {
                    match list.next_element()? {
                        Some(value) => values.push(value),
                        None => return Ok(FirstValues(values)),
                    }
                }
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(FirstValues(values))
            }
        }

        deserializer.deserialize_seq(Elements::<N>)
    }
}

/// A JSON string that may hold half a surrogate pair: JavaScript writes one when it cuts a name in the middle of an emoji.
struct LossyText(String);

impl<'de> Deserialize<'de> for LossyText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;

        impl Visitor<'_> for Bytes {
            type Value = LossyText;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Self::Value, E> {
                Ok(LossyText(String::from_utf8_lossy(bytes).into_owned()))
            }
        }

        deserializer.deserialize_bytes(Bytes)
    }
}
