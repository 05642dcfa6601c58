//! What HOP and STOP say: each message a length as unsigned varint, then a protobuf.
//!
//! Decides the shape, and bounds the work of reading it: at most [`MAX_MESSAGE_BYTES`] are ever held. Never decides whether
//! a message is due, nor what is answered.
//!
//! The specification marks a message's type as optional and asks to always set it. One without a type is read as the type
//! whose number is 0, as every other implementation does: writers of proto3 may leave a zero out.

use std::time::Duration;

use libp2p_core::Multiaddr;
use libp2p_identity::PeerId;
use prost::Message as _;
use web_time::{SystemTime, UNIX_EPOCH};

use crate::{Refusal, config::CircuitLimits};

/// The longest message, without its length. A longer one is refused as soon as its length is read, and we send none.
pub const MAX_MESSAGE_BYTES: usize = 4_096;

/// What a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// `RESERVE`: to be reached through us.
    Reserve,
    /// `CONNECT`: to reach somebody through us.
    Connect { destination: PeerId },
}

/// What the destination of a circuit says: `OK`, or why not.
pub(crate) type Answer = Result<(), Refusal>;

/// Why bytes are no message that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DecodeError {
    /// They are not protobuf of this shape, or name no peer.
    #[error("a malformed message")]
    Malformed,
    /// A message that only the other side of the protocol sends.
    #[error("a message that is not due")]
    Unexpected,
}

impl DecodeError {
    /// What its sender is told.
    pub(crate) fn refusal(self) -> Refusal {
        match self {
            Self::Malformed => Refusal::MalformedMessage,
            Self::Unexpected => Refusal::UnexpectedMessage,
        }
    }
}

/// Reads a client's HOP message, without its length.
pub(crate) fn decode_request(bytes: &[u8]) -> Result<Request, DecodeError> {
    let HopMessage { r#type, peer, .. } = HopMessage::decode(bytes).map_err(|_| DecodeError::Malformed)?;
    match HopType::try_from(r#type.unwrap_or_default()).map_err(|_| DecodeError::Malformed)? {
        HopType::Reserve => Ok(Request::Reserve),
        HopType::Connect => {
            let id = peer.and_then(|peer| peer.id).ok_or(DecodeError::Malformed)?;
            let destination = PeerId::from_bytes(&id).map_err(|_| DecodeError::Malformed)?;
            Ok(Request::Connect { destination })
        }
        HopType::Status => Err(DecodeError::Unexpected),
    }
}

/// Reads a destination's STOP message, without its length.
pub(crate) fn decode_answer(bytes: &[u8]) -> Result<Answer, DecodeError> {
    let StopMessage { r#type, status, .. } = StopMessage::decode(bytes).map_err(|_| DecodeError::Malformed)?;
    match StopType::try_from(r#type.unwrap_or_default()).map_err(|_| DecodeError::Malformed)? {
        StopType::Connect => Err(DecodeError::Unexpected),
        StopType::Status => match status {
            Some(OK) => Ok(Ok(())),
            Some(code) => Refusal::from_code(code).map(Err).ok_or(DecodeError::Malformed),
            None => Err(DecodeError::Malformed),
        },
    }
}

/// HOP: the reservation stands until `expire`, in seconds since 1970. As many of the addresses as fit go with it.
pub(crate) fn reserved(expire: u64, addresses: &[Multiaddr], voucher: Vec<u8>, limits: &CircuitLimits) -> Vec<u8> {
    let mut message = HopMessage {
        r#type: Some(HopType::Status.into()),
        status: Some(OK),
        limit: limit(limits),
        reservation: Some(Reservation {
            expire: Some(expire),
            addrs: addresses.iter().map(Multiaddr::to_vec).collect(),
            voucher: Some(voucher),
        }),
        peer: None,
    };
    while message.encoded_len() > MAX_MESSAGE_BYTES {
        let dropped = message.reservation.as_mut().and_then(|made| made.addrs.pop());
        if dropped.is_none() {
            break;
        }
    }
    message.encode_length_delimited_to_vec()
}

/// HOP: the circuit stands.
pub(crate) fn connected(limits: &CircuitLimits) -> Vec<u8> {
    let message = HopMessage {
        r#type: Some(HopType::Status.into()),
        status: Some(OK),
        limit: limit(limits),
        ..HopMessage::default()
    };
    message.encode_length_delimited_to_vec()
}

/// HOP: no.
pub(crate) fn refused(refusal: Refusal) -> Vec<u8> {
    let message = HopMessage {
        r#type: Some(HopType::Status.into()),
        status: Some(refusal.code()),
        ..HopMessage::default()
    };
    message.encode_length_delimited_to_vec()
}

/// STOP: `source` wants to reach whoever reads this.
pub(crate) fn incoming(source: PeerId, limits: &CircuitLimits) -> Vec<u8> {
    let message = StopMessage {
        r#type: Some(StopType::Connect.into()),
        peer: Some(Peer {
            id: Some(source.to_bytes()),
            addrs: Vec::new(),
        }),
        limit: limit(limits),
        status: None,
    };
    message.encode_length_delimited_to_vec()
}

/// When a lifetime that begins now ends, in seconds since 1970.
pub(crate) fn expiry(lifetime: Duration) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.saturating_add(lifetime).as_secs()
}

/// Without any limit there is no such field: the specification's way to say so. Within it, 0 says the same.
fn limit(limits: &CircuitLimits) -> Option<Limit> {
    if limits.duration.is_none() && limits.bytes.is_none() {
        return None;
    }
    let seconds = |duration: Duration| duration.as_secs().saturating_add((duration.subsec_nanos() > 0).into());
    Some(Limit {
        duration: limits
            .duration
            .map(|duration| u32::try_from(seconds(duration)).unwrap_or(u32::MAX).max(1)),
        data: limits.bytes.map(u64::from),
    })
}

/// `Status.OK`. The other statuses are [`Refusal`].
const OK: i32 = 100;

/// `message HopMessage` of the specification, as are the others here.
#[derive(Clone, PartialEq, prost::Message)]
struct HopMessage {
    #[prost(enumeration = "HopType", optional, tag = "1")]
    r#type: Option<i32>,
    #[prost(message, optional, tag = "2")]
    peer: Option<Peer>,
    #[prost(message, optional, tag = "3")]
    reservation: Option<Reservation>,
    #[prost(message, optional, tag = "4")]
    limit: Option<Limit>,
    #[prost(int32, optional, tag = "5")]
    status: Option<i32>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct StopMessage {
    #[prost(enumeration = "StopType", optional, tag = "1")]
    r#type: Option<i32>,
    #[prost(message, optional, tag = "2")]
    peer: Option<Peer>,
    #[prost(message, optional, tag = "3")]
    limit: Option<Limit>,
    #[prost(int32, optional, tag = "4")]
    status: Option<i32>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Peer {
    #[prost(bytes = "vec", optional, tag = "1")]
    id: Option<Vec<u8>>,
    #[prost(bytes = "vec", repeated, tag = "2")]
    addrs: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Reservation {
    #[prost(uint64, optional, tag = "1")]
    expire: Option<u64>,
    #[prost(bytes = "vec", repeated, tag = "2")]
    addrs: Vec<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "3")]
    voucher: Option<Vec<u8>>,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
struct Limit {
    #[prost(uint32, optional, tag = "1")]
    duration: Option<u32>,
    #[prost(uint64, optional, tag = "2")]
    data: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
enum HopType {
    Reserve = 0,
    Connect = 1,
    Status = 2,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
enum StopType {
    Connect = 0,
    Status = 1,
}

#[cfg(test)]
mod tests;
