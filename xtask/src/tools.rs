//! The tools that tasks need: which version, how to see that one is there, how to get it. Each is looked for on the
//! user's search path too, and nothing is installed outside the cache except packages of the system.

use std::fs;

use anyhow::{Context, Result};

use crate::paths::Paths;
use crate::process::Process;
use crate::{debian, js, wasm};

/// Builds the page. 0.22 wants a newer compiler than the one we promise to build with.
const TRUNK: &str = "0.21.14";
/// Reads licences and bans; any version that is there will do.
const CARGO_DENY: &str = "0.20.2";
/// Runs the native tests; any version that is there will do.
const CARGO_NEXTEST: &str = "0.9.143";
/// Drives Firefox in the stories; any version that is there will do.
const GECKODRIVER: &str = "0.37.1";
/// js-libp2p needs `Promise.withResolvers`.
const NODE_AT_LEAST: u32 = 22;
/// npm's package that ships Node itself, for machines whose own is older.
const NODE: &str = "node@24";
/// npm's package that ships `wasm-opt` as a program for Node, hence for every machine that has one.
const BINARYEN: &str = "binaryen@132";

const CHROMIUM: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];
const FIREFOX: [&str; 2] = ["firefox-esr", "firefox"];

/// What of Debian's coturn is linked and not in it.
const COTURN_LIBRARIES: [&str; 9] = [
    "libevent-core-2.1-7",
    "libevent-extra-2.1-7",
    "libevent-openssl-2.1-7",
    "libevent-pthreads-2.1-7",
    "libhiredis0.14",
    "libmariadb3",
    "libpq5",
    "libsqlite3-0",
    "libssl3",
];

const ON_LINUX: bool = cfg!(target_os = "linux");

/// One thing that tasks need.
pub(crate) struct Tool {
    pub(crate) name: &'static str,
    /// What is there already, if it will do.
    pub(crate) find: fn(&Paths) -> Option<String>,
    /// Gets it; called only when nothing was found, and `find` is asked again afterwards.
    pub(crate) install: fn(&Paths) -> Result<()>,
    pub(crate) for_whom: Audience,
}

/// Which tasks need a tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Audience {
    /// Whoever builds the page.
    Builders,
    /// Whoever checks the source.
    Checkers,
    /// Whoever runs tests or measures.
    Testers,
}

/// In the order in which they are installed.
pub(crate) const TOOLS: [Tool; 14] = [
    Tool {
        name: "compiler for wasm",
        find: wasm::describe,
        install: wasm::install,
        for_whom: Audience::Builders,
    },
    Tool {
        name: "wasm-bindgen, as in Cargo.lock",
        find: |paths| of_version(paths, "wasm-bindgen", &wasm_bindgen_version(paths).ok()?),
        install: |paths| cargo_install(paths, "wasm-bindgen-cli", &wasm_bindgen_version(paths)?),
        for_whom: Audience::Builders,
    },
    Tool {
        name: "trunk",
        find: |paths| of_version(paths, "trunk", TRUNK),
        install: |paths| cargo_install(paths, "trunk", TRUNK),
        for_whom: Audience::Builders,
    },
    Tool {
        name: "wasm-opt",
        find: |paths| version(paths, "wasm-opt"),
        install: wasm_opt,
        for_whom: Audience::Builders,
    },
    Tool {
        name: "rustfmt and clippy",
        find: |paths| version(paths, "rustfmt").and(version(paths, "clippy-driver")),
        install: |paths| {
            Process::new(paths, "rustup")
                .args(["component", "add", "rustfmt", "clippy"])
                .run()
        },
        for_whom: Audience::Checkers,
    },
    Tool {
        name: "cargo-deny",
        find: |paths| version(paths, "cargo-deny"),
        install: |paths| cargo_install(paths, "cargo-deny", CARGO_DENY),
        for_whom: Audience::Checkers,
    },
    Tool {
        name: "cargo-nextest",
        find: |paths| version(paths, "cargo-nextest"),
        install: |paths| cargo_install(paths, "cargo-nextest", CARGO_NEXTEST),
        for_whom: Audience::Testers,
    },
    Tool {
        name: "Chromium and its driver",
        find: |paths| browser(paths, &CHROMIUM).and(version(paths, "chromedriver")),
        install: |paths| debian::install(paths, &["chromium", "chromium-driver"]),
        for_whom: Audience::Testers,
    },
    Tool {
        name: "Firefox",
        find: |paths| browser(paths, &FIREFOX),
        install: |paths| debian::install(paths, &["firefox-esr"]),
        for_whom: Audience::Testers,
    },
    Tool {
        name: "Firefox's driver",
        find: |paths| version(paths, "geckodriver"),
        // Debian has none, and npm's package only downloads one from elsewhere.
        install: |paths| cargo_install(paths, "geckodriver", GECKODRIVER),
        for_whom: Audience::Testers,
    },
    Tool {
        name: "ip and nft, for tests in network namespaces",
        find: |paths| match ON_LINUX {
            true => paths.find("ip").and(paths.find("nft")).map(|_| "present".to_owned()),
            false => Some("only Linux has them".to_owned()),
        },
        install: |paths| debian::install(paths, &["iproute2", "nftables"]),
        for_whom: Audience::Testers,
    },
    Tool {
        name: "coturn's STUN client and its server",
        find: coturn,
        // Installed, the package starts its server for good. What of its libraries the two need is installed.
        install: |paths| {
            debian::install(paths, &COTURN_LIBRARIES)?;
            debian::unpack(paths, "coturn", &paths.coturn())
        },
        for_whom: Audience::Testers,
    },
    Tool {
        name: "Node, for peers that are not ours",
        find: |paths| version(paths, "node").filter(|printed| major(printed) >= Some(NODE_AT_LEAST)),
        install: |paths| {
            if paths.find("npm").is_none() {
                debian::install(paths, &["npm"])?;
            }
            npm_install(paths, NODE)
        },
        for_whom: Audience::Testers,
    },
    Tool {
        name: "js-libp2p",
        find: js::describe,
        install: js::install,
        for_whom: Audience::Testers,
    },
];

/// A browser's program under the names that systems give it. Elsewhere than on Linux it is on no search path, and its
/// driver has to know.
fn browser(paths: &Paths, names: &[&str]) -> Option<String> {
    if !ON_LINUX {
        return Some("its driver finds it".to_owned());
    }
    names
        .iter()
        .find_map(|name| paths.find(name))
        .map(|_| "present".to_owned())
}

/// They have no version to ask for; that they explain themselves shows that their libraries are there.
fn coturn(paths: &Paths) -> Option<String> {
    if !ON_LINUX {
        return Some("the tests that ask it run on Linux".to_owned());
    }
    let explains_itself = |program: &str| {
        let asked = Process::new(paths, paths.find(program)?).arg("-h").capture();
        let explained = asked.unwrap_or_else(|error| format!("{error:#}"));
        explained.contains("Usage").then_some(())
    };
    ["turnutils_stunclient", "turnserver"]
        .into_iter()
        .map(explains_itself)
        .collect::<Option<Vec<()>>>()
        .map(|_| "present".to_owned())
}

/// The page's loader and the tool that wrote it must be of one version, so there is one place that says which.
fn wasm_bindgen_version(paths: &Paths) -> Result<String> {
    let lock = fs::read_to_string(paths.root.join("Cargo.lock")).context("cannot read Cargo.lock")?;
    locked_version(&lock, "wasm-bindgen").context("Cargo.lock has no wasm-bindgen")
}

fn locked_version(lock: &str, package: &str) -> Option<String> {
    let name = format!("name = \"{package}\"");
    let mut lines = lock.lines().skip_while(|line| *line != name);
    let version = lines.nth(1)?.strip_prefix("version = \"")?;
    Some(version.trim_end_matches('"').to_owned())
}

fn version(paths: &Paths, program: &str) -> Option<String> {
    let printed = Process::new(paths, paths.find(program)?)
        .arg("--version")
        .capture()
        .ok()?;
    printed.lines().next().map(str::to_owned)
}

fn of_version(paths: &Paths, program: &str, wanted: &str) -> Option<String> {
    version(paths, program).filter(|printed| printed.split_whitespace().any(|word| word == wanted))
}

fn cargo_install(paths: &Paths, package: &str, version: &str) -> Result<()> {
    // Built in a directory of its own, removed afterwards: our target directories hold what we build again. And not
    // optimised as a whole: for what these tools do here it would cost minutes to save seconds.
    let install = Process::new(paths, "cargo")
        .env_remove("CARGO_TARGET_DIR")
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16");
    install
        .args([
            "install",
            "--locked",
            "--force",
            package,
            "--version",
            version,
            "--root",
        ])
        .arg(paths.tools())
        .run()
}

fn wasm_opt(paths: &Paths) -> Result<()> {
    if paths.find("npm").is_some() {
        match npm_install(paths, BINARYEN) {
            Ok(()) => return Ok(()),
            Err(error) => println!("         {error:#}; trying the system's binaryen"),
        }
    }
    debian::install(paths, &["binaryen"])
}

fn npm_install(paths: &Paths, package: &str) -> Result<()> {
    fs::create_dir_all(paths.npm())?;
    let npm = Process::new(paths, "npm").args(["install", "--no-audit", "--no-fund", package, "--prefix"]);
    npm.arg(paths.npm()).run()
}

/// The first number of a version as Node prints it.
fn major(printed: &str) -> Option<u32> {
    printed.strip_prefix('v')?.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locked_version_is_that_of_the_package_with_exactly_this_name() {
        let lock = "[[package]]\nname = \"wasm-bindgen-macro\"\nversion = \"9.9.9\"\n\n\
                    [[package]]\nname = \"wasm-bindgen\"\nversion = \"0.2.108\"\nsource = \"x\"\n";
        assert_eq!(locked_version(lock, "wasm-bindgen").as_deref(), Some("0.2.108"));
        assert_eq!(locked_version(lock, "wasm"), None);
    }

    #[test]
    fn the_major_version_of_node_is_compared_as_a_number() {
        assert!(major("v9.11.2") < Some(NODE_AT_LEAST));
        assert!(major("v100.0.0") >= Some(NODE_AT_LEAST));
        assert_eq!(major("node: not found"), None);
    }

    #[test]
    fn builders_get_nothing_that_only_tests_need() {
        let names: Vec<_> = TOOLS
            .iter()
            .filter(|t| t.for_whom == Audience::Builders)
            .map(|t| t.name)
            .collect();
        assert_eq!(
            names,
            [
                "compiler for wasm",
                "wasm-bindgen, as in Cargo.lock",
                "trunk",
                "wasm-opt"
            ]
        );
    }
}
