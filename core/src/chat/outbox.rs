//! The lines we said in one room that have not left yet: sent one after the other, so that others read them in the
//! order in which we said them; tried again while nobody is there; given up when they are old.
//!
//! Never publishes: it says which line is next and is told how that went.

use std::{collections::VecDeque, time::Duration};

use rand::{Rng, rngs::SmallRng};

use super::ChatConfig;
use crate::now::earlier;

/// How many lines wait in one room at most, whatever the configured rate. When full, nothing more can be said there.
pub const OUTBOX_MAX_LINES: usize = 64;

/// A line that waits to be published.
#[derive(Clone, Debug)]
pub(super) struct Outgoing {
    pub(super) id: String,
    pub(super) data: Vec<u8>,
    pub(super) said_at: Duration,
}

/// One room's outbox. Whoever pushes keeps it within [`OUTBOX_MAX_LINES`].
#[derive(Debug, Default)]
pub(super) struct Outbox {
    lines: VecDeque<Outgoing>,
    head: Head,
    failures: u32,
}

/// How it stands with the first line.
#[derive(Clone, Copy, Debug, Default)]
enum Head {
    /// To be published now.
    #[default]
    Ready,
    /// Handed out; the result is awaited.
    InFlight,
    /// Nobody took it.
    Waiting { until: Duration },
}

impl Outbox {
    pub(super) fn len(&self) -> usize {
        self.lines.len()
    }

    pub(super) fn push(&mut self, line: Outgoing) {
        self.lines.push_back(line);
        self.hurry();
    }

    /// The line to publish now, if there is one.
    pub(super) fn poll_line(&mut self) -> Option<&Outgoing> {
        let Head::Ready = self.head else {
            return None;
        };
        let line = self.lines.front()?;
        self.head = Head::InFlight;
        Some(line)
    }

    /// The line left. `None` if it is not the one that is awaited: it was given up meanwhile.
    #[must_use]
    pub(super) fn settle(&mut self, id: &str) -> Option<Outgoing> {
        if !self.is_first(id) {
            return None;
        }
        self.failures = 0;
        self.head = Head::Ready;
        self.lines.pop_front()
    }

    /// Nobody took the line: it waits.
    pub(super) fn postpone(&mut self, id: &str, config: &ChatConfig, rng: &mut SmallRng, now: Duration) {
        if !self.is_first(id) {
            return;
        }
        let doubled = config
            .retry_first
            .saturating_mul(1_u32.checked_shl(self.failures).unwrap_or(u32::MAX));
        let jitter = rng.random_range(0.8..=1.2);
        self.failures = self.failures.saturating_add(1);
        self.head = Head::Waiting {
            until: now.saturating_add(doubled.min(config.retry_max).mul_f64(jitter)),
        };
    }

    /// Something speaks for trying now: a line that waits waits no longer.
    pub(super) fn hurry(&mut self) {
        if let Head::Waiting { .. } = self.head {
            self.head = Head::Ready;
        }
    }

    /// Ends waits that are over.
    pub(super) fn handle_timeout(&mut self, now: Duration) {
        if let Head::Waiting { until } = self.head
            && until <= now
        {
            self.head = Head::Ready;
        }
    }

    /// Gives up the first line if it is too old, whatever its state.
    pub(super) fn poll_expired(&mut self, config: &ChatConfig, now: Duration) -> Option<Outgoing> {
        if self.give_up_at(config)? > now {
            return None;
        }
        // The next line takes over a wait, but not a publication.
        if let Head::InFlight = self.head {
            self.head = Head::Ready;
        }
        self.lines.pop_front()
    }

    pub(super) fn poll_timeout(&self, config: &ChatConfig) -> Option<Duration> {
        let retry_at = match self.head {
            Head::Waiting { until } if !self.lines.is_empty() => Some(until),
            Head::Waiting { .. } | Head::Ready | Head::InFlight => None,
        };
        earlier(retry_at, self.give_up_at(config))
    }

    fn give_up_at(&self, config: &ChatConfig) -> Option<Duration> {
        let oldest = self.lines.front()?;
        Some(oldest.said_at.saturating_add(config.patience))
    }

    fn is_first(&self, id: &str) -> bool {
        self.lines.front().is_some_and(|line| line.id == id)
    }
}
