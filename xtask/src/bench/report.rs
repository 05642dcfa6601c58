//! docs/benchmarks.md as text: what was measured, on what, by which command. No date: the commit has one.

use std::fmt;

use anyhow::{Context, Result};
use serde_json::Value;

use super::sizes::Size;

/// Everything that goes into the file.
pub(super) struct Report {
    pub(super) machine: Machine,
    pub(super) sizes: Vec<Size>,
    pub(super) sections: Vec<Section>,
}

/// What one program measured.
pub(super) struct Section {
    pub(super) title: &'static str,
    /// How it was measured.
    pub(super) about: &'static str,
    pub(super) times: Vec<Time>,
}

/// What the numbers were measured on, as far as it matters to them.
pub(super) struct Machine {
    cores: usize,
    model: String,
    memory_gib: u64,
}

impl Machine {
    /// From Linux's own descriptions; on other systems only the number of cores is known.
    pub(super) fn describe(cores: usize, cpuinfo: &str, meminfo: &str) -> Self {
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        let model = field(cpuinfo, "model name").unwrap_or_else(|| "processor of unknown model".to_owned());
        let kib = field(meminfo, "MemTotal").and_then(|total| total.trim_end_matches(" kB").parse::<u64>().ok());
        Self {
            cores,
            model,
            memory_gib: kib.unwrap_or(0).div_ceil(1 << 20),
        }
    }
}

/// One thing that was measured several times.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Time {
    name: String,
    unit: String,
    median: f64,
    min: f64,
    max: f64,
    n: u64,
}

impl Time {
    /// One line of the harness.
    pub(super) fn parse(line: &str) -> Result<Self> {
        let value: Value = serde_json::from_str(line).with_context(|| format!("not JSON: {line}"))?;
        let text = |name: &str| Some(value[name].as_str()?.to_owned());
        let number = |name: &str| value[name].as_f64();
        let time = || {
            Some(Self {
                name: text("name")?,
                unit: text("unit")?,
                median: number("median")?,
                min: number("min")?,
                max: number("max")?,
                n: value["n"].as_u64()?,
            })
        };
        time().with_context(|| format!("a measurement lacks one of name, unit, median, min, max, n: {line}"))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "# Benchmarks\n")?;
        writeln!(f, "Written by `cargo xtask bench`; do not edit by hand.\n")?;
        let Machine {
            cores,
            model,
            memory_gib,
        } = &self.machine;
        writeln!(
            f,
            "Machine: {cores} cores ({model}), {memory_gib} GiB. Relay, release build, and browsers all on it.\n"
        )?;
        writeln!(f, "## What a visitor downloads\n\n{}", size_table(&self.sizes))?;
        let sections: Vec<String> = self.sections.iter().map(Section::to_string).collect();
        f.write_str(&sections.join("\n"))
    }
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "## {}\n\n{}\n", self.title, self.about)?;
        writeln!(f, "| what | median | min | max | runs |\n|---|--:|--:|--:|--:|")?;
        for Time {
            name,
            unit,
            median,
            min,
            max,
            n,
        } in &self.times
        {
            let [median, min, max] = [median, min, max].map(|value| format!("{} {unit}", readable(*value)));
            writeln!(f, "| {name} | {median} | {min} | {max} | {n} |")?;
        }
        Ok(())
    }
}

/// As many digits as mean something.
fn readable(value: f64) -> String {
    if value < 10.0 {
        format!("{value:.2}")
    } else {
        format!("{value:.0}")
    }
}

/// The sizes and their sum, in KiB.
pub(super) fn size_table(sizes: &[Size]) -> String {
    let sum = |part: fn(&Size) -> u64| sizes.iter().map(part).sum();
    let total = Size {
        kind: "in all".into(),
        raw: sum(|size| size.raw),
        brotli: sum(|size| size.brotli),
    };
    let kib = |bytes: u64| bytes as f64 / 1024.0;
    let row = |size: &Size| format!("| {} | {:.1} | {:.1} |\n", size.kind, kib(size.raw), kib(size.brotli));
    let rows: String = sizes.iter().chain([&total]).map(row).collect();
    format!("| kind | KiB | KiB with brotli (quality 11) |\n|---|--:|--:|\n{rows}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_measurement_that_lacks_a_field_is_an_error_that_shows_the_line() {
        let error = Time::parse(r#"{"name":"x","unit":"ms","median":1}"#)
            .unwrap_err()
            .to_string();
        assert!(error.contains("\"median\":1"), "{error}");
        assert!(Time::parse("{").is_err());
    }

    #[test]
    fn what_the_harness_prints_becomes_a_row() {
        let line = r#"{"name":"reserved","unit":"ms","median":412.4,"min":9.04,"max":601.2,"n":10}"#;
        let machine = Machine::describe(2, "model name\t: A CPU\n", "MemTotal:       24600000 kB\n");
        let sizes = vec![Size {
            kind: "wasm".into(),
            raw: 2048,
            brotli: 512,
        }];
        let report = Report {
            machine,
            sizes,
            sections: vec![Section {
                title: "Times",
                about: "On loopback.",
                times: vec![Time::parse(line).unwrap()],
            }],
        }
        .to_string();
        assert!(
            report.contains("| reserved | 412 ms | 9.04 ms | 601 ms | 10 |"),
            "{report}"
        );
        assert!(report.contains("| in all | 2.0 | 0.5 |"), "{report}");
        assert!(report.contains("2 cores (A CPU), 24 GiB"), "{report}");
    }

    #[test]
    fn an_unknown_machine_still_has_its_cores() {
        let Machine {
            cores,
            model,
            memory_gib,
        } = Machine::describe(8, "", "");
        assert_eq!(
            (cores, model.as_str(), memory_gib),
            (8, "processor of unknown model", 0)
        );
    }
}
