//! Answers STUN Binding requests (RFC 8489): tells whoever asks the address that the question came from, which is how a
//! browser behind a NAT learns its public one.
//!
//! A datagram is answered if it is a well-formed Binding request and its source has not asked too often of late
//! ([`quota`]). Everything else is dropped without a word: other methods, indications, responses, nonsense. Nothing is
//! authenticated, nothing is kept but who asked recently, and no answer ever goes anywhere but to where the question
//! came from (no CHANGE-REQUEST, no RESPONSE-ADDRESS).
//!
//! Source addresses of datagrams can be forged, so an answer must not be worth a forgery. At worst it is 44 bytes for 20:
//! a header over IPv6, answered with a header and XOR-MAPPED-ADDRESS. More in the request adds less to the answer. That is
//! why there is no SOFTWARE in it and no reason phrase.
//!
//! [`Responder`] decides, without I/O or clock; [`socket`] does what it says.

mod message;
mod quota;
mod socket;

use std::{net::SocketAddr, time::Duration};

pub(crate) use self::socket::{Socket, run};
use self::{
    message::Request,
    quota::{Quota, Verdict},
};
use crate::ledger::{StunTally, labels::Stun as Outcome};

/// What answers the datagrams of one socket.
#[derive(Debug, Default)]
pub(crate) struct Responder {
    quota: Quota,
    tally: StunTally,
}

impl Responder {
    /// One that counts in `tally`.
    pub(crate) fn new(tally: StunTally) -> Self {
        Self {
            tally,
            ..Self::default()
        }
    }

    /// The answer to a datagram, to be sent to where it came from; `None` if it is dropped. `now` is the time since the
    /// responder was made.
    pub(crate) fn handle_datagram(&mut self, datagram: &[u8], from: SocketAddr, now: Duration) -> Option<Vec<u8>> {
        // What is no request must not count as one, or nonsense in somebody's name would use up their quota. And nobody
        // can be answered at port 0.
        let request = Request::parse(datagram).ok().filter(|_| from.port() != 0);
        let (outcome, answer) = match request {
            None => (Outcome::Malformed, None),
            Some(request) => match self.quota.handle_request(from.ip(), now) {
                Verdict::Within => (Outcome::Answered, Some(request.answer(from))),
                Verdict::Exceeded => (Outcome::Limited, None),
            },
        };
        self.tally.add(outcome);
        answer
    }
}

#[cfg(test)]
mod tests;
