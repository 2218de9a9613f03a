//! The origin's view on Django: its tables, its buyers, its books.

use anyhow::{Context, Result, ensure};
use http::StatusCode;
use lastunit_bench::sale::{Answer, Books, Shopper};
use serde_json::Value;
use tokio_postgres::NoTls;

use crate::{
    carts::{self, Full},
    client::{Client, JSON},
    peer::{Running, Servers},
    plan::{Cure, Workload},
};

/// Django with one of the cures, on a fresh database.
pub struct Django {
    running: Running,
    database: tokio_postgres::Client,
}

impl Django {
    pub async fn start(cure: Cure, servers: &Servers) -> Result<Self> {
        let running = Running::start("django", cure.as_str(), servers).await?;
        let database = connect(&running.served.database).await?;
        Ok(Self { running, database })
    }

    pub fn versions(&self) -> &str {
        &self.running.served.versions
    }

    /// Fills its tables and so many carts: buyers that can order.
    pub async fn buyers(&self, workload: Workload, orders: u64, buyers: usize) -> Result<Vec<DjangoBuyer>> {
        let (skus, stock) = (workload.skus(), workload.stock());
        self.database
            .batch_execute(&format!(
                "INSERT INTO tb_users (id, username) SELECT n, 'buyer ' || n FROM generate_series(1, {orders}) n;
                 INSERT INTO tb_address (id, user_id, receiver, place, mobile)
                     SELECT n, n, 'Ada Lovelace', '1 High Street', '+44 113 496 0000' FROM generate_series(1, {orders}) n;
                 INSERT INTO tb_spu (id, name, sales)
                     SELECT n, 'Benchmark product ' || n, 0 FROM generate_series(1, ({skus} + 9) / 10) n;
                 INSERT INTO tb_sku (id, name, spu_id, price, stock, sales)
                     SELECT n, 'Benchmark SKU ' || n, (n + 9) / 10, 10.00, {stock}, 0 FROM generate_series(1, {skus}) n;
                 ANALYZE; CHECKPOINT"
            ))
            .await?;
        // The database of Redis that bench/peers/django/shop/settings.py takes.
        let carts = carts::fill(&format!("{}/0", self.running.served.redis), workload, orders, false).await?;
        let url = &self.running.served.url;
        Ok((0..buyers)
            .map(|_| DjangoBuyer { client: Client::new(url), carts: carts.clone(), user: None })
            .collect())
    }

    /// What its tables say.
    pub async fn books(&self, workload: Workload) -> Result<Books> {
        let stock = i64::try_from(workload.stock())?;
        let row = self
            .database
            .query_one(
                "SELECT COALESCE(SUM(l.sold), 0)::bigint,
                        COALESCE(SUM(GREATEST(l.sold - $1, 0)), 0)::bigint,
                        SUM(ABS(COALESCE(l.sold, 0) - ($1 - s.stock)))::bigint,
                        SUM(ABS(COALESCE(l.sold, 0) - s.sales))::bigint,
                        (SELECT SUM(sales) FROM tb_spu)::bigint
                 FROM tb_sku s LEFT JOIN
                     (SELECT sku_id, SUM(count) AS sold FROM tb_order_goods GROUP BY sku_id) l ON l.sku_id = s.id",
                &[&stock],
            )
            .await?;
        let (sold, oversold): (i64, i64) = (row.get(0), row.get(1));
        let (of_stock, of_skus, of_products): (i64, i64, i64) = (row.get(2), row.get(3), row.get(4));
        Ok(Books { sold, oversold, lost: of_stock.max(of_skus).max(sold - of_products) })
    }
}

/// A connection to a database of PostgreSQL.
pub async fn connect(url: &str) -> Result<tokio_postgres::Client> {
    let (client, connection) =
        tokio_postgres::connect(url, NoTls).await.context("PostgreSQL can't be reached")?;
    tokio::spawn(connection);
    Ok(client)
}

/// Orders one full cart after the other.
pub struct DjangoBuyer {
    client: Client,
    carts: Full,
    /// Whose order isn't decided yet.
    user: Option<u64>,
}

impl Shopper for DjangoBuyer {
    async fn order(&mut self) -> Result<Answer> {
        let user = match self.user {
            Some(user) => user,
            None => *self.user.insert(self.carts.take()?),
        };
        let buyer = user.to_string();
        let headers = [("X-User", buyer.as_str()), JSON];
        let body = format!(r#"{{"address_id": {user}, "pay_method": 1}}"#);
        let response = self.client.post("/orders/commit/", &headers, body.as_bytes()).await?;
        let answer = read(response.status, &response.body)?;
        self.user = None;
        Ok(answer)
    }
}

/// What the origin's manners mean: HTTP 200 and a code.
fn read(status: StatusCode, body: &[u8]) -> Result<Answer> {
    ensure!(status == StatusCode::OK, "Django answered {status}");
    let body: Value = serde_json::from_slice(body)?;
    match body["code"].as_i64() {
        Some(0) => Ok(Answer::Placed),
        Some(4005) => Ok(Answer::Refused),
        _ => anyhow::bail!("Django answered {body}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_says_what_became_of_an_order() {
        let answer =
            |status, body: &str| read(StatusCode::from_u16(status).expect("a status"), body.as_bytes());
        assert_eq!(answer(200, r#"{"code": 0, "order_id": "1"}"#).expect("read"), Answer::Placed);
        assert_eq!(answer(200, r#"{"code": 4005}"#).expect("read"), Answer::Refused);
        for (status, body) in [(500, "Server Error"), (200, "{}"), (200, r#"{"code": 5003}"#)] {
            assert!(answer(status, body).is_err(), "{body}");
        }
    }
}
