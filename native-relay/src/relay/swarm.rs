//! The swarm of a relay, put together.

use std::time::Duration;

use libp2p::{Swarm, SwarmBuilder, relay};

use crate::{
    access::control::Control,
    behaviour::Behaviour,
    boxed::Boxed,
    config::Config,
    identity::Identity,
    listeners::{self, TransportsError, websocket},
};

/// How long an idle connection is kept: a page that only waits for others must not lose its relay.
const IDLE: Duration = Duration::from_secs(600);

pub(super) fn build(
    identity: &Identity,
    config: &Config,
    access: &Control,
    websockets: websocket::Upgrades,
) -> Result<Swarm<Boxed<Behaviour>>, TransportsError> {
    let (limits, mode) = (&config.limits, config.relays.mode);
    let client = || relay::client::new(identity.keys.public().to_peer_id());
    let (circuits, client) = mode.is_client().then(client).unzip();
    let transport = listeners::transport(identity, limits, websockets, circuits)?;
    let behaviour = Boxed(Behaviour::new(&identity.keys, limits, access, mode, client));
    let builder = SwarmBuilder::with_existing_identity(identity.keys.clone()).with_tokio();
    let Ok(builder) = builder.with_other_transport(|_| transport);
    let Ok(builder) = builder.with_behaviour(|_| behaviour);
    Ok(builder
        .with_swarm_config(|config| config.with_idle_connection_timeout(IDLE))
        .build())
}
