//! Starting other programs: output inherited, and an error that names the command. Knows nothing about any of them.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::paths::Paths;

/// A command to start, with our tools on its search path.
#[must_use = "a command does nothing until it is run"]
pub(crate) struct Process {
    command: Command,
}

impl Process {
    /// `program` in the repository's root, without the variables that cargo made for this very process.
    pub(crate) fn new(paths: &Paths, program: impl AsRef<OsStr>) -> Self {
        let mut command = Command::new(program);
        command.current_dir(&paths.root);
        for (name, _) in env::vars_os() {
            if is_cargos_own(&name) {
                command.env_remove(name);
            }
        }
        let mut process = Self { command };
        process.set_search_path(paths.search_path());
        process
    }

    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    pub(crate) fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.command.args(args);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub(crate) fn env_remove(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    /// Starts it in `dir` instead of the repository's root.
    pub(crate) fn current_dir(mut self, dir: &Path) -> Self {
        self.command.current_dir(dir);
        self
    }

    /// Puts `dir` before everything else on the search path.
    pub(crate) fn search_first(mut self, dir: &Path, paths: &Paths) -> Self {
        let mut all = vec![dir.to_path_buf()];
        all.extend(paths.search_path());
        self.set_search_path(all);
        self
    }

    /// Runs it to its end; anything but success is an error.
    pub(crate) fn run(mut self) -> Result<()> {
        let status = self
            .command
            .status()
            .with_context(|| format!("cannot start `{self}`"))?;
        if !status.success() {
            bail!("`{self}` failed ({status})");
        }
        Ok(())
    }

    /// Runs it to its end and returns what it printed. Nothing is shown; its complaints are in the error.
    pub(crate) fn capture(mut self) -> Result<String> {
        let output = self
            .command
            .output()
            .with_context(|| format!("cannot start `{self}`"))?;
        if !output.status.success() {
            bail!(
                "`{self}` failed ({})\n{}",
                output.status,
                String::from_utf8_lossy(&output.stderr)
            );
        }
        String::from_utf8(output.stdout).with_context(|| format!("`{self}` printed something that is not UTF-8"))
    }

    /// Runs it to its end and returns what it printed; only its complaints are shown.
    pub(crate) fn capture_output(mut self) -> Result<String> {
        self.command.stderr(Stdio::inherit());
        self.capture()
    }

    /// Runs it to its end, shows what it prints, and returns that too.
    pub(crate) fn run_and_capture(mut self) -> Result<String> {
        let started = self.command.stdout(Stdio::piped()).spawn();
        let mut child = started.with_context(|| format!("cannot start `{self}`"))?;
        let mut text = String::new();
        for line in BufReader::new(child.stdout.take().context("its output is piped")?).lines() {
            let line = line?;
            println!("{line}");
            text.push_str(&line);
            text.push('\n');
        }
        let status = child.wait()?;
        if !status.success() {
            bail!("`{self}` failed ({status})");
        }
        Ok(text)
    }

    /// Becomes that program: its signals, its exit code and its process id are then ours, so Ctrl-C needs no forwarding.
    #[cfg(unix)]
    pub(crate) fn become_it(mut self) -> Result<()> {
        use std::os::unix::process::CommandExt as _;
        let error = self.command.exec();
        Err(error).with_context(|| format!("cannot start `{self}`"))
    }

    /// Runs it to its end and ends with its exit code: there is no way to become another program here.
    #[cfg(not(unix))]
    pub(crate) fn become_it(mut self) -> Result<()> {
        let status = self
            .command
            .status()
            .with_context(|| format!("cannot start `{self}`"))?;
        std::process::exit(status.code().unwrap_or(1));
    }

    fn set_search_path(&mut self, dirs: Vec<PathBuf>) {
        // A directory with the separator in its name cannot be on a search path; the inherited one is kept then.
        if let Ok(path) = env::join_paths(dirs) {
            self.command.env("PATH", path);
        }
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let program = Path::new(self.command.get_program());
        let name = program.file_name().unwrap_or(program.as_os_str());
        write!(f, "{}", name.to_string_lossy())?;
        for arg in self.command.get_args() {
            write!(f, " {}", arg.to_string_lossy())?;
        }
        Ok(())
    }
}

/// Whether `cargo run` set this variable for us. A cargo that inherits them rebuilds crates whose build scripts watch
/// them (`ring` does), once here and once more when a person calls cargo; and a compiler of another make loads the
/// libraries that `LD_LIBRARY_PATH` points to.
fn is_cargos_own(name: &OsString) -> bool {
    let name = name.to_string_lossy();
    let exact = [
        "CARGO",
        "CARGO_MANIFEST_DIR",
        "CARGO_MANIFEST_PATH",
        "CARGO_PRIMARY_PACKAGE",
        "LD_LIBRARY_PATH",
    ];
    exact.contains(&name.as_ref())
        || ["CARGO_PKG_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_CFG_"]
            .iter()
            .any(|prefix| name.starts_with(prefix))
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn sh(script: &str) -> Process {
        let paths = Paths {
            root: ".".into(),
            cache: "c".into(),
            native_target: "t".into(),
            wasm_target: "w".into(),
        };
        Process::new(&paths, "sh").args(["-c", script])
    }

    #[test]
    fn when_a_command_fails_the_error_names_it() {
        let error = sh("exit 3").run().unwrap_err().to_string();
        assert!(error.contains("sh -c exit 3") && error.contains('3'), "{error}");
    }

    #[test]
    fn when_a_captured_command_fails_its_complaint_is_in_the_error() {
        let error = sh("echo broken >&2; exit 1").capture().unwrap_err().to_string();
        assert!(error.contains("broken"), "{error}");
    }

    #[test]
    fn when_a_program_is_missing_the_error_names_it() {
        let paths = Paths {
            root: ".".into(),
            cache: "c".into(),
            native_target: "t".into(),
            wasm_target: "w".into(),
        };
        let error = Process::new(&paths, "no-such-program")
            .arg("x")
            .run()
            .unwrap_err()
            .to_string();
        assert!(error.contains("no-such-program x"), "{error}");
    }

    #[test]
    fn what_cargo_set_for_us_is_not_passed_on() {
        // This test itself runs under cargo, which sets both.
        let seen = sh("echo \"$CARGO_PKG_NAME|$CARGO_MANIFEST_DIR|$HOME\"")
            .capture()
            .unwrap();
        assert!(seen.starts_with("||") && seen.trim_end().len() > 2, "{seen}");
    }

    #[test]
    fn shown_output_is_returned_whole() {
        assert_eq!(sh("echo a; echo b").run_and_capture().unwrap(), "a\nb\n");
    }
}
