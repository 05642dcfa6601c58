//! The knobs of `/webrtc`.

use crate::{IceServer, signaling::SessionConfig};

/// Default of [`Config::max_sessions`].
pub const MAX_SESSIONS: usize = 16;

/// How [`Behaviour`](crate::Behaviour) goes about direct connections.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// STUN servers for finding candidates. Default: none, which is enough where no NAT is in the way. Each is asked once
    /// for each attempt, and learns our address.
    pub ice_servers: Vec<IceServer>,
    /// Whose offers are answered. Default: everybody's.
    pub inbound: InboundPolicy,
    /// Sessions at a time, ours and others' together. Default: [`MAX_SESSIONS`]. Each costs a connection of the browser,
    /// which has a few hundred; a further dial fails with [`Error::Busy`](crate::Error::Busy), a further offer is refused.
    pub max_sessions: usize,
    /// The deadline of a session.
    pub session: SessionConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            ice_servers: Vec::new(),
            inbound: InboundPolicy::default(),
            max_sessions: MAX_SESSIONS,
            session: SessionConfig::default(),
        }
    }
}

/// Whose offers are answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum InboundPolicy {
    /// Everybody's who reaches us by a circuit.
    #[default]
    Accept,
    /// Nobody's: direct connections are only those that we dial.
    Refuse,
}
