//! `cargo xtask test`: the checks, then every test there is, native and in a browser. What CI calls.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use crate::cargo::{NATIVE, cargo};
use crate::paths::Paths;
use crate::process::Process;
use crate::relay::{self, Page, Profile};
use crate::setup::{self, Purpose};
use crate::steps::{self, Step};
use crate::wasm::{TARGET, Toolchain};
use crate::{check, js, page, page_peer};

use self::parity::NativeOnly;

mod outside;
mod parity;

/// Tests of core that cannot run in a browser, each with its reason.
const NATIVE_ONLY: &str = "xtask/native-only-tests.txt";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only this, without the checks.
    #[arg(long, value_enum)]
    only: Option<Suite>,
    /// Further arguments for `cargo nextest run`, after `--`: for example `-- -E 'package(peerway-tests)'`.
    #[arg(last = true)]
    nextest_args: Vec<String>,
}

/// A part of the tests that can be run by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Suite {
    /// What runs on this machine itself: units, properties, simulations, and the stories with real browsers.
    Native,
    /// The examples in the documentation.
    Doc,
    /// What runs inside a browser.
    Wasm,
}

pub(crate) fn main(paths: &Paths, args: &Args) -> Result<()> {
    let mut todo = setup::steps(paths, Purpose::Test);
    if args.only.is_none() {
        todo.extend(check::steps(paths));
    }
    let wanted = |suite| args.only.is_none_or(|only| only == suite);
    if wanted(Suite::Native) {
        todo.push(Step::new("build the page", || page::build(paths).map(|_| ())));
        todo.push(Step::new("build the page of the stories", || page_peer::build(paths)));
        todo.push(Step::new("bundle the peers that are not ours", || js::build(paths)));
        todo.push(Step::new("native tests, and stories with real browsers", || {
            native(paths, &args.nextest_args)
        }));
    }
    if wanted(Suite::Doc) {
        let doc = || cargo(paths, ["test", "--locked", "--doc"]).args(NATIVE).run();
        todo.push(Step::new("examples in the documentation", doc));
        todo.push(Step::new("a programme of somebody else's", || outside::build(paths)));
    }
    if wanted(Suite::Wasm) {
        todo.push(Step::saying("tests in headless Chrome", || in_browser(paths)));
    }
    let summary = steps::run_all(todo)?;
    print!("\n{summary}");
    Ok(())
}

/// The stories start the relay's program, serve the page and meet peers of js-libp2p; all are built before, so that no
/// test waits for a compiler.
fn native(paths: &Paths, args: &[String]) -> Result<()> {
    let with_page = relay::build(paths, Profile::Dev, Page::Inside(&paths.page()))?;
    let relay = relay::build(paths, Profile::Dev, Page::Apart)?;
    let tests = cargo(paths, ["nextest", "run", "--locked"]).args(NATIVE).args(args);
    tests
        .env("PEERWAY_TEST_RELAY", relay)
        .env("PEERWAY_TEST_RELAY_WITH_PAGE", with_page)
        .env("PEERWAY_TEST_PAGE", paths.page())
        .env("PEERWAY_TEST_JS", js::bundles(paths))
        .env("PEERWAY_TEST_PAGE_PEER", page_peer::place(paths))
        .env("NODE_PATH", js::modules(paths)?)
        .run()
}

/// Runs the tests of everything that is compiled to wasm, and compares with what ran natively: a test that a browser
/// silently leaves out would otherwise look like one that passes.
fn in_browser(paths: &Paths) -> Result<String> {
    let driver = paths
        .find("chromedriver")
        .context("no chromedriver: run `cargo xtask setup`")?;
    let runner = paths
        .find("wasm-bindgen-test-runner")
        .context("no wasm-bindgen-test-runner: run `cargo xtask setup`")?;
    let printed = Toolchain::require(paths)?
        .cargo(paths, "test")
        .args(check::WASM)
        .args(["--lib", "--bins"])
        .env("CHROMEDRIVER", driver)
        .env(
            "WASM_BINDGEN_TEST_WEBDRIVER_JSON",
            paths.root.join("xtask/webdriver.json"),
        )
        .env("WASM_BINDGEN_USE_BROWSER", "1")
        .env("WASM_BINDGEN_TEST_TIMEOUT", "120")
        .env(
            &format!("CARGO_TARGET_{}_RUNNER", TARGET.to_uppercase().replace('-', "_")),
            runner,
        )
        .run_and_capture()?;
    let ran = parity::passed(&printed);
    let native = parity::listed(&list_core(paths)?)?;
    let written =
        fs::read_to_string(paths.root.join(NATIVE_ONLY)).with_context(|| format!("cannot read {NATIVE_ONLY}"))?;
    let complaints = NativeOnly::parse(&written)?.complaints(&native, &ran);
    if !complaints.is_empty() {
        bail!(
            "{}\n({NATIVE_ONLY} is where exceptions are written down)",
            complaints.join("\n")
        );
    }
    let in_both = native.intersection(&ran).collect::<BTreeSet<_>>().len();
    Ok(format!(
        "{} passed in the browser; {in_both} of core's {} run there too",
        ran.len(),
        native.len()
    ))
}

fn list_core(paths: &Paths) -> Result<String> {
    let list: Process = cargo(paths, ["nextest", "list", "--locked", "--message-format", "json"]).args(NATIVE);
    list.args(["-E", "package(peerway-core) & kind(lib)"]).capture_output()
}
