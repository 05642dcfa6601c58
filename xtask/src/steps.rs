//! A task as a list of named steps: says `step i/n`, stops at the first that fails, tells how long each took.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// A slower step than this is worth a line in the summary.
const WORTH_TELLING: Duration = Duration::from_millis(500);

/// One named piece of a task.
pub(crate) struct Step<'a> {
    name: String,
    work: Box<dyn FnOnce() -> Result<Done> + 'a>,
}

/// What a step has to say when it is done.
pub(crate) enum Done {
    /// Nothing: its output was shown, or there was none.
    Silently,
    /// One line, shown behind the step's name.
    Saying(String),
}

impl<'a> Step<'a> {
    pub(crate) fn new(name: impl Into<String>, work: impl FnOnce() -> Result<()> + 'a) -> Self {
        Self {
            name: name.into(),
            work: Box::new(|| work().map(|()| Done::Silently)),
        }
    }

    /// A step that ends with one line of its own.
    pub(crate) fn saying(name: impl Into<String>, work: impl FnOnce() -> Result<String> + 'a) -> Self {
        Self {
            name: name.into(),
            work: Box::new(|| work().map(Done::Saying)),
        }
    }
}

/// How long the steps that ran took.
#[derive(Default)]
pub(crate) struct Summary {
    slow: Vec<(String, Duration)>,
    total: Duration,
}

/// Runs the steps in order. The summary of what ran is printed on failure; on success the caller decides.
pub(crate) fn run_all(steps: Vec<Step<'_>>) -> Result<Summary> {
    let mut summary = Summary::default();
    let count = steps.len();
    for (index, step) in steps.into_iter().enumerate() {
        println!("step {}/{count}: {}", index + 1, step.name);
        let start = Instant::now();
        let outcome = (step.work)();
        summary.add(&step.name, start.elapsed());
        match outcome {
            Ok(Done::Silently) => {}
            Ok(Done::Saying(line)) => println!("         {line}"),
            Err(error) => {
                print!("{summary}");
                return Err(error).with_context(|| format!("step {}/{count}, {}", index + 1, step.name));
            }
        }
    }
    Ok(summary)
}

impl Summary {
    fn add(&mut self, name: &str, took: Duration) {
        self.total += took;
        if took >= WORTH_TELLING {
            self.slow.push((name.to_owned(), took));
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, took) in &self.slow {
            writeln!(f, "{:>8.1} s  {name}", took.as_secs_f64())?;
        }
        writeln!(f, "{:>8.1} s  in all", self.total.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn when_a_step_fails_the_ones_after_it_do_not_run() {
        let ran = RefCell::new(Vec::new());
        let run = |index| {
            ran.borrow_mut().push(index);
            Ok(())
        };
        let steps = vec![
            Step::new("first", || run(1)),
            Step::saying("second", || anyhow::bail!("no")),
            Step::new("third", || run(3)),
        ];
        let error = run_all(steps).err().unwrap();
        assert_eq!(*ran.borrow(), [1]);
        assert_eq!(format!("{error:#}"), "step 2/3, second: no");
    }

    #[test]
    fn the_summary_leaves_out_what_took_no_time() {
        let mut summary = Summary::default();
        summary.add("instant", Duration::from_millis(3));
        summary.add("slow", Duration::from_millis(1500));
        assert_eq!(summary.to_string(), "     1.5 s  slow\n     1.5 s  in all\n");
    }
}
