//! iroh's relay, and two of its clients that send through it: programmes of their own (`tests/bench/iroh`).
//!
//! Not like for like. Its clients speak plain HTTP and WebSocket to it as with `--dev`, it deciphers and enciphers nothing,
//! and it passes on datagrams, which it may drop; what they carry is encrypted between the clients, elsewhere.

use std::{path::PathBuf, process::Command, time::Duration};

use anyhow::{Context, ensure};
use peerway_tests::process::Process;

use crate::host;

/// Where `cargo xtask bench relay` says that the programme is.
const PROGRAM: &str = "PEERWAY_TEST_IROH";
const STARTS_WITHIN: Duration = Duration::from_secs(10);

/// The relay. Dropping it ends it.
pub(crate) struct Iroh {
    program: PathBuf,
    process: Process,
    url: String,
}

impl Iroh {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let program = std::env::var_os(PROGRAM).with_context(|| format!("{PROGRAM} names no programme"))?;
        let program = PathBuf::from(program);
        let mut command = Command::new(&program);
        command.arg("serve");
        let mut process = host::on_relays_core(|| Process::spawn_listening("iroh-relay", command))?;
        let url = |line: &str| line.starts_with("http://").then(|| line.to_owned());
        let url = process.wait_for_line(STARTS_WITHIN, "where it is", url).await?;
        Ok(Self { program, process, url })
    }

    /// Processor seconds of the relay for each GiB, of so many bytes.
    pub(crate) async fn cost(&self, bytes: u64) -> anyhow::Result<f64> {
        let before = host::processor_time(self.process.id())?;
        let mut load = tokio::process::Command::new(&self.program);
        let load = load.args(["load", &self.url, &bytes.to_string()]).kill_on_drop(true);
        let status = load.status().await?;
        ensure!(status.success(), "iroh's clients have failed: {status}");
        let spent = host::processor_time(self.process.id())? - before;
        Ok(spent.as_secs_f64() * f64::from(1 << 30) / bytes as f64)
    }
}
