//! One session at a time, driven by hand. Two of them against each other: `pair.rs`; other peers' bytes: `hostile.rs`.

use wasm_bindgen_test::wasm_bindgen_test;

use super::*;

mod hostile;
mod pair;

const OFFER: &str = "v=0 of the initiator";
const ANSWER: &str = "v=0 of the recipient";
const LINE: &str = "candidate:1 1 udp 2113937151 192.0.2.1 40000 typ host";

/// What can happen to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Input {
    Created,
    LocalSet,
    RemoteSet,
    Connected,
    InitClosed,
    Offer,
    Answer,
    Candidate,
}

use Input::{Answer, Candidate, Connected, Created, InitClosed, LocalSet, Offer, RemoteSet};
use Role::{Initiator, Recipient};

/// Every step that a session can be in, and the way there.
const STEPS: [(Role, &[Input], Phase); 15] = [
    (Initiator, &[], Phase::Offer),
    (Initiator, &[Created], Phase::Answer),
    (Initiator, &[Created, Answer], Phase::Answer),
    (Initiator, &[Created, LocalSet], Phase::Answer),
    (Initiator, &[Created, LocalSet, Answer], Phase::Answer),
    (Initiator, &[Created, Answer, LocalSet], Phase::Answer),
    (Initiator, &[Created, LocalSet, Answer, RemoteSet], Phase::Candidates),
    (
        Initiator,
        &[Created, LocalSet, Answer, RemoteSet, Connected],
        Phase::Connected,
    ),
    (
        Initiator,
        &[Created, LocalSet, Answer, RemoteSet, Connected, InitClosed],
        Phase::Connected,
    ),
    (Recipient, &[], Phase::Offer),
    (Recipient, &[Offer], Phase::Offer),
    (Recipient, &[Offer, RemoteSet], Phase::Answer),
    (Recipient, &[Offer, RemoteSet, Created], Phase::Answer),
    (Recipient, &[Offer, RemoteSet, Created, LocalSet], Phase::Candidates),
    (
        Recipient,
        &[Offer, RemoteSet, Created, LocalSet, Connected],
        Phase::Connected,
    ),
];

/// A session and the time at which it began.
struct Driven {
    session: Session,
    role: Role,
    began: Instant,
}

impl Driven {
    fn new(role: Role) -> Self {
        let began = Instant::now();
        let session = Session::new(role, SessionConfig::default(), began);
        Self { session, role, began }
    }

    /// At a step, with nothing left to do.
    fn at(role: Role, script: &[Input]) -> Self {
        let mut driven = Self::new(role);
        for input in script {
            driven.apply(*input);
        }
        driven.actions();
        driven
    }

    fn apply(&mut self, input: Input) {
        match input {
            Created => self.session.handle_description_created(match self.role {
                Initiator => OFFER.to_owned(),
                Recipient => ANSWER.to_owned(),
            }),
            LocalSet => self.session.handle_local_description_set(),
            RemoteSet => self.session.handle_remote_description_set(),
            Connected => self
                .session
                .handle_connection_state(ConnectionState::Connected, self.began),
            InitClosed => self.session.handle_init_closed(),
            Offer => self.receive(&Message::Offer(OFFER.to_owned())),
            Answer => self.receive(&Message::Answer(ANSWER.to_owned())),
            Candidate => self.receive(&of(&candidate(0))),
        }
    }

    fn receive(&mut self, message: &Message) {
        self.session.handle_data(&codec::encode(message).unwrap());
    }

    fn actions(&mut self) -> Vec<Action> {
        std::iter::from_fn(|| self.session.poll_action()).collect()
    }

    fn done(&mut self, input: Input) -> Vec<Action> {
        self.apply(input);
        self.actions()
    }
}

fn candidate(number: u16) -> IceCandidate {
    IceCandidate {
        candidate: LINE.to_owned(),
        sdp_mid: Some("0".to_owned()),
        sdp_m_line_index: Some(number),
        username_fragment: None,
    }
}

fn of(candidate: &IceCandidate) -> Message {
    Message::Candidate(Some(candidate::write(Some(candidate)).unwrap()))
}

fn send(message: &Message) -> Action {
    Action::Send(codec::encode(message).unwrap())
}

fn failure(error: SessionError) -> Vec<Action> {
    vec![Action::Finish(Err(error))]
}

#[wasm_bindgen_test(unsupported = test)]
fn an_initiator_offers_takes_the_answer_and_closes_init_before_the_stream() {
    let mut driven = Driven::new(Initiator);
    assert_eq!(driven.actions(), [Action::CreateOffer]);
    let (kind, sdp) = (DescriptionKind::Offer, OFFER.to_owned());
    let expected = [
        send(&Message::Offer(OFFER.into())),
        Action::SetLocalDescription { kind, sdp },
    ];
    assert_eq!(driven.done(Created), expected);
    assert_eq!(driven.done(LocalSet), []);
    let (kind, sdp) = (DescriptionKind::Answer, ANSWER.to_owned());
    assert_eq!(driven.done(Answer), [Action::SetRemoteDescription { kind, sdp }]);
    assert_eq!(driven.done(RemoteSet), []);
    driven.session.handle_local_candidate(Some(candidate(7)));
    driven.session.handle_local_candidate(None);
    let end = Message::Candidate(Some("null".to_owned()));
    assert_eq!(driven.actions(), [send(&of(&candidate(7))), send(&end)]);
    assert_eq!(driven.done(Candidate), [Action::AddCandidate(candidate(0))]);
    assert_eq!(driven.done(Connected), [Action::HandOver, Action::CloseInit]);
    assert_eq!(
        driven.done(InitClosed),
        [Action::CloseSignaling, Action::Finish(Ok(()))]
    );
    assert_eq!(driven.session.phase(), Phase::Connected);
}

#[wasm_bindgen_test(unsupported = test)]
fn a_recipient_takes_the_offer_answers_and_closes_the_stream_once_connected() {
    let mut driven = Driven::new(Recipient);
    assert_eq!(driven.actions(), []);
    let (kind, sdp) = (DescriptionKind::Offer, OFFER.to_owned());
    assert_eq!(driven.done(Offer), [Action::SetRemoteDescription { kind, sdp }]);
    assert_eq!(driven.done(RemoteSet), [Action::CreateAnswer]);
    let (kind, sdp) = (DescriptionKind::Answer, ANSWER.to_owned());
    let expected = [
        send(&Message::Answer(ANSWER.into())),
        Action::SetLocalDescription { kind, sdp },
    ];
    assert_eq!(driven.done(Created), expected);
    assert_eq!(driven.done(LocalSet), []);
    assert_eq!(driven.done(Candidate), [Action::AddCandidate(candidate(0))]);
    let expected = [Action::HandOver, Action::CloseSignaling, Action::Finish(Ok(()))];
    assert_eq!(driven.done(Connected), expected);
}

#[wasm_bindgen_test(unsupported = test)]
fn whatever_the_step_only_the_message_that_is_due_is_taken() {
    /// Which of offer, answer and candidate are taken; the rest ends the session, or means nothing once connected.
    const DUE: [&[Input]; 15] = [
        &[],
        &[Answer],
        &[Candidate],
        &[Answer],
        &[Candidate],
        &[Candidate],
        &[Candidate],
        &[],
        &[],
        &[Offer],
        &[Candidate],
        &[Candidate],
        &[Candidate],
        &[Candidate],
        &[],
    ];
    let kinds = [
        (Offer, codec::MessageKind::Offer),
        (Answer, codec::MessageKind::Answer),
        (Candidate, codec::MessageKind::Candidate),
    ];
    for ((role, script, phase), due) in STEPS.into_iter().zip(DUE) {
        for (input, message) in kinds {
            let mut driven = Driven::at(role, script);
            assert_eq!(driven.session.phase(), phase);
            let actions = driven.done(input);
            let refused = failure(SessionError::UnexpectedMessage { message, phase });
            let is_refused = !due.contains(&input) && phase != Phase::Connected;
            assert_eq!(
                actions == refused,
                is_refused,
                "{role:?} {script:?} {input:?}: {actions:?}"
            );
            if phase == Phase::Connected {
                assert_eq!(actions, []);
            }
        }
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn whatever_the_step_silence_ends_at_the_deadline_and_not_before() {
    for (role, script, phase) in STEPS {
        let mut driven = Driven::at(role, script);
        let Some(deadline) = driven.session.poll_timeout() else {
            assert_eq!(phase, Phase::Connected, "{role:?} {script:?} has no deadline");
            continue;
        };
        driven.session.handle_timeout(deadline - Duration::from_millis(1));
        assert_eq!(driven.actions(), [], "{role:?} {script:?}");
        driven.session.handle_timeout(deadline);
        let (allowed, expected) = if phase == Phase::Connected {
            (CLOSE_GRACE, vec![Action::CloseSignaling, Action::Finish(Ok(()))])
        } else {
            (DEADLINE, failure(SessionError::TimedOut { phase }))
        };
        assert_eq!(deadline - driven.began, allowed, "{role:?} {script:?}");
        assert_eq!(driven.actions(), expected, "{role:?} {script:?}");
        assert_eq!(driven.session.poll_timeout(), None);
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn whatever_the_step_a_lost_stream_is_fatal_until_connected_and_a_closed_one_until_described() {
    for (role, script, phase) in STEPS {
        let error = io::ErrorKind::ConnectionReset;
        let mut lost = Driven::at(role, script);
        lost.session.handle_stream_failed(error);
        let expected = if phase == Phase::Connected {
            Vec::new()
        } else {
            failure(SessionError::StreamFailed(error))
        };
        assert_eq!(lost.actions(), expected, "{role:?} {script:?}");

        let mut closed = Driven::at(role, script);
        let has_other_description = script.contains(&Answer) || script.contains(&Created) && role == Recipient;
        closed.session.handle_stream_closed(closed.began);
        let expected = match has_other_description {
            true => Vec::new(),
            false => failure(SessionError::StreamClosed { phase }),
        };
        assert_eq!(closed.actions(), expected, "{role:?} {script:?}");
        closed.session.handle_stream_failed(error);
        closed.session.handle_local_candidate(Some(candidate(0)));
        assert_eq!(closed.actions(), [], "{role:?} {script:?}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn when_the_stream_ends_after_the_descriptions_we_are_connected_soon_or_the_other_peer_gave_up() {
    let described = STEPS.into_iter().filter(|(_, _, phase)| *phase == Phase::Candidates);
    for (role, script, phase) in described {
        let mut driven = Driven::at(role, script);
        let now = driven.began + Duration::from_secs(1);
        driven.session.handle_stream_closed(now);
        assert_eq!(driven.session.poll_timeout(), Some(now + CATCH_UP), "{role:?}");
        driven.session.handle_timeout(now + CATCH_UP);
        assert_eq!(
            driven.actions(),
            failure(SessionError::StreamClosed { phase }),
            "{role:?}"
        );

        let mut driven = Driven::at(role, script);
        driven.session.handle_stream_closed(now);
        assert_eq!(driven.done(Connected).first(), Some(&Action::HandOver), "{role:?}");

        // It never waits longer than for a peer that says nothing.
        let mut driven = Driven::at(role, script);
        let deadline = driven.session.poll_timeout().unwrap();
        driven.session.handle_stream_closed(deadline - Duration::from_millis(1));
        assert_eq!(driven.session.poll_timeout(), Some(deadline), "{role:?}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn whatever_the_step_a_failure_of_the_browser_ends_it_with_its_reason_until_connected() {
    let browser = || SessionError::Browser {
        step: BrowserStep::SetRemoteDescription,
        reason: "refused".into(),
    };
    type Fail = (fn(&mut Session, Instant), SessionError);
    let failures: [Fail; 4] = [
        (
            |s, now| s.handle_connection_state(ConnectionState::Failed, now),
            SessionError::ConnectionFailed,
        ),
        (
            |s, now| s.handle_connection_state(ConnectionState::Closed, now),
            SessionError::ConnectionClosed,
        ),
        (
            |s, _| s.handle_browser_error(BrowserStep::SetRemoteDescription, "refused"),
            browser(),
        ),
        (
            |s, _| s.handle_cancelled(Cancellation::Glare),
            SessionError::Cancelled(Cancellation::Glare),
        ),
    ];
    for (role, script, phase) in STEPS {
        for (fail, error) in &failures {
            let mut driven = Driven::at(role, script);
            fail(&mut driven.session, driven.began);
            let actions = driven.actions();
            if phase == Phase::Connected {
                assert!(
                    !actions.contains(&Action::Finish(Err(error.clone()))),
                    "{role:?} {script:?}"
                );
            } else {
                assert_eq!(actions, failure(error.clone()), "{role:?} {script:?}");
                assert_eq!(driven.session.phase(), phase);
            }
            // It is over, once: nothing that happens now makes it say more.
            if phase != Phase::Connected {
                for input in [
                    Created, LocalSet, RemoteSet, Connected, InitClosed, Offer, Answer, Candidate,
                ] {
                    assert_eq!(driven.done(input), [], "{role:?} {script:?} {input:?}");
                }
            }
        }
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn states_that_may_pass_and_candidates_that_are_refused_end_nothing() {
    for (role, script, phase) in STEPS {
        let mut driven = Driven::at(role, script);
        for state in [
            ConnectionState::New,
            ConnectionState::Connecting,
            ConnectionState::Disconnected,
        ] {
            driven.session.handle_connection_state(state, driven.began);
        }
        driven
            .session
            .handle_browser_error(BrowserStep::AddCandidate, "malformed");
        assert_eq!(driven.actions(), [], "{role:?} {script:?}");
        assert_eq!(driven.session.phase(), phase);
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn when_candidates_come_early_they_wait_for_the_description_they_belong_to() {
    let mut recipient = Driven::at(Recipient, &[Offer]);
    assert_eq!(recipient.done(Candidate), []);
    recipient.session.handle_local_candidate(Some(candidate(3)));
    let expected = [Action::CreateAnswer, Action::AddCandidate(candidate(0))];
    assert_eq!(recipient.done(RemoteSet), expected);
    let actions = recipient.done(Created);
    assert_eq!(actions[0], send(&Message::Answer(ANSWER.into())));
    assert_eq!(actions[2..], [send(&of(&candidate(3)))]);

    let mut initiator = Driven::at(Initiator, &[]);
    initiator.session.handle_local_candidate(Some(candidate(4)));
    assert_eq!(initiator.actions(), []);
    assert_eq!(initiator.done(Created)[2..], [send(&of(&candidate(4)))]);
    // The answer overtakes our own browser, and the candidate follows on its heels.
    assert_eq!([initiator.done(Answer), initiator.done(Candidate)].concat(), []);
    let (kind, sdp) = (DescriptionKind::Answer, ANSWER.to_owned());
    assert_eq!(initiator.done(LocalSet), [Action::SetRemoteDescription { kind, sdp }]);
    assert_eq!(initiator.done(RemoteSet), [Action::AddCandidate(candidate(0))]);
}

#[wasm_bindgen_test(unsupported = test)]
fn when_it_fails_what_was_not_done_yet_is_not_done_any_more() {
    let mut driven = Driven::new(Initiator);
    driven.apply(Created);
    driven.session.handle_cancelled(Cancellation::Unwanted);
    let cancelled = SessionError::Cancelled(Cancellation::Unwanted);
    assert_eq!(driven.actions(), failure(cancelled));
}

#[wasm_bindgen_test(unsupported = test)]
fn when_the_deadline_is_out_of_every_clocks_reach_there_is_none() {
    let config = SessionConfig {
        deadline: Duration::MAX,
    };
    let mut session = Session::new(Recipient, config, Instant::now());
    assert_eq!(session.poll_timeout(), None);
    session.handle_timeout(Instant::now());
    assert_eq!(session.poll_action(), None);
}
