//! Everything that goes wrong, in words: what happened, and what the user can do about it. Pure.

use std::time::Duration;

use libp2p::{Multiaddr, PeerId, multiaddr::Protocol};
use peerway_core::{
    chat::SayError,
    dial::{DialFailure, Route},
    reservation::RelayFailure,
    view::{PeerRow, RelayRow, RelayStatus},
};

use crate::{
    browser::FetchError,
    session::{IdentityOrigin, InMemoryReason, NoticeKind, RelayStanding, Skew, SourceFailure},
};

/// One thing to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Words {
    /// What happened, in one sentence.
    pub(crate) what: String,
    /// What to do next.
    pub(crate) next: String,
}

/// Why a line was not sent, in one sentence.
pub(crate) fn of_say_error(error: SayError) -> String {
    match error {
        SayError::NotJoined => "Not sent: this room is not entered yet. Try again.".to_owned(),
        SayError::Empty => "Not sent: there is nothing in it.".to_owned(),
        SayError::TooLong => "Not sent: it is too long. Send it in parts.".to_owned(),
        SayError::TooFast => "Not sent: that was too fast. Wait a moment and send it again.".to_owned(),
    }
}

fn words(what: impl Into<String>, next: impl Into<String>) -> Words {
    Words {
        what: what.into(),
        next: next.into(),
    }
}

/// The relay's state in three words, for the header.
pub(crate) fn relay_label(standing: &RelayStanding) -> &'static str {
    match standing {
        RelayStanding::Looking => "Connecting to the relay",
        RelayStanding::Unknown(_) => "No relay found",
        RelayStanding::NoneUsable => "No usable relay",
        RelayStanding::Known { status, .. } => match status {
            RelayStatus::Connecting => "Connecting to the relay",
            RelayStatus::Reserved => "Reachable through the relay",
            RelayStatus::Lost => "Relay lost",
            RelayStatus::Refused => "Relay refused",
        },
    }
}

/// What to say about the relay beyond the label; `None` while all is well.
pub(crate) fn relay_trouble(standing: &RelayStanding) -> Option<Words> {
    match standing {
        // Each malformed address has a notice of its own.
        RelayStanding::Looking | RelayStanding::NoneUsable => None,
        RelayStanding::Unknown(failure) => Some(source_failure(failure)),
        RelayStanding::Known { status, .. } => match status {
            RelayStatus::Connecting | RelayStatus::Reserved => None,
            RelayStatus::Lost | RelayStatus::Refused => Some(
                standing
                    .failure()
                    .map_or_else(|| relay_failure(&RelayFailure::Disconnected), relay_failure),
            ),
        },
    }
}

fn source_failure(failure: &SourceFailure) -> Words {
    match failure {
        SourceFailure::NoServer => words(
            "This page was opened from a file, so it has no relay of its own.",
            "Open it from a relay, or add “?relay=” and a relay's address to its URL.",
        ),
        SourceFailure::Fetch(FetchError::Status(404)) | SourceFailure::Document(_) => words(
            "The server of this page is not a relay.",
            "Open the page from a relay, or add “?relay=” and a relay's address to its URL.",
        ),
        SourceFailure::Fetch(FetchError::Status(status)) => words(
            format!("The relay answers with an error (HTTP {status})."),
            "This page keeps trying. If it goes on, tell whoever runs the relay.",
        ),
        SourceFailure::Fetch(FetchError::Unreachable | FetchError::TimedOut) => words(
            "The relay does not answer.",
            "Check that it runs and that you are on line. This page keeps trying.",
        ),
    }
}

fn relay_failure(failure: &RelayFailure) -> Words {
    match failure {
        RelayFailure::TimedOut | RelayFailure::Unreachable(_) => words(
            "The relay cannot be reached.",
            "Check that it runs and that no firewall is in between. This page keeps trying.",
        ),
        RelayFailure::RefusedByBrowser(_) => words(
            "This browser does not connect to the relay over WebRTC-direct.",
            "The relay's WebSocket address is the other way: it has “/ws” in it and belongs after “?relay=”.",
        ),
        RelayFailure::WrongPeer => words(
            "Somebody else than the expected relay answers at its address.",
            "If the relay was set up anew, load this page again; otherwise check its address.",
        ),
        RelayFailure::Disconnected => words(
            "The connection to the relay ended.",
            "Nothing to do: this page connects again by itself. Direct connections are not affected.",
        ),
        RelayFailure::Refused(_) => words(
            "The relay refused to give this page a slot; it may be full.",
            "This page asks again by itself. Closing other tabs frees slots.",
        ),
        RelayFailure::WrongToken => words(
            "The relay does not accept the token in this page's link.",
            "Ask whoever runs the relay for a new link.",
        ),
        RelayFailure::NotAllowed => words(
            "The relay lets only those in who have a token, or whom it knows.",
            "Ask whoever runs it for a link, and open that.",
        ),
        RelayFailure::NotARelay => words(
            "The peer at this address is not a relay.",
            "Check the address, or open the page from a relay.",
        ),
        RelayFailure::NoGossip => words(
            "The relay is connected, but does not pass on who is there.",
            "This page connects again by itself. If it goes on, the relay has discovery turned off.",
        ),
        // The node may learn of more ways to fail.
        other => words(format!("{other}."), "This page keeps trying."),
    }
}

/// What a notice says.
pub(crate) fn notice(kind: &NoticeKind) -> Words {
    match kind {
        NoticeKind::Identity(origin) => identity(origin),
        NoticeKind::Parameter(error) => words(
            format!("A relay in this page's URL cannot be used: {error}."),
            "Correct the part after “?relay=” and load the page again.",
        ),
        NoticeKind::Stun(value) => words(
            format!("A STUN server in this page's URL cannot be used: “{value}”."),
            "Write “?stun=HOST:PORT” and load the page again.",
        ),
        NoticeKind::Room(error) => words(
            format!("The room in this page's URL cannot be one: {error}."),
            "You are in the room shown below instead.",
        ),
        NoticeKind::Token(error) => words(
            format!("The token in this page's URL cannot be one: {error}."),
            "Open the link again as it was given to you; it may have been cut off.",
        ),
        NoticeKind::Clock(skew) => {
            let (minutes, direction) = match skew {
                Skew::Ahead(minutes) => (minutes, "ahead of"),
                Skew::Behind(minutes) => (minutes, "behind"),
            };
            words(
                format!(
                    "The clock of this device is {} {direction} the relay's.",
                    amount(*minutes)
                ),
                "Set the clock: with a wrong one, others may lose sight of you.",
            )
        }
        NoticeKind::NotStarted(reason) => words(
            format!("The network part of this page could not be started: {reason}."),
            "Load the page again, with a current browser.",
        ),
        NoticeKind::Stopped => words(
            "The network part of this page has stopped.",
            "Load the page again to be back.",
        ),
    }
}

/// Minutes, in the largest unit that says enough.
fn amount(minutes: u64) -> String {
    const HOUR: u64 = 60;
    const DAY: u64 = 24 * HOUR;
    match minutes {
        ..120 => format!("{minutes} minutes"),
        120..2_880 => format!("{} hours", minutes / HOUR),
        2_880.. => format!("{} days", minutes / DAY),
    }
}

fn identity(origin: &IdentityOrigin) -> Words {
    match origin {
        IdentityOrigin::Replaced { kept_as, .. } => words(
            "The identity that this browser kept was damaged, so you have a new one.",
            format!("The damaged one is kept in the browser's storage as “{kept_as}”."),
        ),
        IdentityOrigin::InMemory(InMemoryReason::NoStorage) => words(
            "This browser keeps nothing for this page, so your identity lasts until you close it.",
            "To keep one, use a window that is not private, or allow this site to store data.",
        ),
        IdentityOrigin::InMemory(InMemoryReason::NoLocks) => words(
            "This browser cannot tell its tabs apart, so your identity lasts until you close this one.",
            "To keep one, use a current browser.",
        ),
        IdentityOrigin::InMemory(InMemoryReason::TooManyTabs) => words(
            "Every kept identity is used by another tab, so this tab's lasts until you close it.",
            "Close other tabs of this page and load it again to use a kept one.",
        ),
        IdentityOrigin::Remembered(_) | IdentityOrigin::Made(_) => words("Your identity is kept.", ""),
    }
}

/// How a peer is reached: the word of the contract, and that of the screen.
pub(crate) fn route(row: &PeerRow) -> (&'static str, &'static str) {
    match (&row.route, row.gone_at) {
        (_, Some(_)) => ("none", "left"),
        (Some(Route::WebRtc), None) => ("webrtc", "direct"),
        (Some(Route::Direct), None) => ("direct", "direct"),
        (Some(Route::Circuit { .. }), None) => ("circuit", "relayed"),
        (None, None) if row.last_failure.is_some() => ("none", "not connected"),
        (None, None) => ("none", "connecting"),
    }
}

/// How a peer is reached and why so, in a sentence. `relays` are those that the node keeps a slot on.
pub(crate) fn route_reason(row: &PeerRow, relays: &[RelayRow]) -> String {
    let failure = row.last_failure.as_ref();
    match (&row.route, row.gone_at) {
        (_, Some(_)) => "It said goodbye or has not been heard of for a while.".to_owned(),
        (Some(Route::WebRtc), None) => "Browser to browser: nothing in between.".to_owned(),
        (Some(Route::Direct), None) => "A direct connection: no relay in between.".to_owned(),
        (Some(Route::Circuit { relay }), None) => {
            let relay = relay_name(*relay, relays);
            match failure {
                Some(failure) => format!("Through the relay {relay}, because {}.", dial_failure(failure)),
                None => format!("Through the relay {relay}, which carries the connection."),
            }
        }
        (None, None) => match failure {
            Some(failure) => format!("Not connected: {}. It is tried again.", dial_failure(failure)),
            None => "Being connected.".to_owned(),
        },
    }
}

/// One of the node's own relays by its address, which a person may know; another one by its id.
fn relay_name(relay: PeerId, relays: &[RelayRow]) -> String {
    let own = relays.iter().find(|row| row.peer == Some(relay));
    own.and_then(|row| host_and_port(row.address.as_ref()?))
        .unwrap_or_else(|| short_id(&relay.to_string()))
}

/// As in a URL: `relay.example:443`, `[2001:db8::1]:8080`.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "of all protocols these are hosts and ports"
)]
fn host_and_port(address: &Multiaddr) -> Option<String> {
    let mut parts = address.iter();
    let host = match parts.next()? {
        Protocol::Ip4(v4) => v4.to_string(),
        Protocol::Ip6(v6) => format!("[{v6}]"),
        Protocol::Dns(name) | Protocol::Dns4(name) | Protocol::Dns6(name) => name.into_owned(),
        _ => return None,
    };
    match parts.next()? {
        Protocol::Tcp(port) | Protocol::Udp(port) => Some(format!("{host}:{port}")),
        _ => None,
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the node's own words do for the rest")]
fn dial_failure(failure: &DialFailure) -> String {
    match failure {
        // The transport's own text is for logs.
        DialFailure::NoDirectWay(why) => why.clone(),
        DialFailure::Superseded => failure.to_string(),
        DialFailure::Transport(_) => "the connection failed".to_owned(),
        other => other.to_string(),
    }
}

/// A round trip, rounded to what a person can use.
pub(crate) fn round_trip(time: Duration) -> String {
    match time.as_millis() {
        0 => "< 1 ms".to_owned(),
        millis @ 1..10_000 => format!("{millis} ms"),
        millis => format!("{} s", millis / 1_000),
    }
}

/// A peer id, short enough for a row; its end differs where its beginning is the same for all.
pub(crate) fn short_id(id: &str) -> String {
    const HEAD: usize = 4;
    const TAIL: usize = 6;
    // Peer ids are ASCII; anything else is shown whole.
    if id.is_ascii() && id.len() > HEAD + TAIL + 1 {
        format!("{}…{}", &id[..HEAD], &id[id.len() - TAIL..])
    } else {
        id.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use peerway_core::{reservation::RelayKey, view::RelayState};
    use wasm_bindgen_test::wasm_bindgen_test;

    use super::*;

    fn row() -> PeerRow {
        PeerRow {
            peer: PeerId::random(),
            name: None,
            route: None,
            gone_at: None,
            round_trip: None,
            last_failure: None,
        }
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn every_relay_failure_says_what_to_do_next() {
        for failure in [
            RelayFailure::TimedOut,
            RelayFailure::Unreachable("x".into()),
            RelayFailure::RefusedByBrowser("x".into()),
            RelayFailure::WrongPeer,
            RelayFailure::Disconnected,
            RelayFailure::Refused("x".into()),
            RelayFailure::WrongToken,
            RelayFailure::NotAllowed,
            RelayFailure::NotARelay,
            RelayFailure::NoGossip,
        ] {
            let words = relay_failure(&failure);
            assert!(words.what.ends_with('.') && words.next.ends_with('.'), "{words:?}");
        }
        for failure in [
            SourceFailure::NoServer,
            SourceFailure::Fetch(FetchError::Unreachable),
            SourceFailure::Fetch(FetchError::TimedOut),
            SourceFailure::Fetch(FetchError::Status(404)),
            SourceFailure::Fetch(FetchError::Status(503)),
        ] {
            let words = source_failure(&failure);
            assert!(words.what.ends_with('.') && words.next.ends_with('.'), "{words:?}");
        }
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn routes_are_named_as_the_contract_names_them() {
        let relay = PeerId::random();
        let gone = Some(Duration::ZERO);
        for (route_, gone_at, expected) in [
            (Some(Route::WebRtc), None, "webrtc"),
            (Some(Route::Direct), None, "direct"),
            (Some(Route::Circuit { relay }), None, "circuit"),
            (None, None, "none"),
            (None, gone, "none"),
        ] {
            let row = PeerRow {
                route: route_,
                gone_at,
                ..row()
            };
            assert_eq!(route(&row).0, expected);
        }
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn a_relayed_peer_says_by_which_relay_and_why_it_is_not_direct() {
        let relay = PeerId::random();
        let row = PeerRow {
            route: Some(Route::Circuit { relay }),
            last_failure: Some(DialFailure::TimedOut),
            ..row()
        };
        let at = |address: &str| RelayRow {
            key: RelayKey(1),
            peer: Some(relay),
            address: Some(address.parse().unwrap()),
            state: RelayState::Reserved,
            retry_at: None,
            round_trip: None,
        };
        for (address, name) in [
            ("/ip4/203.0.113.1/tcp/8080/ws", "203.0.113.1:8080"),
            ("/ip6/2001:db8::1/udp/4003/webrtc-direct", "[2001:db8::1]:4003"),
            ("/dns4/relay.example/tcp/443/tls/ws", "relay.example:443"),
        ] {
            assert_eq!(
                route_reason(&row, &[at(address)]),
                format!("Through the relay {name}, because it did not answer in time.")
            );
        }
        let id = short_id(&relay.to_string());
        for relays in [vec![], vec![at("/memory/1")]] {
            assert!(route_reason(&row, &relays).starts_with(&format!("Through the relay {id}, ")));
        }
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn round_trips_are_short() {
        for (millis, expected) in [(0, "< 1 ms"), (7, "7 ms"), (1_250, "1250 ms"), (62_000, "62 s")] {
            assert_eq!(round_trip(Duration::from_millis(millis)), expected);
        }
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn a_wrong_clock_is_wrong_by_an_amount_that_people_use() {
        for (minutes, expected) in [
            (2, "2 minutes"),
            (119, "119 minutes"),
            (150, "2 hours"),
            (2_880, "2 days"),
        ] {
            let words = notice(&NoticeKind::Clock(Skew::Behind(minutes)));
            assert!(words.what.contains(&format!("is {expected} behind")), "{words:?}");
        }
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn peer_ids_are_shortened_to_their_ends() {
        assert_eq!(
            short_id("12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN"),
            "12D3…x6nXTN"
        );
        assert_eq!(short_id("short"), "short");
        assert_eq!(short_id("ééééééééééééé"), "ééééééééééééé");
    }
}
