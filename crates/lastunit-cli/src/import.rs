//! `lastunit import`: products from a CSV file, all or nothing.

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context, Result, bail, ensure};
use lastunit::{Amount, Currency, ShopId, ShopSettings, Source, SystemSource, import};

use crate::store_url::{Open, StoreArg};

/// Import products from a CSV file: Shopify's export format, or the columns product,sku,name,price,stock.
///
/// Running it again updates names, descriptions, prices and what is on sale; the stock of a SKU that is there
/// stays as it is. If a row is wrong, it is named by line and column and nothing is imported.
#[derive(clap::Args)]
pub struct Args {
    /// The CSV file.
    file: PathBuf,
    #[command(flatten)]
    at: StoreArg,
    /// The shop to import into.
    #[arg(long, env = "LASTUNIT_SHOP", default_value = "1", value_name = "ID")]
    shop: ShopId,
    /// The currency of the prices, as an ISO 4217 code. A shop that is new opens with it (GBP if not given).
    #[arg(long, env = "LASTUNIT_CURRENCY", value_name = "CODE", value_parser = currency)]
    currency: Option<Currency>,
}

fn currency(code: &str) -> Result<Currency, String> {
    Currency::new(code).map_err(|error| error.to_string())
}

/// The largest file that is read.
const MAX_FILE_BYTES: u64 = 256 * 1024 * 1024;
/// The most problems that are named.
const MAX_NAMED: usize = 20;

pub async fn run(args: Args) -> Result<ExitCode> {
    let named = || format!("{}", args.file.display());
    let size = std::fs::metadata(&args.file).with_context(named)?.len();
    ensure!(size <= MAX_FILE_BYTES, "{} is larger than 256 MiB: split it", named());
    let bytes = std::fs::read(&args.file).with_context(named)?;

    let store = args.at.store.open(Open::Create).await?;
    let settings = store.settings(args.shop).await?;
    if let (Some(settings), Some(currency)) = (&settings, args.currency)
        && settings.currency != currency
    {
        bail!("shop {} sells in {}, not in {}", args.shop, settings.currency.code(), currency.code());
    }
    let currency = match (&settings, args.currency) {
        (Some(settings), _) => settings.currency,
        (None, Some(currency)) => currency,
        (None, None) => Currency::new("GBP")?,
    };

    let import = match import::read(&bytes, currency) {
        Ok(import) => import,
        Err(problems) => {
            for problem in problems.iter().take(MAX_NAMED) {
                eprintln!("{}: {problem}", named());
            }
            let more = problems.len().saturating_sub(MAX_NAMED);
            let more = if more > 0 { format!(" ({more} more not shown)") } else { String::new() };
            bail!("{} wrong{more}: nothing was imported", count(problems.len(), "place is", "places are"));
        }
    };
    let skus: usize = import.products.iter().map(|product| product.skus.len()).sum();
    let read =
        format!("{}, {}", count(import.products.len(), "product", "products"), count(skus, "SKU", "SKUs"));
    println!("read {} ({}): {read}", named(), import.format);
    for note in &import.notes {
        println!("note: {note}");
    }

    let now = SystemSource.now();
    if settings.is_none() {
        let settings = ShopSettings { currency, freight: Amount::ZERO, free_from: None };
        store.set_settings(args.shop, settings, now).await?;
        println!("shop {} is new: it sells in {}, freight 0", args.shop, currency.code());
    }
    let source = SystemSource.uuid(now);
    let summary =
        store.import(args.shop, import.products, source, now).await.context("nothing was imported")?;
    store.close().await;
    println!(
        "created {} and {}; updated {} and {}",
        count(summary.products_created, "product", "products"),
        count(summary.skus_created, "SKU", "SKUs"),
        count(summary.products_updated, "product", "products"),
        count(summary.skus_updated, "SKU", "SKUs"),
    );
    if summary.stocks_left > 0 {
        println!(
            "left the stock of {} as it is, though the file has another: POST /v1/admin/skus/ID/stock changes stock",
            count(summary.stocks_left, "SKU", "SKUs")
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}
