//! `lastunit serve`: the server.

use std::{
    io::{IsTerminal, Write},
    net::SocketAddr,
    num::{NonZeroU32, NonZeroU64, NonZeroUsize},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result};
use lastunit::{Config, Engine, Role, Source, Store, Strategy, SystemSource, Timestamp};
use lastunit_server::{Metrics, Server, ServerConfig};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::{
    demo, keys,
    store_url::{CartsUrl, Open, StoreArg},
};

/// Start the server. An empty store is filled with a small demo catalogue.
#[derive(clap::Args)]
pub struct Args {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, env = "LASTUNIT_LISTEN", default_value = "127.0.0.1:8080", value_name = "ADDR")]
    listen: SocketAddr,
    #[command(flatten)]
    at: StoreArg,
    /// Where carts are kept: store (with the orders), redis://HOST:PORT or redis+cluster://HOST:PORT,HOST:PORT.
    #[arg(long, env = "LASTUNIT_CARTS", default_value = "store", hide_env_values = true, value_name = "URL")]
    carts: CartsUrl,
    /// Refuse a store whose schema isn't up to date, instead of changing it.
    #[arg(long, env = "LASTUNIT_NO_MIGRATE")]
    no_migrate: bool,
    /// How concurrent orders for one SKU are kept apart: batched, queue, pessimistic or optimistic; naive sells
    /// what isn't there and needs --allow-overselling.
    #[arg(long, env = "LASTUNIT_STRATEGY", default_value = "batched")]
    strategy: Strategy,
    /// Allow the naive strategy, to see it fail.
    #[arg(long, env = "LASTUNIT_ALLOW_OVERSELLING")]
    allow_overselling: bool,
    /// A service key of the role admin to accept: 32 characters or more. Without it a store that has no key gets
    /// a new one, which is printed.
    #[arg(long, env = "LASTUNIT_SERVICE_KEY", hide_env_values = true, value_name = "KEY")]
    service_key: Option<String>,
    /// The most orders that may wait; past it a call is answered 503.
    #[arg(long, env = "LASTUNIT_MAX_WAITING", default_value = "4096", value_name = "N")]
    max_waiting: NonZeroUsize,
    /// The most orders in one transaction.
    #[arg(long, env = "LASTUNIT_MAX_BATCH", default_value = "512", value_name = "N")]
    max_batch: NonZeroUsize,
    /// The most connections served at once.
    #[arg(long, env = "LASTUNIT_MAX_CONNECTIONS", default_value = "4096", value_name = "N")]
    max_connections: NonZeroUsize,
    /// The most calls a second by which one buyer may change something, and twice as many at once after a pause;
    /// past it a call is answered 429. Without it buyers aren't limited.
    #[arg(long, env = "LASTUNIT_BUYER_RATE", value_name = "N")]
    buyer_rate: Option<NonZeroU32>,
    /// The most calls a second with one service key, and twice as many at once after a pause; past it a call is
    /// answered 429. Without it keys aren't limited.
    #[arg(long, env = "LASTUNIT_KEY_RATE", value_name = "N")]
    key_rate: Option<NonZeroU32>,
    /// How long a client may take to send the head of a request.
    #[arg(long, env = "LASTUNIT_HEADER_TIMEOUT_MS", default_value = "15000", value_name = "MS")]
    header_timeout_ms: NonZeroU64,
    /// How long a client may take to send a body.
    #[arg(long, env = "LASTUNIT_BODY_TIMEOUT_MS", default_value = "10000", value_name = "MS")]
    body_timeout_ms: NonZeroU64,
    /// How long requests under way may take once the server is told to stop.
    #[arg(long, env = "LASTUNIT_DRAIN_TIMEOUT_MS", default_value = "10000", value_name = "MS")]
    drain_timeout_ms: NonZeroU64,
    /// What to log, to standard error: error, warn, info, debug, or per module.
    #[arg(long, env = "LASTUNIT_LOG", default_value = "info", value_name = "FILTER")]
    log: String,
    /// How to log: text or json.
    #[arg(long, env = "LASTUNIT_LOG_FORMAT", default_value = "text")]
    log_format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

/// A kept refusal is repeated to its key for 30 days.
const REFUSALS_KEPT_MS: i64 = 30 * 24 * 60 * 60 * 1000;

pub async fn run(args: Args) -> Result<ExitCode> {
    start_log(&args)?;
    raise_file_limit(args.max_connections.get());
    // Before anything else: a signal that comes while starting must stop the server too.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;

    let listener = lastunit_server::listen(args.listen)
        .with_context(|| format!("{} can't be listened on; --listen takes another", args.listen))?;
    let how = if args.no_migrate { Open::AsItIs } else { Open::Create };
    let store = args.carts.around(args.at.store.open(how).await?).await?;
    let metrics = Metrics::new();
    let config = Config {
        strategy: args.strategy,
        allow_overselling: args.allow_overselling,
        max_waiting: args.max_waiting,
        max_batch: args.max_batch,
        ..Config::default()
    };
    let engine =
        Engine::start_observed(store.clone(), config, metrics.clone()).context("--strategy naive")?;
    let contents = match demo::is_wanted(&*store).await? {
        false => String::from("as it was"),
        true => format!("was empty, and is filled with a demo catalogue: {}", demo::fill(&*store).await?),
    };
    let new_key = service_key(&*store, args.service_key.as_deref()).await?;

    let limits = ServerConfig {
        header_timeout: Duration::from_millis(args.header_timeout_ms.get()),
        body_timeout: Duration::from_millis(args.body_timeout_ms.get()),
        drain_timeout: Duration::from_millis(args.drain_timeout_ms.get()),
        max_connections: args.max_connections.get(),
        buyer_rate: args.buyer_rate,
        key_rate: args.key_rate,
        ..ServerConfig::default()
    };
    let server = Server::start(listener, engine, limits, metrics).await?;
    let housekeeper = tokio::spawn(forget_old_refusals(store));
    if let Err(error) = greet(&args, &contents, new_key.as_deref(), server.local_addr()) {
        // Whoever started it may have stopped reading; that is no reason to stop serving.
        tracing::warn!(%error, "the greeting can't be printed");
    }

    let stop = async move {
        let signal = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        tracing::info!(signal, "stopping: what was accepted is answered first");
    };
    server.run_until(stop).await;
    housekeeper.abort();
    Ok(ExitCode::SUCCESS)
}

fn start_log(args: &Args) -> Result<()> {
    let filter = EnvFilter::try_new(&args.log).context("--log can't be understood")?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match args.log_format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
    Ok(())
}

/// Lets the process open as many files as it is allowed to, for every connection is one: past the limit nobody could
/// connect any more, however slow those are who hold the others.
fn raise_file_limit(max_connections: usize) {
    // Connections that wait for a seat, those to the database, its files.
    const OTHERS: usize = 1024 + 256;
    let limit = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    let most = if raised.is_ok() { limit.maximum } else { limit.current };
    let wanted = max_connections.saturating_add(OTHERS) as u64;
    if let Some(most) = most.filter(|&most| most < wanted) {
        tracing::warn!(
            "only {most} files may be open at once: for --max-connections {max_connections} allow {wanted} \
             (ulimit -n), or lower it"
        );
    }
}

/// Takes the key that was given, or makes one where the store has none: that one is returned.
async fn service_key(store: &dyn Store, given: Option<&str>) -> Result<Option<String>> {
    if let Some(key) = given {
        keys::add(store, key, Role::Admin, "LASTUNIT_SERVICE_KEY").await.context("--service-key")?;
        return Ok(None);
    }
    if !store.service_keys().await?.is_empty() {
        return Ok(None);
    }
    let key = keys::generate();
    keys::add(store, &key, Role::Admin, "demo").await?;
    Ok(Some(key))
}

fn greet(args: &Args, contents: &str, new_key: Option<&str>, address: SocketAddr) -> Result<()> {
    let key = new_key.unwrap_or("$LASTUNIT_SERVICE_KEY");
    let mut out = std::io::stdout().lock();
    writeln!(out, "lastunit {}", env!("CARGO_PKG_VERSION"))?;
    writeln!(out, "store        {} ({contents})", args.at.store)?;
    writeln!(out, "carts        {}", args.carts)?;
    writeln!(out, "strategy     {}", args.strategy.as_str())?;
    if let Some(key) = new_key {
        writeln!(out, "service key  {key}")?;
        writeln!(out, "             (role admin; shown this once, for only its hash is kept)")?;
    }
    writeln!(out, "listening on http://{address}")?;
    writeln!(out, "\nLook at the catalogue, and place an order:\n")?;
    writeln!(out, "curl -s http://{address}/v1/skus -H \"Authorization: Bearer {key}\"\n")?;
    let address_json = r#"{"receiver":"Ada Lovelace","line1":"1 High Street","city":"Leeds","postal_code":"LS1 1AA","country":"GB","phone":"+44 113 496 0000"}"#;
    writeln!(
        out,
        "curl -s http://{address}/v1/orders -H \"Authorization: Bearer {key}\" -H 'Lastunit-User: ada' \
         -H 'Idempotency-Key: try-{:08x}' -H 'Content-Type: application/json' \
         -d '{{\"lines\":[{{\"sku_id\":1,\"count\":1}}],\"address\":{address_json},\"pay_method\":\"online\"}}'\n",
        rand::random::<u32>()
    )?;
    Ok(out.flush()?)
}

/// Every hour, in small steps, so that no order waits for it.
async fn forget_old_refusals(store: Arc<dyn Store>) {
    const STEP: usize = 500;
    loop {
        let before = Timestamp::from_unix_ms(SystemSource.now().unix_ms() - REFUSALS_KEPT_MS);
        match store.forget_refusals(before, STEP).await {
            Ok(STEP) => tokio::time::sleep(Duration::from_millis(100)).await,
            Ok(_) => tokio::time::sleep(Duration::from_secs(3600)).await,
            Err(error) => {
                tracing::warn!(%error, "old refusals can't be forgotten now");
                tokio::time::sleep(Duration::from_secs(60)).await;
            }
        }
    }
}
