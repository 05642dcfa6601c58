//! Which connections still live, by their pongs.
//!
//! libp2p's ping keeps its first failure to itself and never closes anything: a connection whose packets vanish would be
//! believed in for two intervals and two time-outs. Here it counts as dead once no pong came for one of each. Closing is
//! for the [`Engine`](super::Engine).

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use libp2p::swarm::ConnectionId;

use crate::{dial::Disconnection, now::Now};

/// What a pong may be late beyond one interval and one time-out: a round trip on a bad line.
const SLACK: Duration = Duration::from_secs(1);

/// We were woken later than we asked to be by more than this: our own timers are throttled (a hidden tab's are), and so
/// are our pings. That nothing came back says nothing then.
const THROTTLED: Duration = Duration::from_secs(2);

/// Bounded by the swarm's connection limits.
pub(super) struct Liveness {
    ping_interval: Duration,
    ping_timeout: Duration,
    due: BTreeMap<ConnectionId, Duration>,
    /// Those that are being closed for their silence.
    silent: BTreeSet<ConnectionId>,
}

impl Liveness {
    pub(super) fn new(ping_interval: Duration, ping_timeout: Duration) -> Self {
        Self {
            ping_interval,
            ping_timeout,
            due: BTreeMap::new(),
            silent: BTreeSet::new(),
        }
    }

    /// The connection is new, or a pong came back on it.
    pub(super) fn handle_alive(&mut self, connection: ConnectionId, now: Now) {
        self.due.insert(connection, now.mono.saturating_add(self.patience()));
    }

    /// A ping on it was not answered in time.
    pub(super) fn handle_silence(&mut self, connection: ConnectionId) {
        if self.due.remove(&connection).is_some() {
            self.silent.insert(connection);
        }
    }

    /// How a connection really ended: one that we closed for its silence looks as if it had been closed on purpose.
    pub(super) fn handle_disconnected(&mut self, connection: ConnectionId, how: Disconnection) -> Disconnection {
        self.due.remove(&connection);
        if self.silent.remove(&connection) {
            Disconnection::Lost
        } else {
            how
        }
    }

    /// The host slept or its network changed: the next ping decides about every connection, and there is no waiting for
    /// the one after.
    pub(super) fn handle_wake(&mut self, now: Now) {
        let soon = now.mono.saturating_add(self.ping_interval + SLACK);
        for due in self.due.values_mut() {
            *due = soon.min(*due);
        }
    }

    /// A connection that has been silent for too long; it is told once.
    pub(super) fn next_dead(&mut self, now: Now) -> Option<ConnectionId> {
        let patience = self.patience();
        for due in self.due.values_mut() {
            if now.mono.saturating_sub(*due) > THROTTLED {
                *due = now.mono.saturating_add(patience);
            }
        }
        let (dead, _) = self.due.iter().find(|(_, due)| **due <= now.mono)?;
        let dead = *dead;
        self.handle_silence(dead);
        Some(dead)
    }

    pub(super) fn poll_timeout(&self) -> Option<Duration> {
        self.due.values().min().copied()
    }

    fn patience(&self) -> Duration {
        self.ping_interval + self.ping_timeout + SLACK
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
    fn when_the_network_changed_the_next_ping_decides() {
        let (mut liveness, connection) = liveness();
        liveness.handle_wake(at(2));
        assert_eq!(liveness.next_dead(at(7)), None);
        assert_eq!(liveness.next_dead(at(8)), Some(connection));

        liveness.handle_alive(connection, at(10));
        liveness.handle_wake(at(19));
        assert_eq!(
            liveness.poll_timeout(),
            Some(Duration::from_secs(21)),
            "never later than it was"
        );
        liveness.handle_alive(connection, at(20));
        assert_eq!(liveness.poll_timeout(), Some(Duration::from_secs(31)));
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn what_was_closed_for_its_silence_was_lost_and_nothing_else() {
        let (mut liveness, connection) = liveness();
        let (silent, late) = (connection, ConnectionId::new_unchecked(CONNECTION + 1));
        liveness.handle_alive(late, at(0));
        liveness.handle_silence(silent);
        assert_eq!(liveness.next_dead(at(11)), Some(late));
        for connection in [silent, late] {
            let ended = |liveness: &mut Liveness| liveness.handle_disconnected(connection, Disconnection::Clean);
            assert_eq!(ended(&mut liveness), Disconnection::Lost);
            assert_eq!(ended(&mut liveness), Disconnection::Clean, "it is not remembered");
        }
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn when_we_are_woken_late_our_own_pings_were_late_too_and_nothing_is_dead() {
        let (mut liveness, connection) = liveness();
        assert_eq!(liveness.next_dead(at(60)), None);
        assert_eq!(liveness.next_dead(at(71)), Some(connection));
    }
}
