//! Reservation vouchers: the relay's signature under who may be reached through it, and until when.
//!
//! Decides nothing: it writes what the specification says, and nobody has to look at it yet.

use libp2p_core::SignedEnvelope;
use libp2p_identity::{Keypair, PeerId, SigningError};
use prost::Message as _;

/// "The envelope domain is `libp2p-relay-rsvp`."
const DOMAIN: &str = "libp2p-relay-rsvp";
/// "And uses the multicodec code `0x0302`": as these two bytes, which is how go-libp2p and nim-libp2p write it.
const PAYLOAD_TYPE: [u8; 2] = [0x03, 0x02];

/// A voucher for `peer`, sealed in an envelope. `expiration` is in seconds since 1970.
///
/// # Errors
/// The key cannot sign.
pub(crate) fn issue(relay: &Keypair, peer: PeerId, expiration: u64) -> Result<Vec<u8>, SigningError> {
    let voucher = Voucher {
        relay: Some(relay.public().to_peer_id().to_bytes()),
        peer: Some(peer.to_bytes()),
        expiration: Some(expiration),
    };
    // prost writes fields in the order of their numbers, which is the canonical form.
    let envelope = SignedEnvelope::new(relay, DOMAIN.to_owned(), PAYLOAD_TYPE.to_vec(), voucher.encode_to_vec())?;
    Ok(envelope.into_protobuf_encoding())
}

/// `message Voucher` of the specification.
#[derive(Clone, PartialEq, prost::Message)]
struct Voucher {
    #[prost(bytes = "vec", optional, tag = "1")]
    relay: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "2")]
    peer: Option<Vec<u8>>,
    #[prost(uint64, optional, tag = "3")]
    expiration: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_a_voucher_is_opened_it_says_who_where_and_how_long() {
        let (relay, peer) = (Keypair::generate_ed25519(), PeerId::random());
        let sealed = issue(&relay, peer, 1_700_000_000).expect("ed25519 signs");
        let envelope = SignedEnvelope::from_protobuf_encoding(&sealed).expect("an envelope");
        let (payload, signer) = envelope
            .payload_and_signing_key("libp2p-relay-rsvp".to_owned(), &[0x03, 0x02])
            .expect("of this domain and type");
        assert_eq!(*signer, relay.public());
        let voucher = Voucher::decode(payload).expect("a voucher");
        assert_eq!(voucher.relay, Some(relay.public().to_peer_id().to_bytes()));
        assert_eq!(voucher.peer, Some(peer.to_bytes()));
        assert_eq!(voucher.expiration, Some(1_700_000_000));
    }
}
