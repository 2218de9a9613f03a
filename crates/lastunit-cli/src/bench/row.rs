//! One line of a result: what was measured, in several runs, of which the median counts.

use lastunit_bench::Measured;

use super::load::Load;

/// The runs of one row.
pub struct Row {
    pub name: String,
    pub load: Load,
    pub buyers: usize,
    pub runs: Vec<Measured>,
    /// What it is compared to, in words.
    pub remark: String,
    /// The names of the limits that it is held against.
    pub bounds: Vec<String>,
}

impl Row {
    pub fn new(name: impl Into<String>, load: Load, buyers: usize, bounds: Vec<String>) -> Self {
        Self { name: name.into(), load, buyers, runs: Vec::new(), remark: String::new(), bounds }
    }

    pub fn median(&self, of: impl Fn(&Measured) -> f64) -> f64 {
        median(self.runs.iter().map(of).collect())
    }

    pub fn per_second(&self) -> f64 {
        self.median(Measured::per_second)
    }

    /// A latency percentile in milliseconds.
    pub fn percentile_ms(&self, percentile: f64) -> f64 {
        self.median(|run| run.percentile_ms(percentile))
    }

    /// The least and the most of its rates.
    pub fn range(&self) -> (f64, f64) {
        let rates = self.runs.iter().map(Measured::per_second);
        rates.fold((f64::MAX, 0.0), |(least, most), rate| (least.min(rate), most.max(rate)))
    }
}

/// The upper median; 0 of nothing.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}
