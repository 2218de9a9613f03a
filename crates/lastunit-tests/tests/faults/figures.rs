//! Figures as they are printed.

use std::time::Duration;

/// The median and the most of some times.
pub fn median_and_most(times: &mut [Duration]) -> String {
    times.sort_unstable();
    format!("{:.0?} (median; at most {:.0?})", times[times.len() / 2], times[times.len() - 1])
}
