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

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The longest token, in characters: what our own relay takes, and what fits a request.
pub const MAX_TOKEN_LENGTH: usize = 256;

/// The largest request that is read, in bytes.
pub const MAX_TOKEN_REQUEST_SIZE: usize = 1024;

/// The largest answer that is read, in bytes.
pub const MAX_TOKEN_ANSWER_SIZE: usize = 1024;

/// A token: letters, digits, `-` and `_`, up to [`MAX_TOKEN_LENGTH`] of them. A secret: nothing prints it.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessToken(String);

/// A text is no token. Never says what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a token is 1 to {MAX_TOKEN_LENGTH} letters, digits, \"-\" and \"_\"")]
pub struct AccessTokenError;

impl FromStr for AccessToken {
    type Err = AccessTokenError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if text.is_empty() || text.len() > MAX_TOKEN_LENGTH || !text.bytes().all(is_fine) {
            return Err(AccessTokenError);
        }
        Ok(Self(text.to_owned()))
    }
}

impl AccessToken {
    /// What is sent to the relay.
    #[must_use]
    pub fn request(&self) -> TokenRequest {
        TokenRequest { token: self.0.clone() }
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessToken").finish_non_exhaustive()
    }
}

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
    fn when_a_token_is_logged_it_is_not_shown() {
        let token: AccessToken = "secret".parse().unwrap();
        let shown = format!("{token:?} {:?}", token.request());
        assert!(!shown.contains("secret"), "{shown}");
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn a_token_is_of_letters_digits_hyphens_and_underscores_and_its_request_is_read() {
        let longest = "a".repeat(MAX_TOKEN_LENGTH);
        for text in ["x", "aZ0-_", &longest] {
            let token: AccessToken = text.parse().unwrap();
            assert!(serde_json::to_vec(&token.request()).unwrap().len() <= MAX_TOKEN_REQUEST_SIZE);
        }
        for text in ["", "a b", "a\n", "ä", "\"", &format!("{longest}a")] {
            assert_eq!(text.parse::<AccessToken>(), Err(AccessTokenError), "{text}");
        }
    }
}
