//! `lastunit check`: every invariant, offline.

use std::process::ExitCode;

use anyhow::Result;

use crate::store_url::{Open, StoreArg};

/// Verify every invariant of a store, and name each violation; exit 1 if there is one.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    at: StoreArg,
}

pub async fn run(args: Args) -> Result<ExitCode> {
    let store = args.at.store.open(Open::AsItIs).await?;
    let report = store.check().await?;
    store.close().await;
    println!(
        "{}: {} orders, {} SKUs, {} units in stock, {} sold",
        args.at.store, report.orders, report.skus, report.stock, report.sales
    );
    for invariant in &report.checked {
        let broken = report.violations.iter().filter(|violation| violation.invariant == *invariant).count();
        println!(
            "  {invariant:<36} {}",
            if broken == 0 { "holds".into() } else { format!("VIOLATED ({broken})") }
        );
    }
    for violation in &report.violations {
        println!("violated: {violation}");
    }
    if report.violations.is_empty() {
        println!("all invariants hold");
        Ok(ExitCode::SUCCESS)
    } else {
        println!("{} violations", report.violations.len());
        Ok(ExitCode::FAILURE)
    }
}
