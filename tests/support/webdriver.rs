//! One WebDriver session with one browser: started, spoken to, ended. Knows nothing of what the browser shows.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command, time::Duration};

use anyhow::{Context, bail};
use fantoccini::{Client, ClientBuilder, wd::WebDriverCompatibleCommand};
use hyper_util::client::legacy::connect::HttpConnector;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::{browser::Kind, netns::Place, process::Process};

/// A cold start of a browser on a loaded machine with two cores.
const STARTS_WITHIN: Duration = Duration::from_secs(30);

/// Arguments for every Chromium.
///
/// Without the first six, Debian's Chromium does not start for root or does not come up without a display. The pipe is
/// what reaches a browser in another network namespace. The rest keeps it from talking to hosts that are not part of
/// the story.
const CHROMIUM_ARGUMENTS: &[&str] = &[
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--remote-debugging-pipe",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    // Otherwise no loopback candidate is gathered, and WebRTC-direct on 127.0.0.1 cannot be told.
    "--allow-loopback-in-peer-connection",
];

/// What the driver adds by itself, and we do not want: hidden tabs are throttled here as they are for users.
const DRIVERS_SWITCHES: [&str; 3] = [
    "disable-background-timer-throttling",
    "disable-backgrounding-occluded-windows",
    "disable-renderer-backgrounding",
];

/// A driver process, its browser and the session between them. Dropping it ends both and removes the profile.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) client: Client,
    // The driver ends its browser when it is asked to end, so this one guard is enough.
    driver: Process,
    // After the driver: a browser that still runs would write its profile again.
    _profile: TempDir,
}

impl Session {
    pub(crate) async fn start(kind: Kind, place: &Place, protocol_events: ProtocolEvents) -> anyhow::Result<Self> {
        let profile = tempfile::Builder::new().prefix("peerway-profile-").tempdir()?;
        let Kind::Chromium = kind;
        let mut command = Command::new("chromedriver");
        command.arg("--port=0");
        let mut driver = Process::spawn("chromedriver", command)
            .context("the stories need Chromium and its driver: `cargo xtask setup` installs them")?;
        let port: u16 = driver
            .wait_for_line(STARTS_WITHIN, "its port", |line| {
                line.strip_prefix("ChromeDriver was started successfully on port ")?
                    .trim_end_matches('.')
                    .parse()
                    .ok()
            })
            .await?;
        let capabilities = chromium_capabilities(profile.path(), place, protocol_events)?;
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities)
            .connect(&format!("http://127.0.0.1:{port}"))
            .await
            .with_context(|| format!("no browser session\n{}", driver.tail()))?;
        Ok(Self {
            client,
            driver,
            _profile: profile,
        })
    }

    /// What the browser wrote to this log since the last call.
    pub(crate) async fn log(&self, log: &'static str) -> anyhow::Result<Vec<LogEntry>> {
        let entries = self.client.issue_cmd(ReadLog(log)).await?;
        Ok(serde_json::from_value(entries)?)
    }

    /// Ends the browser as a crash or a power cut would: nothing in it learns of it.
    pub(crate) fn crash(&mut self) -> anyhow::Result<()> {
        rustix::process::kill_process(self.pid()?, rustix::process::Signal::KILL)?;
        self.driver.kill()
    }

    /// The browser's first process.
    pub(crate) fn pid(&self) -> anyhow::Result<rustix::process::Pid> {
        self.client
            .capabilities()
            .and_then(|capabilities| capabilities.get("goog:processID"))
            .and_then(Value::as_i64)
            .and_then(|pid| rustix::process::Pid::from_raw(i32::try_from(pid).ok()?))
            .context("the driver did not say which process its browser is")
    }
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

fn chromium_capabilities(
    profile: &Path,
    place: &Place,
    protocol_events: ProtocolEvents,
) -> anyhow::Result<Map<String, Value>> {
    let mut arguments: Vec<String> = CHROMIUM_ARGUMENTS.iter().map(|&argument| argument.to_owned()).collect();
    arguments.push(format!("--user-data-dir={}", profile.join("data").display()));
    let mut options = json!({ "args": arguments, "excludeSwitches": DRIVERS_SWITCHES });
    if let Place::Namespace(name) = place {
        options["binary"] = json!(wrapper(profile, name)?);
    } else if let Some(binary) = chromium() {
        options["binary"] = json!(binary);
    }
    let mut logs = json!({ "browser": "ALL" });
    if protocol_events == ProtocolEvents::Kept {
        logs["performance"] = json!("ALL");
    }
    let Value::Object(capabilities) = json!({
        "browserName": "chrome",
        "goog:chromeOptions": options,
        "goog:loggingPrefs": logs,
    }) else {
        bail!("capabilities are an object");
    };
    Ok(capabilities)
}

/// The driver starts whatever it is told is the browser; this one starts the real one inside a namespace.
fn wrapper(dir: &Path, namespace: &str) -> anyhow::Result<String> {
    let path = dir.join("chromium-in-namespace");
    let chromium = chromium().unwrap_or_else(|| "chromium".to_owned());
    fs::write(
        &path,
        format!("#!/bin/sh\nexec ip netns exec {namespace} {chromium} \"$@\"\n"),
    )?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    Ok(path.display().to_string())
}

/// Debian's name for it comes first; without any of these the driver looks by itself.
fn chromium() -> Option<String> {
    let path = std::env::var_os("PATH")?;
    ["chromium", "chromium-browser", "google-chrome"]
        .iter()
        .flat_map(|name| std::env::split_paths(&path).map(move |dir| dir.join(name)))
        .find(|candidate| candidate.is_file())
        .map(|found| found.display().to_string())
}

/// The driver's own extension to WebDriver: a command of the browser's own protocol, for the current tab.
#[derive(Debug)]
pub(crate) struct DevTools {
    pub(crate) command: &'static str,
    pub(crate) parameters: Value,
}

impl WebDriverCompatibleCommand for DevTools {
    fn endpoint(&self, base: &url::Url, session: Option<&str>) -> Result<url::Url, url::ParseError> {
        base.join(&format!("session/{}/goog/cdp/execute", session.unwrap_or_default()))
    }

    fn method_and_body(&self, _: &url::Url) -> (http::Method, Option<String>) {
        let body = json!({ "cmd": self.command, "params": self.parameters });
        (http::Method::POST, Some(body.to_string()))
    }
}

/// The driver's own extension to WebDriver: reading a log.
#[derive(Debug)]
struct ReadLog(&'static str);

impl WebDriverCompatibleCommand for ReadLog {
    fn endpoint(&self, base: &url::Url, session: Option<&str>) -> Result<url::Url, url::ParseError> {
        base.join(&format!("session/{}/se/log", session.unwrap_or_default()))
    }

    fn method_and_body(&self, _: &url::Url) -> (http::Method, Option<String>) {
        (http::Method::POST, Some(json!({ "type": self.0 }).to_string()))
    }
}
