//! The figures for machines.

use serde_json::{Value, json};

use super::{
    Course, Run, Story,
    figures::Units,
    story::{Does, Step},
};

/// One JSON document: what was raced for, each strategy's figures, and how an update was lost (null if none was).
pub fn json(course: &Course, store: &str, runs: &[Run]) -> String {
    let document = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "store": store,
        "buyers": course.buyers,
        "stock": course.stock,
        "skus": course.skus(),
        "attempts": course.attempts,
        "lines": course.lines,
        "think_ms": course.think.as_millis() as u64,
        "strategies": runs.iter().map(|run| strategy(course, run)).collect::<Vec<_>>(),
        "lost_update": runs.iter().find_map(|run| run.story.as_ref()).map(lost_update),
    });
    format!("{document:#}\n")
}

fn strategy(course: &Course, run: &Run) -> Value {
    let figures = &run.figures;
    let Units { sold, left, oversold, lost } = figures.units;
    let verdict = figures.verdict(course);
    json!({
        "strategy": figures.strategy.as_str(),
        "placed": figures.placed,
        "refused": figures.refused,
        "gave_up": figures.gave_up,
        "units_sold": sold,
        "stock_left": left,
        "oversold": oversold,
        "lost_updates": lost,
        "retries": figures.retries,
        "seconds": figures.took.as_secs_f64(),
        "orders_per_second": figures.per_second(),
        "latency_ms": {
            "p50": figures.percentile_ms(50.0),
            "p99": figures.percentile_ms(99.0),
            "max": figures.percentile_ms(100.0),
        },
        "violations": figures.broken_invariants(),
        "broken": verdict.is_broken(),
        "verdict": verdict.text(),
    })
}

fn lost_update(story: &Story) -> Value {
    let steps = story.steps();
    let step = |step: &Step| {
        let (does, stock) = match step.does {
            Does::Read => ("read", story.read),
            Does::Write(_) => ("write", story.wrote),
        };
        let at_ms = (step.at - steps[0].at).as_secs_f64() * 1000.0;
        json!({ "at_ms": at_ms, "buyer": step.buyer.as_str(), "does": does, "stock": stock })
    };
    json!({
        "sku_id": story.sku.get(),
        "units_sold": story.sold(),
        "units_counted": story.read - story.wrote,
        "steps": steps.iter().map(step).collect::<Vec<_>>(),
    })
}
