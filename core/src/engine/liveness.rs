//! Which connections still live, by their pongs.
//!
//! libp2p's ping keeps its first failure to itself and never closes anything: a connection whose packets vanish would be
//! believed in for two intervals and two time-outs. Here it counts as dead once no pong came for one of each. Closing is
//! for the [`Engine`](super::Engine).

use std::{collections::BTreeMap, time::Duration};

use libp2p::swarm::ConnectionId;

use crate::now::Now;

/// What a pong may be late beyond one interval and one time-out: a round trip on a bad line.
const SLACK: Duration = Duration::from_secs(1);

/// We were woken later than we asked to be by more than this: our own timers are throttled (a hidden tab's are), and so
/// are our pings. That nothing came back says nothing then.
const THROTTLED: Duration = Duration::from_secs(2);

/// Bounded by the swarm's connection limits.
pub(super) struct Liveness {
    patience: Duration,
    due: BTreeMap<ConnectionId, Duration>,
}

impl Liveness {
    pub(super) fn new(ping_interval: Duration, ping_timeout: Duration) -> Self {
        Self {
            patience: ping_interval + ping_timeout + SLACK,
            due: BTreeMap::new(),
        }
    }

    /// The connection is new, or a pong came back on it.
    pub(super) fn handle_alive(&mut self, connection: ConnectionId, now: Now) {
        self.due.insert(connection, now.mono.saturating_add(self.patience));
    }

    pub(super) fn handle_disconnected(&mut self, connection: ConnectionId) {
        self.due.remove(&connection);
    }

    /// A connection that has been silent for too long; it is told once.
    pub(super) fn next_dead(&mut self, now: Now) -> Option<ConnectionId> {
        for due in self.due.values_mut() {
            if now.mono.saturating_sub(*due) > THROTTLED {
                *due = now.mono.saturating_add(self.patience);
            }
        }
        let (dead, _) = self.due.iter().find(|(_, due)| **due <= now.mono)?;
        let dead = *dead;
        self.due.remove(&dead);
        Some(dead)
    }

    pub(super) fn poll_timeout(&self) -> Option<Duration> {
        self.due.values().min().copied()
    }
}

#[cfg(test)]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test;

    use super::*;

    const CONNECTION: usize = 1;

    fn at(seconds: u64) -> Now {
        Now::default().after(Duration::from_secs(seconds))
    }

    fn liveness() -> (Liveness, ConnectionId) {
        let connection = ConnectionId::new_unchecked(CONNECTION);
        let mut liveness = Liveness::new(Duration::from_secs(5), Duration::from_secs(5));
        liveness.handle_alive(connection, at(0));
        (liveness, connection)
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn without_a_pong_a_connection_is_dead_after_one_interval_and_one_timeout() {
        let (mut liveness, connection) = liveness();
        assert_eq!(liveness.next_dead(at(10)), None);
        liveness.handle_alive(connection, at(10));
        assert_eq!(liveness.poll_timeout(), Some(Duration::from_secs(21)));
        assert_eq!(liveness.next_dead(at(21)), Some(connection));
        assert_eq!(liveness.next_dead(at(21)), None, "it is told once");
        assert_eq!(liveness.poll_timeout(), None);
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn when_we_are_woken_late_our_own_pings_were_late_too_and_nothing_is_dead() {
        let (mut liveness, connection) = liveness();
        assert_eq!(liveness.next_dead(at(60)), None);
        assert_eq!(liveness.next_dead(at(71)), Some(connection));
    }
}
