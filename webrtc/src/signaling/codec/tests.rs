use wasm_bindgen_test::wasm_bindgen_test;

use super::*;

fn decode_all(mut input: &[u8]) -> Result<Vec<Message>, DecodeError> {
    let mut decoder = Decoder::default();
    let mut messages = Vec::new();
    while let Some(message) = decoder.decode(&mut input)? {
        messages.push(message);
    }
    decoder.finish()?;
    Ok(messages)
}

#[wasm_bindgen_test(unsupported = test)]
fn each_message_is_these_bytes() {
    // Written out by hand from the specification: field 1 is a varint (08), field 2 a string (12).
    let cases: [(Message, &[u8]); 4] = [
        (Message::Offer("v=0".into()), b"\x07\x08\x00\x12\x03v=0"),
        (Message::Answer("v=0".into()), b"\x07\x08\x01\x12\x03v=0"),
        (Message::Candidate(Some("null".into())), b"\x08\x08\x02\x12\x04null"),
        (Message::Candidate(None), b"\x02\x08\x02"),
    ];
    for (message, bytes) in cases {
        assert_eq!(encode(&message).unwrap(), bytes, "{message:?}");
        assert_eq!(decode_all(bytes), Ok(vec![message]));
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn unknown_fields_are_skipped_and_the_last_of_a_repeated_one_counts() {
    assert_eq!(
        decode_all(b"\x0c\x08\x00\x12\x01a\x18\x05\x08\x01\x12\x01b"),
        Ok(vec![Message::Answer("b".into())])
    );
}

#[wasm_bindgen_test(unsupported = test)]
fn what_is_no_message_is_refused_for_its_reason() {
    let cases: [(&[u8], DecodeError); 12] = [
        (b"\x00", DecodeError::NoType),
        (b"\x03\x12\x01a", DecodeError::NoType),
        (b"\x02\x08\x03", DecodeError::UnknownType(3)),
        (
            b"\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            DecodeError::UnknownType(-1),
        ),
        (b"\x02\x08\x00", DecodeError::NoDescription(MessageKind::Offer)),
        (b"\x02\x08\x01", DecodeError::NoDescription(MessageKind::Answer)),
        // A string that is not UTF-8, a field cut short, a field of another type.
        (b"\x05\x08\x00\x12\x01\xff", DecodeError::Malformed),
        (b"\x04\x08\x00\x12\x05", DecodeError::Malformed),
        (b"\x02\x0a\x00", DecodeError::Malformed),
        // A length that is not minimal, one byte too long, and endless.
        (b"\x82\x00\x08\x02", DecodeError::Length),
        (b"\x81\x80\x04", DecodeError::TooLong),
        (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", DecodeError::TooLong),
    ];
    for (bytes, expected) in cases {
        assert_eq!(decode_all(bytes), Err(expected), "{bytes:x?}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn a_message_of_the_longest_length_passes_and_one_byte_more_does_not() {
    // Two bytes of type, one of tag, three of the string's length.
    let longest = Message::Offer("a".repeat(MAX_MESSAGE_BYTES - 6));
    let bytes = encode(&longest).unwrap();
    assert_eq!(bytes.len(), MAX_LENGTH_BYTES + MAX_MESSAGE_BYTES);
    assert_eq!(decode_all(&bytes), Ok(vec![longest]));
    let longer = Message::Offer("a".repeat(MAX_MESSAGE_BYTES - 5));
    assert_eq!(encode(&longer), Err(TooLong(MAX_MESSAGE_BYTES + 1)));
}

#[wasm_bindgen_test(unsupported = test)]
fn wherever_a_message_is_cut_short_the_end_says_so() {
    let bytes = encode(&Message::Answer("v=0".repeat(100))).unwrap();
    for cut in 1..bytes.len() {
        assert_eq!(decode_all(&bytes[..cut]), Err(DecodeError::Truncated), "after {cut}");
    }
    assert_eq!(decode_all(&[]), Ok(Vec::new()));
}

#[wasm_bindgen_test(unsupported = test)]
fn when_a_length_is_promised_no_memory_is_taken_for_it() {
    let mut decoder = Decoder::default();
    assert_eq!(decoder.decode(&mut &b"\x80\x80\x04"[..]), Ok(None));
    let Reading::Body { length, bytes } = &decoder.state else {
        panic!("{decoder:?}");
    };
    assert_eq!((*length, bytes.capacity()), (MAX_MESSAGE_BYTES, 0));
}

#[cfg(not(target_family = "wasm"))]
mod properties {
    use proptest::prelude::*;

    use super::*;

    fn message() -> impl Strategy<Value = Message> {
        prop_oneof![
            any::<String>().prop_map(Message::Offer),
            any::<String>().prop_map(Message::Answer),
            any::<Option<String>>().prop_map(Message::Candidate),
        ]
    }

    proptest! {
        #[test]
        fn however_the_bytes_are_cut_the_messages_come_out_as_they_went_in(
            messages in proptest::collection::vec(message(), 0..6),
            cuts in proptest::collection::vec(1usize..20, 1..50),
        ) {
            let bytes: Vec<u8> = messages.iter().flat_map(|message| encode(message).unwrap()).collect();
            let mut decoder = Decoder::default();
            let mut decoded = Vec::new();
            let mut rest = bytes.as_slice();
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (mut chunk, after) = rest.split_at(rest.len().min(*cut));
                rest = after;
                while let Some(message) = decoder.decode(&mut chunk).unwrap() {
                    decoded.push(message);
                }
                prop_assert!(chunk.is_empty());
            }
            prop_assert_eq!(decoded, messages);
            prop_assert_eq!(decoder.finish(), Ok(()));
        }

        #[test]
        fn whatever_the_bytes_reading_ends_and_holds_no_more_than_one_message(
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let mut decoder = Decoder::default();
            let mut input = bytes.as_slice();
            loop {
                let before = input.len();
                match decoder.decode(&mut input) {
                    Ok(Some(message)) => {
                        prop_assert!(input.len() < before);
                        prop_assert!(encode(&message).is_ok());
                    }
                    Ok(None) => {
                        prop_assert!(input.is_empty());
                        break;
                    }
                    Err(_) => break,
                }
            }
        }
    }
}
