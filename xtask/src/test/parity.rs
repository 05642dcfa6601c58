//! Compares the tests that ran in a browser with those that exist natively. Reads text; starts nothing.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// How core's tests are prefixed where the crate's name is part of theirs.
const CRATE: &str = "peerway_core::";

/// The tests that only exist natively, as the written list has them.
#[derive(Debug)]
pub(super) struct NativeOnly {
    /// Beginnings of names; after a `*`, a part of one.
    patterns: Vec<String>,
}

impl NativeOnly {
    /// One pattern a line, then `#` and why: without a reason nothing is an exception.
    pub(super) fn parse(written: &str) -> Result<Self> {
        let mut patterns = Vec::new();
        for line in written
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
        {
            match line.split_once('#') {
                Some((pattern, reason)) if !reason.trim().is_empty() => patterns.push(pattern.trim().to_owned()),
                Some(_) | None => bail!("`{line}` is listed without a reason"),
            }
        }
        Ok(Self { patterns })
    }

    /// What is wrong: tests that no browser ran, and exceptions that nothing needs.
    pub(super) fn complaints(&self, native: &BTreeSet<String>, ran: &BTreeSet<String>) -> Vec<String> {
        let excused = |name: &str| self.patterns.iter().any(|pattern| matches(pattern, name));
        let missing = native.difference(ran).filter(|name| !excused(name));
        let missing = missing.map(|name| format!("{name} ran natively but in no browser"));
        let needless = |pattern: &&String| !native.difference(ran).any(|name| matches(pattern, name));
        let needless = self.patterns.iter().filter(needless);
        let needless = needless.map(|pattern| format!("`{pattern}` excuses no test any more"));
        missing.chain(needless).collect()
    }
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_prefix('*') {
        Some(part) => name.contains(part),
        None => name.starts_with(pattern),
    }
}

/// The names of the tests that passed, from what the runner printed.
pub(super) fn passed(printed: &str) -> BTreeSet<String> {
    let line = |line: &str| line.trim().strip_prefix("test ")?.strip_suffix(" ... ok").map(own_name);
    printed.lines().filter_map(line).collect()
}

/// The names of the tests that exist natively, from `cargo nextest list --message-format json`.
pub(super) fn listed(json: &str) -> Result<BTreeSet<String>> {
    let list: Value = serde_json::from_str(json).context("cargo nextest printed something that is not JSON")?;
    let suites = list["rust-suites"]
        .as_object()
        .context("cargo nextest listed no suites")?;
    let cases = suites
        .values()
        .filter_map(|suite| suite["testcases"].as_object())
        .flatten();
    let matching = cases.filter(|(_, case)| case["filter-match"]["status"] == "matches");
    let names: BTreeSet<_> = matching.map(|(name, _)| own_name(name)).collect();
    if names.is_empty() {
        bail!("core has no test at all: the list cannot be right");
    }
    Ok(names)
}

fn own_name(name: &str) -> String {
    name.strip_prefix(CRATE).unwrap_or(name).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn when_a_test_runs_only_natively_it_is_named() {
        let complaints = NativeOnly::parse("")
            .unwrap()
            .complaints(&names(&["a::x", "a::y"]), &names(&["a::x"]));
        assert_eq!(complaints, ["a::y ran natively but in no browser"]);
    }

    #[test]
    fn what_is_written_down_is_excused_until_nothing_needs_it() {
        let list = NativeOnly::parse("# why\n\na::properties::  # proptest is native\n").unwrap();
        assert_eq!(
            list.complaints(&names(&["a::properties::p", "a::x"]), &names(&["a::x"])),
            Vec::<String>::new()
        );
        assert_eq!(
            list.complaints(&names(&["a::x"]), &names(&["a::x"])),
            ["`a::properties::` excuses no test any more"]
        );
    }

    #[test]
    fn a_pattern_with_a_star_excuses_wherever_its_rest_stands() {
        let list = NativeOnly::parse("*::properties:: # generated inputs").unwrap();
        let native = names(&["a::properties::p", "b::c::properties::q", "properties::r"]);
        assert_eq!(
            list.complaints(&native, &names(&[])),
            ["properties::r ran natively but in no browser"]
        );
    }

    #[test]
    fn an_exception_without_a_reason_is_refused() {
        assert!(NativeOnly::parse("a::b").is_err());
        assert!(NativeOnly::parse("a::b #  ").is_err());
    }

    #[test]
    fn only_tests_that_passed_count() {
        let printed = "running 3 tests\ntest peerway_core::a::x ... ok\ntest b::y ... FAIL\ntest b::z ... ignored\n";
        assert_eq!(passed(printed), names(&["a::x"]));
    }

    #[test]
    fn a_listing_counts_what_matches_and_an_empty_one_is_an_error() {
        let json = r#"{"rust-suites": {"peerway-core": {"testcases": {
            "a::x": {"ignored": false, "filter-match": {"status": "matches"}},
            "a::y": {"ignored": false, "filter-match": {"status": "mismatch", "reason": "expression"}}}}}}"#;
        assert_eq!(listed(json).unwrap(), names(&["a::x"]));
        assert!(listed(r#"{"rust-suites": {}}"#).is_err());
    }
}
