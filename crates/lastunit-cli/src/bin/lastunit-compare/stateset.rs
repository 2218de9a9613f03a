//! stateset-embedded: a program of its own, for it has a lock file of its own. It runs one load on itself.

use std::{path::Path, process::Stdio, time::Duration};

use anyhow::{Context, Result, ensure};
use lastunit_bench::sale::{Books, Run};
use serde::Deserialize;
use tokio::{process::Command, time::timeout};

use crate::{
    django::connect,
    lastunit_shop::temporary_folder,
    peer::Servers,
    plan::{Kept, Workload},
};

const PROGRAM: &str = "target/peers/stateset/release/lastunit-peer-stateset";
/// How long one run may take beyond the time measured.
const PATIENCE: Duration = Duration::from_secs(180);

/// What the program prints.
#[derive(Debug, Deserialize)]
pub struct Printed {
    pub run: Run,
    pub books: Books,
    pub versions: String,
}

/// One run on a fresh database.
pub async fn run(
    kept: Kept,
    workload: Workload,
    buyers: usize,
    warm_up: Duration,
    measured: Duration,
    servers: &Servers,
) -> Result<Printed> {
    let folder = temporary_folder()?;
    let store = match kept {
        Kept::SqliteNormal | Kept::SqliteFull => {
            format!("sqlite:{}", folder.path().join("shop.db").display())
        }
        Kept::Postgres => on_server(&servers.postgres).await?,
    };
    let attempts = if let Workload::SellOut { attempts, .. } = workload { attempts } else { 0 };
    let program = Command::new(Path::new(PROGRAM))
        .args([&store, &buyers.to_string(), &workload.skus().to_string(), &workload.lines().to_string()])
        .args([workload.stock().to_string(), attempts.to_string()])
        .args([warm_up.as_millis().to_string(), measured.as_millis().to_string()])
        .env("STATESET_SQLITE_SYNCHRONOUS", if kept == Kept::SqliteNormal { "NORMAL" } else { "FULL" })
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = timeout(measured + PATIENCE, program)
        .await
        .context("stateset-embedded doesn't come to an end")?
        .with_context(|| format!("{PROGRAM} isn't built"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "stateset-embedded: {}", said.lines().last().unwrap_or("it failed"));
    serde_json::from_slice(&output.stdout).context("stateset-embedded prints something else")
}

/// Makes an empty database in the place of the last one.
async fn on_server(server: &str) -> Result<String> {
    let client = connect(server).await?;
    client.batch_execute("DROP DATABASE IF EXISTS peer_stateset WITH (FORCE)").await?;
    client.batch_execute("CREATE DATABASE peer_stateset").await?;
    client.batch_execute("CHECKPOINT").await?;
    Ok(format!("{}/peer_stateset", server.rsplit_once('/').map_or(server, |parts| parts.0)))
}
