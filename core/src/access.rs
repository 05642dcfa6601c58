//! How a peer shows a relay that it may use it: with a token that whoever runs the relay gave to it, in a link for
//! instance.
//!
//! Decides what goes on the wire of [`ACCESS_PROTOCOL`](crate::protocol::ACCESS_PROTOCOL): one request, one answer, before
//! the peer asks the relay for anything else. Never decides who may use a relay: that is the relay's business, and a peer
//! without a token simply asks for what it wants.
//!
//! A protocol of its own because nothing else carries a secret to every relay: an address is announced to everybody and
//! has no room for one, the URL of a WebSocket is not an address and stands in the logs of proxies, and the messages that
//! ask for reservations and circuits are other people's.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The largest request that is read, in bytes.
pub const MAX_TOKEN_REQUEST_SIZE: usize = 1024;

/// The largest answer that is read, in bytes.
pub const MAX_TOKEN_ANSWER_SIZE: usize = 1024;

/// "This is my token." On the wire: `{"token":"…"}`; whatever else is in it is ignored.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRequest {
    /// A secret: it is in no log.
    pub token: String,
}

impl fmt::Debug for TokenRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenRequest").finish_non_exhaustive()
    }
}

/// What the relay makes of it. On the wire: `{"access":"allowed"}` or `{"access":"denied"}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "access", rename_all = "lowercase")]
pub enum TokenAnswer {
    /// The peer may use the relay, with this token or without.
    Allowed,
    /// It may not, and is disconnected.
    Denied,
}

#[cfg(test)]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test;

    use super::*;

    #[wasm_bindgen_test(unsupported = test)]
    fn the_wire_format_of_tokens_is_the_documented_one() {
        let request = TokenRequest {
            token: "secret".to_owned(),
        };
        assert_eq!(serde_json::to_string(&request).unwrap(), r#"{"token":"secret"}"#);
        assert_eq!(
            serde_json::from_str::<TokenRequest>(r#"{"token":"secret","more":1}"#).unwrap(),
            request
        );
        for (answer, text) in [
            (TokenAnswer::Allowed, r#"{"access":"allowed"}"#),
            (TokenAnswer::Denied, r#"{"access":"denied"}"#),
        ] {
            assert_eq!(serde_json::to_string(&answer).unwrap(), text);
            assert_eq!(serde_json::from_str::<TokenAnswer>(text).unwrap(), answer);
        }
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn when_a_request_is_logged_its_token_is_not() {
        let request = TokenRequest {
            token: "secret".to_owned(),
        };
        assert!(!format!("{request:?}").contains("secret"));
    }
}
