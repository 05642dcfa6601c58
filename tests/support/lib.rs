//! What the stories are told with: the real relay, real browsers, real network namespaces.
//!
//! Everything here that starts something ends it when dropped, and every wait is bounded and says what it saw.
//! Nothing here knows how a page or a relay works inside: it relies on command lines, HTTP and `data-testid` alone.

pub mod browser;
pub mod eventually;
pub mod hostile;
pub mod js;
pub mod native;
pub mod netns;
pub mod page;
pub mod page_peer;
pub mod process;
pub mod raw;
pub mod relay;
pub mod samples;
pub mod site;
pub mod victim;
mod webdriver;

use std::path::PathBuf;

use anyhow::Context;

/// Names the directory with the page as Trunk built it.
pub const PAGE_VARIABLE: &str = "PEERWAY_TEST_PAGE";

/// Names the relay's binary. Without it, cargo builds one.
pub const RELAY_VARIABLE: &str = "PEERWAY_TEST_RELAY";

/// Names the relay's binary that carries the page.
pub const RELAY_WITH_PAGE_VARIABLE: &str = "PEERWAY_TEST_RELAY_WITH_PAGE";

/// The built page.
pub fn page_dir() -> anyhow::Result<PathBuf> {
    let dir = std::env::var_os(PAGE_VARIABLE)
        .map(PathBuf::from)
        .with_context(|| format!("{PAGE_VARIABLE} does not name a built page: run `cargo xtask test`"))?;
    anyhow::ensure!(
        dir.join("index.html").is_file(),
        "there is no index.html in {} ({PAGE_VARIABLE}): run `cargo xtask test`",
        dir.display()
    );
    Ok(dir)
}
