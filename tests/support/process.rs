//! Child processes: started with their output read, ended by their own pid when their guard is dropped.

use std::{
    collections::VecDeque,
    io::{BufRead, BufReader, Read, Write},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::eventually::{Look, eventually};

/// Lines of output kept per process: enough to explain a failure. Older ones are dropped.
const LINES_KEPT: usize = 400;

/// Lines shown in an error.
const LINES_SHOWN: usize = 40;

/// How long a process that was asked to end may take before it is killed.
const GRACE: Duration = Duration::from_secs(5);

/// A running child process. Dropping it ends it: SIGTERM, then SIGKILL after a grace period.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    output: Arc<Mutex<VecDeque<String>>>,
    readers: Vec<JoinHandle<()>>,
}

impl Process {
    /// Starts `command`; `name` stands for it in errors.
    ///
    /// It stays in this process' group, so whoever ends the group of a test that hangs ends its children too.
    pub fn spawn(name: &str, command: Command) -> anyhow::Result<Self> {
        Self::spawn_with(name, command, Stdio::null())
    }

    /// Starts `command` so that it can be told something: see [`Self::tell`].
    pub fn spawn_listening(name: &str, command: Command) -> anyhow::Result<Self> {
        Self::spawn_with(name, command, Stdio::piped())
    }

    fn spawn_with(name: &str, mut command: Command, stdin: Stdio) -> anyhow::Result<Self> {
        command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .with_context(|| format!("cannot start {name} ({})", command.get_program().to_string_lossy()))?;
        let output = Arc::default();
        let mut readers = Vec::new();
        if let Some(stdout) = child.stdout.take() {
            readers.push(keep_lines(stdout, Arc::clone(&output)));
        }
        if let Some(stderr) = child.stderr.take() {
            readers.push(keep_lines(stderr, Arc::clone(&output)));
        }
        Ok(Self {
            name: name.to_owned(),
            stdin: child.stdin.take(),
            child,
            output,
            readers,
        })
    }

    /// Its process id, good until it is waited for.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line of output in which `pick` finds something.
    pub async fn wait_for_line<T>(
        &mut self,
        within: Duration,
        what: &str,
        pick: impl Fn(&str) -> Option<T>,
    ) -> anyhow::Result<T> {
        eventually(within, &format!("{} prints {what}", self.name), async || {
            Ok(match self.line(what, &pick).await? {
                Some(found) => Look::There(found),
                None => Look::NotYet(self.tail()),
            })
        })
        .await
    }

    /// A line of output in which `pick` finds something, if there is one already; an error if none can come any more.
    pub async fn line<T>(&mut self, what: &str, pick: impl Fn(&str) -> Option<T>) -> anyhow::Result<Option<T>> {
        // Asked before the lines are looked at: what it printed before it ended is not missed.
        let ended = self.child.try_wait()?;
        if ended.is_some() {
            self.let_readers_finish().await;
        }
        let found = lines(&self.output).iter().find_map(|line| pick(line));
        if let (None, Some(status)) = (&found, ended) {
            bail!(
                "{} ended ({status}) before it printed {what}:\n{}",
                self.name,
                self.tail()
            );
        }
        Ok(found)
    }

    /// Writes a line to its stdin.
    pub fn tell(&mut self, line: &str) -> anyhow::Result<()> {
        let stdin = self
            .stdin
            .as_mut()
            .with_context(|| format!("{} does not listen", self.name))?;
        writeln!(stdin, "{line}").with_context(|| format!("{} takes no line", self.name))
    }

    /// Waits for the process to end by itself.
    pub async fn wait(&mut self, within: Duration) -> anyhow::Result<ExitStatus> {
        eventually(within, &format!("{} ends", self.name), async || {
            Ok(match self.child.try_wait()? {
                Some(status) => Look::There(status),
                None => Look::NotYet(self.tail()),
            })
        })
        .await
    }

    /// Ends it as a crash would: no warning, no clean-up.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.child
            .kill()
            .with_context(|| format!("cannot kill {}", self.name))?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks it to end (SIGTERM).
    pub fn terminate(&mut self) -> anyhow::Result<()> {
        // Without a look first, the pid of a child that was already reaped could be somebody else's.
        if self.child.try_wait()?.is_none() {
            kill_process(Pid::from_child(&self.child), Signal::TERM)
                .with_context(|| format!("cannot signal {}", self.name))?;
        }
        Ok(())
    }

    /// What was printed just before the end may still be in the pipe. A grandchild can keep the pipe open: no endless wait.
    async fn let_readers_finish(&self) {
        for _ in 0..50 {
            if self.readers.iter().all(JoinHandle::is_finished) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The lines it printed that begin with `prefix`, without it; of very many the last.
    pub fn printed(&self, prefix: &str) -> Vec<String> {
        let lines = lines(&self.output);
        let rest = lines.iter().filter_map(|line| line.strip_prefix(prefix));
        rest.map(str::to_owned).collect()
    }

    /// Takes what `pick` finds in the lines that are kept, and those lines with it.
    pub fn take<T>(&self, pick: impl Fn(&str) -> Option<T>) -> Vec<T> {
        let mut found = Vec::new();
        lines(&self.output).retain(|line| match pick(line) {
            Some(one) => {
                found.push(one);
                false
            }
            None => true,
        });
        found
    }

    /// The last lines it printed.
    pub fn tail(&self) -> String {
        let lines = lines(&self.output);
        let skipped = lines.len().saturating_sub(LINES_SHOWN);
        let shown: Vec<&str> = lines.iter().skip(skipped).map(String::as_str).collect();
        format!("--- {}\n{}\n---", self.name, shown.join("\n"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.terminate().is_ok() {
            let deadline = Instant::now() + GRACE;
            while Instant::now() < deadline {
                if !matches!(self.child.try_wait(), Ok(None)) {
                    return;
                }
                thread::sleep(Duration::from_millis(10));
            }
        }
        // Nobody is left to tell: the child is a zombie at worst, and ours.
        let _ = self.kill();
    }
}

fn keep_lines(stream: impl Read + Send + 'static, output: Arc<Mutex<VecDeque<String>>>) -> JoinHandle<()> {
    thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
            let mut kept = lines(&output);
            if kept.len() == LINES_KEPT {
                kept.pop_front();
            }
            kept.push_back(String::from_utf8_lossy(&line).trim_end().to_owned());
        }
    })
}

fn lines(output: &Mutex<VecDeque<String>>) -> MutexGuard<'_, VecDeque<String>> {
    output.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn shell(script: &str) -> Process {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Process::spawn("sh", command).unwrap()
    }

    #[tokio::test]
    async fn when_a_child_ends_early_its_last_words_are_in_the_error() {
        let mut child = shell("echo no such port >&2; exit 3");
        let error = child
            .wait_for_line(Duration::from_secs(10), "its port", |line| {
                line.strip_prefix("port ").map(str::to_owned)
            })
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("no such port") && error.contains("exit status: 3"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn when_a_child_is_told_a_line_it_reads_it() {
        let mut command = Command::new("sh");
        command.args(["-c", "read line; echo heard $line"]);
        let mut child = Process::spawn_listening("sh", command).unwrap();
        child.tell("the news").unwrap();
        child
            .wait_for_line(Duration::from_secs(10), "what it heard", |line| {
                (line == "heard the news").then_some(())
            })
            .await
            .unwrap();
        assert!(shell("true").tell("nobody listens").is_err());
    }

    #[tokio::test]
    async fn when_lines_are_taken_they_are_there_once() {
        let mut child = shell("echo error: one; echo other; echo error: two; echo end");
        let end = |line: &str| (line == "end").then_some(());
        child
            .wait_for_line(Duration::from_secs(10), "its end", end)
            .await
            .unwrap();
        let errors = || child.take(|line| line.strip_prefix("error: ").map(str::to_owned));
        assert_eq!(errors(), ["one", "two"]);
        assert_eq!(errors(), Vec::<String>::new());
        assert_eq!(child.printed(""), ["other", "end"]);
    }

    #[tokio::test]
    async fn when_the_guard_is_dropped_the_child_is_gone() {
        let mut child = shell("echo $$; exec sleep 600");
        let pid = child
            .wait_for_line(Duration::from_secs(10), "its pid", |line| line.parse::<u32>().ok())
            .await
            .unwrap();
        let entry = PathBuf::from(format!("/proc/{pid}/stat"));
        assert!(entry.exists());
        drop(child);
        assert!(!entry.exists());
    }
}
