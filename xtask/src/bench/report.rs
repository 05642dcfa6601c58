//! docs/benchmarks.md as text: what was measured, on what, by which command. No date: the commit has one.
//!
//! A section is known by its title. One that is written anew takes the place of the old one; whatever else is in the file,
//! such as what people have found out about the numbers, is kept to the letter.

use std::fmt;

use anyhow::{Context, Result};
use serde_json::Value;

use super::sizes::Size;

/// What the file begins with.
const HEAD: &str = "# Benchmarks

Sections that name a command are written by it; do not edit those by hand.";

/// Everything that is in the file.
#[derive(Debug, Default)]
pub(super) struct Document {
    sections: Vec<Section>,
}

/// A title, and what stands below it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Section {
    title: String,
    text: String,
}

impl Document {
    /// What is there. The head is ours and not kept.
    pub(super) fn parse(text: &str) -> Self {
        let mut sections: Vec<Section> = Vec::new();
        for line in text.lines() {
            if let Some(title) = line.strip_prefix("## ") {
                sections.push(Section {
                    title: title.trim().to_owned(),
                    text: String::new(),
                });
            } else if let Some(section) = sections.last_mut() {
                section.text.push_str(line);
                section.text.push('\n');
            }
        }
        for section in &mut sections {
            section.text = section.text.trim().to_owned();
        }
        Self { sections }
    }

    /// In the place of the section of this title; at the end if there is none.
    pub(super) fn put(&mut self, section: Section) {
        match self.sections.iter_mut().find(|old| old.title == section.title) {
            Some(old) => *old = section,
            None => self.sections.push(section),
        }
    }
}

impl fmt::Display for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEAD}")?;
        for section in &self.sections {
            write!(f, "\n{section}")?;
        }
        Ok(())
    }
}

impl Section {
    pub(super) fn new(title: &str, about: &str, command: &str, machine: &Machine, table: String) -> Self {
        let table = table.trim();
        Self {
            title: title.to_owned(),
            text: format!("{about} Written by `{command}` on {machine}.\n\n{table}"),
        }
    }
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "## {}\n\n{}", self.title, self.text)
    }
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

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} cores ({}), {} GiB", self.cores, self.model, self.memory_gib)
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
    aim: Option<Aim>,
}

/// What a median should be.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Aim {
    AtMost(f64),
    AtLeast(f64),
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
                aim: Aim::parse(&value["aim"]),
            })
        };
        time().with_context(|| format!("a measurement lacks one of name, unit, median, min, max, n: {line}"))
    }
}

impl Aim {
    fn parse(value: &Value) -> Option<Self> {
        let most = value["at_most"].as_f64().map(Self::AtMost);
        most.or_else(|| value["at_least"].as_f64().map(Self::AtLeast))
    }

    /// What it is, and how far from it the median is on the wrong side.
    fn judge(self, median: f64) -> String {
        let (sign, aim, missed) = match self {
            Self::AtMost(aim) => ("≤", aim, median > aim),
            Self::AtLeast(aim) => ("≥", aim, median < aim),
        };
        let aim_text = readable(aim);
        match (missed, aim) {
            (false, _) => format!("{sign} {aim_text}: met"),
            (true, 0.0) => format!("{sign} {aim_text}: **missed**"),
            (true, _) => format!(
                "{sign} {aim_text}: **missed** by {:.0} %",
                (median / aim - 1.0).abs() * 100.0
            ),
        }
    }
}

/// A row for each. Where anything has an aim, there is a column for it.
pub(super) fn table(times: &[Time]) -> String {
    let aims = times.iter().any(|time| time.aim.is_some());
    let (head, rule) = if aims { (" aim |", "---|") } else { ("", "") };
    let mut table = format!("| what | median | min | max | runs |{head}\n|---|--:|--:|--:|--:|{rule}\n");
    for Time {
        name,
        unit,
        median,
        min,
        max,
        n,
        aim,
    } in times
    {
        let [low, middle, high] = [min, median, max].map(|value| format!("{} {unit}", readable(*value)));
        let [low, middle, high] = [low.trim_end(), middle.trim_end(), high.trim_end()];
        let judged = aim.map(|aim| aim.judge(*median)).unwrap_or_default();
        let judged = if aims { format!(" {judged} |") } else { judged };
        table.push_str(&format!("| {name} | {middle} | {low} | {high} | {n} |{judged}\n"));
    }
    table
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

    fn section(title: &str, text: &str) -> Section {
        Section {
            title: title.into(),
            text: text.into(),
        }
    }

    #[test]
    fn what_the_harness_prints_becomes_a_row() {
        let line = r#"{"name":"reserved","unit":"ms","median":412.4,"min":9.04,"max":601.2,"n":10}"#;
        let table = table(&[Time::parse(line).unwrap()]);
        assert!(
            table.ends_with("| reserved | 412 ms | 9.04 ms | 601 ms | 10 |\n"),
            "{table}"
        );
        let machine = Machine::describe(2, "model name\t: A CPU\n", "MemTotal:       24600000 kB\n");
        let section = Section::new("Times", "On loopback.", "cargo x", &machine, table).to_string();
        assert!(
            section.starts_with("## Times\n\nOn loopback. Written by `cargo x` on 2 cores (A CPU), 24 GiB.\n\n| what"),
            "{section}"
        );
    }

    #[test]
    fn where_one_row_has_an_aim_it_is_said_whether_it_is_met() {
        let row = |median: f64, aim: &str| {
            let line = format!(r#"{{"name":"x","unit":"×","median":{median},"min":0,"max":9,"n":5{aim}}}"#);
            Time::parse(&line).unwrap()
        };
        let table = table(&[
            row(0.88, r#","aim":{"at_most":0.8}"#),
            row(0.8, r#","aim":{"at_most":0.8}"#),
            row(1.5, r#","aim":{"at_least":3}"#),
            row(1.0, r#","aim":{"at_most":0}"#),
            row(7.0, ""),
        ]);
        let ends: Vec<&str> = table.lines().filter_map(|line| line.rsplit('|').nth(1)).collect();
        assert_eq!(
            ends,
            [
                " aim ",
                "---",
                " ≤ 0.80: **missed** by 10 % ",
                " ≤ 0.80: met ",
                " ≥ 3.00: **missed** by 50 % ",
                " ≤ 0.00: **missed** ",
                "  "
            ]
        );
    }

    #[test]
    fn when_a_section_is_written_anew_the_others_stay_as_they_are() {
        let by_hand = section("Why", "Because.\n\n### More\n\n| a |\n|---|\n| b |");
        let mut document = Document::default();
        for one in [section("Old", "1"), by_hand.clone()] {
            document.put(one);
        }
        let mut document = Document::parse(&document.to_string());
        document.put(section("Old", "2"));
        document.put(section("New", "3"));
        let read = Document::parse(&document.to_string());
        assert_eq!(read.sections, [section("Old", "2"), by_hand, section("New", "3")]);
        assert_eq!(read.to_string(), document.to_string());
        assert!(read.to_string().starts_with("# Benchmarks\n"));
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
