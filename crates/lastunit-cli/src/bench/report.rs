//! What was measured, for people and for programs: the table on standard output, and report.md, report.json and
//! report.svg in a folder.

use std::{collections::BTreeMap, fmt::Write, path::Path};

use anyhow::{Context, Result};
use lastunit::{Source, SystemSource};
use lastunit_bench::{
    Measured,
    chart::{Bars, Dots, Figure, Hue, Lines, Scale, Series, number},
};
use serde::Serialize;

use super::{Findings, growth::Point, limits, machine::Machine, row::Row};

/// All of a run.
#[derive(Serialize)]
pub struct Report {
    /// The version that was measured.
    lastunit: &'static str,
    /// When it ended, RFC 3339.
    at: String,
    machine: Machine,
    /// Version and durability, or where the shop is.
    database: String,
    options: BTreeMap<&'static str, String>,
    limits: Vec<LimitLine>,
    rows: Vec<RowLine>,
    growth: Vec<PointLine>,
    notes: Vec<String>,
}

#[derive(Serialize)]
struct LimitLine {
    name: String,
    unit: &'static str,
    per_second: f64,
    runs: Vec<f64>,
}

#[derive(Serialize)]
struct RowLine {
    name: String,
    load: &'static str,
    buyers: usize,
    per_second: f64,
    least_per_second: f64,
    most_per_second: f64,
    latency_ms: Latency,
    compared: String,
    ratios: Vec<Ratio>,
    runs: Vec<RunLine>,
}

/// Percentiles in milliseconds; of several runs, the median of each.
#[derive(Serialize)]
struct Latency {
    p50: f64,
    p90: f64,
    p99: f64,
    p99_9: f64,
    max: f64,
}

impl Latency {
    fn of(percentile: impl Fn(f64) -> f64) -> Self {
        Self {
            p50: percentile(50.0),
            p90: percentile(90.0),
            p99: percentile(99.0),
            p99_9: percentile(99.9),
            max: percentile(100.0),
        }
    }

    fn all(&self) -> [f64; 5] {
        [self.p50, self.p90, self.p99, self.p99_9, self.max]
    }
}

/// A rate divided by that of a limit.
#[derive(Serialize)]
struct Ratio {
    to: String,
    ratio: f64,
}

#[derive(Serialize)]
struct RunLine {
    /// Placed or refused.
    answered: u64,
    placed: u64,
    refused: u64,
    turned_away: u64,
    seconds: f64,
    per_second: f64,
    latency_ms: Latency,
    #[serde(skip_serializing_if = "Option::is_none")]
    wanted_per_second: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    worst_start_late_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_started: Option<u64>,
}

#[derive(Serialize)]
struct PointLine {
    /// Orders there were before.
    orders: u64,
    skus: i64,
    per_second: f64,
    latency_ms: Latency,
    /// Its rate divided by that of the first point of its series.
    to_first: f64,
    ratios: Vec<Ratio>,
}

impl PointLine {
    /// A measurement of a series that begins with the rate `first`.
    fn new(point: &Point, first: f64, bounds: &[String], rate_of: impl Fn(&str) -> Option<f64>) -> Self {
        let Point { orders, skus, measured } = point;
        let per_second = measured.per_second();
        Self {
            orders: *orders,
            skus: *skus,
            per_second,
            latency_ms: Latency::of(|percentile| measured.percentile_ms(percentile)),
            to_first: per_second / first,
            ratios: ratios(per_second, bounds, rate_of),
        }
    }
}

/// A rate, held against those of these limits.
fn ratios(per_second: f64, bounds: &[String], rate_of: impl Fn(&str) -> Option<f64>) -> Vec<Ratio> {
    let ratio = |name: &String| {
        let limit = rate_of(name).filter(|limit| *limit > 0.0)?;
        Some(Ratio { to: name.clone(), ratio: per_second / limit })
    };
    bounds.iter().filter_map(ratio).collect()
}

/// Makes the folder of a report, if it isn't there: before a long run, not after it.
pub fn make_folder(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("the folder {} can't be made", folder.display()))
}

impl From<&Measured> for RunLine {
    fn from(run: &Measured) -> Self {
        let kept = run.punctuality;
        Self {
            answered: run.answered,
            placed: run.placed(),
            refused: run.refused,
            turned_away: run.turned_away,
            seconds: run.took.as_secs_f64(),
            per_second: run.per_second(),
            latency_ms: Latency::of(|percentile| run.percentile_ms(percentile)),
            wanted_per_second: kept.map(|kept| kept.wanted_per_second),
            worst_start_late_ms: kept.map(|kept| kept.worst_start_late.as_secs_f64() * 1e3),
            not_started: kept.map(|kept| kept.not_started),
        }
    }
}

impl RowLine {
    fn new(row: &Row, rate_of: impl Fn(&str) -> Option<f64>) -> Self {
        let (per_second, (least, most)) = (row.per_second(), row.range());
        Self {
            name: row.name.clone(),
            load: row.load.name(),
            buyers: row.buyers,
            per_second,
            least_per_second: least,
            most_per_second: most,
            latency_ms: Latency::of(|percentile| row.percentile_ms(percentile)),
            compared: row.remark.clone(),
            ratios: ratios(per_second, &row.bounds, rate_of),
            runs: row.runs.iter().map(RunLine::from).collect(),
        }
    }
}

impl Report {
    pub fn new(
        machine: Machine,
        database: String,
        options: BTreeMap<&'static str, String>,
        findings: &Findings,
    ) -> Self {
        let Findings { limits, rows, series, notes, .. } = findings;
        let limit_lines = limits.iter().map(|limit| LimitLine {
            name: limit.name.clone(),
            unit: limit.unit,
            per_second: limit.per_second(),
            runs: limit.runs.clone(),
        });
        let rate_of = |name: &str| {
            let limit = limits.iter().find(|limit| limit.name == name).map(limits::Limit::per_second);
            limit.or_else(|| rows.iter().find(|row| row.name == name).map(Row::per_second))
        };
        let bounds: Vec<String> = limits.iter().map(|limit| limit.name.clone()).collect();
        let points = |points: &Vec<Point>| -> Vec<PointLine> {
            let first = points.first().map_or(0.0, |point| point.measured.per_second());
            points.iter().map(|point| PointLine::new(point, first, &bounds, rate_of)).collect()
        };
        Self {
            lastunit: env!("CARGO_PKG_VERSION"),
            at: SystemSource.now().to_string(),
            machine,
            database,
            options,
            limits: limit_lines.collect(),
            rows: rows.iter().map(|row| RowLine::new(row, rate_of)).collect(),
            growth: series.iter().flat_map(points).collect(),
            notes: notes.clone(),
        }
    }

    /// The tables, as on a terminal.
    pub fn tables(&self) -> String {
        let mut text = String::new();
        if !self.limits.is_empty() {
            self.push_limits(&mut text);
            text.push('\n');
        }
        if !self.rows.is_empty() {
            self.push_rows(&mut text);
        }
        if !self.growth.is_empty() {
            self.push_growth(&mut text);
        }
        text
    }

    fn push_limits(&self, text: &mut String) {
        let width = widest(self.limits.iter().map(|limit| limit.name.as_str()));
        line(
            text,
            format_args!("| {:<width$} | {:>8} | {:>15} | counted |", "limit", "a second", "least–most"),
        );
        let dashes = width + 2;
        line(text, format_args!("|{:-<dashes$}|{:->10}|{:->17}|---------|", "", ":", ":"));
        for LimitLine { name, unit, per_second, runs } in &self.limits {
            let (least, most) =
                runs.iter().fold((f64::MAX, 0.0_f64), |(least, most), run| (least.min(*run), most.max(*run)));
            let range = format!("{least:.0}–{most:.0}");
            line(text, format_args!("| {name:<width$} | {per_second:>8.0} | {range:>15} | {unit:<7} |"));
        }
    }

    fn push_rows(&self, text: &mut String) {
        let width = widest(self.rows.iter().map(|row| row.name.as_str()));
        line(
            text,
            format_args!(
                "| {:<width$} | {:>8} | {:>15} | {:>6} | {:>6} | {:>7} | compared |",
                "what", "a second", "least–most", "p50 ms", "p99 ms", "max ms"
            ),
        );
        let dashes = width + 2;
        line(
            text,
            format_args!(
                "|{:-<dashes$}|{:->10}|{:->17}|{:->8}|{:->8}|{:->9}|---|",
                "", ":", ":", ":", ":", ":"
            ),
        );
        for row in &self.rows {
            let (range, latency) = (range(row), &row.latency_ms);
            line(
                text,
                format_args!(
                    "| {:<width$} | {:>8.0} | {range:>15} | {:>6.2} | {:>6.2} | {:>7.2} | {} |",
                    row.name, row.per_second, latency.p50, latency.p99, latency.max, row.compared
                ),
            );
        }
    }

    fn push_growth(&self, text: &mut String) {
        line(
            text,
            format_args!(
                "| {:>12} | {:>9} | {:>8} | {:>6} | {:>6} | to first | to limits |",
                "orders", "SKUs", "a second", "p50 ms", "p99 ms"
            ),
        );
        line(
            text,
            format_args!("|{:->14}|{:->11}|{:->10}|{:->8}|{:->8}|---------:|---|", ":", ":", ":", ":", ":"),
        );
        for PointLine { orders, skus, per_second, latency_ms, to_first, ratios } in &self.growth {
            let Latency { p50, p99, .. } = latency_ms;
            let percent = format!("{:.0} %", 100.0 * to_first);
            let ratios: Vec<String> =
                ratios.iter().map(|Ratio { to, ratio }| format!("{} of {to}", number(*ratio))).collect();
            let ratios = ratios.join("; ");
            line(
                text,
                format_args!(
                    "| {orders:>12} | {skus:>9} | {per_second:>8.0} | {p50:>6.2} | {p99:>6.2} | {percent:>8} | {ratios} |"
                ),
            );
        }
    }

    /// Writes report.md, report.json and report.svg.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let write = |name: &str, text: String| {
            let path = folder.join(name);
            std::fs::write(&path, text).with_context(|| format!("{} can't be written", path.display()))
        };
        write("report.json", serde_json::to_string_pretty(self)? + "\n")?;
        write("report.svg", self.figure().to_svg()?)?;
        write("report.md", self.markdown())
    }

    fn markdown(&self) -> String {
        let mut text = format!("# lastunit bench, {}\n\n![Charts](report.svg)\n\n", &self.at[..10]);
        line(&mut text, format_args!("- lastunit {}, {}", self.lastunit, self.at));
        line(&mut text, format_args!("- machine: {}", self.machine));
        line(&mut text, format_args!("- database: {}", self.database));
        let options: Vec<String> =
            self.options.iter().map(|(name, value)| format!("{name} {value}")).collect();
        line(&mut text, format_args!("- options: {}", options.join(", ")));
        if !self.limits.is_empty() {
            text.push_str("\n## Limits\n\nMeasured in the same run; medians.\n\n");
            self.push_limits(&mut text);
        }
        if !self.rows.is_empty() {
            text.push_str(
                "\n## Results\n\nMedians of the rounds, with the least and the most of the rates; latencies in ms.\n\n",
            );
            self.push_full_rows(&mut text);
            if self.rows.iter().any(|row| !row.ratios.is_empty()) {
                text.push_str(
                    "\n## Ratios to the limits\n\nOrders a second, divided by what the limit counts: those to fsyncs are \
                     orders an fsync, if the disk does nothing else.\n\n",
                );
                self.push_ratios(&mut text);
            }
        }
        if !self.growth.is_empty() {
            text.push_str("\n## Growth\n\n");
            self.push_growth(&mut text);
        }
        text.push('\n');
        for note in &self.notes {
            line(&mut text, format_args!("- {note}"));
        }
        text
    }

    fn push_full_rows(&self, text: &mut String) {
        text.push_str(
            "| what | load | buyers | a second | least–most | p50 | p90 | p99 | p99.9 | max | compared |\n",
        );
        text.push_str("|---|---|--:|--:|--:|--:|--:|--:|--:|--:|---|\n");
        for row in &self.rows {
            let latencies: Vec<String> = row.latency_ms.all().iter().map(|ms| format!("{ms:.2}")).collect();
            line(
                text,
                format_args!(
                    "| {} | {} | {} | {:.0} | {} | {} | {} |",
                    row.name,
                    row.load,
                    row.buyers,
                    row.per_second,
                    range(row),
                    latencies.join(" | "),
                    row.compared
                ),
            );
        }
    }

    /// A column a limit; a cell is empty where the limit doesn't bound the row.
    fn push_ratios(&self, text: &mut String) {
        let mut limits: Vec<&str> = Vec::new();
        for Ratio { to, .. } in self.rows.iter().flat_map(|row| &row.ratios) {
            if !limits.contains(&to.as_str()) {
                limits.push(to);
            }
        }
        line(text, format_args!("| what | {} |", limits.join(" | ")));
        line(text, format_args!("|---|{}", "--:|".repeat(limits.len())));
        for row in self.rows.iter().filter(|row| !row.ratios.is_empty()) {
            let cell = |limit: &&str| {
                let ratio = row.ratios.iter().find(|ratio| ratio.to == *limit);
                ratio.map(|ratio| number(ratio.ratio)).unwrap_or_default()
            };
            let cells: Vec<String> = limits.iter().map(cell).collect();
            line(text, format_args!("| {} | {} |", row.name, cells.join(" | ")));
        }
    }

    fn figure(&self) -> Figure {
        let said = |wanted: bool| {
            let said = self.options.iter().filter(move |(name, _)| (**name == "workload") == wanted);
            said.map(|(name, value)| format!("{name} {value}")).collect::<Vec<_>>().join(", ")
        };
        let mut figure = Figure::new("Lastunit: orders a second")
            .note(format!("{}, {}", self.at, self.machine))
            .note(&self.database)
            .note(said(false));
        if self.options.contains_key("workload") {
            figure = figure.note(said(true));
        }
        let limits = self.limits.iter().filter(|limit| limit.unit == "orders");
        let (yardsticks, rows): (Vec<&RowLine>, Vec<&RowLine>) =
            self.rows.iter().partition(|row| row.name == limits::CONSTANT);
        if !rows.is_empty() {
            let mut bars = Bars::new("Orders a second, and what bounds them (grey)", "");
            for row in &rows {
                let wanted = row.runs.last().and_then(|run| run.wanted_per_second);
                let hue = if wanted.is_some() { Hue::Sky } else { Hue::Blue };
                let remark = wanted.map(|wanted| format!("of {} asked for", number(wanted)));
                bars = bars.bar_with(&row.name, row.per_second, hue, remark.unwrap_or_default());
            }
            for limit in limits {
                bars = bars.bar(&limit.name, limit.per_second, Hue::Grey);
            }
            for row in &yardsticks {
                bars = bars.bar(&row.name, row.per_second, Hue::Grey);
            }
            let percentiles = [
                ("p50", Hue::Blue),
                ("p90", Hue::Sky),
                ("p99", Hue::Green),
                ("p99.9", Hue::Orange),
                ("max", Hue::Purple),
            ];
            let mut dots = Dots::new("Latency", "ms", percentiles).scale(Scale::Log);
            for row in rows.iter().chain(&yardsticks) {
                dots = dots.row(&row.name, row.latency_ms.all());
            }
            figure = figure.panel(bars).panel(dots);
        }
        let of_orders: Vec<_> = self.growth.iter().filter(|point| point.orders > 0).collect();
        let of_skus: Vec<_> = self.growth.iter().filter(|point| point.orders == 0).collect();
        type Count = fn(&PointLine) -> f64;
        let series: [(_, _, &Vec<&PointLine>, Count); 2] = [
            ("As orders grow", "orders there are before", &of_orders, |point| point.orders as f64),
            ("As SKUs grow", "SKUs", &of_skus, |point| point.skus as f64),
        ];
        for (title, unit, points, count) in series {
            if points.is_empty() {
                continue;
            }
            let line = points.iter().map(|point| (count(point), point.per_second));
            let line = Series::new("orders a second", Hue::Blue, line).dots();
            figure = figure.panel(Lines::new(title, unit, "orders/s").x_scale(Scale::Log).series(line));
            let percentile = |name, hue, of: fn(&Latency) -> f64| {
                let line = points.iter().map(|point| (count(point), of(&point.latency_ms)));
                Series::new(name, hue, line).dots()
            };
            let lines = Lines::new(format!("{title}: latency"), unit, "ms").x_scale(Scale::Log);
            let lines = lines.series(percentile("p99", Hue::Green, |latency| latency.p99));
            figure = figure.panel(lines.series(percentile("p50", Hue::Blue, |latency| latency.p50)));
        }
        figure
    }
}

/// The width of a column that has these texts, and is as wide as those of other runs.
fn widest<'a>(texts: impl Iterator<Item = &'a str>) -> usize {
    texts.map(|text| text.chars().count()).max().unwrap_or(0).max(40)
}

fn range(row: &RowLine) -> String {
    format!("{:.0}–{:.0}", row.least_per_second, row.most_per_second)
}

fn line(text: &mut String, content: std::fmt::Arguments<'_>) {
    writeln!(text, "{content}").expect("a String takes all");
}
