//! Vendure: a complete checkout through its shop API, its books.

use anyhow::{Context, Result, bail};
use http::StatusCode;
use lastunit_bench::sale::{Answer, Books, Shopper};
use serde_json::{Value, json};

use crate::{
    client::{Client, JSON},
    django::connect,
    peer::{Running, Servers},
    plan::Workload,
};

const PATH: &str = "/shop-api";
const TOKEN: &str = "vendure-auth-token";

/// Vendure with its catalogue; each run begins with other stocks and new orders.
pub struct Vendure {
    running: Running,
    database: tokio_postgres::Client,
}

impl Vendure {
    pub async fn start(servers: &Servers) -> Result<Self> {
        let running = Running::start("vendure", "serve", servers).await?;
        let database = connect(&running.served.database).await?;
        Ok(Self { running, database })
    }

    pub fn versions(&self) -> &str {
        &self.running.served.versions
    }

    /// Throws all orders away, fills the stocks up, and gives buyers.
    pub async fn buyers(&self, workload: Workload, buyers: usize) -> Result<Vec<VendureBuyer>> {
        let stock = workload.stock();
        self.database
            .batch_execute(&format!(
                r#"TRUNCATE "order", order_line, payment, stock_movement, session, history_entry CASCADE;
                   UPDATE stock_level SET "stockOnHand" = {stock}, "stockAllocated" = 0;
                   ANALYZE; CHECKPOINT"#
            ))
            .await?;
        let url = &self.running.served.url;
        let buyer = |n| VendureBuyer { client: Client::new(url), workload, email: email(n), token: None };
        Ok((0..buyers).map(buyer).collect())
    }

    /// What its tables say: orders that are paid, and what is allocated to them.
    pub async fn books(&self, workload: Workload) -> Result<Books> {
        let stock = i64::try_from(workload.stock())?;
        let row = self
            .database
            .query_one(
                r#"SELECT COALESCE(SUM(l.sold), 0)::bigint,
                          COALESCE(SUM(GREATEST(l.sold - $1, 0)), 0)::bigint,
                          SUM(ABS(COALESCE(l.sold, 0) - ($1 - s."stockOnHand" + s."stockAllocated")))::bigint
                   FROM stock_level s LEFT JOIN (
                       SELECT l."productVariantId" AS variant, SUM(l.quantity) AS sold
                       FROM order_line l JOIN "order" o ON o.id = l."orderId"
                       WHERE o.state = 'PaymentSettled' GROUP BY 1
                   ) l ON l.variant = s."productVariantId""#,
                &[&stock],
            )
            .await?;
        Ok(Books { sold: row.get(0), oversold: row.get(1), lost: row.get(2) })
    }
}

fn email(n: usize) -> String {
    format!("buyer-{n}@example.com")
}

/// Checks out again and again, in one session.
pub struct VendureBuyer {
    client: Client,
    workload: Workload,
    email: String,
    /// Of the session; a new one is begun after a checkout that didn't end well, for its cart is left as it was.
    token: Option<String>,
}

impl Shopper for VendureBuyer {
    async fn order(&mut self) -> Result<Answer> {
        let token = match self.token.take() {
            Some(token) => token,
            None => self.new_session().await?,
        };
        let authorization = format!("Bearer {token}");
        let headers = [("Authorization", authorization.as_str()), JSON];
        let call = checkout(&self.workload.pick(), &self.email).to_string();
        let response = self.client.post(PATH, &headers, call.as_bytes()).await?;
        let answer = read(response.status, &response.body)?;
        if answer == Answer::Placed {
            self.token = Some(token);
        }
        Ok(answer)
    }
}

impl VendureBuyer {
    async fn new_session(&mut self) -> Result<String> {
        let call = json!({ "query": "{ activeOrder { id } }" }).to_string();
        let response = self.client.post(PATH, &[JSON], call.as_bytes()).await?;
        response.header(TOKEN).context("Vendure began no session")
    }
}

/// A checkout from an empty cart to a paid order, all its steps in one request, one after the other: that is the least
/// it costs.
fn checkout(variants: &[u64], email: &str) -> Value {
    const RESULT: &str = "{ __typename ... on ErrorResult { errorCode message } }";
    // Only that tells a stock that ended since the item was added from other reasons.
    const WHY: &str = "... on OrderStateTransitionError { transitionError }";
    // At once: every addItemToOrder of one request begins an order of its own.
    let items: Vec<String> =
        variants.iter().map(|variant| format!("{{productVariantId: \"{variant}\", quantity: 1}}")).collect();
    let items = items.join(", ");
    let query = format!(
        r#"mutation {{
            add: addItemsToOrder(inputs: [{items}]) {{ errorResults {{ __typename ... on ErrorResult {{ errorCode message }} }} }}
            customer: setCustomerForOrder(input: {{firstName: "Ada", lastName: "Lovelace", emailAddress: "{email}"}}) {RESULT}
            address: setOrderShippingAddress(input: {{fullName: "Ada Lovelace", streetLine1: "1 High Street", city: "Leeds", postalCode: "LS1 1AA", countryCode: "GB"}}) {RESULT}
            shipping: setOrderShippingMethod(shippingMethodId: ["1"]) {RESULT}
            state: transitionOrderToState(state: "ArrangingPayment") {{
                __typename ... on ErrorResult {{ errorCode message }} {WHY}
            }}
            payment: addPaymentToOrder(input: {{method: "dummy", metadata: {{}}}}) {{
                __typename ... on Order {{ state }} ... on ErrorResult {{ errorCode message }} {WHY}
            }}
        }}"#
    );
    json!({ "query": query })
}

/// Placed if it is paid and has all its lines; refused if a step says that there isn't enough.
fn read(status: StatusCode, body: &[u8]) -> Result<Answer> {
    let body: Value = serde_json::from_slice(body).with_context(|| format!("Vendure answered {status}"))?;
    let data = &body["data"];
    let items = data["add"]["errorResults"].as_array();
    let paid = status == StatusCode::OK && data["payment"]["state"] == "PaymentSettled";
    match (paid, items.is_some_and(Vec::is_empty)) {
        (true, true) => return Ok(Answer::Placed),
        (true, false) => bail!("Vendure sold an order without all its lines"),
        (false, _) => {}
    }
    let steps = ["customer", "address", "shipping", "state", "payment"].map(|step| &data[step]);
    let failed = items.into_iter().flatten().chain(steps).find(|step| !step["errorCode"].is_null());
    match failed {
        Some(step) if is_refusal(step) => Ok(Answer::Refused),
        Some(step) => {
            let why = step["transitionError"].as_str().or(step["message"].as_str());
            bail!("Vendure: {}", why.unwrap_or("a step failed"))
        }
        None => bail!("Vendure answered {status}: {body}"),
    }
}

fn is_refusal(step: &Value) -> bool {
    let transition = step["transitionError"].as_str().unwrap_or_default();
    step["errorCode"] == "INSUFFICIENT_STOCK_ERROR" || transition.contains("insufficient stock")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: Value) -> Result<Answer> {
        read(StatusCode::from_u16(status).expect("a status"), body.to_string().as_bytes())
    }

    #[test]
    fn an_order_is_placed_when_it_is_paid_and_has_all_its_lines() {
        let placed = |errors: Value| {
            let payment = json!({ "__typename": "Order", "state": "PaymentSettled" });
            answer(200, json!({ "data": { "add": { "errorResults": errors }, "payment": payment } }))
        };
        assert_eq!(placed(json!([])).expect("read"), Answer::Placed);
        assert!(placed(json!([{ "errorCode": "INSUFFICIENT_STOCK_ERROR" }])).is_err());
    }

    #[test]
    fn the_first_step_that_fails_says_why() {
        let short = json!({ "errorResults": [{ "errorCode": "INSUFFICIENT_STOCK_ERROR", "message": "…" }] });
        let later = json!({ "errorCode": "NO_ACTIVE_ORDER_ERROR", "message": "no order" });
        let body = json!({ "data": { "add": short, "payment": later } });
        assert_eq!(answer(200, body).expect("read"), Answer::Refused);
        let why = "Cannot transition Order to the \"ArrangingPayment\" state due to insufficient stock of A";
        let ended =
            json!({ "errorCode": "ORDER_STATE_TRANSITION_ERROR", "message": "…", "transitionError": why });
        let body = json!({ "data": { "add": { "errorResults": [] }, "state": ended, "payment": later } });
        assert_eq!(answer(200, body).expect("read"), Answer::Refused);
        let failed = answer(200, json!({ "data": { "payment": later } }));
        assert!(failed.is_err_and(|error| error.to_string().contains("no order")));
        assert!(answer(500, json!({ "errors": [] })).is_err());
    }

    #[test]
    fn a_checkout_adds_each_line_and_names_its_buyer() {
        let call = checkout(&[7, 9], "a@example.com")["query"].as_str().expect("a text").to_owned();
        let lines = r#"inputs: [{productVariantId: "7", quantity: 1}, {productVariantId: "9", quantity: 1}]"#;
        assert!(call.contains(lines), "{call}");
        assert!(call.contains("emailAddress: \"a@example.com\""));
        assert_eq!(call.matches("transitionError").count(), 2, "or a late refusal looks like a failure");
    }
}
