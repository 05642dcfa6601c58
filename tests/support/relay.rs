//! The real relay, as a process.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::Command,
    time::Duration,
};

use anyhow::{Context, ensure};
use http_body_util::{BodyExt, Empty};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use libp2p::{Multiaddr, PeerId};
use serde::Deserialize;
use tempfile::TempDir;

use crate::{RELAY_VARIABLE, RELAY_WITH_PAGE_VARIABLE, netns::Place, page_dir, process::Process};

/// A debug build under load; the first start also makes an identity and a certificate.
const STARTS_WITHIN: Duration = Duration::from_secs(20);

/// Where a relay serves the page if nobody says otherwise.
const DEFAULT_PORT: u16 = 8080;

/// How a relay is started.
#[derive(Clone, Debug)]
pub struct RelayConfig {
    /// Where it runs.
    pub place: Place,
    /// Where it serves the page and WebSocket; port 0 means any. `None` leaves it to the relay.
    pub http: Option<SocketAddr>,
    /// Where it has its page from.
    pub page: PageFrom,
    /// Further arguments.
    pub arguments: Vec<String>,
}

/// Where a relay has its page from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageFrom {
    /// From the directory into which it was built.
    Directory,
    /// It carries it, and there is nothing in the directory where it is started.
    Itself,
}

impl RelayConfig {
    /// On loopback, every port chosen by the system.
    pub fn loopback() -> Self {
        let listeners = [
            "/ip4/127.0.0.1/tcp/0",
            "/ip4/127.0.0.1/udp/0/quic-v1",
            "/ip4/127.0.0.1/udp/0/webrtc-direct",
        ];
        Self {
            place: Place::Here,
            http: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))),
            page: PageFrom::Directory,
            arguments: listeners
                .iter()
                .flat_map(|listener| ["--listen", listener])
                .chain(["--stun", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
                .map(str::to_owned)
                .collect(),
        }
    }

    /// As a user starts it on a home network: on every private interface of `place`, at the default ports.
    pub fn lan(place: &Place) -> Self {
        Self {
            place: place.clone(),
            http: Some(SocketAddr::from((Ipv4Addr::UNSPECIFIED, DEFAULT_PORT))),
            page: PageFrom::Directory,
            arguments: vec!["--lan".to_owned()],
        }
    }

    /// With these flags and nothing else said: addresses and ports are the relay's own defaults.
    pub fn with_flags(place: &Place, flags: &[&str]) -> Self {
        Self {
            place: place.clone(),
            http: None,
            page: PageFrom::Directory,
            arguments: flags.iter().map(|&flag| flag.to_owned()).collect(),
        }
    }
}

/// A running relay with a data directory of its own. Dropping it ends it and removes the directory.
#[derive(Debug)]
pub struct Relay {
    process: Process,
    config: RelayConfig,
    origin: String,
    data: TempDir,
}

/// What `/relay.json` says, as far as a story needs it.
#[derive(Clone, Debug, Deserialize)]
pub struct RelayInfo {
    /// Its peer id.
    #[serde(rename = "peerId")]
    pub peer_id: String,
    /// Its addresses, each with its peer id.
    pub addrs: Vec<Multiaddr>,
    /// The STUN servers that its pages ask.
    pub stun: Vec<String>,
    /// Other relays of its network that are there.
    #[serde(default)]
    pub relays: Vec<OtherRelay>,
}

/// Another relay, as `/relay.json` lists it.
#[derive(Clone, Debug, Deserialize)]
pub struct OtherRelay {
    /// Its peer id.
    #[serde(rename = "peerId")]
    pub peer_id: String,
    /// Its addresses, each with its peer id.
    pub addrs: Vec<Multiaddr>,
}

impl RelayInfo {
    /// What the relay at this origin tells.
    pub async fn of(origin: &str) -> anyhow::Result<Self> {
        Ok(serde_json::from_slice(&get(origin, "/relay.json").await?)?)
    }
}

impl Relay {
    /// Starts one on loopback.
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_with(RelayConfig::loopback()).await
    }

    /// Starts one.
    pub async fn start_with(mut config: RelayConfig) -> anyhow::Result<Self> {
        let data = tempfile::Builder::new().prefix("peerway-relay-").tempdir()?;
        let (process, origin) = launch(&config, &data).await?;
        let port = origin.rsplit(':').next().and_then(|port| port.parse().ok());
        if let (Some(http), Some(port)) = (&mut config.http, port) {
            // So that a restart serves the pages that are open.
            http.set_port(port);
        }
        Ok(Self {
            process,
            config,
            origin,
            data,
        })
    }

    /// What a user opens, as the relay itself printed it.
    pub fn url(&self) -> String {
        format!("{}/", self.origin)
    }

    /// The TCP port of page and WebSocket.
    pub fn port(&self) -> u16 {
        self.config.http.map_or(DEFAULT_PORT, |http| http.port())
    }

    /// Waits until it has printed a line in which `pick` finds something.
    pub async fn says<T>(&mut self, what: &str, pick: impl Fn(&str) -> Option<T>) -> anyhow::Result<T> {
        self.process.wait_for_line(STARTS_WITHIN, what, pick).await
    }

    /// Every line it has printed that begins so, without that beginning.
    pub fn said(&self, prefix: &str) -> Vec<String> {
        self.process.printed(prefix)
    }

    /// Ends it with SIGKILL. Its port and its data directory are kept for a [`Self::restart`].
    pub fn crash(&mut self) -> anyhow::Result<()> {
        self.process.kill()
    }

    /// Starts it again where it was, with what it stored.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        let (process, origin) = launch(&self.config, &self.data).await?;
        ensure!(
            origin == self.origin,
            "it came back as {origin} instead of {}",
            self.origin
        );
        self.process = process;
        Ok(())
    }

    /// From its next start on it has these arguments, too.
    pub fn add_arguments(&mut self, arguments: impl IntoIterator<Item = String>) {
        self.config.arguments.extend(arguments);
    }

    /// What it serves there. Only for a relay whose address this process can reach.
    pub async fn get(&self, path: &str) -> anyhow::Result<Vec<u8>> {
        get(&self.origin, path).await
    }

    /// What it tells pages about itself. Only for a relay whose address this process can reach.
    pub async fn info(&self) -> anyhow::Result<RelayInfo> {
        RelayInfo::of(&self.origin).await
    }

    /// Its peer id.
    pub async fn peer_id(&self) -> anyhow::Result<PeerId> {
        Ok(self.info().await?.peer_id.parse()?)
    }

    /// The one address of it that `is` picks.
    pub async fn address(&self, what: &str, is: impl Fn(&Multiaddr) -> bool) -> anyhow::Result<Multiaddr> {
        let info = self.info().await?;
        let found = info.addrs.iter().find(|address| is(address)).cloned();
        found.with_context(|| format!("no {what} address among {:?}", info.addrs))
    }

    /// The last lines it logged.
    pub fn log(&self) -> String {
        self.process.tail()
    }
}

async fn get(origin: &str, path: &str) -> anyhow::Result<Vec<u8>> {
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<&[u8]>>();
    let response = client.get(format!("{origin}{path}").parse()?).await?;
    ensure!(response.status().is_success(), "{path}: {}", response.status());
    Ok(response.into_body().collect().await?.to_bytes().to_vec())
}

/// Starts the binary and waits for the line with the address to open.
async fn launch(config: &RelayConfig, data: &TempDir) -> anyhow::Result<(Process, String)> {
    let mut command = match config.page {
        PageFrom::Directory => {
            let mut command = config.place.command(binary()?);
            command.arg("--page").arg(page_dir()?);
            command
        }
        PageFrom::Itself => {
            let mut command = config.place.command(binary_with_page()?);
            command.current_dir(data.path());
            command
        }
    };
    if let Some(http) = config.http {
        command.args(["--http", &http.to_string()]);
    }
    command.arg("--data-dir").arg(data.path()).args(&config.arguments);
    let mut process = Process::spawn("native-relay", command)?;
    let origin = process
        .wait_for_line(STARTS_WITHIN, "the address to open", |line| {
            let url = line.strip_prefix("open ")?;
            url.starts_with("http").then(|| url.trim_end_matches('/').to_owned())
        })
        .await?;
    Ok((process, origin))
}

/// The relay's binary that carries the page.
fn binary_with_page() -> anyhow::Result<PathBuf> {
    let given = std::env::var_os(RELAY_WITH_PAGE_VARIABLE).map(PathBuf::from);
    given.with_context(|| format!("{RELAY_WITH_PAGE_VARIABLE} names no relay: run `cargo xtask test`"))
}

/// The relay's binary: the given one, or the one that cargo builds now.
pub fn binary() -> anyhow::Result<PathBuf> {
    if let Some(given) = std::env::var_os(RELAY_VARIABLE) {
        return Ok(PathBuf::from(given));
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args([
            "build",
            "--package",
            "native-relay",
            "--message-format",
            "json-render-diagnostics",
        ])
        .output()
        .context("cannot start cargo")?;
    ensure!(
        output.status.success(),
        "the relay does not build:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let messages = String::from_utf8_lossy(&output.stdout);
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .context("cargo built no executable")
}
