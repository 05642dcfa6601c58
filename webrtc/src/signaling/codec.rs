//! A signalling stream's messages: each a length as unsigned varint, then a protobuf of a type and a string.
//!
//! Decides the shape and bounds the work of reading it: at most [`MAX_MESSAGE_BYTES`] of one message are ever held. Never
//! looks into the string, and never decides whether a message is due.
//!
//! proto3 leaves open what a reader does with a type it does not know. js-libp2p refuses such a message, and so does this:
//! there is nothing sensible to go on with.

use std::fmt;

use bytes::Bytes;
use prost::Message as _;

/// The longest message, without its length. A longer one is refused as soon as its length is read.
pub const MAX_MESSAGE_BYTES: usize = 64 * 1024;
/// How many bytes the length of the longest message takes.
const MAX_LENGTH_BYTES: usize = 3;

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// `RTCSessionDescription.sdp` of the initiator.
    Offer(String),
    /// `RTCSessionDescription.sdp` of the recipient.
    Answer(String),
    /// `RTCIceCandidate.toJSON()`, see [`candidate`](super::candidate). js-libp2p reads none as the end of the candidates.
    Candidate(Option<String>),
}

/// Which message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MessageKind {
    /// `SDP_OFFER`.
    Offer,
    /// `SDP_ANSWER`.
    Answer,
    /// `ICE_CANDIDATE`.
    Candidate,
}

/// Why bytes are no message. The stream cannot be read any further: reset it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// It says to be longer than [`MAX_MESSAGE_BYTES`].
    #[error("a message longer than allowed")]
    TooLong,
    /// The length is not a minimal varint.
    #[error("a malformed length")]
    Length,
    /// The bytes are not protobuf of this shape.
    #[error("a malformed message")]
    Malformed,
    /// The type is one that the specification does not name.
    #[error("a message of unknown type {0}")]
    UnknownType(i32),
    /// There is no type.
    #[error("a message without a type")]
    NoType,
    /// An offer or an answer without a description.
    #[error("an {0} without a description")]
    NoDescription(MessageKind),
    /// The stream ended within a message.
    #[error("a message cut short")]
    Truncated,
}

/// A message of our own is longer than [`MAX_MESSAGE_BYTES`]; nobody would read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a message of {0} bytes is longer than any peer reads")]
pub struct TooLong(pub usize);

/// Writes a message with its length.
///
/// # Errors
/// See [`TooLong`].
pub fn encode(message: &Message) -> Result<Bytes, TooLong> {
    let (kind, data) = match message {
        Message::Offer(sdp) => (Type::SdpOffer, Some(sdp)),
        Message::Answer(sdp) => (Type::SdpAnswer, Some(sdp)),
        Message::Candidate(json) => (Type::IceCandidate, json.as_ref()),
    };
    let wire = Wire {
        r#type: Some(kind.into()),
        data: data.cloned(),
    };
    match wire.encoded_len() {
        length if length > MAX_MESSAGE_BYTES => Err(TooLong(length)),
        _ => Ok(wire.encode_length_delimited_to_vec().into()),
    }
}

/// Reads messages from a stream's bytes, however they are cut.
#[derive(Debug, Default)]
pub struct Decoder {
    state: Reading,
}

#[derive(Debug)]
enum Reading {
    /// At most [`MAX_LENGTH_BYTES`].
    Length(Vec<u8>),
    /// At most `length`, itself at most [`MAX_MESSAGE_BYTES`].
    Body { length: usize, bytes: Vec<u8> },
}

impl Default for Reading {
    fn default() -> Self {
        Self::Length(Vec::new())
    }
}

impl Decoder {
    /// Takes bytes off the front of `input` until a message is complete, or, with `None`, all of them.
    ///
    /// # Errors
    /// See [`DecodeError`]. Do not go on reading then.
    pub fn decode(&mut self, input: &mut &[u8]) -> Result<Option<Message>, DecodeError> {
        loop {
            match &mut self.state {
                Reading::Length(bytes) => {
                    let Some((first, rest)) = input.split_first() else {
                        return Ok(None);
                    };
                    bytes.push(*first);
                    *input = rest;
                    if let Some(length) = read_length(bytes)? {
                        let bytes = Vec::new();
                        self.state = Reading::Body { length, bytes };
                    }
                }
                Reading::Body { length, bytes } => {
                    // Grows with what arrives, not with what was promised.
                    let (taken, rest) = input.split_at(input.len().min(*length - bytes.len()));
                    bytes.extend_from_slice(taken);
                    *input = rest;
                    if bytes.len() < *length {
                        return Ok(None);
                    }
                    let message = read_message(bytes)?;
                    self.state = Reading::default();
                    return Ok(Some(message));
                }
            }
        }
    }

    /// The stream ended.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`], if it ended within a message.
    pub fn finish(&self) -> Result<(), DecodeError> {
        match &self.state {
            Reading::Length(bytes) if bytes.is_empty() => Ok(()),
            Reading::Length(_) | Reading::Body { .. } => Err(DecodeError::Truncated),
        }
    }
}

impl Message {
    /// Which message this is.
    #[must_use]
    pub fn kind(&self) -> MessageKind {
        match self {
            Self::Offer(_) => MessageKind::Offer,
            Self::Answer(_) => MessageKind::Answer,
            Self::Candidate(_) => MessageKind::Candidate,
        }
    }
}

impl fmt::Display for MessageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Offer => "offer",
            Self::Answer => "answer",
            Self::Candidate => "candidate",
        })
    }
}

/// `None`: more bytes are needed.
fn read_length(bytes: &[u8]) -> Result<Option<usize>, DecodeError> {
    use unsigned_varint::decode::{Error, usize};

    match usize(bytes) {
        Ok((length, _)) if length <= MAX_MESSAGE_BYTES => Ok(Some(length)),
        Ok(_) => Err(DecodeError::TooLong),
        Err(Error::Insufficient) if bytes.len() < MAX_LENGTH_BYTES => Ok(None),
        Err(Error::Insufficient) => Err(DecodeError::TooLong),
        Err(_) => Err(DecodeError::Length),
    }
}

fn read_message(bytes: &[u8]) -> Result<Message, DecodeError> {
    let Wire { r#type, data } = Wire::decode(bytes).map_err(|_| DecodeError::Malformed)?;
    let number = r#type.ok_or(DecodeError::NoType)?;
    let description = |kind| data.clone().ok_or(DecodeError::NoDescription(kind));
    match Type::try_from(number).map_err(|_| DecodeError::UnknownType(number))? {
        Type::SdpOffer => description(MessageKind::Offer).map(Message::Offer),
        Type::SdpAnswer => description(MessageKind::Answer).map(Message::Answer),
        Type::IceCandidate => Ok(Message::Candidate(data)),
    }
}

/// `message Message` of the specification.
#[derive(Clone, PartialEq, prost::Message)]
struct Wire {
    #[prost(enumeration = "Type", optional, tag = "1")]
    r#type: Option<i32>,
    #[prost(string, optional, tag = "2")]
    data: Option<String>,
}

/// `enum Type` of the specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
enum Type {
    SdpOffer = 0,
    SdpAnswer = 1,
    IceCandidate = 2,
}

#[cfg(test)]
mod tests;
