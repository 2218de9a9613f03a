//! What is seen while it runs, on standard error.

use std::{
    io::{IsTerminal, Write},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use anyhow::Result;
use lastunit_bench::workload::Plan;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
    time::{Instant, sleep},
};

/// Shows what happens, until the time is over.
pub async fn progress(plan: &Plan, fault: watch::Receiver<String>, lasts: Duration) {
    let live = std::io::stderr().is_terminal();
    let every = if live { Duration::from_millis(250) } else { Duration::from_secs(5) };
    let begun = Instant::now();
    while let Some(left) = lasts.checked_sub(begun.elapsed()).filter(|left| !left.is_zero()) {
        sleep(left.min(every)).await;
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counts = &plan.counts;
        let line = format!(
            "{:>6.1} of {:.0} s: {} calls, {} orders placed, {} refused, {} calls unanswered   {}",
            begun.elapsed().as_secs_f64(),
            lasts.as_secs_f64(),
            count(&counts.calls),
            count(&counts.placed),
            count(&counts.refused),
            count(&counts.unanswered),
            *fault.borrow()
        );
        // Nobody may be reading; that is no reason to stop.
        if live {
            write!(std::io::stderr(), "\r\x1b[K{line}").ok();
        } else {
            writeln!(std::io::stderr(), "{}", line.trim_end()).ok();
        }
    }
}

/// Waits for Ctrl-C, or SIGTERM.
pub async fn interrupted() -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        pressed = tokio::signal::ctrl_c() => Ok(pressed?),
        _ = terminate.recv() => Ok(()),
    }
}

/// Shows what comes next, on a line of its own.
pub fn say(what: &str) {
    let clear = if std::io::stderr().is_terminal() { "\r\x1b[K" } else { "" };
    writeln!(std::io::stderr(), "{clear}{what}").ok();
}
