//! How Firefox is started, and how its console is read: its driver knows nothing of one.

use std::{path::Path, process::Command};

use anyhow::{bail, ensure};
use fantoccini::{Client, wd::WebDriverCompatibleCommand};
use serde_json::{Value, json};

use super::{Launch, LogEntry, ProtocolEvents, Recipe, on_search_path};
use crate::{netns::Place, process::Process};

/// Debian's name for it comes first.
const PROGRAMS: [&str; 2] = ["firefox-esr", "firefox"];

/// How it is started with this profile.
///
/// # Errors
/// For what only Chromium's driver can do.
pub(super) fn recipe(profile: &Path, launch: &Launch<'_>) -> anyhow::Result<Recipe> {
    if let Place::Namespace(name) = launch.place {
        // Its driver speaks to it over TCP on loopback, and the namespace has a loopback of its own.
        bail!("no Firefox in the namespace {name}: only Chromium can be driven from outside of one");
    }
    ensure!(
        launch.protocol_events == ProtocolEvents::Ignored,
        "Firefox keeps no protocol events: only Chromium does"
    );
    let mut driver = Command::new("geckodriver");
    // The first is for the console's sake.
    driver.args(["--allow-system-access", "--port", "0", "--profile-root"]);
    driver.arg(profile);
    // Firefox does not start for root in a home of somebody else's, and would write to that of whoever runs the tests.
    driver.env("HOME", profile);
    let arguments = ["-headless"].iter().chain(launch.arguments).collect::<Vec<_>>();
    let mut options = json!({ "args": arguments, "prefs": preferences() });
    if let Some(binary) = on_search_path(&PROGRAMS) {
        options["binary"] = json!(binary);
    }
    Ok(Recipe {
        browser: "Firefox",
        driver,
        port: |line| line.rsplit_once("Listening on 127.0.0.1:")?.1.parse().ok(),
        capabilities: json!({ "browserName": "firefox", "moz:firefoxOptions": options }),
        process_id: "moz:processID",
    })
}

/// What differs from a user's Firefox, on top of what the driver sets by itself.
fn preferences() -> Value {
    json!({
        // Otherwise others know its addresses by names that only multicast DNS resolves. Of connections that a page made
        // right after it had closed its last, many were not found by their names: ICE failed then.
        "media.peerconnection.ice.obfuscate_host_addresses": false,
        // What pages write to the console is printed, too: there is no other way to it.
        "devtools.console.stdout.content": true,
        // What the browser's own windows write would look the same.
        "devtools.console.stdout.chrome": false,
    })
}

/// What reached the console since the last call.
///
/// The browser's own messages (uncaught errors, violations of the content security policy) are asked of the browser; what
/// pages wrote themselves it printed, one line of it. Of a load that failed it keeps nothing that can be read.
pub(super) async fn console(client: &Client, driver: &Process) -> anyhow::Result<Vec<LogEntry>> {
    client.issue_cmd(SwitchTo("chrome")).await?;
    let messages = client.execute(TAKE_MESSAGES, Vec::new()).await;
    client.issue_cmd(SwitchTo("content")).await?;
    let mut entries: Vec<LogEntry> = serde_json::from_value(messages?)?;
    entries.extend(driver.take(written_by_page));
    Ok(entries)
}

/// Run with the rights of the browser itself.
const TAKE_MESSAGES: &str = r#"
const messages = Services.console.getMessageArray();
Services.console.reset();
return messages
    .filter((message) => message instanceof Ci.nsIScriptError && message.isForwardedFromContentProcess)
    .map(({ flags, errorMessage, sourceName, lineNumber }) => ({
        level: flags & Ci.nsIScriptError.infoFlag ? "INFO" : flags & Ci.nsIScriptError.warningFlag ? "WARNING" : "SEVERE",
        message: `${sourceName} ${lineNumber} ${errorMessage}`,
    }));
"#;

/// `console.METHOD: what was written`, as JavaScript would write it: text has quotes.
fn written_by_page(line: &str) -> Option<LogEntry> {
    let (method, message) = line.strip_prefix("console.")?.split_once(": ")?;
    let mut words = message.split_whitespace();
    if words
        .next()
        .is_some_and(|word| word.starts_with(char::is_alphabetic) && word.ends_with(':'))
    {
        // A module of the browser's own, which gives its name first.
        return None;
    }
    let level = match method {
        "error" | "assert" => "SEVERE",
        "warn" => "WARNING",
        "debug" => "DEBUG",
        _ => "INFO",
    };
    Some(LogEntry {
        level: level.to_owned(),
        message: message.to_owned(),
    })
}

/// The driver's own extension to WebDriver: whether scripts run in the page or in the browser's own window.
#[derive(Debug)]
struct SwitchTo(&'static str);

impl WebDriverCompatibleCommand for SwitchTo {
    fn endpoint(&self, base: &url::Url, session: Option<&str>) -> Result<url::Url, url::ParseError> {
        base.join(&format!("session/{}/moz/context", session.unwrap_or_default()))
    }

    fn method_and_body(&self, _: &url::Url) -> (http::Method, Option<String>) {
        (http::Method::POST, Some(json!({ "context": self.0 }).to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_page_writes_is_told_from_what_the_browser_does() {
        let lines = [
            (r#"console.error: "something: odd""#, Some("SEVERE")),
            (
                r#"console.error: (new Error("odd", "http://127.0.0.1/", 2))"#,
                Some("SEVERE"),
            ),
            ("console.warn: undefined", Some("WARNING")),
            (r#"console.log: "%cstyled" "color:red" 5 ({a:1})"#, Some("INFO")),
            ("console.error: RSLoader: ", None),
            ("JavaScript error: http://127.0.0.1/, line 2: Error: not caught", None),
            ("*** You are running in headless mode.", None),
        ];
        for (line, expected) in lines {
            let level = written_by_page(line).map(|entry| entry.level);
            assert_eq!(level.as_deref(), expected, "{line}");
        }
    }
}
