//! One WebDriver session with one browser: started, spoken to, ended. Knows nothing of what the browser shows.

use std::{process::Command, time::Duration};

use anyhow::{Context, bail, ensure};
use fantoccini::{Client, ClientBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use serde_json::Value;
use tempfile::TempDir;

use crate::{browser::Kind, netns::Place, process::Process};

pub(crate) use chromium::DevTools;

mod chromium;
mod firefox;

/// A cold start of a browser on a loaded machine with two cores.
const STARTS_WITHIN: Duration = Duration::from_secs(30);

/// How often a driver is started that finds its port taken.
const DRIVER_STARTS: u32 = 5;

/// A driver process, its browser and the session between them. Dropping it ends both and removes the profile.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) client: Client,
    kind: Kind,
    /// The browser's process, until it is ended.
    browser: Option<Pid>,
    driver: Process,
    // After the driver: a browser that still runs would write its profile again.
    _profile: TempDir,
}

/// What is started, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Launch<'a> {
    pub(crate) kind: Kind,
    pub(crate) place: &'a Place,
    pub(crate) protocol_events: ProtocolEvents,
    /// Further arguments of the browser's command line.
    pub(crate) arguments: &'a [&'a str],
}

/// What differs between browsers until there is a session.
struct Recipe {
    /// The browser's name, for errors.
    browser: &'static str,
    /// Starts the driver on a port that is free.
    driver: Command,
    /// That port, if this line the driver prints names it.
    port: fn(&str) -> Option<u16>,
    /// What is asked of the driver, an object.
    capabilities: Value,
    /// The capability by which the driver says which process the browser is.
    process_id: &'static str,
}

impl Session {
    pub(crate) async fn start(launch: Launch<'_>) -> anyhow::Result<Self> {
        let profile = tempfile::Builder::new().prefix("peerway-profile-").tempdir()?;
        let Recipe {
            browser,
            driver,
            port,
            capabilities,
            process_id,
        } = match launch.kind {
            Kind::Chromium => chromium::recipe(profile.path(), &launch)?,
            Kind::Firefox => firefox::recipe(profile.path(), &launch)?,
        };
        let Value::Object(capabilities) = capabilities else {
            bail!("capabilities are an object");
        };
        let (driver, port) = start_driver(browser, driver, port).await?;
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities)
            .connect(&format!("http://127.0.0.1:{port}"))
            .await
            .with_context(|| format!("no browser session\n{}", driver.tail()))?;
        let pid = client
            .capabilities()
            .and_then(|capabilities| capabilities.get(process_id))
            .and_then(Value::as_i64)
            .and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        Ok(Self {
            client,
            kind: launch.kind,
            browser: pid,
            driver,
            _profile: profile,
        })
    }

    /// What reached the console since the last call.
    pub(crate) async fn console(&self) -> anyhow::Result<Vec<LogEntry>> {
        match self.kind {
            Kind::Chromium => self.log("browser").await,
            Kind::Firefox => firefox::console(&self.client, &self.driver).await,
        }
    }

    /// The browser's own protocol events since the last call.
    pub(crate) async fn protocol_events(&self) -> anyhow::Result<Vec<LogEntry>> {
        self.require_chromium("protocol events")?;
        self.log("performance").await
    }

    /// An error where `what` is asked of another browser.
    pub(crate) fn require_chromium(&self, what: &str) -> anyhow::Result<()> {
        ensure!(
            self.kind == Kind::Chromium,
            "{what}: only Chromium's driver has them, not that of {:?}",
            self.kind
        );
        Ok(())
    }

    /// Ends the browser as a crash or a power cut would: nothing in it learns of it.
    pub(crate) fn crash(&mut self) -> anyhow::Result<()> {
        self.kill_browser()?;
        self.driver.kill()
    }

    async fn log(&self, log: &'static str) -> anyhow::Result<Vec<LogEntry>> {
        let entries = self.client.issue_cmd(chromium::ReadLog(log)).await?;
        Ok(serde_json::from_value(entries)?)
    }

    /// The browser's first process.
    pub(crate) fn pid(&self) -> anyhow::Result<Pid> {
        self.browser
            .context("the driver did not say which process its browser is")
    }

    fn kill_browser(&mut self) -> anyhow::Result<()> {
        let browser = self.pid()?;
        self.browser = None;
        Ok(kill_process(browser, Signal::KILL)?)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        match self.kind {
            // The driver ends its browser when it is asked to end.
            Kind::Chromium => {}
            // This one would leave it running. What cannot be killed is gone already.
            Kind::Firefox => {
                let _ = self.kill_browser();
            }
        }
    }
}

/// Starts a driver on a port that is free, and returns which.
///
/// A driver looks for a free port in one family of addresses and takes it in the other, where another test may have it; it
/// ends then, before anything is told.
async fn start_driver(
    browser: &str,
    mut command: Command,
    port: fn(&str) -> Option<u16>,
) -> anyhow::Result<(Process, u16)> {
    let name = command.get_program().to_string_lossy().into_owned();
    let mut tries = 0;
    loop {
        tries += 1;
        let again = copy_of(&command);
        let mut driver = Process::spawn(&name, std::mem::replace(&mut command, again))
            .with_context(|| format!("the stories need {browser} and its driver: `cargo xtask setup` installs them"))?;
        match driver.wait_for_line(STARTS_WITHIN, "its port", port).await {
            Ok(port) => return Ok((driver, port)),
            Err(_) if tries < DRIVER_STARTS && driver.tail().contains("Address already in use") => {}
            Err(error) => return Err(error),
        }
    }
}

/// A command can be started once only where it gives its output away.
fn copy_of(command: &Command) -> Command {
    let mut copy = Command::new(command.get_program());
    copy.args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => copy.env(name, value),
            None => copy.env_remove(name),
        };
    }
    copy
}

/// Whether the browser's own protocol events (every WebSocket frame, among others) are kept for reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProtocolEvents {
    /// Not kept.
    #[default]
    Ignored,
    /// Kept, at some cost.
    Kept,
}

/// One entry of a browser's log.
#[derive(Clone, Debug, Deserialize)]
pub struct LogEntry {
    /// `SEVERE`, `WARNING`, `INFO`, `DEBUG`.
    pub level: String,
    /// The text.
    pub message: String,
}

/// The first of these programs that is on the search path; without any the driver looks by itself.
fn on_search_path(programs: &[&str]) -> Option<String> {
    let path = std::env::var_os("PATH")?;
    programs
        .iter()
        .flat_map(|name| std::env::split_paths(&path).map(move |dir| dir.join(name)))
        .find(|candidate| candidate.is_file())
        .map(|found| found.display().to_string())
}
