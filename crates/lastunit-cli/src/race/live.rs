//! What is seen while a strategy runs: a bar where somebody looks, a line where a file or a pipe does.

use std::{io::IsTerminal, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};
use lastunit::Strategy;

/// The progress of one strategy's run, on standard error.
pub struct Live {
    strategy: Strategy,
    attempts: u64,
    bar: Option<ProgressBar>,
}

impl Live {
    pub fn new(strategy: Strategy, attempts: u64) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(attempts);
            if let Ok(style) = ProgressStyle::with_template("{prefix:<12} {bar:32} {pos:>6}/{len}  {msg}") {
                bar.set_style(style);
            }
            bar.set_prefix(strategy.as_str());
            bar
        });
        Self { strategy, attempts, bar }
    }

    /// So many attempts are answered after this time, and the stock is this.
    pub fn show(&self, answered: u64, after: Duration, stock: i64) {
        if let Some(bar) = &self.bar {
            let per_second = answered as f64 / after.as_secs_f64().max(0.001);
            bar.set_position(answered);
            bar.set_message(format!("{per_second:.0} orders/s, {stock} left in stock"));
        }
    }

    /// It is over.
    pub fn end(self, after: Duration) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        eprintln!(
            "{:<12} {} attempts in {:.2} s",
            self.strategy.as_str(),
            self.attempts,
            after.as_secs_f64()
        );
    }
}
