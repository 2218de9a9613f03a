//! Where it is done: a database that may be filled, and a folder for what is written down.

use std::{
    path::{Path, PathBuf},
    sync::Mutex,
};

use anyhow::{Context, Result, ensure};
use lastunit::{CheckReport, Role, ShopId, Store, Strategy};
use tempfile::TempDir;

use super::Args;
use crate::{
    keys,
    store_url::{Open, StoreUrl},
};

/// The label of a service key that marks a database as one that may be filled with anything. (Nobody has the key.)
const MARK: &str = "lastunit prove: disposable";

/// A database that may be filled, and a folder.
pub struct Setting {
    pub store: StoreUrl,
    /// Of the history, the logs and the report.
    pub folder: PathBuf,
    /// The run's: no other has it.
    pub name: String,
    /// Removed at the end.
    temporary: Mutex<Vec<TempDir>>,
    /// Whether the database is removed too.
    own_store: bool,
}

impl Setting {
    /// Refuses a database that holds anything but what an earlier prove left.
    pub async fn prepare(args: &Args) -> Result<Self> {
        let mut temporary = Vec::new();
        let folder = match &args.report {
            Some(folder) => {
                std::fs::create_dir_all(folder)
                    .with_context(|| format!("{} can't be created", folder.display()))?;
                let taken = folder.join("history.jsonl").exists();
                ensure!(!taken, "{} holds a report already: name another folder", folder.display());
                folder.clone()
            }
            None => here(&mut temporary)?,
        };
        let store = match &args.store {
            Some(store) => store.clone(),
            None => StoreUrl::Sqlite(here(&mut temporary)?.join("prove.db")),
        };
        let sqlite = matches!(store, StoreUrl::Sqlite(_));
        ensure!(!sqlite || args.servers.get() == 1, "one SQLite file has one server: leave --servers at 1");
        take(&store).await?;
        let name = format!("p{:08x}", rand::random::<u32>());
        let own_store = args.store.is_none();
        Ok(Self { store, folder, name, temporary: Mutex::new(temporary), own_store })
    }

    /// What is about to be done.
    pub fn describe(&self, args: &Args, seed: u64) -> String {
        let store = if self.own_store { "a SQLite file of its own".into() } else { self.store.to_string() };
        format!(
            "lastunit prove {}\nstore        {store}\ncarts        {}\nservers      {}, strategy {}\nbuyers       {}, for {} minutes\n\
             repeat with  {}",
            env!("CARGO_PKG_VERSION"),
            args.carts,
            args.servers,
            args.strategy.as_str(),
            args.buyers,
            args.minutes,
            self.repeat(args, seed)
        )
    }

    /// The options that make the same choices again, on the same store and carts.
    pub fn repeat(&self, args: &Args, seed: u64) -> String {
        let mut options = format!(
            "--seed {seed} --minutes {} --servers {} --buyers {}",
            args.minutes, args.servers, args.buyers
        );
        if args.strategy != Strategy::Batched {
            options += &format!(" --strategy {}", args.strategy.as_str());
        }
        if !args.faults.is_empty() {
            let names: Vec<_> = args.faults.iter().map(|kind| kind.name()).collect();
            options += &format!(" --faults {}", names.join(","));
        }
        options
    }

    /// Every invariant of the database.
    pub async fn check(&self) -> Result<CheckReport> {
        let store = self.store.open(Open::AsItIs).await?;
        let report = store.check().await?;
        store.close().await;
        Ok(report)
    }

    /// Keeps everything that would be removed at the end: it is evidence. The folder.
    pub fn keep(&self) -> &Path {
        if let Ok(mut temporary) = self.temporary.lock() {
            temporary.drain(..).for_each(|folder| drop(folder.keep()));
        }
        &self.folder
    }
}

/// A temporary folder on the disk of the current one.
fn here(temporary: &mut Vec<TempDir>) -> Result<PathBuf> {
    let folder = tempfile::Builder::new().prefix("lastunit-prove.").tempdir_in(std::env::current_dir()?);
    let folder =
        folder.context("the current folder can't be written to; --report and --store name others")?;
    let path = folder.path().to_owned();
    temporary.push(folder);
    Ok(path)
}

/// Marks an empty database as disposable. One that holds anything and isn't marked is refused.
async fn take(url: &StoreUrl) -> Result<()> {
    let store = url.open(Open::Create).await?;
    let keys = store.service_keys().await?;
    if keys.iter().any(|key| key.label == MARK) {
        let report = store.check().await?;
        ensure!(
            report.violations.is_empty(),
            "{url} holds the violations of an earlier run, such as {}: give prove an empty database",
            report.violations[0]
        );
    } else {
        ensure!(
            keys.is_empty() && is_empty(&*store).await?,
            "{url} isn't empty, and prove fills its database with orders and breaks the servers on it: give it an empty \
             database, or one that it has used before"
        );
        keys::add(&*store, &keys::generate(), Role::Shop, MARK).await?;
    }
    store.close().await;
    Ok(())
}

/// Whether there are no orders: not even a shop that could have some.
async fn is_empty(store: &dyn Store) -> Result<bool> {
    Ok(store.settings(ShopId::FIRST).await?.is_none() && store.check().await?.orders == 0)
}
