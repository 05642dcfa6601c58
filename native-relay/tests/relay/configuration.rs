//! The programme and its configuration: a file, variables, flags, and what it says of them.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

struct World {
    dir: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// The programme in a directory of its own, with this file.
    fn relay(&self, file: &Path, flags: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_native-relay"));
        command
            .env_clear()
            .current_dir(self.dir.path())
            .arg("--config")
            .arg(file)
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }
}

/// Killed when the test ends, however it ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn shown(output: &Output) -> String {
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// What was said on standard error: one line, from us, after which it ended with 2.
fn complaint(output: &Output) -> String {
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
    text.strip_prefix("native-relay: ").unwrap().trim_end().to_owned()
}

fn line<'a>(printed: &'a str, key: &str) -> &'a str {
    let mut lines = printed.lines().filter(|line| line.starts_with(&format!("{key} = ")));
    lines.next().unwrap_or_else(|| panic!("{key} is not in {printed}"))
}

#[test]
fn a_flag_wins_over_a_variable_a_variable_over_the_file_and_the_file_over_the_default() {
    let world = World::new();
    let file = world.file(
        "relay.toml",
        "http = \"127.0.0.1:1\"\nexposure = \"lan\"\n[limits]\ncircuits = 1\nrooms = 1\n",
    );
    let http = |command: &mut Command| {
        let printed = shown(&command.output().unwrap());
        line(&printed, "http").to_owned()
    };
    let mut command = world.relay(&file, &["--print-config"]);
    assert_eq!(http(&mut command), "http = \"127.0.0.1:1\"");
    command.env("PEERWAY_RELAY_HTTP", "127.0.0.1:2");
    assert_eq!(http(&mut command), "http = \"127.0.0.1:2\"");
    command.args(["--http", "127.0.0.1:3"]);
    assert_eq!(http(&mut command), "http = \"127.0.0.1:3\"");

    command.env("PEERWAY_RELAY_LIMITS_CIRCUITS", "2").arg("--public");
    let printed = shown(&command.output().unwrap());
    assert_eq!(line(&printed, "circuits"), "circuits = 2");
    assert_eq!(line(&printed, "rooms"), "rooms = 1");
    assert_eq!(line(&printed, "exposure"), "exposure = \"public\"");
    assert_eq!(line(&printed, "reservation_duration"), "reservation_duration = \"1h\"");
}

#[test]
fn when_what_was_printed_is_given_as_the_file_the_same_is_printed() {
    let world = World::new();
    let file = world.file(
        "relay.toml",
        "stun = \"off\"\nlisten = [\"/ip4/127.0.0.1/tcp/0\"]\n[limits]\nmemory = \"50%\"\ncircuit_bytes = \"1500kB\"\n",
    );
    let first = shown(&world.relay(&file, &["--print-config"]).output().unwrap());
    let copy = world.file("copy.toml", &first);
    assert_eq!(shown(&world.relay(&copy, &["--print-config"]).output().unwrap()), first);
    assert_eq!(
        shown(&world.relay(&copy, &["--check-config"]).output().unwrap()),
        "ok\n"
    );
}

#[test]
fn when_the_file_is_wrong_one_line_names_file_line_and_key_and_the_exit_code_is_2() {
    let world = World::new();
    for (text, says) in [
        ("\n[limits]\ncircuit = 1\n", ":3: limits.circuit: unknown key"),
        (
            "http = 8080\n",
            ":1: http: invalid type: integer `8080`, expected socket address",
        ),
        ("\n\nlimits = 1\n", ":3: limits: "),
        (
            "[limits]\ncircuits = 0\n",
            ":2: limits.circuits: invalid value: integer `0`, expected a nonzero u32",
        ),
    ] {
        let file = world.file("relay.toml", text);
        for flags in [&["--check-config"][..], &["--print-config"], &[]] {
            let says_all = complaint(&world.relay(&file, flags).output().unwrap());
            assert!(says_all.starts_with(&format!("{}{says}", file.display())), "{says_all}");
        }
    }
    let missing = world.dir.path().join("missing.toml");
    assert!(complaint(&world.relay(&missing, &[]).output().unwrap()).contains("missing.toml"));
}

#[test]
fn when_a_variable_of_a_limit_is_wrong_one_line_names_it_and_the_exit_code_is_2() {
    let world = World::new();
    let file = world.file("relay.toml", "");
    for (name, value) in [
        ("PEERWAY_RELAY_LIMITS_CIRCUITS", "none"),
        ("PEERWAY_RELAY_LIMITS_NONE", "1"),
    ] {
        let output = world
            .relay(&file, &["--check-config"])
            .env(name, value)
            .output()
            .unwrap();
        assert!(complaint(&output).starts_with(&format!("{name}: ")));
    }
}

#[test]
fn when_asked_for_json_every_line_of_the_log_is_an_object() {
    let world = World::new();
    let file = world.file(
        "relay.toml",
        "log_format = \"json\"\nhttp = \"127.0.0.1:0\"\nlisten = [\"/ip4/127.0.0.1/tcp/0\"]\nstun = \"off\"\ndata_dir = \"data\"\n",
    );
    let mut relay = Running(world.relay(&file, &[]).spawn().unwrap());
    let mut line = String::new();
    BufReader::new(relay.0.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    relay.0.kill().unwrap();
    relay.0.wait().unwrap();
    assert!(line.starts_with("open http://127.0.0.1:"), "{line}");
    let mut log = String::new();
    relay.0.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    let lines: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(
        lines
            .iter()
            .any(|line| line["message"] == "this relay" && line["peer"].is_string()),
        "{log}"
    );

    // What it cannot do it says in the same form.
    let output = world.relay(&file, &["--data-dir", "relay.toml"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(
        log.lines()
            .all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()),
        "{log}"
    );
    assert!(log.contains("\"level\":\"ERROR\""), "{log}");
}

#[cfg(unix)]
#[test]
fn when_told_to_read_its_rules_anew_it_does_or_says_why_not_and_no_secret_is_shown() {
    const TOKEN: &str = "a-secret-that-nobody-sees";
    let world = World::new();
    let tokens = world.file("tokens", TOKEN);
    let text = "http = \"127.0.0.1:0\"\nlisten = [\"/ip4/127.0.0.1/tcp/0\"]\nstun = \"off\"\ndata_dir = \"data\"\n\
                [access]\ntoken_file = \"tokens\"\n";
    let file = world.file("relay.toml", text);
    let printed = shown(&world.relay(&file, &["--print-config"]).output().unwrap());
    assert_eq!(line(&printed, "token_file"), "token_file = \"tokens\"");
    assert!(!printed.contains(TOKEN));

    let mut relay = Running(world.relay(&file, &[]).env("RUST_LOG", "trace").spawn().unwrap());
    let mut log = BufReader::new(relay.0.stderr.take().unwrap());
    let mut seen = String::new();
    let mut wait_for = |what: &str| {
        let mut line = String::new();
        while !line.contains(what) {
            line.clear();
            assert!(log.read_line(&mut line).unwrap() > 0, "it ended before: {what}");
            seen.push_str(&line);
        }
    };
    wait_for("this relay");
    let hang_up = || {
        assert!(
            Command::new("kill")
                .args(["-HUP", &relay.0.id().to_string()])
                .status()
                .unwrap()
                .success()
        )
    };
    hang_up();
    wait_for("access reloaded");
    fs::write(&tokens, "short").unwrap();
    hang_up();
    wait_for("access not reloaded");
    fs::write(&tokens, TOKEN).unwrap();
    fs::write(&file, "[access]\nallow = []").unwrap();
    hang_up();
    wait_for("relay.toml:2: access.allow: unknown key");
    relay.0.kill().unwrap();
    relay.0.wait().unwrap();
    assert!(!seen.contains(TOKEN), "{seen}");

    fs::write(&file, text).unwrap();
    fs::write(&tokens, "short").unwrap();
    assert!(complaint(&world.relay(&file, &["--check-config"]).output().unwrap()).starts_with("tokens:1: "));
}
