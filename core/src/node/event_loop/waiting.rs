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
    reply: Reply,
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
                    reply,
                });
                return;
            }
        };
        // Whoever dropped the future does not want the answer.
        let _ = reply.send(answer);
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "only two events end a wait")]
    pub(super) fn handle_event(&mut self, event: &Event, dialer: &Dialer) {
        match event {
            Event::RouteChanged { peer, route: Some(_) } => {
                let Some((_, route)) = dialer.best(*peer) else { return };
                self.answer(
                    |caller| caller.peer == *peer && satisfies(caller.reach, route),
                    || Ok(route),
                );
            }
            Event::AttemptFailed { peer, reason, .. } => {
                self.answer(|caller| caller.peer == *peer, || Err(reason.clone().into()));
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
