//! `lastunit keys`: the keys by which a shop's own system calls the server.

use std::process::ExitCode;

use anyhow::{Result, bail, ensure};
use lastunit::{Role, ServiceKey, Source, Store, SystemSource, check_field};
use sha2::{Digest, Sha256};

use crate::store_url::{Open, StoreArg};

/// Add, list and revoke service keys. A running server notices within seconds.
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
    /// Revoke every key of this label.
    Revoke {
        /// What it is called.
        label: String,
        #[command(flatten)]
        at: StoreArg,
    },
}

fn role(text: &str) -> Result<Role, String> {
    Role::parse(text).ok_or_else(|| "a role is shop or admin".into())
}

pub async fn run(command: Command) -> Result<ExitCode> {
    let store = match &command {
        Command::Add { at, .. } | Command::List { at } | Command::Revoke { at, .. } => {
            at.store.open(Open::Existing).await?
        }
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
        Command::Revoke { label, .. } => {
            let revoked = store.revoke_service_keys(&label, SystemSource.now()).await?;
            if revoked == 0 {
                bail!("there is no key of the label {label:?}; `lastunit keys list` shows all");
            }
            println!("{revoked} revoked");
        }
    }
    store.close().await;
    Ok(ExitCode::SUCCESS)
}

/// A new key: 256 random bits.
pub fn generate() -> String {
    rand::random::<[u8; 32]>().iter().fold(String::from("lu_"), |key, byte| format!("{key}{byte:02x}"))
}

/// Keeps the hash of a key, which has to be long enough not to be guessed.
pub async fn add(store: &dyn Store, key: &str, role: Role, label: &str) -> Result<()> {
    let printable = key.bytes().all(|byte| byte.is_ascii_graphic());
    ensure!(
        printable && (32..=255).contains(&key.len()),
        "a service key must have 32 to 255 printable ASCII characters without spaces; \
         `openssl rand -hex 32` makes one"
    );
    let hash = Sha256::digest(key.as_bytes()).into();
    let key = ServiceKey { hash, role, label: label.into(), created_at: SystemSource.now() };
    Ok(store.add_service_key(key).await?)
}
