//! How Chromium is started, and what only its driver does.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

use fantoccini::wd::WebDriverCompatibleCommand;
use serde_json::{Value, json};

use super::{Launch, ProtocolEvents, Recipe, on_search_path};
use crate::netns::Place;

/// Arguments for every Chromium.
///
/// Without the first six, Debian's Chromium does not start for root or does not come up without a display. The pipe is
/// what reaches a browser in another network namespace. The rest keeps it from talking to hosts that are not part of
/// the story.
const ARGUMENTS: &[&str] = &[
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

/// Debian's name for it comes first.
const PROGRAMS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

/// How it is started with this profile.
pub(super) fn recipe(profile: &Path, launch: &Launch<'_>) -> anyhow::Result<Recipe> {
    let mut driver = Command::new("chromedriver");
    driver.arg("--port=0");
    Ok(Recipe {
        browser: "Chromium",
        driver,
        port: |line| {
            line.strip_prefix("ChromeDriver was started successfully on port ")?
                .trim_end_matches('.')
                .parse()
                .ok()
        },
        capabilities: capabilities(profile, launch)?,
        process_id: "goog:processID",
    })
}

fn capabilities(profile: &Path, launch: &Launch<'_>) -> anyhow::Result<Value> {
    let arguments = ARGUMENTS.iter().chain(launch.arguments);
    let mut arguments: Vec<String> = arguments.map(|&argument| argument.to_owned()).collect();
    arguments.push(format!("--user-data-dir={}", profile.join("data").display()));
    let mut options = json!({ "args": arguments, "excludeSwitches": DRIVERS_SWITCHES });
    if let Place::Namespace(name) = launch.place {
        options["binary"] = json!(wrapper(profile, name)?);
    } else if let Some(binary) = on_search_path(&PROGRAMS) {
        options["binary"] = json!(binary);
    }
    let mut logs = json!({ "browser": "ALL" });
    if launch.protocol_events == ProtocolEvents::Kept {
        logs["performance"] = json!("ALL");
    }
    Ok(json!({
        "browserName": "chrome",
        "goog:chromeOptions": options,
        "goog:loggingPrefs": logs,
    }))
}

/// The driver starts whatever it is told is the browser; this one starts the real one inside a namespace.
fn wrapper(dir: &Path, namespace: &str) -> anyhow::Result<String> {
    let path = dir.join("chromium-in-namespace");
    let chromium = on_search_path(&PROGRAMS).unwrap_or_else(|| "chromium".to_owned());
    fs::write(
        &path,
        format!("#!/bin/sh\nexec ip netns exec {namespace} {chromium} \"$@\"\n"),
    )?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    Ok(path.display().to_string())
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
pub(super) struct ReadLog(pub(super) &'static str);

impl WebDriverCompatibleCommand for ReadLog {
    fn endpoint(&self, base: &url::Url, session: Option<&str>) -> Result<url::Url, url::ParseError> {
        base.join(&format!("session/{}/se/log", session.unwrap_or_default()))
    }

    fn method_and_body(&self, _: &url::Url) -> (http::Method, Option<String>) {
        (http::Method::POST, Some(json!({ "type": self.0 }).to_string()))
    }
}
