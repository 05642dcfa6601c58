//! The relays that are measured: ours, libp2p's own, js-libp2p's. Each a process on the relay's core, its limits raised.
//!
//! Decides how wide ours is opened, so that nothing but the machine ends what is measured.

use std::{fs, process::Command, time::Duration};

use anyhow::Context;
use libp2p::{Multiaddr, multiaddr::Protocol};
use peerway_tests::{
    js,
    process::Process,
    relay::{RelayInfo, binary},
};
use serde::Deserialize;
use tempfile::TempDir;

use crate::host;

/// A cold start of Node on a busy machine.
const STARTS_WITHIN: Duration = Duration::from_secs(30);

/// Where the bench's own relays are: beside this very program.
const STOCK: &str = "stock-relay";

/// What ours is started with. Numbers that are not here are the defaults.
const WIDE: &str = r#"
[limits]
reservations = 1000000
circuits = 1000000
circuits_per_peer = 1000000
circuit_duration = "1day"
circuit_bytes = "1024TiB"
circuit_rate = "4GiB"
circuit_burst = "4GiB"
connections = 1000000
connections_per_peer = 1000000
pending_connections = 1000000
"#;
/// Where ours is.
const HERE: &str = r#"
http = "127.0.0.1:0"
listen = ["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/webrtc-direct"]
stun = "off"
"#;

/// Whose relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Maker {
    Ours,
    Stock,
    Js,
}

/// By what a client reaches a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carrier {
    Tcp,
    WebSocket,
    WebRtcDirect,
}

/// A relay that runs. Dropping it ends it.
pub(crate) struct Contestant {
    process: Process,
    addresses: Vec<Multiaddr>,
    _data: Option<TempDir>,
}

impl Maker {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ours => "Peerway",
            Self::Stock => "libp2p-relay",
            Self::Js => "js-libp2p",
        }
    }

    pub(crate) async fn start(self) -> anyhow::Result<Contestant> {
        match self {
            Self::Ours => Contestant::ours("").await,
            Self::Stock => Contestant::stock(&[]).await,
            Self::Js => Contestant::js().await,
        }
    }
}

impl Carrier {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::WebSocket => "WebSocket",
            Self::WebRtcDirect => "WebRTC-direct",
        }
    }

    pub(crate) fn of(address: &Multiaddr) -> Self {
        let all = [Self::WebRtcDirect, Self::WebSocket];
        all.into_iter()
            .find(|carrier| carrier.carries(address))
            .unwrap_or(Self::Tcp)
    }

    fn carries(self, address: &Multiaddr) -> bool {
        let has = |wanted: fn(&Protocol<'_>) -> bool| address.iter().any(|part| wanted(&part));
        let websocket = has(|part| matches!(part, Protocol::Ws(_)));
        match self {
            Self::Tcp => has(|part| matches!(part, Protocol::Tcp(_))) && !websocket,
            Self::WebSocket => websocket,
            Self::WebRtcDirect => has(|part| part == &Protocol::WebRTCDirect),
        }
    }
}

impl Contestant {
    /// Ours, with further lines of `[limits]`, which win over those that it is opened with.
    pub(crate) async fn ours(limits: &str) -> anyhow::Result<Self> {
        let said = |line: &&str| !limits.lines().any(|own| key(own).is_some() && key(own) == key(line));
        let wide: Vec<&str> = WIDE.lines().filter(said).collect();
        Self::ours_as(&format!("{}\n{limits}\n", wide.join("\n")), Command::new(binary()?)).await
    }

    /// Ours with all its limits as they are by default, in this group of processes.
    pub(crate) async fn ours_within(group: &host::Group) -> anyhow::Result<Self> {
        Self::ours_as("", group.command(&binary()?)).await
    }

    async fn ours_as(limits: &str, mut command: Command) -> anyhow::Result<Self> {
        let data = tempfile::Builder::new().prefix("peerway-bench-").tempdir()?;
        let config = data.path().join("relay.toml");
        fs::write(&config, format!("{HERE}\n{limits}"))?;
        command
            .arg("--config")
            .arg(&config)
            .arg("--data-dir")
            .arg(data.path().join("data"))
            // One line for each of thousands of reservations is not what is measured; the others log nothing.
            .env("RUST_LOG", "warn");
        let mut process = host::on_relays_core(|| Process::spawn("native-relay", command))?;
        let origin = |line: &str| Some(line.strip_prefix("open ")?.trim_end_matches('/').to_owned());
        let origin = process.wait_for_line(STARTS_WITHIN, "where it is", origin).await?;
        let addresses = RelayInfo::of(&origin).await?.addrs;
        Ok(Self {
            process,
            addresses,
            _data: Some(data),
        })
    }

    /// libp2p's own, which passes on what is said about these topics.
    pub(crate) async fn stock(topics: &[String]) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?.with_file_name(STOCK));
        command.args(topics);
        let mut process = host::on_relays_core(|| Process::spawn_listening(STOCK, command))?;
        let mut addresses = Vec::new();
        for carrier in [Carrier::Tcp, Carrier::WebSocket, Carrier::WebRtcDirect] {
            let address = |line: &str| line.parse().ok().filter(|address| carrier.carries(address));
            addresses.push(process.wait_for_line(STARTS_WITHIN, carrier.name(), address).await?);
        }
        Ok(Self {
            process,
            addresses,
            _data: None,
        })
    }

    async fn js() -> anyhow::Result<Self> {
        #[derive(Deserialize)]
        struct Started {
            addresses: Vec<Multiaddr>,
        }
        let mut process = host::on_relays_core(|| js::program("wide_relay.cjs", &[]))?;
        let started = |line: &str| serde_json::from_str::<Started>(line).ok();
        let Started { addresses } = process.wait_for_line(STARTS_WITHIN, "where it is", started).await?;
        Ok(Self {
            process,
            addresses,
            _data: None,
        })
    }

    /// Where clients reach it by `carrier`.
    pub(crate) fn address(&self, carrier: Carrier) -> anyhow::Result<Multiaddr> {
        let found = self.addresses.iter().find(|address| carrier.carries(address));
        found.cloned().with_context(|| format!("no {} address", carrier.name()))
    }

    /// Processor time that it has had.
    pub(crate) fn processor_time(&self) -> anyhow::Result<Duration> {
        host::processor_time(self.process.id())
    }

    /// Bytes of it in memory.
    pub(crate) fn resident(&self) -> anyhow::Result<u64> {
        host::resident(self.process.id())
    }

    /// What it has open.
    pub(crate) fn descriptors(&self) -> anyhow::Result<usize> {
        host::descriptors(self.process.id())
    }
}

/// What a line of a configuration sets.
fn key(line: &str) -> Option<&str> {
    line.split_once('=').map(|(key, _)| key.trim())
}
