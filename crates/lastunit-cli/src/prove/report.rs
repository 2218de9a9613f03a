//! The verdict, for the terminal and as a page.

use std::{
    collections::BTreeMap,
    fmt::{self, Write},
    time::Duration,
};

use lastunit_bench::history::{Call, Check, History, Op, Outcome, Verdict};

use super::{Args, faults::Kind, setting::Setting};

/// Everything that there is to say.
pub struct Report<'a> {
    pub args: &'a Args,
    pub setting: &'a Setting,
    pub seed: u64,
    /// How long the buyers shopped.
    pub took: Duration,
    /// Whether it was Ctrl-C that ended it.
    pub interrupted: bool,
    pub history: History,
    /// Faults that weren't injected, and why.
    pub left_out: Vec<(Kind, String)>,
    pub verdict: Verdict,
}

/// A line of the timeline: its name, its colour, which calls it counts.
type Series = (&'static str, &'static str, fn(&Op) -> bool);

/// A number with commas.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Whether a call placed an order, and wasn't a repetition.
fn is_placed(op: &Op) -> bool {
    matches!(op.call, Call::Place { .. }) && op.outcome() == Outcome::Ok && !op.answer.replayed
}

fn is_refused(op: &Op) -> bool {
    matches!(op.call, Call::Place { .. }) && op.outcome() == Outcome::Fail && !op.answer.replayed
}

impl Report<'_> {
    fn count(&self, is: impl Fn(&Op) -> bool) -> String {
        grouped(self.history.ops.iter().filter(|op| is(op)).count())
    }

    fn headline(&self) -> String {
        let violated = self.verdict.violated();
        let so_far = if self.interrupted { ", as far as it got" } else { "" };
        if violated.is_empty() {
            format!("every check holds{so_far}")
        } else {
            format!("VIOLATED{so_far}: {}", violated.join(", "))
        }
    }

    fn figures(&self) -> String {
        format!(
            "{} calls in {:.1} s: {} orders acknowledged, {} refused, {} calls without an answer; {} faults",
            self.count(|_| true),
            self.took.as_secs_f64(),
            self.count(is_placed),
            self.count(is_refused),
            self.count(|op| op.outcome() == Outcome::Info),
            grouped(self.history.faults.len())
        )
    }

    /// Kind of fault, how many of it, and how often it struck.
    fn faults(&self) -> BTreeMap<&str, (usize, u64)> {
        let mut faults: BTreeMap<&str, (usize, u64)> = BTreeMap::new();
        for fault in &self.history.faults {
            let entry = faults.entry(&fault.kind).or_default();
            entry.0 += 1;
            entry.1 += fault.count;
        }
        faults
    }

    /// For the terminal.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing into a string can't fail.
        self.write_text(&mut text).unwrap_or_default();
        text
    }

    fn write_text(&self, text: &mut String) -> fmt::Result {
        writeln!(text, "\n{}\n", self.figures())?;
        let faults = self.faults();
        for kind in Kind::ALL {
            let words = kind.words();
            if let Some((times, struck)) = faults.get(words) {
                writeln!(text, "  {words:<34} {times} times, struck {struck}")?;
            } else if let Some((_, why_not)) = self.left_out.iter().find(|(left_out, _)| *left_out == kind) {
                writeln!(text, "  {words:<34} not injected: {why_not}")?;
            } else {
                writeln!(text, "  {words:<34} not injected: the time was over before its turn")?;
            }
        }
        writeln!(text)?;
        for check in &self.verdict.checks {
            let found = if check.violated == 0 {
                "holds".into()
            } else {
                format!("VIOLATED {}", grouped(check.violated))
            };
            writeln!(text, "  {:<36} {found:<14} {}", check.name, check.examined)?;
        }
        for check in self.verdict.checks.iter().filter(|check| check.violated > 0) {
            writeln!(text, "\n{}: {}", check.name, check.promise)?;
            for violation in check.violations.iter().take(5) {
                writeln!(text, "  {violation}")?;
            }
            if check.violated > 5 {
                writeln!(text, "  and {} more", grouped(check.violated - 5))?;
            }
        }
        writeln!(text, "\nverdict      {}", self.headline())?;
        writeln!(text, "repeat with  {}", self.setting.repeat(self.args, self.seed))
    }

    /// As a page that needs nothing else.
    pub fn html(&self) -> String {
        let mut page = String::new();
        self.write_html(&mut page).unwrap_or_default();
        page
    }

    fn write_html(&self, page: &mut String) -> fmt::Result {
        let class = if self.verdict.holds() { "holds" } else { "violated" };
        write!(
            page,
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>lastunit prove</title>\n\
             <style>{STYLE}</style></head>\n<body>\n<h1>lastunit prove</h1>\n<p class=\"{class} verdict\">{}</p>\n<p>{}</p>\n\
             <pre>{}</pre>\n<h2>What happened</h2>\n{}\n",
            escape(&self.headline()),
            escape(&self.figures()),
            escape(&self.setting.describe(self.args, self.seed)),
            self.timeline()
        )?;
        writeln!(
            page,
            "<h2>Checks</h2>\n<table><tr><th>check</th><th></th><th>examined</th><th>what holds</th></tr>"
        )?;
        self.verdict.checks.iter().try_for_each(|check| write_check(page, check))?;
        writeln!(
            page,
            "</table>\n<h2>Faults</h2>\n<table><tr><th>fault</th><th>times</th><th>struck</th></tr>"
        )?;
        for (kind, (times, struck)) in self.faults() {
            writeln!(page, "<tr><td>{kind}</td><td>{times}</td><td>{struck}</td></tr>")?;
        }
        for (kind, why_not) in &self.left_out {
            let words = kind.words();
            writeln!(page, "<tr><td>{words}</td><td colspan=2>not injected: {}</td></tr>", escape(why_not))?;
        }
        writeln!(
            page,
            "</table>\n<p>Beside this page: history.jsonl (every call, before it left and when it was answered), final.json \
             (what was read at the end), verdict.json, the servers' logs.</p>\n</body></html>"
        )
    }

    /// Orders over time, and under it when what was broken.
    fn timeline(&self) -> String {
        let mut svg = String::new();
        self.write_timeline(&mut svg).unwrap_or_default();
        svg
    }

    fn write_timeline(&self, svg: &mut String) -> fmt::Result {
        const LEFT: f64 = 230.0;
        const WIDTH: f64 = 900.0;
        const TOP: f64 = 20.0;
        const HEIGHT: f64 = 200.0;
        const ROW: f64 = 18.0;
        const STEPS: usize = 150;
        let of_faults = self.history.faults.iter().map(|fault| fault.until_us);
        let total_us = of_faults.max().unwrap_or(0).max(self.took.as_micros() as u64).max(1);
        let x = |us: u64| LEFT + WIDTH * us.min(total_us) as f64 / total_us as f64;
        let step_s = total_us as f64 / 1e6 / STEPS as f64;
        let series: [Series; 3] = [
            ("orders acknowledged", "#1f6fb2", is_placed),
            ("orders refused", "#8a8a8a", is_refused),
            ("calls without an answer", "#d1601f", |op| op.outcome() == Outcome::Info),
        ];
        let counted: Vec<Vec<f64>> = series
            .iter()
            .map(|(_, _, is)| {
                let mut steps = vec![0.0; STEPS];
                for op in self.history.ops.iter().filter(|op| op.end_us < total_us && is(op)) {
                    steps[(op.end_us as u128 * STEPS as u128 / u128::from(total_us)) as usize] +=
                        1.0 / step_s;
                }
                steps
            })
            .collect();
        let most = counted.iter().flatten().fold(1.0, |most: f64, &count| most.max(count));
        let y = |count: f64| TOP + HEIGHT * (1.0 - count / most);
        let kinds: BTreeMap<&str, usize> =
            self.faults().into_keys().enumerate().map(|(row, kind)| (kind, row)).collect();
        let bottom = TOP + HEIGHT + 34.0 + ROW * kinds.len() as f64;
        writeln!(
            svg,
            "<svg viewBox=\"0 0 {:.0} {:.0}\" xmlns=\"http://www.w3.org/2000/svg\" font-family=\"sans-serif\" \
             font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>",
            LEFT + WIDTH + 20.0,
            bottom + 26.0
        )?;
        for fault in &self.history.faults {
            let (from, until) = (x(fault.from_us), x(fault.until_us).max(x(fault.from_us) + 2.0));
            let row =
                TOP + HEIGHT + 30.0 + ROW * kinds.get(fault.kind.as_str()).map_or(0.0, |row| *row as f64);
            writeln!(
                svg,
                "<rect x=\"{from:.1}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"#d1601f\" fill-opacity=\"0.07\"/>\n\
                 <rect x=\"{from:.1}\" y=\"{row:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"#d1601f\">\
                 <title>{} · {} · {:.2} to {:.2} s · struck {}</title></rect>",
                until - from,
                row - TOP,
                until - from,
                ROW - 5.0,
                escape(&fault.kind),
                escape(&fault.target),
                fault.from_us as f64 / 1e6,
                fault.until_us as f64 / 1e6,
                fault.count
            )?;
        }
        for (kind, row) in &kinds {
            let row = TOP + HEIGHT + 40.0 + ROW * *row as f64;
            writeln!(svg, "<text x=\"{:.0}\" y=\"{row:.1}\" text-anchor=\"end\">{kind}</text>", LEFT - 10.0)?;
        }
        for (place, (name, colour, _)) in series.iter().enumerate() {
            let points: Vec<String> = counted[place]
                .iter()
                .enumerate()
                .map(|(step, &count)| {
                    let middle = LEFT + WIDTH * (step as f64 + 0.5) / STEPS as f64;
                    format!("{middle:.1},{:.1}", y(count))
                })
                .collect();
            let row = TOP + 14.0 + ROW * place as f64;
            writeln!(
                svg,
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>\n\
                 <text x=\"{:.0}\" y=\"{row:.1}\" text-anchor=\"end\" fill=\"{colour}\">{name}</text>",
                points.join(" "),
                LEFT - 60.0
            )?;
        }
        for share in [0.0, 0.5, 1.0] {
            let (count, at) = (most * share, y(most * share));
            writeln!(
                svg,
                "<line x1=\"{LEFT}\" x2=\"{:.0}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"#ccc\"/>\n\
                 <text x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{count:.0}/s</text>",
                LEFT + WIDTH,
                LEFT - 8.0,
                at + 4.0
            )?;
        }
        for part in 0..=10 {
            let us = total_us * part / 10;
            writeln!(
                svg,
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{:.1} s</text>",
                x(us),
                TOP + HEIGHT + 18.0,
                us as f64 / 1e6
            )?;
        }
        writeln!(svg, "</svg>")
    }
}

fn write_check(page: &mut String, check: &Check) -> fmt::Result {
    let (class, found) = match check.violated {
        0 => ("holds", "holds".to_owned()),
        violated => ("violated", format!("violated {}", grouped(violated))),
    };
    writeln!(
        page,
        "<tr><td><code>{}</code></td><td class=\"{class}\">{found}</td><td>{}</td><td>{}</td></tr>",
        escape(&check.name),
        escape(&check.examined),
        escape(&check.promise)
    )?;
    for violation in &check.violations {
        writeln!(page, "<tr><td></td><td colspan=3 class=\"evidence\">{}</td></tr>", escape(violation))?;
    }
    Ok(())
}

const STYLE: &str = "body{font:15px/1.5 sans-serif;max-width:1150px;margin:2em auto;padding:0 1em;color:#222}\
    table{border-collapse:collapse}td,th{text-align:left;vertical-align:top;padding:.2em 1em .2em 0;\
    border-bottom:1px solid #eee}.verdict{font-size:1.4em;font-weight:bold}.holds{color:#1a7f37}.violated{color:#b42318}\
    .evidence{font:12px monospace;overflow-wrap:anywhere}pre{background:#f6f6f6;padding:1em;white-space:pre-wrap}\
    svg{width:100%;height:auto}";

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_texts_escaped() {
        assert_eq!(
            ["0", "999", "1,000", "1,234,567"],
            [0, 999, 1_000, 1_234_567].map(grouped).each_ref().map(String::as_str)
        );
        assert_eq!(escape("<a href=\"x\">&"), "&lt;a href=&quot;x&quot;&gt;&amp;");
    }
}
