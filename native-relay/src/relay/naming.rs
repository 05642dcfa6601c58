//! Naming another relay while this one runs.

use tokio::sync::oneshot;

use super::Relay;
use crate::{
    config::{MAX_NAMED_RELAYS, RelayAddress},
    event_loop::Request,
};

/// Why a relay was not named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameRelayError {
    /// There are [`MAX_NAMED_RELAYS`] addresses already, or, at a client, as many relays as it holds slots on.
    #[error("as many relays are named already as may be ({MAX_NAMED_RELAYS}, or 8 by a client of theirs)")]
    TooMany,
    /// This relay has stopped.
    #[error("this relay has stopped")]
    Stopped,
}

impl Relay {
    /// Makes one network with this relay, too, as if it stood in [`Relays::addresses`](crate::Relays::addresses), until this
    /// relay stops. [`Relay::status`] says what comes of it.
    ///
    /// # Errors
    /// See [`NameRelayError`]; nothing changed.
    pub async fn name_relay(&self, address: RelayAddress) -> Result<(), NameRelayError> {
        let (answer, named) = oneshot::channel();
        let request = Request::NameRelay { address, answer };
        self.requests.send(request).await.map_err(|_| NameRelayError::Stopped)?;
        named.await.unwrap_or(Err(NameRelayError::Stopped))
    }
}
