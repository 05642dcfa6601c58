//! Numbers that were measured, as `cargo xtask bench` reads them: one JSON object a line.

use serde_json::{Value, json};

/// Prints a time's samples, in milliseconds.
pub fn report(name: &str, samples: impl Iterator<Item = f64>) {
    report_in(name, "ms", samples);
}

/// What a number should be, to be good enough.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Aim {
    /// This or less.
    AtMost(f64),
    /// This or more.
    AtLeast(f64),
}

/// Prints a number's samples, and what their median should be.
#[expect(
    clippy::print_stdout,
    reason = "what measures is a programme, and this is its output"
)]
pub fn report_against(name: &str, unit: &str, samples: impl Iterator<Item = f64>, aim: Aim) {
    let mut summary = summary(name, unit, samples.collect());
    summary["aim"] = match aim {
        Aim::AtMost(most) => json!({ "at_most": most }),
        Aim::AtLeast(least) => json!({ "at_least": least }),
    };
    println!("{summary}");
}

/// Prints a number's samples.
#[expect(
    clippy::print_stdout,
    reason = "what measures is a programme, and this is its output"
)]
pub fn report_in(name: &str, unit: &str, samples: impl Iterator<Item = f64>) {
    println!("{}", summary(name, unit, samples.collect()));
}

fn summary(name: &str, unit: &str, mut samples: Vec<f64>) -> Value {
    samples.sort_by(f64::total_cmp);
    let rounded = |value: Option<&f64>| value.map(|value| (value * 100.0).round() / 100.0);
    let middle = samples.len() / 2;
    let median = match (samples.len() % 2, samples.get(middle)) {
        (0, Some(upper)) => Some(f64::midpoint(samples[middle - 1], *upper)),
        (_, value) => value.copied(),
    };
    json!({
        "name": name,
        "unit": unit,
        "median": rounded(median.as_ref()),
        "min": rounded(samples.first()),
        "max": rounded(samples.last()),
        "n": samples.len(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_samples_are_even_in_number_the_median_lies_between_the_middle_two() {
        let even = summary("x", "ms", vec![4.0, 1.0, 2.04, 3.0]);
        assert_eq!(even["median"], 2.52);
        assert_eq!(
            (&even["min"], &even["max"], &even["n"]),
            (&json!(1.0), &json!(4.0), &json!(4))
        );
        assert_eq!(summary("x", "ms", vec![7.0, 1.0, 2.0])["median"], 2.0);
        assert_eq!(summary("x", "ms", Vec::new())["median"], Value::Null);
    }
}
