//! The file of a history: appended to while it happens, read when it is over.

use std::{
    collections::HashMap,
    fs::File,
    io::{BufRead, BufReader, Write},
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use anyhow::{Context, Result, bail};

use super::event::{Answer, Call, Complete, Event, Fault, Invoke, Outcome, Run};

/// Appends to a history.
///
/// Each line is given to the kernel (one write) before the call that it tells of leaves. So it survives whatever
/// happens to the process that writes it; it need not survive a power cut of the machine, after which the shop would be
/// judged by a history that ends early: nothing would be held against it that wasn't so. Therefore no fdatasync, which
/// would slow the buyers down to the disk's pace and with that take away the races they are here for.
pub struct Recorder {
    begun: Instant,
    ops: AtomicU64,
    file: Mutex<File>,
}

impl Recorder {
    /// Begins a new history in this file, which must not be there.
    pub fn create(path: &Path, run: &Run) -> Result<Self> {
        let file = File::create_new(path).with_context(|| format!("{} can't be created", path.display()))?;
        let recorder = Self { begun: Instant::now(), ops: AtomicU64::new(0), file: Mutex::new(file) };
        recorder.append(&Event::Run(run.clone()))?;
        Ok(recorder)
    }

    /// Microseconds since it began.
    pub fn now_us(&self) -> u64 {
        self.begun.elapsed().as_micros().try_into().unwrap_or(u64::MAX)
    }

    /// Writes that a call leaves now; its number.
    pub fn invoke(&self, client: u32, buyer: &str, call: Call) -> Result<u64> {
        let op = self.ops.fetch_add(1, Ordering::Relaxed);
        let at_us = self.now_us();
        self.append(&Event::Invoke(Invoke { op, client, buyer: buyer.to_owned(), at_us, call }))?;
        Ok(op)
    }

    /// Writes that a call was answered by now.
    pub fn complete(&self, op: u64, answer: Answer) -> Result<()> {
        self.append(&Event::Complete(Complete { op, at_us: self.now_us(), answer }))
    }

    /// Writes what was broken.
    pub fn fault(&self, fault: Fault) -> Result<()> {
        self.append(&Event::Fault(fault))
    }

    fn append(&self, event: &Event) -> Result<()> {
        let mut line = serde_json::to_vec(event)?;
        line.push(b'\n');
        let mut file = self.file.lock().map_err(|_| anyhow::anyhow!("a writer of the history panicked"))?;
        file.write_all(&line).context("the history can't be written")
    }
}

/// A call from its start to its end.
#[derive(Debug, Clone, PartialEq)]
pub struct Op {
    /// Its number.
    pub id: u64,
    /// Who sent it.
    pub client: u32,
    /// For whom.
    pub buyer: String,
    /// What was asked.
    pub call: Call,
    /// When it left.
    pub start_us: u64,
    /// When it was answered or given up; `u64::MAX` if that isn't written.
    pub end_us: u64,
    /// What came back.
    pub answer: Answer,
}

impl Op {
    /// What came of it.
    pub fn outcome(&self) -> Outcome {
        self.answer.outcome()
    }
}

/// A whole history: calls in the order in which they left.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct History {
    /// What was run.
    pub run: Run,
    /// Every call.
    pub ops: Vec<Op>,
    /// Every fault.
    pub faults: Vec<Fault>,
}

/// Reads a history. A last line that was cut off is left out; any other that can't be read is an error.
pub fn read(path: &Path) -> Result<History> {
    let file = File::open(path).with_context(|| format!("{} can't be read", path.display()))?;
    let mut lines = BufReader::new(file).split(b'\n').enumerate().peekable();
    let mut history = History::default();
    let mut places: HashMap<u64, usize> = HashMap::new();
    while let Some((number, line)) = lines.next() {
        let event = match serde_json::from_slice(&line?) {
            Ok(event) => event,
            Err(_) if lines.peek().is_none() => break,
            Err(error) => bail!("line {} of {}: {error}", number + 1, path.display()),
        };
        match event {
            Event::Run(run) => history.run = run,
            Event::Fault(fault) => history.faults.push(fault),
            Event::Invoke(Invoke { op, client, buyer, at_us, call }) => {
                places.insert(op, history.ops.len());
                let (end_us, answer) = (u64::MAX, Answer::default());
                history.ops.push(Op { id: op, client, buyer, call, start_us: at_us, end_us, answer });
            }
            Event::Complete(Complete { op, at_us, answer }) => {
                let place = places.remove(&op).with_context(|| {
                    format!("line {} of {}: no call has the number {op}", number + 1, path.display())
                })?;
                (history.ops[place].end_us, history.ops[place].answer) = (at_us, answer);
            }
        }
    }
    history.ops.sort_by_key(|op| op.start_us);
    Ok(history)
}
