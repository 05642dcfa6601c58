//! When to announce ourselves next.
//!
//! Decides the moment, so that newcomers are known at once and an idle scope stays cheap however many peers it has.
//! Never decides what is said ([`super::Announcement`]), and never publishes.

use std::time::Duration;

use rand::{Rng, rngs::SmallRng};

use crate::now::{Now, earlier};

/// [`ScheduleConfig::per_peer`].
pub const DEFAULT_PER_PEER: Duration = Duration::from_secs(3);
/// [`ScheduleConfig::min_interval`].
pub const DEFAULT_MIN_INTERVAL: Duration = Duration::from_secs(15);
/// [`ScheduleConfig::max_interval`].
pub const DEFAULT_MAX_INTERVAL: Duration = Duration::from_secs(300);
/// [`ScheduleConfig::answers`].
pub const DEFAULT_ANSWERS: u32 = 8;
/// [`ScheduleConfig::answer_delay`].
pub const DEFAULT_ANSWER_DELAY: Duration = Duration::from_secs(1);
/// [`ScheduleConfig::settle`].
pub const DEFAULT_SETTLE: Duration = Duration::from_millis(50);
/// [`ScheduleConfig::change_gap`].
pub const DEFAULT_CHANGE_GAP: Duration = Duration::from_millis(500);
/// [`ScheduleConfig::subscriber_gap`].
pub const DEFAULT_SUBSCRIBER_GAP: Duration = Duration::from_secs(2);
/// [`ScheduleConfig::retry_first`].
pub const DEFAULT_RETRY_FIRST: Duration = Duration::from_millis(500);
/// [`ScheduleConfig::retry_max`].
pub const DEFAULT_RETRY_MAX: Duration = Duration::from_secs(15);

/// How far the time between two announcements strays from [`Schedule::interval`], in percent either way.
const JITTER_PERCENT: u32 = 20;

/// How often we announce ourselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduleConfig {
    /// The interval grows by this with each known peer, so that a scope carries about one announcement in this time
    /// whatever its size. Default: [`DEFAULT_PER_PEER`]. Shorter costs every peer of the scope proportionally more.
    pub per_peer: Duration,
    /// The interval in a small scope. Default: [`DEFAULT_MIN_INTERVAL`].
    pub min_interval: Duration,
    /// The interval in a large scope. Default: [`DEFAULT_MAX_INTERVAL`]. Longer costs others: a peer that vanished
    /// without a goodbye stays in their books for three intervals.
    pub max_interval: Duration,
    /// How many of the known peers answer a newcomer, on average. Default: [`DEFAULT_ANSWERS`]. Each answer goes to
    /// everybody; none would leave a newcomer without a snapshot waiting for an interval.
    pub answers: u32,
    /// The longest time before an answer to a newcomer; drawn, so that answers do not collide.
    /// Default: [`DEFAULT_ANSWER_DELAY`].
    pub answer_delay: Duration,
    /// How long addresses must stand still before a change is announced: a reservation brings several at once.
    /// Default: [`DEFAULT_SETTLE`]. It delays the moment at which others hear of us.
    pub settle: Duration,
    /// The longest that a stream of address changes holds back an announcement, and the shortest time between two that
    /// changes cause. Default: [`DEFAULT_CHANGE_GAP`].
    pub change_gap: Duration,
    /// The shortest time between two announcements caused by subscribers. Default: [`DEFAULT_SUBSCRIBER_GAP`].
    pub subscriber_gap: Duration,
    /// How long after the first failure publishing is tried again; doubled from failure to failure.
    /// Default: [`DEFAULT_RETRY_FIRST`].
    pub retry_first: Duration,
    /// The longest time between two tries. Default: [`DEFAULT_RETRY_MAX`]. A try that reaches nobody costs nothing.
    pub retry_max: Duration,
}

impl Default for ScheduleConfig {
    fn default() -> Self {
        Self {
            per_peer: DEFAULT_PER_PEER,
            min_interval: DEFAULT_MIN_INTERVAL,
            max_interval: DEFAULT_MAX_INTERVAL,
            answers: DEFAULT_ANSWERS,
            answer_delay: DEFAULT_ANSWER_DELAY,
            settle: DEFAULT_SETTLE,
            change_gap: DEFAULT_CHANGE_GAP,
            subscriber_gap: DEFAULT_SUBSCRIBER_GAP,
            retry_first: DEFAULT_RETRY_FIRST,
            retry_max: DEFAULT_RETRY_MAX,
        }
    }
}

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScheduleAction {
    /// Publish an announcement, then report with [`Schedule::handle_published`] or [`Schedule::handle_publish_failed`].
    Publish,
    /// Publish a goodbye, best effort: nothing is reported.
    PublishGoodbye,
}

/// Decides when we announce ourselves in one scope.
///
/// Grammar: `handle_*` in, then drain [`poll_action`](Self::poll_action); call [`handle_timeout`](Self::handle_timeout)
/// no later than [`poll_timeout`](Self::poll_timeout).
#[derive(Debug)]
pub struct Schedule {
    config: ScheduleConfig,
    rng: SmallRng,
    known: usize,
    joined: Option<Joined>,
    action: Option<ScheduleAction>,
}

/// What there is to know while we are in the scope. All times are [`Now::mono`].
#[derive(Debug)]
struct Joined {
    /// When the last announcement went out.
    published: Option<Duration>,
    /// The regular interval counts from here: the last announcement, or the last try.
    counted_from: Duration,
    /// The interval is stretched by this, drawn anew for each announcement.
    percent: u32,
    /// When an announcement is due before the regular one.
    early: Option<Duration>,
    /// The address change that is not announced yet.
    change: Option<Change>,
    /// When the last address change was announced.
    change_announced: Option<Duration>,
    /// How many tries in a row reached nobody.
    failures: u32,
}

/// A burst of address changes.
#[derive(Clone, Copy, Debug)]
struct Change {
    first: Duration,
    /// Moves on with each change of the burst, within bounds.
    due: Duration,
}

impl Schedule {
    /// Silent until [`Self::handle_joined`].
    #[must_use]
    pub fn new(config: ScheduleConfig, rng: SmallRng) -> Self {
        Self {
            config,
            rng,
            known: 0,
            joined: None,
            action: None,
        }
    }

    /// We take part in the scope now: announce at once.
    pub fn handle_joined(&mut self, now: Now) {
        let percent = self.draw_percent();
        self.joined.get_or_insert(Joined {
            published: None,
            counted_from: now.mono,
            percent,
            early: Some(now.mono),
            change: None,
            change_announced: None,
            failures: 0,
        });
        self.handle_timeout(now);
    }

    /// We leave the scope: say so once, if anybody heard of us.
    pub fn handle_left(&mut self, _now: Now) {
        let heard_of = self.joined.take().is_some_and(|joined| joined.published.is_some());
        self.action = heard_of.then_some(ScheduleAction::PublishGoodbye);
    }

    /// Our addresses are others than before: announce as soon as they stand still. A burst is one change.
    pub fn handle_addresses_changed(&mut self, now: Now) {
        let Some(joined) = &mut self.joined else { return };
        let first = joined.change.map_or(now.mono, |change| change.first);
        let settled = now.mono.saturating_add(self.config.settle);
        let longest = first.saturating_add(self.config.change_gap);
        let spaced = joined
            .change_announced
            .map_or(Duration::ZERO, |at| at.saturating_add(self.config.change_gap));
        joined.change = Some(Change {
            first,
            due: settled.min(longest).max(spaced),
        });
        self.handle_timeout(now);
    }

    /// A peer was heard of for the first time: it may not know us.
    ///
    /// Some of those who know it answer, on average [`ScheduleConfig::answers`], unless they have just spoken.
    pub fn handle_newcomer(&mut self, now: Now) {
        let interval = self.interval();
        let known = u32::try_from(self.known).unwrap_or(u32::MAX).max(1);
        let Some(joined) = &mut self.joined else { return };
        let spoke_lately = joined
            .published
            .is_some_and(|at| now.mono.saturating_sub(at) <= interval / 2);
        if !spoke_lately && self.rng.random_range(0..known) < self.config.answers {
            let delay = self.rng.random_range(Duration::ZERO..=self.config.answer_delay);
            joined.bring_forward(now.mono.saturating_add(delay));
        }
        self.handle_timeout(now);
    }

    /// So many peers are known now; the interval follows.
    pub fn handle_known_peers(&mut self, count: usize, now: Now) {
        self.known = count;
        self.handle_timeout(now);
    }

    /// Somebody we are connected to subscribed to the scope's topic and may have missed what we said, for example a relay
    /// that was restarted: announce at once if the last try reached nobody, else soon.
    pub fn handle_subscriber(&mut self, now: Now) {
        let delay = self.rng.random_range(Duration::ZERO..=self.config.answer_delay);
        let Some(joined) = &mut self.joined else { return };
        let due = match joined.published {
            Some(at) if joined.failures == 0 => now
                .mono
                .saturating_add(delay)
                .max(at.saturating_add(self.config.subscriber_gap)),
            Some(_) | None => now.mono,
        };
        joined.bring_forward(due);
        self.handle_timeout(now);
    }

    /// The machine slept: others may have forgotten us.
    pub fn handle_wake(&mut self, now: Now) {
        if let Some(joined) = &mut self.joined {
            joined.bring_forward(now.mono);
        }
        self.handle_timeout(now);
    }

    /// An announcement went out to at least one peer.
    pub fn handle_published(&mut self, now: Now) {
        if let Some(joined) = &mut self.joined {
            joined.published = Some(now.mono);
            joined.counted_from = now.mono;
            joined.failures = 0;
        }
    }

    /// Nobody was there to publish to: tried again with backoff, or when [somebody is](Self::handle_subscriber).
    pub fn handle_publish_failed(&mut self, now: Now) {
        let Some(joined) = &mut self.joined else { return };
        let doubled = self
            .config
            .retry_first
            .saturating_mul(2_u32.saturating_pow(joined.failures));
        joined.failures = joined.failures.saturating_add(1);
        joined.bring_forward(now.mono.saturating_add(doubled.min(self.config.retry_max)));
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Now) {
        if self.due().is_none_or(|due| now.mono < due) {
            return;
        }
        let percent = self.draw_percent();
        if let Some(joined) = &mut self.joined {
            joined.counted_from = now.mono;
            joined.percent = percent;
            joined.early = None;
            if joined.change.take().is_some() {
                joined.change_announced = Some(now.mono);
            }
            self.action = Some(ScheduleAction::Publish);
        }
    }

    /// What to do now, if anything.
    pub fn poll_action(&mut self) -> Option<ScheduleAction> {
        self.action.take()
    }

    /// When [`Self::handle_timeout`] is due, on [`Now::mono`].
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.due()
    }

    /// The time between two announcements of ours if nothing happens, before jitter; also what we may expect of others.
    #[must_use]
    pub fn interval(&self) -> Duration {
        let known = u32::try_from(self.known).unwrap_or(u32::MAX);
        // Not `clamp`, which panics if a configuration has the bounds the wrong way round.
        self.config
            .per_peer
            .saturating_mul(known)
            .max(self.config.min_interval)
            .min(self.config.max_interval)
    }

    fn due(&self) -> Option<Duration> {
        let joined = self.joined.as_ref()?;
        let stretched = self.interval().saturating_mul(joined.percent) / 100;
        let early = earlier(joined.early, joined.change.map(|change| change.due));
        earlier(Some(joined.counted_from.saturating_add(stretched)), early)
    }

    fn draw_percent(&mut self) -> u32 {
        self.rng.random_range(100 - JITTER_PERCENT..=100 + JITTER_PERCENT)
    }
}

impl Joined {
    fn bring_forward(&mut self, due: Duration) {
        self.early = earlier(self.early, Some(due));
    }
}

#[cfg(test)]
mod tests;
