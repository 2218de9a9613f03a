//! `lastunit migrate`: brings a schema up to date.

use std::{io::IsTerminal, process::ExitCode};

use anyhow::Result;

use crate::store_url::{Open, StoreArg};

/// Bring the schema of a store up to date; safe to run beside servers, and again.
///
/// `lastunit serve` does so by itself when it starts, unless it is told --no-migrate.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    at: StoreArg,
}

pub async fn run(args: Args) -> Result<ExitCode> {
    // The store logs each migration that it applies.
    let colours = std::io::stderr().is_terminal();
    let log = tracing_subscriber::fmt().without_time().with_target(false).with_ansi(colours);
    log.with_writer(std::io::stderr).init();
    let store = args.at.store.open(Open::Create).await?;
    store.close().await;
    println!("the schema of {} is up to date", args.at.store);
    Ok(ExitCode::SUCCESS)
}
