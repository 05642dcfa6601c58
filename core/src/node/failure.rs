//! libp2p's errors in the words of ours.

use std::error::Error;

use libp2p::{Multiaddr, core::transport::TransportError, swarm::DialError};
use peerway_webrtc::{RtcError, signaling::Cancellation};

use crate::{dial::DialFailure, reservation::RelayFailure};

/// How a failed dial of a peer reads.
pub(crate) fn of_peer(address: &Multiaddr, error: &DialError) -> DialFailure {
    match error {
        DialError::WrongPeerId { .. } | DialError::LocalPeerId { .. } => DialFailure::WrongPeer,
        DialError::NoAddresses => DialFailure::NoUsableAddress,
        DialError::Denied { .. } | DialError::DialPeerConditionFalse(_) => DialFailure::Denied,
        DialError::Aborted => DialFailure::TimedOut,
        DialError::Transport(failures) => {
            let text = transport_text(failures);
            // The relay transport wraps its status several times and exports no type for it.
            if text.contains("no reservation") || text.contains("NoReservation") {
                DialFailure::NoReservation
            } else if text.contains("limit") || text.contains("permission") {
                DialFailure::RelayRefused
            } else if peerway_webrtc::multiaddr::is_direct(address) {
                of_direct(text)
            } else if is_timeout(&text) {
                DialFailure::TimedOut
            } else {
                DialFailure::Transport(text)
            }
        }
    }
}

/// How a direct connection that the other side began and that failed reads.
pub(crate) fn of_offer(error: &peerway_webrtc::Error) -> DialFailure {
    of_direct(error.to_string())
}

/// The swarm wraps the transport's error; its text is all that is left of it.
fn of_direct(text: String) -> DialFailure {
    if [Cancellation::Glare, Cancellation::Replaced]
        .iter()
        .any(|why| text == why.to_string())
    {
        DialFailure::Superseded
    } else {
        DialFailure::NoDirectWay(text)
    }
}

/// How a failed dial of a relay reads.
impl From<&DialError> for RelayFailure {
    fn from(error: &DialError) -> Self {
        of_relay(error)
    }
}

pub(crate) fn of_relay(error: &DialError) -> RelayFailure {
    match error {
        DialError::WrongPeerId { .. } | DialError::LocalPeerId { .. } => RelayFailure::WrongPeer,
        DialError::Aborted => RelayFailure::TimedOut,
        DialError::NoAddresses | DialError::Denied { .. } | DialError::DialPeerConditionFalse(_) => {
            RelayFailure::Unreachable(error.to_string())
        }
        DialError::Transport(failures) => {
            let text = transport_text(failures);
            if is_timeout(&text) {
                RelayFailure::TimedOut
            } else if is_refused_by_browser(&text) {
                RelayFailure::RefusedByBrowser(text)
            } else {
                RelayFailure::Unreachable(text)
            }
        }
    }
}

fn is_timeout(text: &str) -> bool {
    text.contains("Timeout") || text.contains("imed out")
}

/// Whether this is a [`peerway_webrtc::RtcError`].
fn is_refused_by_browser(text: &str) -> bool {
    text.starts_with("the browser could not ") || text == RtcError::Unsupported.to_string()
}

/// The innermost cause of the last failure: that is where the transports say what went wrong.
fn transport_text(failures: &[(Multiaddr, TransportError<std::io::Error>)]) -> String {
    let Some((address, error)) = failures.last() else {
        return "no transport took the address".to_owned();
    };
    match error {
        TransportError::MultiaddrNotSupported(_) => format!("no transport for {address}"),
        TransportError::Other(error) => innermost(error),
    }
}

/// The status of HOP, as libp2p spells it in a text that is all that is left of it.
const PERMISSION_DENIED: &str = "PERMISSION_DENIED";

/// How the end of a reservation reads that the relay did not grant. What wraps it says no more than that.
pub(crate) fn of_reservation(error: &(dyn Error + 'static)) -> RelayFailure {
    let text = innermost(error);
    if text.contains("does not support") {
        RelayFailure::NotARelay
    } else if text.contains(PERMISSION_DENIED) {
        RelayFailure::NotAllowed
    } else {
        RelayFailure::Refused(text)
    }
}

fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    let text = cause.to_string();
    // The resolver makes a list of what it tried, a line each.
    match text.trim_end().rsplit_once("\n - ") {
        Some((_, last)) => last.to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use libp2p::multiaddr::Protocol;
    use wasm_bindgen_test::wasm_bindgen_test;

    use super::*;

    fn of_relay_when(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> RelayFailure {
        let address = Multiaddr::empty().with(Protocol::WebRTCDirect);
        let error = TransportError::Other(io::Error::other(error));
        (&DialError::Transport(vec![(address, error)])).into()
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn when_a_resolver_lists_its_failures_the_last_one_is_the_cause() {
        let failure = of_relay_when("Multiple dial errors occurred:\n - one\n - Connection refused");
        assert_eq!(failure, RelayFailure::Unreachable("Connection refused".to_owned()));
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn when_the_browser_refuses_a_relays_address_no_firewall_is_blamed() {
        let refused = RtcError::Refused {
            operation: "use its own description",
            message: "it was changed".to_owned(),
        };
        for refused in [refused, RtcError::Unsupported] {
            let failure = of_relay_when(peerway_webrtc::direct::Error::from(refused.clone()));
            assert_eq!(failure, RelayFailure::RefusedByBrowser(refused.to_string()));
        }
        let failure = of_relay_when(peerway_webrtc::direct::Error::Unreachable);
        assert!(matches!(failure, RelayFailure::Unreachable(_)), "{failure:?}");
        let failure = of_relay_when(peerway_webrtc::direct::Error::TimedOut);
        assert!(!matches!(failure, RelayFailure::RefusedByBrowser(_)), "{failure:?}");
    }
}
