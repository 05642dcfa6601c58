//! Time for a behaviour that has no event loop around it: says what time it is, and wakes it in time.
//!
//! Decides nothing.

use std::{
    task::{Context, Poll},
    time::Duration,
};

use futures::FutureExt;
use futures_timer::Delay;

use crate::{
    node::clock::{Clock, LONGEST_WAIT},
    now::Now,
};

#[derive(Debug)]
pub(super) struct Alarm {
    clock: Clock,
    timer: Delay,
    /// When the timer is set to go off.
    due: Duration,
}

/// How time went on since the alarm was last asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Passage {
    /// As it should.
    Steady,
    /// The host slept meanwhile.
    Slept,
}

impl Alarm {
    pub(super) fn new() -> Self {
        Self {
            clock: Clock::start(),
            timer: Delay::new(Duration::ZERO),
            due: Duration::ZERO,
        }
    }

    pub(super) fn now(&self) -> Now {
        self.clock.now()
    }

    pub(super) fn passage(&mut self, now: Now) -> Passage {
        if self.clock.has_slept(now) {
            Passage::Slept
        } else {
            Passage::Steady
        }
    }

    /// Ready once it is `due`, or after a while in any case.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, due: Option<Duration>) -> Poll<()> {
        let now = self.clock.now().mono;
        let longest = now.saturating_add(LONGEST_WAIT);
        let due = due.map_or(longest, |due| due.min(longest));
        // A timer that goes off a little early is no harm; one that is set anew at every poll is.
        if due < self.due || self.due <= now {
            self.timer.reset(due.saturating_sub(now));
            self.due = due;
        }
        self.timer.poll_unpin(cx)
    }
}
