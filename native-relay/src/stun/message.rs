//! The part of STUN's format that a server needs which answers Binding requests and nothing else: reads a request,
//! writes an answer. Never looks at who asks.
//!
//! Written here rather than taken from a crate, because what is left of the format is a header, a walk over attributes,
//! one address and a checksum. Of the crates that read STUN, `stun` (in the tree through libp2p-webrtc) lets a message
//! type with its two top bits set and bytes behind the end pass, and allocates for each attribute; `stun-types` is
//! stricter, but logs a warning for each malformed datagram, with which anybody fills the disk of a public server. Each
//! would bring clients, authentication and more than we check. The tests hold this module against the former and against
//! RFC 5769.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
};

/// The longest datagram that is looked at. RFC 8489, section 6.1: who does not know the path sends nothing larger over
/// IPv6, headers included, and less over IPv4.
pub(super) const MAX_REQUEST_BYTES: usize = 1_280;

const HEADER_BYTES: usize = 20;
/// RFC 8489, section 5: tells a request of this protocol from one of RFC 3489, where these bytes are part of the id.
const MAGIC_COOKIE: [u8; 4] = 0x2112_A442_u32.to_be_bytes();
/// Attributes are padded to a multiple of this.
const ALIGNMENT: usize = 4;

/// Method Binding, class request; the two bits that every STUN message begins with are 0.
const BINDING_REQUEST: u16 = 0x0001;
const BINDING_SUCCESS: u16 = 0x0101;
const BINDING_ERROR: u16 = 0x0111;

const MAPPED_ADDRESS: u16 = 0x0001;
const USERNAME: u16 = 0x0006;
const MESSAGE_INTEGRITY: u16 = 0x0008;
const ERROR_CODE: u16 = 0x0009;
const UNKNOWN_ATTRIBUTES: u16 = 0x000A;
const REALM: u16 = 0x0014;
const NONCE: u16 = 0x0015;
const MESSAGE_INTEGRITY_SHA256: u16 = 0x001C;
const PASSWORD_ALGORITHM: u16 = 0x001D;
const USERHASH: u16 = 0x001E;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
const FINGERPRINT: u16 = 0x8028;

/// From here on, an attribute that is not understood may be ignored.
const FIRST_OPTIONAL: u16 = 0x8000;
/// The attributes below it that RFC 8489 defines. Section 6.3: known but unexpected ones are ignored.
const KNOWN: [u16; 11] = [
    MAPPED_ADDRESS,
    USERNAME,
    MESSAGE_INTEGRITY,
    ERROR_CODE,
    UNKNOWN_ATTRIBUTES,
    REALM,
    NONCE,
    MESSAGE_INTEGRITY_SHA256,
    PASSWORD_ALGORITHM,
    USERHASH,
    XOR_MAPPED_ADDRESS,
];

/// A Binding request: whole, aligned, and with a right checksum if it has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    /// Magic cookie and transaction id: an answer repeats both.
    transaction: [u8; 16],
    fingerprint: Fingerprint,
    /// What the client insists on and we do not understand.
    unknown: BTreeSet<u16>,
}

/// Whether a message ends in a checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fingerprint {
    Present,
    Absent,
}

/// Why a datagram is not a [`Request`]. There is nothing to do then but to drop it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotARequest {
    /// More than a Binding request can have a use for.
    #[error("longer than {MAX_REQUEST_BYTES} bytes")]
    TooLong,
    /// It has another length than it says, an attribute that goes on behind its end, or not even a header.
    #[error("lengths that do not fit")]
    Length,
    /// Another protocol, another method, an indication or a response.
    #[error("not a Binding request")]
    Type,
    /// A checksum that is wrong or not at the end.
    #[error("a wrong FINGERPRINT")]
    Fingerprint,
}

impl Request {
    /// Reads a datagram.
    pub(super) fn parse(datagram: &[u8]) -> Result<Self, NotARequest> {
        if datagram.len() > MAX_REQUEST_BYTES {
            return Err(NotARequest::TooLong);
        }
        let (header, attributes) = datagram
            .split_first_chunk::<HEADER_BYTES>()
            .ok_or(NotARequest::Length)?;
        let [type_high, type_low, length_high, length_low, transaction @ ..] = *header;
        if u16::from_be_bytes([type_high, type_low]) != BINDING_REQUEST {
            return Err(NotARequest::Type);
        }
        if usize::from(u16::from_be_bytes([length_high, length_low])) != attributes.len() {
            return Err(NotARequest::Length);
        }
        let mut request = Self {
            transaction,
            fingerprint: Fingerprint::Absent,
            unknown: BTreeSet::new(),
        };
        request.read_attributes(attributes, datagram)?;
        Ok(request)
    }

    fn read_attributes(&mut self, attributes: &[u8], datagram: &[u8]) -> Result<(), NotARequest> {
        let mut rest = attributes;
        let mut protected = false;
        while !rest.is_empty() {
            let before = datagram.len() - rest.len();
            let (kind, value, after) = split_attribute(rest).ok_or(NotARequest::Length)?;
            rest = after;
            match kind {
                FINGERPRINT => {
                    // Section 14.7: it is the last one.
                    if !rest.is_empty() || value != fingerprint(&datagram[..before]) {
                        return Err(NotARequest::Fingerprint);
                    }
                    self.fingerprint = Fingerprint::Present;
                }
                MESSAGE_INTEGRITY | MESSAGE_INTEGRITY_SHA256 => protected = true,
                // Sections 14.5 and 14.6: what follows these is not protected by them and is ignored.
                _ if protected => {}
                kind if kind < FIRST_OPTIONAL && !KNOWN.contains(&kind) => {
                    self.unknown.insert(kind);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// What to say to whoever sent it from `from`: that address, or that we do not understand everything.
    pub(super) fn answer(&self, from: SocketAddr) -> Vec<u8> {
        let answer = if self.unknown.is_empty() {
            // RFC 5389, section 12.2, which RFC 8489 keeps: without the cookie it is a client of RFC 3489, which knows
            // only the address as it is.
            if self.transaction.starts_with(&MAGIC_COOKIE) {
                let address = address(from, self.transaction);
                Answer::new(BINDING_SUCCESS, self.transaction).with(XOR_MAPPED_ADDRESS, &address)
            } else {
                let address = address(from, [0; 16]);
                Answer::new(BINDING_SUCCESS, self.transaction).with(MAPPED_ADDRESS, &address)
            }
        } else {
            let unknown: Vec<u8> = self.unknown.iter().flat_map(|kind| kind.to_be_bytes()).collect();
            Answer::new(BINDING_ERROR, self.transaction)
                // Class and number of 420, Unknown Attribute.
                .with(ERROR_CODE, &[0, 0, 4, 20])
                .with(UNKNOWN_ATTRIBUTES, &unknown)
        };
        match self.fingerprint {
            Fingerprint::Present => answer.with_fingerprint(),
            Fingerprint::Absent => answer,
        }
        .0
    }
}

/// The first attribute's type and value, and what follows its padding.
fn split_attribute(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let ([kind_high, kind_low, length_high, length_low], rest) = bytes.split_first_chunk()?;
    let length = usize::from(u16::from_be_bytes([*length_high, *length_low]));
    let (padded, rest) = rest.split_at_checked(length.next_multiple_of(ALIGNMENT))?;
    Some((u16::from_be_bytes([*kind_high, *kind_low]), &padded[..length], rest))
}

/// The value of FINGERPRINT behind `message`, whose length has to include it already (section 14.7).
fn fingerprint(message: &[u8]) -> [u8; 4] {
    const XOR: u32 = 0x5354_554E;
    (crc32fast::hash(message) ^ XOR).to_be_bytes()
}

/// The value of (XOR-)MAPPED-ADDRESS (sections 14.1 and 14.2).
fn address(address: SocketAddr, mask: [u8; 16]) -> Vec<u8> {
    let masked = |bytes: &[u8]| {
        bytes
            .iter()
            .zip(mask)
            .map(|(byte, mask)| byte ^ mask)
            .collect::<Vec<_>>()
    };
    let (family, ip) = match address.ip().to_canonical() {
        IpAddr::V4(ip) => (1, masked(&ip.octets())),
        IpAddr::V6(ip) => (2, masked(&ip.octets())),
    };
    [vec![0, family], masked(&address.port().to_be_bytes()), ip].concat()
}

/// A message that is being written; its header is right after every step.
struct Answer(Vec<u8>);

impl Answer {
    fn new(kind: u16, transaction: [u8; 16]) -> Self {
        Self([&kind.to_be_bytes()[..], &[0, 0], &transaction].concat())
    }

    fn with(mut self, kind: u16, value: &[u8]) -> Self {
        let length = |length: usize| u16::try_from(length).expect("shorter than what it answers, times three");
        self.0.extend_from_slice(&kind.to_be_bytes());
        self.0.extend_from_slice(&length(value.len()).to_be_bytes());
        self.0.extend_from_slice(value);
        self.0.resize(self.0.len().next_multiple_of(ALIGNMENT), 0);
        let whole = length(self.0.len() - HEADER_BYTES);
        self.0[2..4].copy_from_slice(&whole.to_be_bytes());
        self
    }

    fn with_fingerprint(self) -> Self {
        let before = self.0.len();
        let mut whole = self.with(FINGERPRINT, &[0; 4]).0;
        let value = fingerprint(&whole[..before]);
        let end = whole.len() - value.len();
        whole[end..].copy_from_slice(&value);
        Self(whole)
    }
}
