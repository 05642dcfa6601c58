//! Shows a relay the token that there is for it, before anything is asked of the relay.
//!
//! Knows nothing of slots.

use std::time::Duration;

use super::{Delay, Phase, Relay, Step};
use crate::{
    access::TokenAnswer,
    reservation::{RelayFailure, ReservationConfig},
};

/// Whether the relay at the other end of a connection has seen the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    NotShown,
    Shown {
        since: Duration,
    },
    /// It takes the token, or takes no notice of tokens.
    Settled,
}

/// How far the showing is.
pub(super) enum Showing {
    Begins(Step),
    Waits,
    /// The relay did not answer: its connection is given up.
    Failed,
    /// Also if there is nothing to show.
    Done,
}

impl Access {
    /// When an answer that has not come will not come any more.
    pub(super) fn answers_until(self, config: &ReservationConfig) -> Option<Duration> {
        match self {
            Self::Shown { since } => Some(since.saturating_add(config.reserve_timeout)),
            Self::NotShown | Self::Settled => None,
        }
    }
}

impl Relay {
    pub(in crate::reservation) fn on_token_answer(&mut self, answer: Option<TokenAnswer>, now: Duration) {
        let Phase::Connected(current) = &mut self.phase else {
            return;
        };
        match (current.access, answer) {
            (Access::Shown { .. }, Some(TokenAnswer::Allowed) | None) => current.access = Access::Settled,
            (Access::Shown { .. }, Some(TokenAnswer::Denied)) => {
                self.drop_current(now);
                self.phase = Phase::Over {
                    reason: RelayFailure::WrongToken,
                    delay: Delay::AfterRefusal,
                };
            }
            (Access::NotShown | Access::Settled, _) => {}
        }
    }

    pub(super) fn show_token(&mut self, config: &ReservationConfig, now: Duration) -> Showing {
        let (Some(peer), Phase::Connected(current)) = (self.peer, &mut self.phase) else {
            return Showing::Waits;
        };
        match (current.access, &self.token) {
            (Access::NotShown, Some(token)) => {
                let token = token.clone();
                current.access = Access::Shown { since: now };
                Showing::Begins(Step::Present { peer, token })
            }
            (Access::NotShown, None) | (Access::Settled, _) => Showing::Done,
            (Access::Shown { .. }, _) if current.access.answers_until(config).is_some_and(|until| now < until) => {
                Showing::Waits
            }
            (Access::Shown { .. }, _) => {
                self.give_up_connection(RelayFailure::TimedOut, now);
                Showing::Failed
            }
        }
    }
}
