//! What the machine is, and what its disk can do at most.

use std::{
    fmt,
    fs::File,
    os::unix::fs::FileExt,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::Serialize;

/// The machine that it ran on.
#[derive(Debug, Serialize)]
pub struct Machine {
    pub cores: usize,
    pub cpu: String,
    pub kernel: String,
    pub memory_mib: u64,
}

impl Machine {
    /// This one.
    pub fn this() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let (cpuinfo, meminfo) = (read("/proc/cpuinfo"), read("/proc/meminfo"));
        let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("");
        let memory = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:")).unwrap_or("");
        let memory_kib = memory.trim().trim_end_matches(" kB").parse().unwrap_or(0);
        Self {
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            cpu: model.trim_start_matches([' ', '\t', ':']).to_owned(),
            kernel: format!("Linux {}", read("/proc/sys/kernel/osrelease").trim()),
            memory_mib: memory_kib / 1024,
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cores, cpu, kernel, memory_mib } = self;
        write!(f, "{cores} cores, {cpu}, {memory_mib} MiB of memory, {kernel}")
    }
}

/// Every buyer over HTTP has a connection, and so has the server, which inherits the limit: many systems allow 1,024 open
/// files, unless they are asked for more.
pub fn allow_many_connections() -> Result<()> {
    const FILES: u64 = 4096;
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(FILES, |most| most.min(FILES));
    if limit.current.is_some_and(|current| current < wanted) {
        setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), ..limit })?;
    }
    Ok(())
}

/// How many times a second a write of 4 KiB can be made durable in this folder: the most transactions a second
/// that one after another could ever reach.
pub fn fsyncs_per_second(folder: &Path) -> Result<f64> {
    let file = tempfile::NamedTempFile::new_in(folder)?;
    let page = [0x5A; 4096];
    let sync = |file: &File, at: u64| -> Result<()> {
        file.write_all_at(&page, at * 4096)?;
        Ok(file.sync_data()?)
    };
    let begun = Instant::now();
    let mut count = 0;
    while begun.elapsed() < Duration::from_millis(500) {
        sync(file.as_file(), count)?;
        count += 1;
    }
    Ok(count as f64 / begun.elapsed().as_secs_f64())
}

/// CPU time that a process has used, of user and system together.
pub fn cpu_of(pid: u32) -> Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name in parentheses may hold spaces: fields are counted behind it.
    let fields: Vec<&str> = stat.rsplit(')').next().context("no name")?.split_whitespace().collect();
    let ticks = |at: usize| -> Result<u64> { Ok(fields.get(at).context("too few fields")?.parse()?) };
    // utime and stime, in the clock ticks of 10 ms that Linux shows to every program.
    Ok(Duration::from_millis((ticks(11)? + ticks(12)?) * 10))
}
