//! The conventions that a machine can hold: one table, each rule with its reason and with the places it is for.
//!
//! The rules read text, not syntax. They are meant to catch a slip, not to outwit somebody who wants to break them.

/// One file of the repository.
pub(super) struct Source {
    /// Relative to the root, with `/`.
    pub(super) path: String,
    pub(super) text: String,
}

/// A convention.
pub(super) struct Rule {
    pub(super) name: &'static str,
    pub(super) why: &'static str,
    /// Whether it is meant for the file at this path.
    pub(super) applies: fn(&str) -> bool,
    /// Where it is broken: line, and what was found.
    pub(super) find: fn(&Source) -> Vec<(usize, String)>,
}

/// Where `cfg(target_family = "wasm")` may stand: leaves, each of which hides one difference.
const LEAVES: [&str; 9] = [
    "core/src/lib.rs",
    "core/src/node.rs",
    "core/src/node/clock.rs",
    "core/src/transport.rs",
    "core/src/transport/browser.rs",
    "core/src/transport/native.rs",
    "core/examples/",
    "webrtc/src/lib.rs",
    "webrtc/src/rtc.rs",
];

/// The longest file that is still one file.
const MAX_LINES: usize = 500;
/// The fewest words that can say a condition and an outcome.
const MIN_WORDS: usize = 3;

pub(super) const RULES: [Rule; 12] = [
    Rule {
        name: "module-doc",
        why: "every module but one of tests opens by saying what it decides and what it never does",
        applies: |path| path.ends_with(".rs") && !is_tests(path),
        find: |source| {
            let opens = source
                .text
                .lines()
                .find(|line| !line.trim().is_empty())
                .is_some_and(|l| l.starts_with("//!"));
            if opens {
                Vec::new()
            } else {
                vec![(1, "does not open with `//!`".into())]
            }
        },
    },
    Rule {
        name: "length",
        why: "a file that is much longer than 500 lines is usually two",
        applies: |path| path.ends_with(".rs"),
        find: |source| match source.text.lines().count() {
            count if count > MAX_LINES => vec![(MAX_LINES + 1, format!("{count} lines"))],
            _ => Vec::new(),
        },
    },
    Rule {
        name: "one-spelling",
        why: "`target_family = \"wasm\"` is how this code asks where it runs, so that one search finds every place",
        applies: |path| path.ends_with(".rs") && !is_a_rule(path),
        find: |source| in_code(&source.text, &["target_arch = \"wasm32\"", "target_os = \"unknown\""]),
    },
    Rule {
        name: "leaf-cfg",
        why: "what differs between native and wasm is hidden in the leaf files that rules.rs lists",
        applies: |path| {
            let both_targets = ["core/src/", "core/examples/", "webrtc/src/"]
                .iter()
                .any(|dir| path.starts_with(dir));
            both_targets && !is_tests(path) && !LEAVES.iter().any(|leaf| path.starts_with(leaf))
        },
        find: |source| in_code(&above_tests(&source.text), &["target_family = \"wasm\""]),
    },
    Rule {
        name: "clock",
        why: "time is an argument; node/clock.rs alone reads clocks",
        applies: |path| path.starts_with("core/src/") && path != "core/src/node/clock.rs",
        find: |source| in_code(&source.text, &["Instant::now", "SystemTime", "web_time", "Utc::now"]),
    },
    Rule {
        name: "spawn",
        why: "core starts no task; the caller runs the event loop",
        applies: is_core,
        find: |source| {
            in_code(
                &above_tests(&source.text),
                &["::spawn(", "spawn_local(", "spawn_blocking("],
            )
        },
    },
    Rule {
        name: "randomness",
        why: "randomness is an argument: a run is repeated by its seed",
        applies: |path| is_core(path) && !path.starts_with("core/src/node"),
        find: |source| {
            let sources = [
                "rand::rng()",
                "thread_rng",
                "from_os_rng",
                "from_entropy",
                "OsRng",
                "getrandom::",
            ];
            in_code(&above_tests(&source.text), &sources)
        },
    },
    Rule {
        name: "dial",
        why: "no dial starts outside the event loop",
        applies: |path| is_core(path) && !path.starts_with("core/src/node"),
        find: |source| in_code(&above_tests(&source.text), &["swarm.dial(", "swarm().dial("]),
    },
    Rule {
        name: "bounds",
        why: "every queue has a named bound and a stated outcome when full",
        applies: |path| path.ends_with(".rs") && (is_library(path) || path.starts_with("web-peer/")),
        find: |source| {
            in_code(
                &source.text,
                &["unbounded_channel", "mpsc::unbounded", "channel::unbounded"],
            )
        },
    },
    Rule {
        name: "boolean-parameter",
        why: "a boolean at the call says nothing: an enum of two says which",
        applies: |path| path.ends_with(".rs") && is_library(path),
        find: |source| boolean_parameters(&above_tests(&source.text)),
    },
    Rule {
        name: "test-name",
        why: "a test's name is a sentence, condition first; no test is ignored",
        applies: |path| path.ends_with(".rs") && !is_a_rule(path),
        find: |source| test_names(&source.text),
    },
    Rule {
        name: "machine-path",
        why: "the project works wherever it is put",
        applies: |path| !is_a_rule(path),
        find: |source| containing(source.text.lines(), &["/root/", "/home/", "/Users/", "C:\\Users"]),
    },
];

/// This file has in it what it forbids.
fn is_a_rule(path: &str) -> bool {
    path == "xtask/src/check/rules.rs"
}

/// What core is made of, without its modules of tests.
fn is_core(path: &str) -> bool {
    path.starts_with("core/src/") && !is_tests(path)
}

/// A module of tests in a file of its own.
fn is_tests(path: &str) -> bool {
    path.ends_with("/tests.rs") || path.contains("/tests/")
}

/// Crates that other people's programs use.
fn is_library(path: &str) -> bool {
    ["core/", "webrtc/", "hop/src/", "native-relay/src/"]
        .iter()
        .any(|folder| path.starts_with(folder))
}

/// The part before the tests, which stand last in every file.
fn above_tests(text: &str) -> String {
    let is_tests = |line: &str| line.starts_with("#[cfg(test)]") || line.starts_with("#[cfg(all(test");
    text.lines()
        .take_while(|line| !is_tests(line))
        .map(|line| format!("{line}\n"))
        .collect()
}

/// Lines outside comments that contain one of `patterns`.
fn in_code(text: &str, patterns: &[&str]) -> Vec<(usize, String)> {
    containing(
        text.lines().map(|line| line.split("//").next().unwrap_or_default()),
        patterns,
    )
}

fn containing<'a>(lines: impl Iterator<Item = &'a str>, patterns: &[&str]) -> Vec<(usize, String)> {
    let found = |line: &str| {
        patterns
            .iter()
            .find(|pattern| line.contains(**pattern))
            .map(|p| format!("`{p}`"))
    };
    lines
        .enumerate()
        .filter_map(|(index, line)| Some((index + 1, found(line)?)))
        .collect()
}

/// Functions that can be called from elsewhere and take a `bool`.
fn boolean_parameters(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("fn ") {
        let line = &text[text[..at].rfind('\n').map_or(0, |end| end + 1)..at];
        let signature = text[at..].split(['{', ';']).next().unwrap_or_default();
        let parameters = signature.split("->").next().unwrap_or_default();
        if line.trim_start().starts_with("pub") && parameters.contains(": bool") {
            let name = signature[3..].split(['(', '<']).next().unwrap_or_default();
            found.push((text[..at].matches('\n').count() + 1, format!("`{name}` takes a bool")));
        }
    }
    found
}

/// Tests whose name is no sentence, and tests that are switched off.
fn test_names(text: &str) -> Vec<(usize, String)> {
    let mut found = in_code(text, &["#[ignore"]);
    let mut is_test = false;
    for (index, line) in text.lines().map(str::trim_start).enumerate() {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") || line.starts_with("#[wasm_bindgen_test") {
            is_test = true;
        } else if let Some(name) = function_name(line).filter(|_| is_test) {
            is_test = false;
            if name.split('_').count() < MIN_WORDS || name.starts_with("test_") {
                found.push((index + 1, format!("`{name}` is not a sentence")));
            }
        }
    }
    found
}

fn function_name(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ")?;
    rest.split(['(', '<']).next()
}

#[cfg(test)]
mod tests {
    use super::super::tidy::complaints_about;
    use super::*;

    /// For each rule: a place, a text that breaks it there, and one that comes close and does not.
    #[rustfmt::skip]
    const CASES: [(&str, &str, &str, &str); 15] = [
        ("module-doc", "core/src/a.rs", "use x;\n", "\n//! Says.\n"),
        ("one-spelling", "tests/a.rs", "//! S.\n#[cfg(target_arch = \"wasm32\")]\n", "//! S.\n// target_arch = \"wasm32\"\n"),
        ("leaf-cfg", "core/src/chat.rs", "//! S.\n#[cfg(target_family = \"wasm\")]\n", "//! S.\n#[cfg(all(test, not(target_family = \"wasm\")))]\n"),
        ("clock", "core/src/dial.rs", "//! S.\nlet a = Instant::now();\n", "//! S.\nlet a = 1; // Instant::now\n"),
        ("clock", "core/src/dial.rs", "//! S.\n#[cfg(test)]\nuse web_time::Instant;\n", "//! Never `web_time`.\n"),
        ("spawn", "core/src/node.rs", "//! S.\ntokio::spawn(x);\n", "//! S.\n#[cfg(test)]\ntokio::spawn(x);\n"),
        ("randomness", "core/src/dial.rs", "//! S.\nrand::rng()\n", "//! S.\nself.rng.random()\n"),
        ("dial", "core/src/chat.rs", "//! S.\nself.swarm.dial(x)\n", "//! S.\nself.inner.dial(x)\n"),
        ("bounds", "core/src/a.rs", "//! S.\nmpsc::unbounded_channel()\n", "//! S.\nmpsc::channel(QUEUE)\n"),
        ("boolean-parameter", "core/src/a.rs", "//! S.\npub fn set(\n    on: bool,\n) {}\n", "//! S.\npub fn is(a: impl Fn() -> bool) -> bool {}\nfn own(a: bool) {}\n"),
        ("test-name", "core/src/a.rs", "//! S.\n#[test]\nfn works() {}\n", "//! S.\nfn works() {}\n"),
        ("test-name", "tests/a.rs", "//! S.\n#[tokio::test(x)]\nasync fn test_it_works_now() {}\n", "//! S.\n#[tokio::test(x)]\nasync fn when_asked_it_works() {}\n"),
        ("test-name", "tests/a.rs", "//! S.\n#[wasm_bindgen_test(unsupported = test)]\nfn it() {}\n", "//! S.\n#[wasm_bindgen_test(unsupported = test)]\nfn when_full_it_refuses() {}\n"),
        ("test-name", "tests/a.rs", "//! S.\n#[ignore]\n", "//! S.\n"),
        ("machine-path", "docs/a.md", "see /home/me/x", "see ~/x"),
    ];

    #[test]
    fn each_rule_finds_what_breaks_it_and_passes_what_only_looks_like_it() {
        for (name, path, broken, sound) in CASES {
            let complaints = |text: &str| {
                complaints_about(&Source {
                    path: path.into(),
                    text: text.into(),
                })
            };
            let broken = complaints(broken);
            assert!(
                broken.len() == 1 && broken[0].contains(&format!("[{name}:")),
                "{name} at {path}: {broken:?}"
            );
            assert_eq!(complaints(sound), Vec::<String>::new(), "{name} at {path}");
        }
    }

    #[test]
    fn a_file_of_501_lines_is_one_line_too_long() {
        let of = |lines: usize| Source {
            path: "tests/a.rs".into(),
            text: "//! S.\n".repeat(lines),
        };
        assert_eq!(complaints_about(&of(MAX_LINES)), Vec::<String>::new());
        assert!(complaints_about(&of(MAX_LINES + 1))[0].contains("501 lines"));
    }

    #[test]
    fn every_rule_has_a_case_that_breaks_it() {
        for rule in RULES.iter().filter(|rule| rule.name != "length") {
            assert!(
                CASES.iter().any(|(name, ..)| *name == rule.name),
                "{} is never shown to fail",
                rule.name
            );
        }
    }

    #[test]
    fn where_a_rule_is_not_meant_it_says_nothing() {
        let clock = Source {
            path: "core/src/node/clock.rs".into(),
            text: "//! S.\nInstant::now()\n".into(),
        };
        assert_eq!(complaints_about(&clock), Vec::<String>::new());
        let leaf = "//! S.\n#[cfg(target_family = \"wasm\")]\nmod browser;\n";
        let leaf = Source {
            path: "core/src/transport.rs".into(),
            text: leaf.into(),
        };
        assert_eq!(complaints_about(&leaf), Vec::<String>::new());
    }
}
