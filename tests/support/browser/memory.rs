//! What Chromium's processes take of the machine's memory, as Linux counts it.

use std::fs;

use anyhow::Context;
use rustix::process::Pid;

/// What every process of a page says on its command line.
const RENDERER: &str = "--type=renderer";

/// Bytes that the pages of the browser with this first process share with no other process.
pub(super) fn of_pages(browser: Pid) -> anyhow::Result<u64> {
    let mut sum = 0;
    let mut left = vec![browser.as_raw_nonzero().get().to_string()];
    while let Some(pid) = left.pop() {
        left.extend(children(&pid));
        let command = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        if command.split(['\0', ' ']).any(|argument| argument == RENDERER) {
            sum += private(&pid)?;
        }
    }
    anyhow::ensure!(sum > 0, "the browser has no process for pages");
    Ok(sum)
}

/// A process that ended meanwhile has none.
fn children(pid: &str) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten()
        .flatten();
    tasks
        .filter_map(|task| fs::read_to_string(task.path().join("children")).ok())
        .flat_map(|children| children.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        .collect()
}

fn private(pid: &str) -> anyhow::Result<u64> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let rollup = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let private = rollup.lines().filter(|line| line.starts_with("Private_"));
    let kib = private.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    Ok(kib.sum::<u64>() * 1024)
}
