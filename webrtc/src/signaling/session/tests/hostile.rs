//! What a peer can send that no peer should.

use wasm_bindgen_test::wasm_bindgen_test;

use super::*;
use crate::signaling::{
    MAX_REASON_CHARS,
    codec::{DecodeError, MessageKind},
};

/// How it ended, if it did.
fn outcome(driven: &mut Driven) -> Option<Result<(), SessionError>> {
    let Some(Action::Finish(result)) = driven.actions().pop() else {
        return None;
    };
    Some(result)
}

#[wasm_bindgen_test(unsupported = test)]
fn with_as_many_candidates_as_allowed_it_goes_on_and_with_one_more_it_ends() {
    for (role, script, phase) in STEPS {
        let too_many = |side| (phase != Phase::Connected).then_some(Err(SessionError::TooManyCandidates { side }));
        if script.contains(&Offer) || script.contains(&Answer) {
            let mut driven = Driven::at(role, script);
            for _ in 0..MAX_CANDIDATES {
                driven.apply(Candidate);
            }
            assert_eq!(outcome(&mut driven), None, "{role:?} {script:?}");
            driven.apply(Candidate);
            assert_eq!(outcome(&mut driven), too_many(Side::Remote), "{role:?} {script:?}");
        }
        let mut driven = Driven::at(role, script);
        for _ in 0..MAX_CANDIDATES {
            driven.session.handle_local_candidate(None);
        }
        assert_eq!(outcome(&mut driven), None, "{role:?} {script:?}");
        driven.session.handle_local_candidate(None);
        assert_eq!(outcome(&mut driven), too_many(Side::Local), "{role:?} {script:?}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn when_a_megabyte_of_candidates_comes_it_ends_and_holds_none_of_it() {
    let message = codec::encode(&of(&candidate(0))).unwrap();
    let flood: Vec<u8> = message.iter().copied().cycle().take(1024 * 1024).collect();
    let mut driven = Driven::at(Recipient, &[Offer]);
    driven.session.handle_data(&flood);
    let side = Side::Remote;
    assert_eq!(driven.actions(), failure(SessionError::TooManyCandidates { side }));
    assert!(driven.session.remote_waiting.is_empty());
}

#[wasm_bindgen_test(unsupported = test)]
fn candidates_that_are_none_or_too_long_are_passed_over_and_counted() {
    let long = "a".repeat(candidate::MAX_CANDIDATE_BYTES + 1);
    let kinds = [Some("[]"), Some("{"), Some(long.as_str()), Some("null"), Some(""), None];
    let mut driven = Driven::at(Recipient, &[Offer, RemoteSet]);
    for data in kinds.into_iter().cycle().take(MAX_CANDIDATES) {
        driven.receive(&Message::Candidate(data.map(str::to_owned)));
        assert_eq!(driven.actions(), [], "{data:?}");
    }
    driven.receive(&Message::Candidate(None));
    let side = Side::Remote;
    assert_eq!(driven.actions(), failure(SessionError::TooManyCandidates { side }));
}

#[wasm_bindgen_test(unsupported = test)]
fn whatever_the_step_bytes_that_are_no_message_end_it() {
    let oversize = b"\x81\x80\x04".as_slice();
    let cases = [
        (oversize, DecodeError::TooLong),
        (b"\x02\x08\x09", DecodeError::UnknownType(9)),
    ];
    for (role, script, phase) in STEPS {
        for (bytes, error) in cases {
            let mut driven = Driven::at(role, script);
            driven.session.handle_data(bytes);
            let expected = (phase != Phase::Connected).then_some(Err(SessionError::Malformed(error)));
            assert_eq!(outcome(&mut driven), expected, "{role:?} {script:?} {error}");
        }
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn when_the_stream_ends_within_a_description_it_says_so() {
    let steps: [(Role, &[Input], Message); 2] = [
        (Recipient, &[], Message::Offer(OFFER.into())),
        (Initiator, &[Created], Message::Answer(ANSWER.into())),
    ];
    for (role, script, message) in steps {
        let bytes = codec::encode(&message).unwrap();
        for cut in 1..bytes.len() {
            let mut driven = Driven::at(role, script);
            driven.session.handle_data(&bytes[..cut]);
            assert_eq!(driven.actions(), []);
            driven.session.handle_stream_closed(driven.began);
            let truncated = SessionError::Malformed(DecodeError::Truncated);
            assert_eq!(driven.actions(), failure(truncated), "{role:?} after {cut}");
        }
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn when_our_own_description_is_too_long_for_any_peer_it_ends() {
    let steps: [(Role, &[Input], BrowserStep); 2] = [
        (Initiator, &[], BrowserStep::CreateOffer),
        (Recipient, &[Offer, RemoteSet], BrowserStep::CreateAnswer),
    ];
    for (role, script, step) in steps {
        let mut driven = Driven::at(role, script);
        driven
            .session
            .handle_description_created("a".repeat(codec::MAX_MESSAGE_BYTES));
        let result = outcome(&mut driven);
        assert!(
            matches!(&result, Some(Err(SessionError::Browser { step: at, .. })) if *at == step),
            "{role:?}: {result:?}"
        );
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn when_the_browser_quotes_a_description_only_the_printable_beginning_is_kept() {
    let mut driven = Driven::at(Recipient, &[Offer]);
    let quoted = format!("\u{1b}[2J\u{202e}{}", "a".repeat(codec::MAX_MESSAGE_BYTES));
    let step = BrowserStep::SetRemoteDescription;
    driven.session.handle_browser_error(step, &quoted);
    let reason = format!("[2J{}", "a".repeat(MAX_REASON_CHARS - 3));
    assert_eq!(driven.actions(), failure(SessionError::Browser { step, reason }));
}

#[wasm_bindgen_test(unsupported = test)]
fn every_reason_reads_as_a_sentence() {
    let phase = Phase::Answer;
    let refused = SessionError::Browser {
        step: BrowserStep::SetRemoteDescription,
        reason: "Invalid SDP line.".into(),
    };
    let unexpected = SessionError::UnexpectedMessage {
        message: MessageKind::Candidate,
        phase,
    };
    let unreadable = SessionError::Malformed(DecodeError::NoDescription(MessageKind::Offer));
    let too_many = SessionError::TooManyCandidates { side: Side::Remote };
    let broken = SessionError::StreamFailed(io::ErrorKind::ConnectionReset);
    let reasons = [
        (
            SessionError::TimedOut { phase },
            "there was no direct connection in time (it stopped at: the answer)",
        ),
        (
            unexpected,
            "the other peer sent an unexpected candidate (at: the answer)",
        ),
        (
            unreadable,
            "the other peer sent something unreadable: an offer without a description",
        ),
        (too_many, "the other peer sent more than 256 network addresses to try"),
        (
            refused,
            "the browser could not use the other peer's description: Invalid SDP line.",
        ),
        (broken, "the exchange through the relay broke off: connection reset"),
        (
            SessionError::Cancelled(Cancellation::Glare),
            "the other peer's own attempt goes on instead",
        ),
    ];
    for (reason, text) in reasons {
        assert_eq!(reason.to_string(), text);
    }
}
