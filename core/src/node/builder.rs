//! From a key and a few wishes to a node.

use std::time::Duration;

use futures::channel::mpsc;
use libp2p::{Swarm, identity::Keypair, swarm};
use rand::{Rng, SeedableRng, rngs::SmallRng};

use super::{EventLoop, Events, Node, behaviour::Behaviour, behaviour::peer_of, clock::Clock, queue};
use crate::{
    behaviours::GossipError,
    chat::RoomName,
    config::Config,
    dial::plan::Rungs,
    engine::Engine,
    reservation::{AddRelayError, RelaySpec},
    transport::{self, TransportError, Transports},
    view::View,
};

/// Requests that wait for the event loop; a further one waits for room.
const REQUESTS: usize = 64;

/// The ladder closes connections, not a timer. Not longer: on wasm a timer of more than 24.8 days fires at once.
const IDLE_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);

/// Why a node could not be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The transports could not be put together.
    #[error("the transports could not be set up")]
    Transport(#[from] TransportError),
    /// A relay cannot be used.
    #[error("a relay cannot be used")]
    Relay(#[from] AddRelayError),
    /// Gossip cannot be set up with this key.
    #[error("gossip cannot be set up")]
    Gossip(#[from] GossipError),
    /// A part of the behaviour refused its configuration.
    #[error("the configuration is not usable: {0}")]
    Config(&'static str),
}

/// Collects what a node shall be. Made by [`builder`].
#[must_use = "a builder does nothing until it is built"]
pub struct Builder {
    key: Keypair,
    config: Config,
    relays: Vec<RelaySpec>,
    rooms: Vec<RoomName>,
    name: Option<String>,
    transports: Option<Transports>,
}

/// A node with this identity.
pub fn builder(key: Keypair) -> Builder {
    Builder {
        key,
        config: Config::default(),
        relays: Vec::new(),
        rooms: Vec::new(),
        name: None,
        transports: None,
    }
}

impl Builder {
    /// Keep a reservation on this relay; may be said several times, for several relays.
    pub fn relay(mut self, relay: impl Into<RelaySpec>) -> Self {
        self.relays.push(relay.into());
        self
    }

    /// Take part in this room from the start; may be said several times.
    pub fn room(mut self, room: RoomName) -> Self {
        self.rooms.push(room);
        self
    }

    /// Announce this display name.
    pub fn name(mut self, name: Option<String>) -> Self {
        self.name = name;
        self
    }

    /// Other knobs than the default ones.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Other transports than [`transport::native`] or [`transport::browser`](crate::transport).
    pub fn transports(mut self, transports: Transports) -> Self {
        self.transports = Some(transports);
        self
    }

    /// The handle, the events, and the loop that must be spawned for anything to happen.
    pub fn build(mut self) -> Result<(Node, Events, EventLoop), BuildError> {
        let transports = match self.transports {
            Some(transports) => transports,
            None => transport::default(&self.key)?,
        };
        let local = peer_of(&self.key);
        if transports.webrtc.is_some() {
            self.config.dial.webrtc = Rungs::WebRtcAndCircuit;
        }
        let behaviour = Behaviour::new(&self.key, transports.relay, transports.webrtc, &self.config)?;
        let swarm = Swarm::new(
            transports.transport,
            behaviour,
            local,
            transport::executor(swarm_config),
        );
        let clock = Clock::start();
        let now = clock.now();
        let mut engine = Engine::new(local, &self.config, self.name, SmallRng::from_os_rng().random());
        for room in self.rooms {
            engine
                .join(room, now)
                .map_err(|_| BuildError::Config("more rooms than a node may join"))?;
        }
        for relay in self.relays {
            engine.add_relay(relay, now)?;
        }
        let (requests, receiver) = mpsc::channel(REQUESTS);
        let (sender, events) = queue::channel(self.config.event_queue);
        let event_loop = EventLoop::new(swarm, engine, clock.clone(), receiver, sender, View::new(local));
        Ok((Node::new(local, clock, requests), events, event_loop))
    }
}

fn swarm_config(config: swarm::Config) -> swarm::Config {
    config.with_idle_connection_timeout(IDLE_TIMEOUT)
}
