//! The rooms of one or two nodes, driven by hand through virtual time.

use libp2p::PeerId;
use rand::{SeedableRng, rngs::SmallRng};
use wasm_bindgen_test::wasm_bindgen_test;

use super::*;

/// A peer id made of a number: an identity multihash of four bytes.
pub(crate) fn peer(n: u32) -> PeerId {
    let [a, b, c, d] = n.to_be_bytes();
    PeerId::from_bytes(&[0, 4, a, b, c, d]).unwrap()
}

const START: Now = Now {
    mono: Duration::from_secs(10),
    wall: UnixMillis(1_700_000_000_000),
};

fn chat(n: u32) -> Chat {
    Chat::new(peer(n), ChatConfig::default(), SmallRng::seed_from_u64(u64::from(n)))
}

fn in_lobby(n: u32) -> Chat {
    let mut chat = chat(n);
    chat.join(RoomName::default(), START).unwrap();
    drain(&mut chat);
    chat
}

fn secs(n: u64) -> Now {
    START.after(Duration::from_secs(n))
}

fn drain(chat: &mut Chat) -> Vec<ChatAction> {
    std::iter::from_fn(|| chat.poll_action()).collect()
}

fn published(actions: &[ChatAction]) -> Vec<(String, Vec<u8>)> {
    let payload = |action: &ChatAction| match action {
        ChatAction::Publish { id, data, .. } => Some((id.clone(), data.clone())),
        ChatAction::Subscribe { .. } | ChatAction::Unsubscribe { .. } | ChatAction::Report(_) => None,
    };
    actions.iter().filter_map(payload).collect()
}

fn published_ids(actions: &[ChatAction]) -> Vec<String> {
    published(actions).into_iter().map(|(id, _)| id).collect()
}

/// Publishes everything that wants to be published; returns the payloads in order.
fn publish_all(chat: &mut Chat, now: Now) -> Vec<Vec<u8>> {
    let mut sent = Vec::new();
    loop {
        let lines = published(&drain(chat));
        if lines.is_empty() {
            return sent;
        }
        for (id, data) in lines {
            sent.push(data);
            chat.handle_published(&RoomName::default(), &id, now);
        }
    }
}

/// Refuses every publication, as gossipsub does while nobody is there.
fn refuse_all(chat: &mut Chat, now: Now) -> Vec<ChatAction> {
    let actions = drain(chat);
    for id in published_ids(&actions) {
        chat.handle_publish_failed(&RoomName::default(), &id, now);
    }
    actions
}

fn hear(chat: &mut Chat, source: u32, data: &[u8], now: Now) -> MessageOutcome {
    chat.handle_message(peer(source), &RoomName::default().topic(), Some(7), data, now)
}

fn line(id: u32) -> Vec<u8> {
    format!(r#"{{"id":"{id}","text":"line {id}"}}"#).into_bytes()
}

#[wasm_bindgen_test(unsupported = test)]
fn joining_subscribes_once_and_leaving_unsubscribes_once() {
    let mut chat = chat(1);
    let room = RoomName::parse("tea").unwrap();
    chat.join(room.clone(), START).unwrap();
    chat.join(room.clone(), START).unwrap();
    let joined = [
        ChatAction::Subscribe { topic: room.topic() },
        ChatAction::Report(Event::RoomJoined { room: room.clone() }),
    ];
    assert_eq!(drain(&mut chat), joined);
    assert_eq!(chat.rooms().collect::<Vec<_>>(), [&room]);

    chat.leave(&room, START);
    chat.leave(&room, START);
    let left = [
        ChatAction::Unsubscribe { topic: room.topic() },
        ChatAction::Report(Event::RoomLeft { room: room.clone() }),
    ];
    assert_eq!(drain(&mut chat), left);
    assert_eq!(chat.rooms().count(), 0);
}

#[wasm_bindgen_test(unsupported = test)]
fn when_every_place_is_taken_a_room_is_refused_until_one_is_left() {
    let mut chat = chat(1);
    let room = |n: usize| RoomName::parse(&format!("room {n}")).unwrap();
    for n in 0..MAX_ROOMS {
        chat.join(room(n), START).unwrap();
    }
    assert_eq!(chat.join(room(MAX_ROOMS), START), Err(JoinError::TooManyRooms));
    chat.join(room(0), START).unwrap();
    chat.leave(&room(0), START);
    chat.join(room(MAX_ROOMS), START).unwrap();
}

#[wasm_bindgen_test(unsupported = test)]
fn a_line_is_shown_at_once_and_sent_after_that() {
    let mut chat = in_lobby(1);
    chat.set_name(Some(" Ada\u{202e} ".to_owned()));
    let room = RoomName::default();
    let id = chat.say(&room, "  hi \n", START).unwrap();
    assert_eq!((id.len(), id.bytes().all(|b| b.is_ascii_hexdigit())), (32, true));

    let actions = drain(&mut chat);
    let own = ChatMessage {
        id: id.clone(),
        from: peer(1),
        name: Some("Ada".to_owned()),
        text: "  hi \n".to_owned(),
        sent_at: Some(START.wall),
        received_at: START.wall,
        own: true,
    };
    let event = Event::MessageReceived {
        room: room.clone(),
        message: own,
    };
    assert_eq!(actions[0], ChatAction::Report(event));
    assert_eq!(published_ids(&actions[1..]), [id.as_str()]);
    assert_eq!(actions.len(), 2);

    chat.handle_published(&room, &id, START);
    chat.handle_published(&room, &id, START);
    let sent = Event::MessageSent { room, id };
    assert_eq!(drain(&mut chat), [ChatAction::Report(sent)]);
    assert_eq!(chat.poll_timeout(), None);
}

#[wasm_bindgen_test(unsupported = test)]
fn what_one_node_says_another_shows() {
    let (mut ada, mut bob) = (in_lobby(1), in_lobby(2));
    ada.set_name(Some("Ada".to_owned()));
    let id = ada.say(&RoomName::default(), "tea?", START).unwrap();
    let data = publish_all(&mut ada, START).remove(0);

    assert_eq!(hear(&mut bob, 1, &data, secs(3)), MessageOutcome::Accepted);
    let message = ChatMessage {
        id,
        from: peer(1),
        name: Some("Ada".to_owned()),
        text: "tea?".to_owned(),
        sent_at: Some(START.wall),
        received_at: secs(3).wall,
        own: false,
    };
    let room = RoomName::default();
    assert_eq!(
        drain(&mut bob),
        [ChatAction::Report(Event::MessageReceived { room, message })]
    );

    let again = hear(&mut bob, 1, &data, secs(3));
    assert_eq!(again, MessageOutcome::Ignored(IgnoreReason::Duplicate));
    assert_eq!(drain(&mut bob), []);
}

#[wasm_bindgen_test(unsupported = test)]
fn plain_text_from_a_stranger_is_shown_under_its_source() {
    let mut chat = in_lobby(1);
    let room = RoomName::default();
    assert_eq!(
        chat.handle_message(peer(9), &room.topic(), Some(255), b"<b>hi", START),
        MessageOutcome::Accepted
    );
    let message = ChatMessage {
        id: "plain-00000000000000ff".to_owned(),
        from: peer(9),
        name: None,
        text: "<b>hi".to_owned(),
        sent_at: None,
        received_at: START.wall,
        own: false,
    };
    let event = Event::MessageReceived {
        room: room.clone(),
        message,
    };
    assert_eq!(drain(&mut chat), [ChatAction::Report(event)]);

    for _ in 0..2 {
        let unnumbered = chat.handle_message(peer(9), &room.topic(), None, b"again", START);
        assert_eq!(
            unnumbered,
            MessageOutcome::Accepted,
            "the same words twice are two lines"
        );
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn each_kind_of_message_gets_its_verdict_and_only_what_is_shown_travels_on() {
    let mut chat = in_lobby(1);
    let elsewhere = RoomName::parse("elsewhere").unwrap().topic();
    let outside = chat.handle_message(peer(2), &elsewhere, Some(1), b"hi", START);
    let cases = [
        (outside, MessageOutcome::Ignored(IgnoreReason::NotJoined)),
        (
            hear(&mut chat, 1, &line(1), START),
            MessageOutcome::Ignored(IgnoreReason::Own),
        ),
        (
            hear(&mut chat, 2, b"\xff", START),
            MessageOutcome::Rejected(PayloadError::NotText),
        ),
        (
            hear(&mut chat, 2, br#"{"id":"","text":"x"}"#, START),
            MessageOutcome::Rejected(PayloadError::BadId),
        ),
    ];
    for (outcome, expected) in cases {
        assert_eq!(outcome, expected);
        assert!(!matches!(outcome.acceptance(), MessageAcceptance::Accept));
    }
    assert_eq!(drain(&mut chat), []);
    let rejected = hear(&mut chat, 2, b"", START).acceptance();
    assert!(matches!(rejected, MessageAcceptance::Reject));
    assert!(matches!(
        hear(&mut chat, 2, b"hi", START).acceptance(),
        MessageAcceptance::Accept
    ));
}

#[wasm_bindgen_test(unsupported = test)]
fn when_one_source_floods_a_room_its_lines_are_ignored_and_others_are_heard() {
    let mut chat = in_lobby(1);
    let shown = (0..1000)
        .filter(|n| hear(&mut chat, 2, &line(*n), START) == MessageOutcome::Accepted)
        .count();
    assert_eq!(shown, ChatConfig::DEFAULT_HEAR.burst as usize);
    assert_eq!(
        hear(&mut chat, 2, &line(5000), START),
        MessageOutcome::Ignored(IgnoreReason::TooFast)
    );
    assert_eq!(hear(&mut chat, 3, &line(5000), START), MessageOutcome::Accepted);
    assert_eq!(hear(&mut chat, 2, &line(5000), secs(1)), MessageOutcome::Accepted);
}

#[wasm_bindgen_test(unsupported = test)]
fn when_nobody_is_there_a_line_waits_and_goes_out_with_the_first_subscriber() {
    let mut chat = in_lobby(1);
    let room = RoomName::default();
    let first = chat.say(&room, "one", START).unwrap();
    assert_eq!(published_ids(&refuse_all(&mut chat, START)), [first.as_str()]);
    let retry_at = chat.poll_timeout().unwrap() - START.mono;
    assert!((800..=1200).contains(&retry_at.as_millis()), "{retry_at:?}");

    chat.handle_timeout(START.after(Duration::from_millis(100)));
    assert_eq!(drain(&mut chat), [], "too early");
    chat.handle_timeout(START.after(retry_at));
    assert_eq!(
        published_ids(&refuse_all(&mut chat, START.after(retry_at))),
        [first.as_str()]
    );

    chat.handle_subscriber("another topic", secs(2));
    assert_eq!(drain(&mut chat), []);
    chat.handle_subscriber(&room.topic(), secs(2));
    assert_eq!(publish_all(&mut chat, secs(2)).len(), 1);
    assert_eq!(chat.poll_timeout(), None);
}

#[wasm_bindgen_test(unsupported = test)]
fn lines_that_waited_go_out_in_the_order_in_which_they_were_said() {
    let mut chat = in_lobby(1);
    let room = RoomName::default();
    let mut said = Vec::new();
    for n in 0..5 {
        said.push(chat.say(&room, &format!("line {n}"), START).unwrap());
        assert_eq!(
            published_ids(&refuse_all(&mut chat, START)),
            [said[0].as_str()],
            "never past the first"
        );
    }
    chat.handle_subscriber(&room.topic(), secs(5));
    let sent = publish_all(&mut chat, secs(5));
    let ids = sent.iter().map(|data| match codec::decode(data) {
        Ok(Payload::Line(line)) => line.id,
        other => panic!("not a line: {other:?}"),
    });
    assert_eq!(ids.collect::<Vec<_>>(), said);
}

#[wasm_bindgen_test(unsupported = test)]
fn a_line_that_nobody_takes_is_tried_ever_more_rarely_and_given_up() {
    let mut chat = in_lobby(1);
    let room = RoomName::default();
    let id = chat.say(&room, "anyone?", START).unwrap();
    let given_up = ChatAction::Report(Event::MessageUndelivered {
        room: room.clone(),
        id: id.clone(),
    });
    let mut now = START;
    let mut tries = 0;
    loop {
        let actions = refuse_all(&mut chat, now);
        tries += published_ids(&actions).len();
        if actions.contains(&given_up) {
            break;
        }
        let next = chat.poll_timeout().expect("a line that waits has a deadline");
        assert!(next > now.mono, "time must pass between two tries");
        now = START.after(next - START.mono);
        chat.handle_timeout(now);
    }
    assert_eq!(now, START.after(ChatConfig::DEFAULT_PATIENCE));
    assert!((8..=13).contains(&tries), "{tries} tries");
    assert_eq!(chat.poll_timeout(), None);
    chat.handle_published(&room, &id, now);
    assert_eq!(
        drain(&mut chat),
        [],
        "a late result for a line given up changes nothing"
    );
}

#[wasm_bindgen_test(unsupported = test)]
fn when_the_first_line_is_given_up_the_next_ones_still_get_their_time() {
    let mut chat = in_lobby(1);
    let room = RoomName::default();
    chat.say(&room, "old", START).unwrap();
    refuse_all(&mut chat, START);
    let young = chat.say(&room, "young", secs(50)).unwrap();
    refuse_all(&mut chat, secs(50));
    chat.handle_timeout(secs(60));
    let actions = drain(&mut chat);
    assert!(matches!(
        &actions[0],
        ChatAction::Report(Event::MessageUndelivered { .. })
    ));
    assert_eq!(published_ids(&actions[1..]), [young.as_str()]);
    assert_eq!(chat.poll_timeout(), Some(secs(110).mono));
}

#[wasm_bindgen_test(unsupported = test)]
fn we_never_say_more_than_the_others_show() {
    let (mut ada, mut bob) = (in_lobby(1), in_lobby(2));
    let room = RoomName::default();
    let mut said = 0;
    let mut shown = 0;
    for step in 0..200 {
        let now = START.after(Duration::from_millis(100 * step));
        while ada.say(&room, "hurry", now).is_ok() {
            said += 1;
        }
        assert_eq!(ada.say(&room, "hurry", now), Err(SayError::TooFast));
        // Nobody is there for the first half, so that a backlog builds up.
        if step < 100 {
            refuse_all(&mut ada, now);
            continue;
        }
        ada.handle_subscriber(&room.topic(), now);
        for data in publish_all(&mut ada, now) {
            assert_eq!(hear(&mut bob, 1, &data, now), MessageOutcome::Accepted);
            shown += 1;
        }
    }
    assert!(said > ChatConfig::DEFAULT_SAY.burst as usize, "{said}");
    assert_eq!(shown, said);
}

#[wasm_bindgen_test(unsupported = test)]
fn a_line_that_cannot_be_said_leaves_no_trace() {
    let mut chat = in_lobby(1);
    let room = RoomName::default();
    let elsewhere = RoomName::parse("elsewhere").unwrap();
    assert_eq!(chat.say(&elsewhere, "hi", START), Err(SayError::NotJoined));
    assert_eq!(chat.say(&room, " \n", START), Err(SayError::Empty));
    assert_eq!(
        chat.say(&room, &"x".repeat(TEXT_MAX_BYTES + 1), START),
        Err(SayError::TooLong)
    );
    assert_eq!(
        chat.say(&room, &"\u{1}".repeat(TEXT_MAX_BYTES), START),
        Err(SayError::TooLong)
    );
    assert_eq!(drain(&mut chat), []);
    assert_eq!(chat.poll_timeout(), None);
    chat.say(&room, &"x".repeat(TEXT_MAX_BYTES), START).unwrap();
}

#[wasm_bindgen_test(unsupported = test)]
fn a_room_that_was_left_and_joined_again_starts_anew() {
    let mut chat = in_lobby(1);
    let room = RoomName::default();
    let id = chat.say(&room, "lost", START).unwrap();
    refuse_all(&mut chat, START);
    chat.leave(&room, START);
    assert_eq!(chat.poll_timeout(), None);
    drain(&mut chat);
    chat.handle_published(&room, &id, START);
    chat.handle_subscriber(&room.topic(), START);
    chat.join(room.clone(), START).unwrap();
    assert_eq!(published(&drain(&mut chat)), []);
}

#[wasm_bindgen_test(unsupported = test)]
fn no_outbox_outgrows_its_bound_even_without_a_rate() {
    let config = ChatConfig {
        say: RateLimit {
            burst: 1,
            every: Duration::ZERO,
        },
        ..ChatConfig::default()
    };
    let mut chat = Chat::new(peer(1), config, SmallRng::seed_from_u64(1));
    let room = RoomName::default();
    chat.join(room.clone(), START).unwrap();
    let said = (0..1000).filter(|_| chat.say(&room, "hi", START).is_ok()).count();
    assert_eq!(said, OUTBOX_MAX_LINES);
}
