//! Against the RFCs' own examples, against somebody else's reading of them, and against whatever bytes there are.

use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

use proptest::{collection::vec, prelude::*};
use stun::{
    addr::MappedAddress,
    error_code::ErrorCodeAttribute,
    fingerprint::FINGERPRINT,
    message::{BINDING_ERROR, BINDING_SUCCESS, Getter, Message},
    uattrs::UnknownAttributes,
    xoraddr::XorMappedAddress,
};

use super::{
    Responder,
    message::{MAX_REQUEST_BYTES, NotARequest, Request},
    quota::{BURST, REFILL},
};

/// The longest answer to the shortest request, and that request: nothing may be answered at a higher ratio.
const MAX_AMPLIFICATION: (usize, usize) = (44, 20);
const COOKIE: [u8; 4] = [0x21, 0x12, 0xA4, 0x42];
/// The transaction of RFC 5769's examples.
const ID: [u8; 12] = [0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae];
const CHANGE_REQUEST: u16 = 0x0003;
const SOFTWARE: u16 = 0x8022;

/// RFC 5769, section 2.1: an ICE check with a password, and a checksum over all of it.
const RFC_5769_REQUEST: &str = "000100582112a442b7e7a701bc34d686fa87dfae802200105354554e207465737420636c69656e74\
    002400046e0001ff80290008932ff9b151263b36000600096576746a3a68367659202020\
    000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a280280004e57a3bcf";

fn from(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn hex(text: &str) -> Vec<u8> {
    let digits = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(digits).collect()
}

/// A message with a right length, and a right checksum if it is asked for one.
fn message(kind: u16, transaction: [u8; 16], attributes: &[(u16, Vec<u8>)], checksum: Checksum) -> Vec<u8> {
    let mut body = Vec::new();
    for (kind, value) in attributes {
        body.extend_from_slice(&kind.to_be_bytes());
        body.extend_from_slice(&u16::try_from(value.len()).unwrap().to_be_bytes());
        body.extend_from_slice(value);
        body.resize(body.len().next_multiple_of(4), 0x20);
    }
    let header = |length: usize| {
        let length = u16::try_from(length).unwrap().to_be_bytes();
        [&kind.to_be_bytes()[..], &length, &transaction].concat()
    };
    match checksum {
        Checksum::No => [header(body.len()), body].concat(),
        Checksum::Yes => {
            let covered = [header(body.len() + 8), body].concat();
            let value = (crc32fast::hash(&covered) ^ 0x5354_554e).to_be_bytes();
            [covered, vec![0x80, 0x28, 0, 4], value.to_vec()].concat()
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Checksum {
    Yes,
    No,
}

fn transaction(cookie: [u8; 4]) -> [u8; 16] {
    [&cookie[..], &ID].concat().try_into().unwrap()
}

fn request(attributes: &[(u16, Vec<u8>)], checksum: Checksum) -> Vec<u8> {
    message(1, transaction(COOKIE), attributes, checksum)
}

fn answer(datagram: &[u8], from: SocketAddr) -> Option<Vec<u8>> {
    Responder::default().handle_datagram(datagram, from, Duration::ZERO)
}

/// An answer, as somebody else's library reads it.
fn read(answer: &[u8]) -> Message {
    let mut message = Message::new();
    message.unmarshal_binary(answer).unwrap();
    assert_eq!(answer.len(), 20 + message.length as usize, "nothing behind the end");
    message
}

fn get<A: Getter>(message: &Message, mut attribute: A) -> A {
    attribute.get_from(message).unwrap();
    attribute
}

fn mapped(answer: &[u8]) -> SocketAddr {
    let message = read(answer);
    assert_eq!(message.typ, BINDING_SUCCESS);
    assert_eq!(message.attributes.0.len(), 1, "the address and nothing else");
    let address = get(&message, XorMappedAddress::default());
    SocketAddr::from((address.ip, address.port))
}

fn refused(answer: &[u8]) -> Vec<u16> {
    let message = read(answer);
    assert_eq!(message.typ, BINDING_ERROR);
    let error = get(&message, ErrorCodeAttribute::default());
    assert_eq!((error.code.0, error.reason.as_slice()), (420, &[][..]));
    let unknown = get(&message, UnknownAttributes(Vec::new()));
    unknown.0.iter().map(|kind| kind.value()).collect()
}

#[test]
fn the_answer_to_a_bare_request_is_the_address_as_rfc_5769_writes_it() {
    for (client, address, length) in [
        ("192.0.2.1:32853", "0001a147e112a643", 32),
        (
            "[2001:db8:1234:5678:11:2233:4455:6677]:32853",
            "0002a1470113a9faa5d3f179bc25f4b5bed2b9d9",
            44,
        ),
        ("[::ffff:192.0.2.1]:32853", "0001a147e112a643", 32),
    ] {
        let answer = answer(&request(&[], Checksum::No), from(client)).unwrap();
        assert_eq!(answer.len(), length, "{client}");
        assert_eq!(answer[..2], [1, 1], "a success");
        assert_eq!(answer[4..20], transaction(COOKIE));
        let address = hex(address);
        let value_length = u8::try_from(address.len()).unwrap();
        assert_eq!(answer[20..24], [0, 0x20, 0, value_length]);
        assert_eq!(answer[24..], address, "{client}");
    }
}

#[test]
fn when_the_request_has_a_checksum_the_answer_has_one_too() {
    let plain = [(SOFTWARE, b"me".to_vec())];
    let with = answer(&request(&plain, Checksum::Yes), from("192.0.2.1:1")).unwrap();
    FINGERPRINT.check(&read(&with)).unwrap();
    assert_eq!(with.len(), 40);
    let without = answer(&request(&plain, Checksum::No), from("192.0.2.1:1")).unwrap();
    assert!(FINGERPRINT.check(&read(&without)).is_err());
}

#[test]
fn when_something_must_be_understood_and_is_not_the_answer_names_it() {
    let bare = |kind| (kind, Vec::new());
    for (attributes, unknown) in [
        (vec![bare(CHANGE_REQUEST)], vec![CHANGE_REQUEST]),
        (
            vec![bare(0x7fff), bare(0x0002), bare(0x7fff), bare(0x8000)],
            vec![2, 0x7fff],
        ),
    ] {
        let answer = answer(&request(&attributes, Checksum::No), from("192.0.2.1:1")).unwrap();
        assert_eq!(refused(&answer), unknown);
    }
    // PRIORITY is for ICE agents, and its checksum is right: this is no server of that kind.
    let answer = answer(&hex(RFC_5769_REQUEST), from("192.0.2.1:1")).unwrap();
    assert_eq!(refused(&answer), [0x0024]);
    FINGERPRINT.check(&read(&answer)).unwrap();
}

#[test]
fn what_follows_an_integrity_check_is_ignored_and_so_is_what_is_known_but_no_use() {
    let client = from("192.0.2.1:1");
    for integrity in [0x0008, 0x001c] {
        let attributes = [
            (0x0006, b"user".to_vec()),
            (integrity, vec![0; 20]),
            (CHANGE_REQUEST, vec![0; 4]),
        ];
        let answer = answer(&request(&attributes, Checksum::No), client).unwrap();
        assert_eq!(mapped(&answer), client);
    }
}

#[test]
fn without_the_cookie_it_is_a_client_of_rfc_3489_which_gets_its_address_plain() {
    let client = from("192.0.2.1:32853");
    let old = message(1, transaction([9; 4]), &[], Checksum::No);
    let answer = answer(&old, client).unwrap();
    assert_eq!(answer[..4], [1, 1, 0, 12]);
    assert_eq!(answer[4..20], transaction([9; 4]), "all 16 bytes are its id");
    let mut comparable = answer;
    comparable[4..8].copy_from_slice(&COOKIE);
    let address = get(&read(&comparable), MappedAddress::default());
    assert_eq!(SocketAddr::from((address.ip, address.port)), client);
}

#[test]
fn what_is_no_whole_binding_request_is_dropped() {
    let good = request(&[(SOFTWARE, b"me".to_vec())], Checksum::Yes);
    let sized = |length: usize| request(&[(SOFTWARE, vec![0; length - 24])], Checksum::No);
    let changed = |at: usize, to: u8| {
        let mut changed = good.clone();
        changed[at] = to;
        changed
    };
    assert!(Request::parse(&good).is_ok() && Request::parse(&sized(MAX_REQUEST_BYTES)).is_ok());
    for (datagram, why) in [
        (Vec::new(), NotARequest::Length),
        (good[..19].to_vec(), NotARequest::Length),
        (good[..good.len() - 4].to_vec(), NotARequest::Length),
        ([&good[..], &[0; 4]].concat(), NotARequest::Length),
        (sized(MAX_REQUEST_BYTES + 4), NotARequest::TooLong),
        (changed(0, 0x40), NotARequest::Type),
        (changed(0, 0xc0), NotARequest::Type),
        // Shared Secret, Allocate, a Binding indication, success and error.
        (changed(1, 0x02), NotARequest::Type),
        (changed(1, 0x03), NotARequest::Type),
        (changed(1, 0x11), NotARequest::Type),
        ([&[1], &good[1..]].concat(), NotARequest::Type),
        ([&[1, 0x11], &good[2..]].concat(), NotARequest::Type),
        (changed(23, 200), NotARequest::Length),
        (changed(19, 0), NotARequest::Fingerprint),
        (changed(good.len() - 1, !good[good.len() - 1]), NotARequest::Fingerprint),
        (changed(good.len() - 5, 3), NotARequest::Fingerprint),
        (
            request(&[(0x8028, vec![0; 4]), (SOFTWARE, Vec::new())], Checksum::No),
            NotARequest::Fingerprint,
        ),
    ] {
        assert_eq!(Request::parse(&datagram).unwrap_err(), why, "{datagram:02x?}");
        assert_eq!(answer(&datagram, from("192.0.2.1:1")), None);
    }
    assert_eq!(answer(&good, from("192.0.2.1:0")), None, "nobody is at port 0");
}

#[test]
fn when_a_source_asks_too_often_it_waits_and_nonsense_does_not_count() {
    let (mut responder, client) = (Responder::default(), from("192.0.2.1:1"));
    let good = request(&[], Checksum::No);
    let mut ask = |datagram: &[u8], now| responder.handle_datagram(datagram, client, now).is_some();
    for _ in 0..10 * BURST {
        assert!(!ask(b"nonsense", Duration::ZERO));
    }
    let answered = (0..10 * BURST).filter(|_| ask(&good, Duration::ZERO)).count();
    assert_eq!(answered, BURST as usize);
    assert!(ask(&good, REFILL));
    assert!(!ask(&good, REFILL));
}

fn client() -> impl Strategy<Value = SocketAddr> {
    let v4 = (any::<[u8; 4]>(), 1..=u16::MAX).prop_map(SocketAddr::from);
    let v6 = (any::<[u16; 8]>(), 1..=u16::MAX).prop_map(SocketAddr::from);
    prop_oneof![v4, v6].prop_map(|client| SocketAddr::new(client.ip().to_canonical(), client.port()))
}

/// Anything but a checksum, which has its own place, and what makes everything behind it ignored.
fn attribute() -> impl Strategy<Value = (u16, Vec<u8>)> {
    let kind = prop_oneof![0..0x30_u16, any::<u16>(), 0x8000..0x8030_u16];
    let kind = kind.prop_filter("has a test of its own", |kind| ![0x8028, 0x0008, 0x001c].contains(kind));
    (kind, vec(any::<u8>(), 0..40))
}

fn checksum() -> impl Strategy<Value = Checksum> {
    prop_oneof![Just(Checksum::Yes), Just(Checksum::No)]
}

fn assert_is_worth_no_forgery(request: &[u8], answer: &[u8]) {
    let (longest, shortest) = MAX_AMPLIFICATION;
    assert!(
        answer.len() * shortest <= request.len() * longest,
        "{} bytes for {}",
        answer.len(),
        request.len()
    );
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    #[test]
    fn no_bytes_crash_it_and_none_get_a_long_answer(
        bytes in vec(any::<u8>(), 0..1_500),
        whole in any::<bool>(),
        client in client(),
    ) {
        let mut bytes = bytes;
        // Half of them look like a request until their attributes are read.
        if whole && bytes.len() >= 20 {
            bytes.truncate(20 + (bytes.len() - 20) / 4 * 4);
            let length = u16::try_from(bytes.len() - 20).unwrap().to_be_bytes();
            bytes[..8].copy_from_slice(&[&[0, 1], &length[..], &COOKIE].concat());
        }
        if let Some(answer) = answer(&bytes, client) {
            assert_is_worth_no_forgery(&bytes, &answer);
        }
    }

    #[test]
    fn every_request_is_answered_as_somebody_else_would_read_it(
        attributes in vec(attribute(), 0..12),
        checksum in checksum(),
        client in client(),
    ) {
        let request = request(&attributes, checksum);
        prop_assume!(request.len() <= MAX_REQUEST_BYTES);
        let answer = answer(&request, client).expect("it is a request");
        assert_is_worth_no_forgery(&request, &answer);
        let message = read(&answer);
        prop_assert_eq!(message.transaction_id.0, ID);
        prop_assert_eq!(FINGERPRINT.check(&message).is_ok(), checksum == Checksum::Yes);
        let known = [1, 6, 9, 0xa, 0x14, 0x15, 0x1d, 0x1e, 0x20];
        let kinds = attributes.iter().map(|(kind, _)| *kind);
        let unknown: BTreeSet<u16> = kinds.filter(|kind| *kind < 0x8000 && !known.contains(kind)).collect();
        if unknown.is_empty() {
            let address = get(&message, XorMappedAddress::default());
            prop_assert_eq!(SocketAddr::from((address.ip, address.port)), client);
        } else {
            prop_assert_eq!(refused(&answer), unknown.into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_request_that_was_tampered_with_crashes_nothing_and_gets_no_long_answer(
        attributes in vec(attribute(), 0..6),
        checksum in checksum(),
        flips in vec((any::<prop::sample::Index>(), 0..8_u32), 0..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
        repeat in prop::option::of(any::<prop::sample::Index>()),
        client in client(),
    ) {
        let mut bytes = request(&attributes, checksum);
        if let Some(at) = repeat {
            let tail = bytes[at.index(bytes.len())..].to_vec();
            bytes.extend(tail);
        }
        if let Some(at) = cut {
            bytes.truncate(at.index(bytes.len()));
        }
        for (at, bit) in flips {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] ^= 1 << bit;
            }
        }
        if let Some(answer) = answer(&bytes, client) {
            assert_is_worth_no_forgery(&bytes, &answer);
        }
    }
}
