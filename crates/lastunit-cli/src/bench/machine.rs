//! What the machine is, and what its disk can do at most.

use std::{
    fs::File,
    os::unix::fs::FileExt,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

/// Cores, processor and kernel, in a line.
pub fn describe() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("");
    let kernel = read("/proc/sys/kernel/osrelease");
    format!("{cores} cores, {}, Linux {}", model.trim_start_matches([' ', '\t', ':']), kernel.trim())
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
