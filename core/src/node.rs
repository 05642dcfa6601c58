//! A node: the handle that an application holds, the events it reads, the loop it spawns.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use futures::StreamExt;
//! use peerway_core::{node, reservation::RelaySpec};
//!
//! let key = libp2p::identity::Keypair::generate_ed25519();
//! let relay: RelaySpec = "/dns4/relay.example.org/tcp/443/tls/ws".parse()?;
//! let (node, mut events, event_loop) = node::builder(key).relay(relay).build()?;
//! // Natively `tokio::spawn`; in a page `wasm_bindgen_futures::spawn_local`.
//! let running = event_loop.run();
//! # drop(running);
//! while let Some(event) = events.next().await {
//!     println!("{event:?}");
//! }
//! # node.shutdown().await; Ok(()) }
//! ```

mod behaviour;
mod builder;
pub(crate) mod clock;
mod command;
mod event;
mod event_loop;
pub(crate) mod failure;
mod handle;
mod queue;

pub use builder::{BuildError, Builder, builder};
pub use command::{Command, Nudge, Reach};
pub use event::Event;
pub use event_loop::EventLoop;
pub use handle::{ConnectError, Node, Stopped};
pub use queue::Events;

pub use crate::reservation::RelaySpec;
