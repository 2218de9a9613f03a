//! `lastunit keys`: the keys by which a shop's own system calls the server.

use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use lastunit::{Role, ServiceKey, Source, Store, SystemSource, Timestamp, check_field};
use sha2::{Digest, Sha256};

use crate::store_url::{Open, StoreArg};

/// Add, list, rotate and revoke service keys. A running server notices within seconds.
#[derive(clap::Subcommand)]
pub enum Command {
    /// Make a key and print it, this once: only its hash is kept.
    Add {
        /// What it is called.
        label: String,
        /// shop (act for buyers) or admin (also change products, stock and settings).
        #[arg(long, env = "LASTUNIT_ROLE", default_value = "shop", value_parser = role)]
        role: Role,
        #[command(flatten)]
        at: StoreArg,
    },
    /// List the labels and roles of all keys.
    List {
        #[command(flatten)]
        at: StoreArg,
    },
    /// Make another key of a label, of the same role, and print it, this once. The old one works until it is
    /// revoked: when all callers have the new one, `lastunit keys revoke LABEL --old`.
    Rotate {
        /// What the key is called that is to be replaced.
        label: String,
        #[command(flatten)]
        at: StoreArg,
    },
    /// Revoke every key of this label.
    Revoke {
        /// What it is called.
        label: String,
        /// Keep the newest key of the label.
        #[arg(long, env = "LASTUNIT_OLD")]
        old: bool,
        #[command(flatten)]
        at: StoreArg,
    },
}

fn role(text: &str) -> Result<Role, String> {
    Role::parse(text).ok_or_else(|| "a role is shop or admin".into())
}

pub async fn run(command: Command) -> Result<ExitCode> {
    let store = match &command {
        Command::Add { at, .. }
        | Command::List { at }
        | Command::Rotate { at, .. }
        | Command::Revoke { at, .. } => at.store.open(Open::Existing).await?,
    };
    match command {
        Command::Add { label, role, .. } => {
            check_field("label", &label, 1, 100, false).map_err(anyhow::Error::msg)?;
            let key = generate();
            add(&*store, &key, role, &label).await?;
            println!("{key}");
        }
        Command::List { .. } => {
            for key in store.service_keys().await? {
                println!("{:<6} {}  since {}", key.role.as_str(), key.label, key.created_at);
            }
        }
        Command::Rotate { label, .. } => {
            let replaced = newest(&*store, &label).await?;
            let key = generate();
            add_after(&*store, &key, replaced.role, &label, replaced.created_at).await?;
            println!("{key}");
        }
        Command::Revoke { label, old, .. } => {
            let newest = newest(&*store, &label).await?;
            let made_before = old.then_some(newest.created_at);
            let revoked = store.revoke_service_keys(&label, made_before, SystemSource.now()).await?;
            if revoked == 0 {
                bail!(
                    "the label {label:?} has no older key; `lastunit keys rotate {label:?}` makes a newer one"
                );
            }
            println!("{revoked} revoked");
        }
    }
    store.close().await;
    Ok(ExitCode::SUCCESS)
}

/// The newest key of a label, of which there has to be one.
async fn newest(store: &dyn Store, label: &str) -> Result<ServiceKey> {
    let keys = store.service_keys().await?.into_iter().filter(|key| key.label == label);
    keys.max_by_key(|key| key.created_at)
        .with_context(|| format!("there is no key of the label {label:?}; `lastunit keys list` shows all"))
}

/// A new key: 256 random bits.
pub fn generate() -> String {
    rand::random::<[u8; 32]>().iter().fold(String::from("lu_"), |key, byte| format!("{key}{byte:02x}"))
}

/// Keeps the hash of a key, which has to be long enough not to be guessed.
pub async fn add(store: &dyn Store, key: &str, role: Role, label: &str) -> Result<()> {
    add_after(store, key, role, label, Timestamp::from_unix_ms(0)).await
}

/// As [`add`], and later than another one even where the clock is behind.
async fn add_after(store: &dyn Store, key: &str, role: Role, label: &str, other: Timestamp) -> Result<()> {
    let printable = key.bytes().all(|byte| byte.is_ascii_graphic());
    ensure!(
        printable && (32..=255).contains(&key.len()),
        "a service key must have 32 to 255 printable ASCII characters without spaces; \
         `openssl rand -hex 32` makes one"
    );
    let hash = Sha256::digest(key.as_bytes()).into();
    let created_at = Timestamp::from_unix_ms(SystemSource.now().unix_ms().max(other.unix_ms() + 1));
    let key = ServiceKey { hash, role, label: label.into(), created_at };
    Ok(store.add_service_key(key).await?)
}
