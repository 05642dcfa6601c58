//! The callers of [`Node::connect`](crate::node::Node::connect) that wait for their connection.

use std::time::Duration;

use futures::channel::oneshot;
use libp2p::PeerId;

use crate::{
    dial::{DialFailure, Dialer, Route},
    node::{ConnectError, Event, Reach},
    now::Now,
};

/// Callers that wait; a further one is told [`ConnectError::Busy`].
const WAITING: usize = 64;

/// How long a caller waits when nothing at all is heard of its peer: longer than one whole dial.
const PATIENCE: Duration = Duration::from_secs(40);

type Reply = oneshot::Sender<Result<Route, ConnectError>>;

#[derive(Default)]
pub(super) struct Waiting {
    callers: Vec<Caller>,
}

struct Caller {
    peer: PeerId,
    reach: Reach,
    until: Duration,
    on: Attempt,
    reply: Reply,
}

/// Whose attempt a caller waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Attempt {
    Ours,
    /// Both sides dialled at once, and ours gave way.
    Theirs,
}

impl Waiting {
    pub(super) fn add(&mut self, peer: PeerId, reach: Reach, reply: Reply, dialer: &Dialer, now: Now) {
        let answer = match dialer.best(peer) {
            Some((_, route)) if satisfies(reach, route) => Ok(route),
            Some(_) | None if self.callers.len() >= WAITING => Err(ConnectError::Busy),
            Some(_) | None => {
                self.callers.push(Caller {
                    peer,
                    reach,
                    until: now.mono + PATIENCE,
                    on: Attempt::Ours,
                    reply,
                });
                return;
            }
        };
        // Whoever dropped the future does not want the answer.
        let _ = reply.send(answer);
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "few events end a wait")]
    pub(super) fn handle_event(&mut self, event: &Event, dialer: &Dialer) {
        match event {
            Event::RouteChanged { peer, route: Some(_) } => {
                let Some((_, route)) = dialer.best(*peer) else { return };
                self.answer(
                    |caller| caller.peer == *peer && satisfies(caller.reach, route),
                    || Ok(route),
                );
            }
            Event::AttemptFailed {
                peer,
                reason: DialFailure::Superseded,
                ..
            } => {
                for caller in self.callers.iter_mut().filter(|caller| caller.peer == *peer) {
                    caller.on = Attempt::Theirs;
                }
            }
            Event::AttemptFailed { peer, reason, .. } => {
                self.answer(|caller| caller.peer == *peer, || Err(reason.clone().into()));
            }
            Event::OfferFailed { peer, reason } => {
                let waits = |caller: &Caller| caller.peer == *peer && caller.on == Attempt::Theirs;
                self.answer(waits, || Err(reason.clone().into()));
            }
            _ => {}
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Now) {
        self.answer(|caller| caller.until <= now.mono, || Err(DialFailure::TimedOut.into()));
    }

    pub(super) fn poll_timeout(&self) -> Option<Duration> {
        self.callers.iter().map(|caller| caller.until).min()
    }

    fn answer(&mut self, which: impl Fn(&Caller) -> bool, answer: impl Fn() -> Result<Route, ConnectError>) {
        for caller in self.callers.extract_if(.., |caller| which(caller)) {
            let _ = caller.reply.send(answer());
        }
    }
}

fn satisfies(reach: Reach, route: Route) -> bool {
    match (reach, route) {
        (Reach::PreferDirect, _) => true,
        (Reach::DirectOnly, Route::Direct | Route::WebRtc) => true,
        (Reach::DirectOnly, Route::Circuit { .. }) => false,
        (Reach::RelayOnly, Route::Circuit { .. }) => true,
        (Reach::RelayOnly, Route::Direct | Route::WebRtc) => false,
    }
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::SmallRng};
    use wasm_bindgen_test::wasm_bindgen_test;

    use super::*;
    use crate::dial::{AttemptId, DialConfig, testing::ids};

    type Answer = oneshot::Receiver<Result<Route, ConnectError>>;

    fn waiting() -> (Waiting, Dialer, PeerId, Answer) {
        let ids = ids(2);
        let dialer = Dialer::new(ids[0], DialConfig::default(), SmallRng::seed_from_u64(1));
        let mut waiting = Waiting::default();
        let (reply, answer) = oneshot::channel();
        waiting.add(ids[1], Reach::DirectOnly, reply, &dialer, Now::default());
        (waiting, dialer, ids[1], answer)
    }

    fn failed(peer: PeerId, reason: DialFailure) -> Event {
        Event::AttemptFailed {
            peer,
            attempt: AttemptId(1),
            reason,
        }
    }

    fn reason(answer: &mut Answer) -> Option<ConnectError> {
        answer.try_recv().unwrap().map(|answer| answer.unwrap_err())
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn when_an_attempt_fails_the_caller_hears_why() {
        let (mut waiting, dialer, peer, mut answer) = waiting();
        waiting.handle_event(&failed(peer, DialFailure::NoReservation), &dialer);
        assert_eq!(reason(&mut answer), Some(DialFailure::NoReservation.into()));
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn when_the_other_sides_attempt_goes_on_the_caller_waits_for_that() {
        let (mut waiting, dialer, peer, mut answer) = waiting();
        let offer_failed = Event::OfferFailed {
            peer,
            reason: DialFailure::TimedOut,
        };
        waiting.handle_event(&offer_failed, &dialer);
        assert_eq!(reason(&mut answer), None, "an offer of theirs that ours has outlived");
        waiting.handle_event(&failed(peer, DialFailure::Superseded), &dialer);
        assert_eq!(reason(&mut answer), None);
        waiting.handle_event(&offer_failed, &dialer);
        assert_eq!(reason(&mut answer), Some(DialFailure::TimedOut.into()));
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn when_nothing_is_heard_the_caller_does_not_wait_for_ever() {
        let (mut waiting, _, _, mut answer) = waiting();
        let due = waiting.poll_timeout().unwrap();
        waiting.handle_timeout(Now::default().after(due));
        assert_eq!(reason(&mut answer), Some(DialFailure::TimedOut.into()));
    }
}
