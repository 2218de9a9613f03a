//! Runs the invariants on a snapshot of the database.

use lastunit::{CheckReport, StoreError, Violation};

use super::{Session, bad_row};
use crate::check::{INVARIANTS, MAX_NAMED};

pub(super) async fn check(session: &mut impl Session) -> Result<CheckReport, StoreError> {
    let mut report = CheckReport::default();
    for invariant in INVARIANTS {
        report.checked.push(invariant.name);
        let broken = session.texts(invariant.violations, MAX_NAMED).await?.into_iter();
        report.violations.extend(broken.map(|detail| Violation { invariant: invariant.name, detail }));
    }
    report.skus = figure(session, "SELECT COUNT(*) AS figure FROM sku").await?;
    report.orders = figure(session, "SELECT COUNT(*) AS figure FROM orders").await?;
    report.stock = figure(session, "SELECT COALESCE(SUM(stock), 0) AS figure FROM sku").await?;
    report.sales = figure(session, "SELECT COALESCE(SUM(sales), 0) AS figure FROM sku").await?;
    Ok(report)
}

/// A number by its text: the databases differ in the types of sums.
async fn figure<T: std::str::FromStr>(
    session: &mut impl Session,
    sql: &'static str,
) -> Result<T, StoreError> {
    let texts = session.texts(sql, 1).await?;
    let number = texts.first().and_then(|text| text.strip_prefix("figure ")?.parse().ok());
    number.ok_or_else(|| bad_row("sums", format!("{texts:?} is no number")))
}
