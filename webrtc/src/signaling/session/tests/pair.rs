//! Two sessions against each other, over a stream that is cut anywhere, with browsers that take their time: whatever happens
//! in whichever order, both end, and both alike.

use std::collections::VecDeque;

use wasm_bindgen_test::wasm_bindgen_test;

use super::*;

/// Far more than any exchange takes: one that needs more hangs.
const MAX_EVENTS: usize = 10_000;
const CANDIDATES: u16 = 4;

/// What goes wrong, at an event of this number.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// The circuit is lost.
    StreamLost,
    /// One browser refuses what it is doing.
    Refused(usize),
    /// One peer is there no more: nothing that it does reaches anybody.
    Silent(usize),
    /// No pair of candidates works.
    NoWay,
}

/// What can happen next; the number says to whom.
#[derive(Clone, Copy, Debug)]
enum Happening {
    StepDone(usize),
    CandidateFound(usize),
    BytesCame(usize),
    StreamEnded(usize),
    Connected(usize),
    InitClosed(usize),
    ConnectionFailed(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writing {
    Open,
    Closed,
    Reset,
}

/// A session, and what its shell and its browser would be. The browser does one step at a time, as real ones do.
struct Peer {
    session: Session,
    role: Role,
    steps: VecDeque<Action>,
    local: Option<String>,
    remote: Option<String>,
    to_find: u16,
    added: usize,
    /// What the other has written and this one has not read.
    inbox: VecDeque<u8>,
    writing: Writing,
    knows_end: bool,
    is_silent: bool,
    handed_over: bool,
    closes_init: bool,
    outcome: Option<Result<(), SessionError>>,
}

struct Pair {
    peers: [Peer; 2],
    now: Instant,
    no_way: bool,
}

impl Peer {
    fn new(role: Role, now: Instant) -> Self {
        Self {
            session: Session::new(role, SessionConfig::default(), now),
            role,
            steps: VecDeque::new(),
            local: None,
            remote: None,
            to_find: 0,
            added: 0,
            inbox: VecDeque::new(),
            writing: Writing::Open,
            knows_end: false,
            is_silent: false,
            handed_over: false,
            closes_init: false,
            outcome: None,
        }
    }

    fn is_alive(&self) -> bool {
        !self.is_silent && !matches!(self.outcome, Some(Err(_)))
    }

    fn is_described(&self) -> bool {
        self.local.is_some() && self.remote.is_some()
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "only these are the browser's")]
    fn finish_step(&mut self, other_sdp: &str) {
        match self.steps.pop_front().unwrap() {
            Action::CreateOffer => self.session.handle_description_created(OFFER.into()),
            Action::CreateAnswer => {
                assert!(self.remote.is_some(), "an answer to nothing");
                self.session.handle_description_created(ANSWER.into());
            }
            Action::SetLocalDescription { sdp, .. } => {
                assert!(self.local.is_none());
                self.local = Some(sdp);
                self.to_find = CANDIDATES + 1;
                self.session.handle_local_description_set();
            }
            Action::SetRemoteDescription { sdp, .. } => {
                assert!(self.remote.is_none() && sdp == other_sdp);
                self.remote = Some(sdp);
                self.session.handle_remote_description_set();
            }
            Action::AddCandidate(_) => {
                assert!(self.remote.is_some(), "a candidate before its description");
                self.added += 1;
            }
            action => panic!("{action:?} is not a step of the browser"),
        }
    }
}

impl Pair {
    fn new() -> Self {
        let now = Instant::now();
        let peers = [Peer::new(Initiator, now), Peer::new(Recipient, now)];
        let mut pair = Self {
            peers,
            now,
            no_way: false,
        };
        pair.act();
        pair
    }

    /// Until both have ended. `choose` picks one of so many.
    fn run(&mut self, mut choose: impl FnMut(usize) -> usize, fault: Option<(usize, Fault)>) {
        for count in 0..MAX_EVENTS {
            if let Some((at, fault)) = fault
                && at == count
            {
                self.go_wrong(fault);
            }
            let possible = self.possible();
            match possible.len() {
                0 if self.peers.iter().all(|peer| peer.outcome.is_some()) => return,
                0 => self.wait(),
                len => self.happen(possible[choose(len)], &mut choose),
            }
            self.act();
        }
        panic!("still not ended: {:?}", self.peers.each_ref().map(|peer| &peer.session));
    }

    fn possible(&self) -> Vec<Happening> {
        let mut possible = Vec::new();
        for (at, (peer, other)) in [(&self.peers[0], &self.peers[1]), (&self.peers[1], &self.peers[0])]
            .into_iter()
            .enumerate()
        {
            if !peer.is_alive() {
                continue;
            }
            let both_described = peer.is_described() && other.is_described();
            let can_connect = both_described && !self.no_way && (peer.added > 0 || other.added > 0);
            let is_reached = other.is_alive() && can_connect;
            let has_ended = other.writing != Writing::Open && peer.inbox.is_empty();
            let happenings = [
                (!peer.steps.is_empty(), Happening::StepDone(at)),
                (peer.to_find > 0, Happening::CandidateFound(at)),
                (!peer.inbox.is_empty(), Happening::BytesCame(at)),
                (has_ended && !peer.knows_end, Happening::StreamEnded(at)),
                (is_reached && !peer.handed_over, Happening::Connected(at)),
                (peer.closes_init && other.handed_over, Happening::InitClosed(at)),
                (
                    self.no_way && both_described && peer.outcome.is_none(),
                    Happening::ConnectionFailed(at),
                ),
            ];
            possible.extend(happenings.into_iter().filter(|(can, _)| *can).map(|(_, what)| what));
        }
        possible
    }

    fn happen(&mut self, happening: Happening, choose: &mut impl FnMut(usize) -> usize) {
        let now = self.now;
        match happening {
            Happening::StepDone(at) => {
                let other_sdp = if at == 0 { ANSWER } else { OFFER };
                self.peers[at].finish_step(other_sdp);
            }
            Happening::CandidateFound(at) => {
                let peer = &mut self.peers[at];
                peer.to_find -= 1;
                let found = (peer.to_find > 0).then(|| candidate(peer.to_find));
                peer.session.handle_local_candidate(found);
            }
            Happening::BytesCame(at) => {
                let peer = &mut self.peers[at];
                let count = 1 + choose(peer.inbox.len());
                let bytes: Vec<u8> = peer.inbox.drain(..count).collect();
                peer.session.handle_data(&bytes);
            }
            Happening::StreamEnded(at) => {
                self.peers[at].knows_end = true;
                match self.peers[1 - at].writing {
                    Writing::Reset => self.peers[at]
                        .session
                        .handle_stream_failed(io::ErrorKind::ConnectionReset),
                    Writing::Open | Writing::Closed => self.peers[at].session.handle_stream_closed(now),
                }
            }
            Happening::Connected(at) => {
                let session = &mut self.peers[at].session;
                session.handle_connection_state(ConnectionState::Connected, now);
            }
            Happening::InitClosed(at) => {
                self.peers[at].closes_init = false;
                self.peers[at].session.handle_init_closed();
            }
            Happening::ConnectionFailed(at) => {
                let session = &mut self.peers[at].session;
                session.handle_connection_state(ConnectionState::Failed, now);
            }
        }
    }

    fn go_wrong(&mut self, fault: Fault) {
        match fault {
            Fault::StreamLost => {
                for peer in &mut self.peers {
                    peer.inbox.clear();
                    peer.knows_end = true;
                    peer.session.handle_stream_failed(io::ErrorKind::ConnectionAborted);
                }
            }
            Fault::Refused(at) => {
                let session = &mut self.peers[at].session;
                session.handle_browser_error(BrowserStep::SetLocalDescription, "refused");
            }
            Fault::Silent(at) => self.peers[at].is_silent = true,
            Fault::NoWay => self.no_way = !self.peers.iter().any(|peer| peer.handed_over),
        }
        self.act();
    }

    /// Nothing happens until the next deadline.
    fn wait(&mut self) {
        let deadlines = self.peers.iter().filter_map(|peer| peer.session.poll_timeout());
        self.now = deadlines.min().expect("who has not ended has a deadline");
        for peer in &mut self.peers {
            peer.session.handle_timeout(self.now);
        }
    }

    /// Does what the sessions ask for.
    fn act(&mut self) {
        for at in [0, 1] {
            while let Some(action) = self.peers[at].session.poll_action() {
                assert_eq!(self.peers[at].outcome, None, "{action:?} after the end");
                self.do_one(at, action);
            }
        }
    }

    fn do_one(&mut self, at: usize, action: Action) {
        let is_silent = self.peers[at].is_silent;
        let peer = &mut self.peers[at];
        match action {
            Action::CreateOffer
            | Action::CreateAnswer
            | Action::SetLocalDescription { .. }
            | Action::SetRemoteDescription { .. }
            | Action::AddCandidate(_) => peer.steps.push_back(action),
            Action::Send(bytes) if !is_silent => {
                assert_eq!(peer.writing, Writing::Open);
                self.peers[1 - at].inbox.extend(bytes);
            }
            Action::Send(_) => {}
            Action::HandOver => peer.handed_over = true,
            Action::CloseInit => {
                assert_eq!(peer.role, Initiator);
                peer.closes_init = true;
            }
            Action::CloseSignaling if !is_silent => peer.writing = Writing::Closed,
            Action::CloseSignaling => {}
            Action::Finish(result) => {
                if result.is_err() {
                    peer.steps.clear();
                    if !is_silent {
                        peer.writing = Writing::Reset;
                        self.peers[1 - at].inbox.clear();
                    }
                }
                self.peers[at].outcome = Some(result);
            }
        }
    }

    fn assert_both_connected(&self) {
        for peer in &self.peers {
            assert_eq!(peer.outcome, Some(Ok(())), "{:?}", peer.role);
            assert!(peer.handed_over && peer.writing == Writing::Closed);
        }
        // Neither needed a deadline.
        assert!(self.now < self.peers[0].session.deadline.unwrap());
    }

    fn assert_both_alike(&self) {
        for (peer, other) in [(&self.peers[0], &self.peers[1]), (&self.peers[1], &self.peers[0])] {
            assert_eq!(peer.handed_over, peer.outcome == Some(Ok(())), "{:?}", peer.role);
            // A connection that only one side has is closed at the other end, which the browser notices.
            assert!(!peer.handed_over || other.handed_over || !other.is_alive());
        }
    }
}

/// A schedule from a seed: xorshift.
fn schedule(seed: u64) -> impl FnMut(usize) -> usize {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move |len| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % len as u64).unwrap()
    }
}

fn faults() -> impl Iterator<Item = Fault> {
    let of_one = [0, 1]
        .into_iter()
        .flat_map(|at| [Fault::Refused(at), Fault::Silent(at)]);
    [Fault::StreamLost, Fault::NoWay].into_iter().chain(of_one)
}

#[wasm_bindgen_test(unsupported = test)]
fn whatever_the_order_of_things_both_connect() {
    for seed in 0..300 {
        let mut pair = Pair::new();
        pair.run(schedule(seed), None);
        pair.assert_both_connected();
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn whatever_goes_wrong_and_whenever_both_end_alike() {
    for fault in faults() {
        for seed in 0..100 {
            let at = usize::try_from(seed).unwrap() / 2;
            let mut pair = Pair::new();
            pair.run(schedule(seed), Some((at, fault)));
            pair.assert_both_alike();
        }
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn when_something_goes_wrong_at_the_very_beginning_neither_connects() {
    for fault in faults() {
        let mut pair = Pair::new();
        pair.run(schedule(1), Some((0, fault)));
        for peer in &pair.peers {
            assert!(matches!(peer.outcome, Some(Err(_))), "{fault:?} {:?}", peer.outcome);
        }
    }
}

#[cfg(not(target_family = "wasm"))]
mod properties {
    use proptest::prelude::*;

    use super::*;

    fn by(choices: Vec<u16>) -> impl FnMut(usize) -> usize {
        let mut next = choices.into_iter().cycle();
        move |len| usize::from(next.next().unwrap()) % len
    }

    fn fault() -> impl Strategy<Value = Fault> {
        proptest::sample::select(faults().collect::<Vec<_>>())
    }

    proptest! {
        #[test]
        fn however_things_are_interleaved_both_connect(choices in proptest::collection::vec(any::<u16>(), 1..200)) {
            let mut pair = Pair::new();
            pair.run(by(choices), None);
            pair.assert_both_connected();
        }

        #[test]
        fn whatever_goes_wrong_in_any_interleaving_both_end_alike(
            choices in proptest::collection::vec(any::<u16>(), 1..200),
            at in 0usize..60,
            fault in fault(),
        ) {
            let mut pair = Pair::new();
            pair.run(by(choices), Some((at, fault)));
            pair.assert_both_alike();
        }
    }
}
