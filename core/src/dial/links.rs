//! The connections to one peer: which is the best, and which is closed, by which side, when.
//!
//! Both sides of two connections must keep the same one. The rule, in this order:
//! 1. direct before browser to browser before circuit (circuits first if the user wants the relay only);
//! 2. of two of a kind that came up more than [`GLARE`] apart, the newer: whoever dialled again had lost the older;
//! 3. else the one that the lower id began;
//! 4. else the newer.
//!
//! A surplus connection is closed by the side that began it, after a grace period; by the other side, later, if it is still
//! there; and never before the one that is kept has carried a ping since both exist.
//!
//! Never dials.

use std::time::Duration;

use libp2p::swarm::ConnectionId;

use super::{Role, Route};
use crate::node::Reach;

/// Connections to one peer that are looked at. What comes beyond is closed at once.
pub const MAX_LINKS: usize = 8;
/// Two connections that come up within this time may have been dialled without knowledge of each other.
pub const GLARE: Duration = Duration::from_secs(10);
/// How long after a surplus connection became one the side that began it closes it: streams on it may end meanwhile.
pub const GRACE: Duration = Duration::from_secs(2);
/// How long after it the other side closes it.
pub const OTHER_SIDES_GRACE: Duration = Duration::from_secs(10);

/// Which of two ids is ours, by the bytes of their multihashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Lower,
    Higher,
}

#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) connection: ConnectionId,
    pub(super) route: Route,
    pub(super) role: Role,
    pub(super) since: Duration,
    /// When it last carried a ping there and back.
    pub(super) alive: Option<Duration>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    Closing,
}

#[derive(Clone, Debug)]
pub(super) struct Links {
    ours: Side,
    /// In the order in which they came up.
    links: Vec<Link>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Added {
    Kept,
    TooMany,
}

impl Links {
    pub(super) fn new(ours: Side) -> Self {
        Self {
            ours,
            links: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, connection: ConnectionId, route: Route, role: Role, now: Duration) -> Added {
        if self.links.iter().any(|link| link.connection == connection) {
            return Added::Kept;
        }
        if self.links.len() >= MAX_LINKS {
            return Added::TooMany;
        }
        self.links.push(Link {
            connection,
            route,
            role,
            since: now,
            alive: None,
            state: State::Open,
        });
        Added::Kept
    }

    pub(super) fn remove(&mut self, connection: ConnectionId) -> Option<Link> {
        let at = self.links.iter().position(|link| link.connection == connection)?;
        Some(self.links.remove(at))
    }

    pub(super) fn on_alive(&mut self, connection: ConnectionId, now: Duration) {
        if let Some(link) = self.links.iter_mut().find(|link| link.connection == connection) {
            link.alive = Some(now);
        }
    }

    pub(super) fn open(&self) -> impl Iterator<Item = &Link> {
        self.links.iter().filter(|link| link.state == State::Open)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.links.is_empty()
    }

    pub(super) fn best(&self, reach: Reach) -> Option<&Link> {
        self.open().reduce(|kept, newer| {
            let (kept_kind, newer_kind) = (kind(kept.route, reach), kind(newer.route, reach));
            let keep = match kept_kind.cmp(&newer_kind) {
                std::cmp::Ordering::Less => true,
                std::cmp::Ordering::Greater => false,
                std::cmp::Ordering::Equal => {
                    newer.since.saturating_sub(kept.since) <= GLARE
                        && self.begun_by(kept) == Side::Lower
                        && self.begun_by(newer) == Side::Higher
                }
            };
            if keep { kept } else { newer }
        })
    }

    /// Marks and returns a connection that is to be closed now.
    pub(super) fn take_surplus(&mut self, reach: Reach, now: Duration) -> Option<ConnectionId> {
        let connection = self.closings(reach).find(|(at, _)| *at <= now)?.1;
        let link = self.links.iter_mut().find(|link| link.connection == connection)?;
        link.state = State::Closing;
        Some(connection)
    }

    pub(super) fn next_closing(&self, reach: Reach) -> Option<Duration> {
        self.closings(reach).map(|(at, _)| at).min()
    }

    /// Marks and returns all that are open: they are to be closed now.
    pub(super) fn close_all(&mut self) -> Vec<ConnectionId> {
        let open = self.links.iter_mut().filter(|link| link.state == State::Open);
        open.map(|link| {
            link.state = State::Closing;
            link.connection
        })
        .collect()
    }

    fn closings(&self, reach: Reach) -> impl Iterator<Item = (Duration, ConnectionId)> {
        let best = self.best(reach);
        self.open().filter_map(move |link| {
            let best = best.filter(|best| best.connection != link.connection)?;
            // The other side knows nothing of our wish for the relay only, and keeps the direct one.
            if reach == Reach::RelayOnly && kind(best.route, reach) != kind(link.route, reach) {
                return None;
            }
            let both_since = best.since.max(link.since);
            if best.alive.is_none_or(|alive| alive < both_since) {
                return None;
            }
            let grace = match link.role {
                Role::Dialer => GRACE,
                Role::Listener => OTHER_SIDES_GRACE,
            };
            Some((both_since.saturating_add(grace), link.connection))
        })
    }

    fn begun_by(&self, link: &Link) -> Side {
        match (self.ours, link.role) {
            (Side::Lower, Role::Dialer) | (Side::Higher, Role::Listener) => Side::Lower,
            (Side::Lower, Role::Listener) | (Side::Higher, Role::Dialer) => Side::Higher,
        }
    }
}

fn kind(route: Route, reach: Reach) -> u8 {
    match (route, reach) {
        (Route::Circuit { .. }, Reach::RelayOnly) => 0,
        (Route::Direct, _) => 1,
        (Route::WebRtc, _) => 2,
        (Route::Circuit { .. }, _) => 3,
    }
}

#[cfg(test)]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test;

    use super::*;
    use crate::dial::testing::ids;

    fn id(number: usize) -> ConnectionId {
        ConnectionId::new_unchecked(number)
    }

    fn circuit() -> Route {
        Route::Circuit { relay: ids(1)[0] }
    }

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// What each side keeps of two circuits, the first begun by `first` at zero, the second by `second` at `apart`.
    fn kept(first: Side, second: Side, apart: Duration) -> [usize; 2] {
        [Side::Lower, Side::Higher].map(|ours| {
            let role = |begun_by| if begun_by == ours { Role::Dialer } else { Role::Listener };
            let mut links = Links::new(ours);
            links.add(id(1), circuit(), role(first), Duration::ZERO);
            links.add(id(2), circuit(), role(second), apart);
            let best = links.best(Reach::PreferDirect).unwrap().connection;
            if best == id(1) { 1 } else { 2 }
        })
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn both_sides_keep_the_same_one_of_two_circuits() {
        let glare = seconds(1);
        let later = GLARE + seconds(1);
        assert_eq!(kept(Side::Lower, Side::Higher, glare), [1, 1]);
        assert_eq!(kept(Side::Higher, Side::Lower, glare), [2, 2]);
        assert_eq!(kept(Side::Lower, Side::Lower, glare), [2, 2]);
        assert_eq!(
            kept(Side::Lower, Side::Higher, later),
            [2, 2],
            "the higher lost the first and dialled again"
        );
        assert_eq!(kept(Side::Higher, Side::Lower, later), [2, 2]);
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn the_surplus_circuit_is_closed_by_the_side_that_began_it_and_only_after_a_ping_on_the_other() {
        for (ours, first_role, grace) in [
            (Side::Higher, Role::Listener, GRACE),
            (Side::Lower, Role::Dialer, OTHER_SIDES_GRACE),
        ] {
            let mut links = Links::new(ours);
            links.add(id(1), circuit(), first_role, seconds(0));
            let second_role = if first_role == Role::Dialer {
                Role::Listener
            } else {
                Role::Dialer
            };
            links.on_alive(id(1), seconds(1));
            links.add(id(2), circuit(), second_role, seconds(3));
            assert_eq!(
                links.take_surplus(Reach::PreferDirect, seconds(99)),
                None,
                "no ping since both exist"
            );
            links.on_alive(id(1), seconds(4));
            let at = seconds(3) + grace;
            assert_eq!(links.next_closing(Reach::PreferDirect), Some(at));
            assert_eq!(links.take_surplus(Reach::PreferDirect, at - seconds(1)), None);
            assert_eq!(links.take_surplus(Reach::PreferDirect, at), Some(id(2)));
            assert_eq!(links.take_surplus(Reach::PreferDirect, at), None, "closed once");
        }
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn a_working_circuit_is_kept_until_the_direct_connection_carried_a_ping() {
        let mut links = Links::new(Side::Lower);
        links.add(id(1), circuit(), Role::Dialer, seconds(0));
        links.on_alive(id(1), seconds(5));
        links.add(id(2), Route::WebRtc, Role::Dialer, seconds(6));
        assert_eq!(links.best(Reach::PreferDirect).unwrap().route, Route::WebRtc);
        assert_eq!(links.take_surplus(Reach::PreferDirect, seconds(600)), None);
        links.on_alive(id(2), seconds(601));
        assert_eq!(links.take_surplus(Reach::PreferDirect, seconds(601)), Some(id(1)));
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn more_connections_than_are_looked_at_are_refused() {
        let mut links = Links::new(Side::Lower);
        for number in 0..MAX_LINKS {
            assert_eq!(
                links.add(id(number), Route::Direct, Role::Listener, seconds(0)),
                Added::Kept
            );
        }
        assert_eq!(
            links.add(id(99), Route::Direct, Role::Listener, seconds(0)),
            Added::TooMany
        );
    }
}
