//! What came out: a table, the goals, JSON and a chart.

use std::{collections::BTreeMap, fmt::Write};

use anyhow::Result;
use lastunit_bench::{
    chart::{Bars, Figure, Hue, Scale, number},
    sale::{Books, Run},
};
use serde::Serialize;

use crate::plan::{Cure, Kept, Row, System, Workload};

/// A row and its runs, a round each.
#[derive(Debug, Serialize)]
pub struct Measured {
    pub system: System,
    #[serde(skip)]
    pub name: String,
    pub workload: Workload,
    pub runs: Vec<Outcome>,
    /// Why there are no more.
    pub problem: Option<String>,
}

/// A run and what the books said after it.
#[derive(Debug, Serialize)]
pub struct Outcome {
    #[serde(flatten)]
    pub run: Run,
    pub books: Books,
}

impl Measured {
    pub fn new(row: &Row) -> Self {
        let Row { system, workload, .. } = *row;
        Self { system, name: system.to_string(), workload, runs: Vec::new(), problem: None }
    }

    fn median(&self, of: impl Fn(&Run) -> f64) -> f64 {
        let mut values: Vec<f64> = self.runs.iter().map(|outcome| of(&outcome.run)).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
    }

    fn per_second(&self) -> f64 {
        self.median(|run| run.per_second)
    }

    fn most(&self, of: impl Fn(&Books) -> i64) -> i64 {
        self.runs.iter().map(|outcome| of(&outcome.books)).max().unwrap_or(0)
    }

    fn failed(&self) -> u64 {
        self.runs.iter().map(|outcome| outcome.run.failed).sum()
    }
}

/// Everything of one comparison.
#[derive(Debug, Serialize)]
pub struct Report {
    pub date: String,
    pub machine: String,
    pub settings: String,
    /// How to repeat it.
    pub command: String,
    pub versions: BTreeMap<String, String>,
    /// Peers that couldn't be installed, and why.
    pub missing: BTreeMap<String, String>,
    pub rows: Vec<Measured>,
}

/// What is aimed at, and what was measured.
#[derive(Debug, PartialEq)]
pub struct Goal {
    what: &'static str,
    /// At least so many times.
    aim: f64,
    times: f64,
}

const OPTIMISTIC: System = System::Django(Cure::Optimistic);

impl Report {
    fn row(&self, system: System, is: impl Fn(Workload) -> bool) -> Option<&Measured> {
        let mut rows = self.rows.iter().filter(|row| row.system == system && is(row.workload));
        rows.find(|row| !row.runs.is_empty())
    }

    fn hot(&self, system: System) -> Option<&Measured> {
        self.row(system, |workload| workload == Workload::Hot)
    }

    /// To a crowd, or to the buyers of the other workloads.
    fn sell_out(&self, system: System, to_crowd: bool) -> Option<&Measured> {
        self.row(
            system,
            |workload| matches!(workload, Workload::SellOut { crowd, .. } if crowd.is_some() == to_crowd),
        )
    }

    /// The goals of whose both sides something was measured.
    pub fn goals(&self) -> Vec<Goal> {
        let faster = |ours: Option<&Measured>, theirs: Option<&Measured>| {
            Some(ours?.per_second() / theirs?.per_second())
        };
        let (django, carts) = (self.hot(OPTIMISTIC), self.hot(System::LastunitCarts));
        let lines = self.hot(System::LastunitLines);
        let p99 =
            |ours: Option<&Measured>| Some(django?.median(|run| run.p99_ms) / ours?.median(|run| run.p99_ms));
        let sold_out =
            |system, to_crowd| faster(self.sell_out(system, to_crowd), self.sell_out(OPTIMISTIC, to_crowd));
        let refusal = |system| {
            let of = |part: fn(&lastunit_bench::sale::SellOut) -> f64| {
                self.sell_out(system, false)
                    .map(|row| row.median(|run| run.sell_out.as_ref().map_or(f64::NAN, part)))
            };
            Some(of(|it| it.sale_p50_ms)? / of(|it| it.refusal_p50_ms)?)
        };
        let embedded = self.hot(System::LastunitInProcess);
        let goals = [
            (
                "orders/s of one SKU, PostgreSQL, carts in Redis: Django's optimistic view",
                60.0,
                faster(carts, django),
            ),
            (
                "orders/s of one SKU, PostgreSQL, lines in the call: Django's optimistic view",
                60.0,
                faster(lines, django),
            ),
            ("p99 of that, carts in Redis: Django's optimistic view", 20.0, p99(carts)),
            ("p99 of that, lines in the call: Django's optimistic view", 20.0, p99(lines)),
            (
                "orders/s of one SKU, SQLite over HTTP: Django's optimistic view",
                120.0,
                faster(self.hot(System::LastunitSqlite), django),
            ),
            (
                "selling out, PostgreSQL, carts in Redis: Django's optimistic view",
                60.0,
                sold_out(System::LastunitCarts, false),
            ),
            (
                "selling out, PostgreSQL, lines in the call: Django's optimistic view",
                60.0,
                sold_out(System::LastunitLines, false),
            ),
            (
                "selling out to a crowd, PostgreSQL, carts in Redis: Django's optimistic view",
                60.0,
                sold_out(System::LastunitCarts, true),
            ),
            (
                "selling out to a crowd, PostgreSQL, lines in the call: Django's optimistic view",
                60.0,
                sold_out(System::LastunitLines, true),
            ),
            ("wait for a sale: wait for a refusal (carts in Redis)", 1.0, refusal(System::LastunitCarts)),
            ("wait for a sale: wait for a refusal (lines in the call)", 1.0, refusal(System::LastunitLines)),
            (
                "orders/s of one SKU, PostgreSQL, carts in Redis: Vendure's checkouts",
                1000.0,
                faster(carts, self.hot(System::Vendure)),
            ),
            (
                "orders/s of one SKU, PostgreSQL, lines in the call: Vendure's checkouts",
                1000.0,
                faster(lines, self.hot(System::Vendure)),
            ),
            (
                "orders/s of one SKU, SQLite in process: stateset-embedded, as durable",
                5.0,
                faster(embedded, self.hot(System::Stateset(Kept::SqliteFull))),
            ),
            (
                "orders/s of one SKU, SQLite in process: stateset-embedded as it comes",
                5.0,
                faster(embedded, self.hot(System::Stateset(Kept::SqliteNormal))),
            ),
            (
                "orders/s of one SKU, PostgreSQL in process: stateset-embedded",
                5.0,
                faster(
                    self.hot(System::LastunitInProcessPostgres),
                    self.hot(System::Stateset(Kept::Postgres)),
                ),
            ),
        ];
        goals.into_iter().filter_map(|(what, aim, times)| Some(Goal { what, aim, times: times? })).collect()
    }

    /// The table and all that has to be known to read it.
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        self.write(&mut text).unwrap_or_default();
        text
    }

    fn write(&self, to: &mut String) -> std::fmt::Result {
        writeln!(to, "# Lastunit beside others\n")?;
        writeln!(to, "{}, {}.", self.date, self.machine)?;
        writeln!(to, "{}.\n", self.settings)?;
        writeln!(to, "To repeat it: `{}`.\n", self.command)?;
        for (name, versions) in &self.versions {
            writeln!(to, "- {name}: {versions}")?;
        }
        for (name, why) in &self.missing {
            writeln!(to, "- {name} couldn't be installed, and isn't in the table: {why}")?;
        }
        writeln!(to)?;
        let (names, rule) = (
            "a second | least–most | p50 ms | p99 ms | max ms | failed tries | oversold | lost updates | times Django",
            "---:|---:|---:|---:|---:|---:|---:|---:|---:|",
        );
        writeln!(to, "| what | {names} |\n|---|{rule}")?;
        let mut heading = None;
        for row in &self.rows {
            let of = section(row.workload);
            if heading != Some(of) {
                writeln!(to, "| **{of}** | | | | | | | | | |")?;
                heading = Some(of);
            }
            writeln!(to, "{}", self.line(row))?;
        }
        writeln!(to, "\n{NOTES}\n")?;
        writeln!(to, "| Lastunit compared to | aim | measured | |\n|---|---:|---:|---|")?;
        for Goal { what, aim, times } in self.goals() {
            let verdict = if times >= aim { "reached" } else { "not reached" };
            writeln!(to, "| {what} | {}× | {}× | {verdict} |", number(aim), number(times))?;
        }
        Ok(())
    }

    fn line(&self, row: &Measured) -> String {
        let name = match row.workload {
            Workload::SellOut { stock, attempts, crowd } => {
                let of_whom = crowd.map(|buyers| format!(" of {buyers} buyers")).unwrap_or_default();
                format!("{}, {stock} by {attempts}{of_whom}", row.name)
            }
            _ => row.name.clone(),
        };
        if row.runs.is_empty() {
            return format!(
                "| {name} | – | | | | | | | | {} |",
                row.problem.as_deref().unwrap_or("not measured")
            );
        }
        let rates = || row.runs.iter().map(|outcome| outcome.run.per_second);
        let (least, most) = (rates().fold(f64::MAX, f64::min), rates().fold(0.0, f64::max));
        let django = self.rows.iter().find(|other| {
            other.system == OPTIMISTIC
                && section(other.workload) == section(row.workload)
                && !other.runs.is_empty()
        });
        let times = django.map_or(String::from("–"), |other| number(row.per_second() / other.per_second()));
        let ms = |of: fn(&Run) -> f64| number(row.median(of));
        let problem = row.problem.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
        format!(
            "| {name}{problem} | {} | {}–{} | {} | {} | {} | {} | {} | {} | {times} |",
            number(row.per_second()),
            number(least),
            number(most),
            ms(|run| run.p50_ms),
            ms(|run| run.p99_ms),
            ms(|run| run.max_ms),
            row.failed(),
            row.most(|books| books.oversold),
            row.most(|books| books.lost),
        )
    }

    /// Bars of orders a second.
    pub fn chart(&self) -> Result<String> {
        let mut bars = Bars::new("One unit of one SKU an order", "orders/s").scale(Scale::Log);
        let mut hot: Vec<&Measured> =
            self.rows.iter().filter(|row| row.workload == Workload::Hot && !row.runs.is_empty()).collect();
        hot.sort_by(|a, b| b.per_second().total_cmp(&a.per_second()));
        for row in hot {
            let ours = row.system.peer().is_none();
            let lost = row.most(|books| books.oversold.max(books.lost));
            let remark = if lost > 0 { "(updates lost)" } else { "" };
            let hue = match (ours, lost > 0) {
                (true, false) => Hue::Blue,
                (false, false) => Hue::Grey,
                (_, true) => Hue::Red,
            };
            bars = bars.bar_with(&row.name, row.per_second(), hue, remark);
        }
        Figure::new("Orders placed a second, durably")
            .note(self.settings.clone())
            .note(format!("{}, {}", self.date, self.machine))
            .panel(bars)
            .to_svg()
    }
}

const NOTES: &str = "\"Failed tries\" are answers that decided nothing (an HTTP 500, a conflict, a deadlock); the buyer \
    tries again, and waits for both. \"Oversold\" are units in orders beyond what there was; \"lost updates\" are units \
    in orders that the stock or a counter of sales misses. Both are counted in the shop's own database after each run, \
    the worst run is shown. When a stock is sold out, \"a second\" are attempts, and the times are those of all attempts.";

fn section(workload: Workload) -> &'static str {
    match workload {
        Workload::Hot => "one unit of one SKU",
        Workload::Spread => "three lines over 1,000 SKUs",
        Workload::SellOut { crowd: None, .. } => "a stock is sold out by five times as many attempts",
        Workload::SellOut { crowd: Some(_), .. } => "the same, by a crowd of buyers at once",
    }
}

#[cfg(test)]
mod tests {
    use lastunit_bench::sale::SellOut;

    use super::*;

    const SOLD_OUT: Workload = Workload::SellOut { stock: 1000, attempts: 5000, crowd: None };
    const RUSH: Workload = Workload::SellOut { stock: 1000, attempts: 5000, crowd: Some(512) };

    fn run(per_second: f64, p99_ms: f64) -> Run {
        let sell_out = Some(SellOut {
            stock: 1000,
            attempts: 5000,
            took_s: 5000.0 / per_second,
            sale_p50_ms: 3.0,
            refusal_p50_ms: 2.0,
        });
        let (placed, refused, failed, failure) = (1000, 0, 2, Some(String::from("deadlock")));
        Run { per_second, p50_ms: 1.5, p99_ms, max_ms: 9.0, placed, refused, failed, failure, sell_out }
    }

    fn measured(system: System, workload: Workload, rates: &[f64], p99_ms: f64, lost: i64) -> Measured {
        let mut row = Measured::new(&Row { system, workload, every_round: true });
        let outcome =
            |&rate: &f64| Outcome { run: run(rate, p99_ms), books: Books { sold: 1000, oversold: 0, lost } };
        row.runs = rates.iter().map(outcome).collect();
        row
    }

    fn report(rows: Vec<Measured>) -> Report {
        Report {
            date: "2026-11-23".into(),
            machine: "2 cores".into(),
            settings: "64 buyers".into(),
            command: "bench/compare django".into(),
            versions: BTreeMap::from([("Django".into(), "5.2".into())]),
            missing: BTreeMap::from([("vendure".into(), "npm: no network".into())]),
            rows,
        }
    }

    fn both() -> Report {
        report(vec![
            measured(OPTIMISTIC, Workload::Hot, &[250.0, 100.0, 200.0], 340.0, 7),
            measured(System::LastunitLines, Workload::Hot, &[11_000.0, 13_000.0, 12_000.0], 17.1, 0),
            measured(OPTIMISTIC, SOLD_OUT, &[400.0], 200.0, 0),
            measured(System::LastunitLines, SOLD_OUT, &[20_000.0], 8.0, 0),
            measured(OPTIMISTIC, RUSH, &[300.0], 900.0, 0),
            measured(System::LastunitLines, RUSH, &[27_000.0], 30.0, 0),
        ])
    }

    #[test]
    fn medians_are_compared_with_what_is_aimed_at() {
        let verdicts: Vec<_> =
            both().goals().iter().map(|goal| (goal.aim, goal.times, goal.times >= goal.aim)).collect();
        let p99 = 340.0 / 17.1;
        assert_eq!(
            verdicts,
            [
                (60.0, 60.0, true),
                (20.0, p99, false),
                (60.0, 50.0, false),
                (60.0, 90.0, true),
                (1.0, 1.5, true)
            ]
        );
    }

    #[test]
    fn what_wasnt_measured_has_no_verdict() {
        let mut django = measured(OPTIMISTIC, Workload::Hot, &[], 1.0, 0);
        django.problem = Some("it ended before it served".into());
        let ours = measured(System::LastunitLines, Workload::Hot, &[11_000.0], 1.0, 0);
        let report = report(vec![django, ours]);
        assert_eq!(report.goals(), []);
        let text = report.markdown();
        assert!(
            text.contains("| Django, optimistic | – |") && text.contains("it ended before it served |"),
            "{text}"
        );
        assert!(text.contains("| 11,000 | 11,000–11,000 | 1.5 | 1 | 9 | 2 | 0 | 0 | – |"), "{text}");
    }

    #[test]
    fn the_table_says_what_was_measured_how_and_what_is_missing() {
        let text = both().markdown();
        for part in [
            "2026-11-23, 2 cores.",
            "To repeat it: `bench/compare django`.",
            "- Django: 5.2",
            "- vendure couldn't be installed, and isn't in the table: npm: no network",
            "| Django, optimistic | 200 | 100–250 | 1.5 | 340 | 9 | 6 | 0 | 7 | 1 |",
            "| Lastunit, PostgreSQL, lines in the call | 12,000 | 11,000–13,000 | 1.5 | 17.1 | 9 | 6 | 0 | 0 | 60 |",
            "| Django, optimistic, 1000 by 5000 | 400 |",
            "| Lastunit, PostgreSQL, lines in the call, 1000 by 5000 of 512 buyers | 27,000 |",
            "| 60× | 60× | reached |",
            "| 60× | 50× | not reached |",
            "| 60× | 90× | reached |",
        ] {
            assert!(text.contains(part), "{part} in:\n{text}");
        }
        assert_eq!(text.matches("**one unit of one SKU**").count(), 1);
    }

    #[test]
    fn the_chart_has_a_bar_for_each_shop_that_sold_one_sku() {
        let svg = both().chart().expect("a chart");
        for part in
            ["Lastunit, PostgreSQL, lines in the call", "12,000", "Django, optimistic", "updates lost"]
        {
            assert!(svg.contains(part), "{part}");
        }
        assert_eq!(svg.matches("Django, optimistic").count(), 1);
    }
}
