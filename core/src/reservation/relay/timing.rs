//! When the next try begins: quick after a loss, slow after a refusal.

use std::{collections::VecDeque, time::Duration};

use libp2p::Multiaddr;
use rand::rngs::SmallRng;

use super::{Delay, Gossip, Phase, Relay, Slot};
use crate::{
    dial::backoff::BackoffConfig,
    reservation::{RelayFailure, ReservationConfig},
};

impl Relay {
    pub(super) fn note_loss(&mut self, now: Duration) {
        if self.is_reserved() {
            self.lost_at = Some(now);
        }
        self.slot = match self.slot {
            Slot::Requested { .. } | Slot::Held => Slot::Closing { since: now },
            Slot::Closing { since } => Slot::Closing { since },
            Slot::Free { .. } | Slot::Ended { .. } => Slot::Free { retry_at: now },
        };
    }

    /// Waiting begins small again once everything works: reserved, and gossip flows or is not expected.
    pub(super) fn note_success(&mut self) {
        if let (Phase::Connected(current), Slot::Held) = (&self.phase, &self.slot)
            && current.gossip != Gossip::Awaited
        {
            self.backoff.reset();
            self.refusals.reset();
        }
    }

    pub(super) fn addresses_of_round(&self, config: &ReservationConfig, now: Duration) -> VecDeque<Multiaddr> {
        let good = self.last_good.iter().filter(|good| self.addrs.contains(good));
        let others: Vec<&Multiaddr> = self
            .addrs
            .iter()
            .filter(|address| Some(*address) != self.last_good.as_ref())
            .collect();
        if self.is_quick(config, now) && !others.is_empty() {
            return good.chain([others[self.round % others.len()]]).cloned().collect();
        }
        good.chain(others).cloned().collect()
    }

    pub(super) fn is_quick(&self, config: &ReservationConfig, now: Duration) -> bool {
        self.lost_at
            .is_some_and(|lost| now.saturating_sub(lost) < config.quick_for)
    }

    pub(super) fn patience(&self, config: &ReservationConfig, now: Duration) -> Duration {
        if self.is_quick(config, now) {
            config.quick_patience
        } else {
            config.patience
        }
    }

    pub(super) fn delay(
        &mut self,
        delay: Delay,
        config: &ReservationConfig,
        rng: &mut SmallRng,
        now: Duration,
    ) -> Duration {
        match delay {
            Delay::None => Duration::ZERO,
            Delay::AfterRefusal => self.refusals.after_failure(&config.retry_after_refusal, rng),
            Delay::Normal if self.is_quick(config, now) => {
                let quick = BackoffConfig {
                    max: config.retry.max.min(config.quick_max),
                    ..config.retry
                };
                self.backoff.after_failure(&quick, rng)
            }
            Delay::Normal => self.backoff.after_failure(&config.retry, rng),
        }
    }
}

pub(super) fn is_refusal(reason: &RelayFailure) -> bool {
    match reason {
        RelayFailure::WrongPeer
        | RelayFailure::NotARelay
        | RelayFailure::WrongToken
        | RelayFailure::NotAllowed
        | RelayFailure::Refused(_) => true,
        RelayFailure::TimedOut
        | RelayFailure::Unreachable(_)
        | RelayFailure::RefusedByBrowser(_)
        | RelayFailure::Disconnected
        | RelayFailure::NoGossip => false,
    }
}
