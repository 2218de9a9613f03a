//! `lastunit check`: every invariant, offline.

use std::process::ExitCode;

use anyhow::Result;

use crate::store_url::{Open, StoreUrl};

/// Verify every invariant of a store, and name each violation; exit 1 if there is one.
#[derive(clap::Args)]
pub struct Args {
    /// The store to check.
    #[arg(
        long,
        env = "LASTUNIT_STORE",
        default_value = "sqlite:lastunit.db",
        hide_env_values = true,
        value_name = "URL"
    )]
    store: StoreUrl,
}

pub async fn run(args: Args) -> Result<ExitCode> {
    let store = args.store.open(Open::AsItIs).await?;
    let report = store.check().await?;
    store.close().await;
    println!(
        "{}: {} orders, {} SKUs, {} units in stock, {} sold",
        args.store, report.orders, report.skus, report.stock, report.sales
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
