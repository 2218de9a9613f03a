//! The figures of all strategies side by side, and a verdict on each.

use std::fmt::Write;

use lastunit_bench::chart::number;

use super::{Course, Run};

const HEAD: [&str; 11] = [
    "strategy",
    "placed",
    "refused",
    "gave up",
    "oversold",
    "lost updates",
    "retries",
    "orders/s",
    "p50 ms",
    "p99 ms",
    "max ms",
];

/// The table and the verdicts, a line each.
pub fn table(course: &Course, runs: &[Run]) -> String {
    let rows: Vec<[String; HEAD.len()]> = runs.iter().map(row).collect();
    let mut widths = HEAD.map(str::len);
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: [&str; HEAD.len()]| {
        let mut line = String::new();
        for ((at, cell), width) in cells.iter().enumerate().zip(widths) {
            // Writing to a String can't fail.
            let _ =
                if at == 0 { write!(line, "| {cell:<width$} ") } else { write!(line, "| {cell:>width$} ") };
        }
        line + "|\n"
    };
    let mut text = line(HEAD);
    for (at, width) in widths.iter().enumerate() {
        let _ = write!(text, "|{}{}", "-".repeat(width + 1), if at == 0 { "-" } else { ":" });
    }
    text.push_str("|\n");
    for row in &rows {
        text.push_str(&line(row.each_ref().map(String::as_str)));
    }
    text.push_str("\norders/s: orders decided a second, placed or refused\n\n");
    for run in runs {
        let strategy = run.figures.strategy.as_str();
        let _ = writeln!(text, "{strategy:<12} {}", run.figures.verdict(course).text());
    }
    text
}

fn row(run: &Run) -> [String; HEAD.len()] {
    let figures = &run.figures;
    let ms = |percentile| format!("{:.2}", figures.percentile_ms(percentile));
    [
        figures.strategy.as_str().to_owned(),
        figures.placed.to_string(),
        figures.refused.to_string(),
        figures.gave_up.to_string(),
        figures.units.oversold.to_string(),
        figures.units.lost.to_string(),
        figures.retries.to_string(),
        number(figures.per_second().round()),
        ms(50.0),
        ms(99.0),
        ms(100.0),
    ]
}
