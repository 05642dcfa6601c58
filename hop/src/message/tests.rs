//! Messages at their bounds, and any bytes at all.

use proptest::prelude::*;

use super::*;
use crate::config::Config;

/// A message as it goes over the wire, without its length.
fn body(framed: &[u8]) -> &[u8] {
    let (length, rest) = unsigned_varint::decode::usize(framed).expect("a length");
    assert_eq!(length, rest.len());
    rest
}

fn hop(message: &HopMessage) -> Result<Request, DecodeError> {
    decode_request(&message.encode_to_vec())
}

#[test]
fn when_a_client_asks_it_is_understood() {
    let destination = PeerId::random();
    let connect = |id: Option<Vec<u8>>| HopMessage {
        r#type: Some(1),
        peer: Some(Peer { id, addrs: Vec::new() }),
        ..HopMessage::default()
    };
    // As on the wire: field 1 is RESERVE; and a writer that leaves zeros out.
    for reserve in [&[8, 0][..], &[]] {
        assert_eq!(decode_request(reserve), Ok(Request::Reserve));
    }
    assert_eq!(
        hop(&connect(Some(destination.to_bytes()))),
        Ok(Request::Connect { destination })
    );
    assert_eq!(hop(&connect(None)), Err(DecodeError::Malformed));
    assert_eq!(hop(&connect(Some(vec![1, 2, 3]))), Err(DecodeError::Malformed));
    let of_type = |number| HopMessage {
        r#type: Some(number),
        ..HopMessage::default()
    };
    assert_eq!(hop(&of_type(1)), Err(DecodeError::Malformed), "connect to nobody");
    assert_eq!(hop(&of_type(2)), Err(DecodeError::Unexpected), "a status");
    assert_eq!(hop(&of_type(3)), Err(DecodeError::Malformed), "an unknown type");
}

#[test]
fn when_a_destination_answers_it_is_understood() {
    let answer = |r#type, status| {
        let message = StopMessage {
            r#type: Some(r#type),
            status,
            ..StopMessage::default()
        };
        decode_answer(&message.encode_to_vec())
    };
    assert_eq!(answer(1, Some(100)), Ok(Ok(())));
    assert_eq!(answer(1, Some(203)), Ok(Err(Refusal::ConnectionFailed)));
    assert_eq!(answer(1, None), Err(DecodeError::Malformed));
    assert_eq!(answer(1, Some(0)), Err(DecodeError::Malformed), "UNUSED");
    assert_eq!(answer(0, Some(100)), Err(DecodeError::Unexpected), "it connects to us");
    assert_eq!(answer(7, Some(100)), Err(DecodeError::Malformed));
}

#[test]
fn when_limits_are_told_they_are_rounded_so_that_0_means_none() {
    let mut limits = Config::default().circuits;
    limits.duration = Some(Duration::from_millis(1));
    limits.bytes = None;
    let told = |limits: &CircuitLimits| HopMessage::decode(body(&connected(limits))).expect("ours").limit;
    let one = Limit {
        duration: Some(1),
        data: None,
    };
    assert_eq!(told(&limits), Some(one));
    limits.duration = Some(Duration::from_millis(1_500));
    assert_eq!(told(&limits).and_then(|limit| limit.duration), Some(2));
    limits.duration = Some(Duration::MAX);
    assert_eq!(told(&limits).and_then(|limit| limit.duration), Some(u32::MAX));
    limits.duration = None;
    assert_eq!(told(&limits), None);
}

#[test]
fn when_there_are_more_addresses_than_fit_the_last_are_left_out() {
    let limits = Config::default().circuits;
    let addresses: Vec<Multiaddr> = (0..200)
        .map(|port| {
            format!("/dns4/relay{port}.example.org/tcp/{port}/wss")
                .parse()
                .expect("valid")
        })
        .collect();
    let message = reserved(1, &addresses, vec![7; 300], &limits);
    let body = body(&message);
    assert!(body.len() <= MAX_MESSAGE_BYTES);
    let sent = HopMessage::decode(body).expect("ours").reservation.expect("one");
    assert!(sent.addrs.len() > 100, "{}", sent.addrs.len());
    assert!(
        sent.addrs
            .iter()
            .zip(&addresses)
            .all(|(sent, ours)| *sent == ours.to_vec())
    );
    assert_eq!(sent.voucher, Some(vec![7; 300]));
    // One that does not fit by itself is better left out than a message that nobody reads.
    let endless = reserved(1, &[], vec![0; MAX_MESSAGE_BYTES + 1], &limits);
    assert!(!endless.is_empty());
}

proptest! {
    #[test]
    fn whatever_the_bytes_reading_them_ends(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = decode_request(&bytes);
        let _ = decode_answer(&bytes);
    }

    #[test]
    fn whatever_surrounds_a_request_it_is_read_or_refused(
        r#type in any::<Option<i32>>(), id in any::<Option<Vec<u8>>>(), status in any::<Option<i32>>(),
        addrs in prop::collection::vec(any::<Vec<u8>>(), 0..3),
    ) {
        let peer = Some(Peer { id, addrs });
        let message = HopMessage { r#type, peer: peer.clone(), status, ..HopMessage::default() };
        let _ = hop(&message);
        let _ = decode_answer(&StopMessage { r#type, peer, limit: None, status }.encode_to_vec());
    }
}
