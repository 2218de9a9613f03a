//! Orders: placed exactly once, read, listed, canceled.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderValue, StatusCode},
    response::Response,
};
use lastunit::{
    Address, AddressId, Amount, Basket, CancelOutcome, Demand, Operation, OrderId, Outcome, PayMethod,
    PlaceRequest, Reply, ShipTo, SkuId,
};
use serde::Deserialize;

use crate::{
    app::App,
    body::{Json, Object, json, ok},
    identity::{Buyer, Key},
    list::{Id, PageOf},
    problem::{Code, Problem},
    schema,
};

/// Lines of one SKU are summed before the limit of SKUs applies; this bounds that work.
const MAX_RAW_LINES: usize = 1_000;

/// The body of POST /v1/orders; `schema::PlaceOrder` documents it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OrderBody {
    #[serde(default)]
    lines: Option<Vec<Object<LineBody>>>,
    #[serde(default)]
    address_id: Option<AddressId>,
    #[serde(default)]
    address: Option<Object<Address>>,
    pay_method: PayMethod,
    #[serde(default)]
    expected_total: Option<Amount>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LineBody {
    sku_id: SkuId,
    count: u32,
}

impl OrderBody {
    pub(crate) fn into_request(self, buyer: Buyer, Key(key): Key) -> Result<PlaceRequest, Problem> {
        let basket = match self.lines {
            None => Basket::Cart,
            Some(lines) => Basket::Lines(demand(&lines)?),
        };
        let ship_to = match (self.address_id, self.address) {
            (Some(id), None) => ShipTo::Saved(id),
            (None, Some(Object(address))) => {
                address.validate().map_err(|wrong| Problem::invalid(format!("`address`: {wrong}.")))?;
                ShipTo::Given(address)
            }
            (None, None) | (Some(_), Some(_)) => {
                return Err(Problem::invalid("Give exactly one of `address_id` and `address`."));
            }
        };
        Ok(PlaceRequest {
            shop: buyer.shop,
            user: buyer.user,
            operation: Operation::PlaceOrder,
            key,
            basket,
            ship_to,
            pay_method: self.pay_method,
            expected_total: self.expected_total,
        })
    }
}

fn demand(lines: &[Object<LineBody>]) -> Result<Demand, Problem> {
    if lines.is_empty() {
        return Err(Problem::invalid("`lines` needs at least one line; leave it out to order the cart."));
    }
    if lines.len() > MAX_RAW_LINES {
        return Err(Problem::invalid(format!("`lines` may hold at most {MAX_RAW_LINES} lines.")));
    }
    Demand::new(lines.iter().map(|Object(line)| (line.sku_id, line.count)))
        .map_err(|wrong| Problem::invalid(format!("`lines`: {wrong}.")))
}

/// Place an order.
///
/// From the lines given, or without `lines` from the selected lines of the buyer's cart. Sent again with the same
/// Idempotency-Key, it gives the first answer again, whether that was an order or a refusal.
#[utoipa::path(
    post, path = "/v1/orders", tag = "orders", operation_id = "place_order",
    params(schema::IdempotencyKeyHeader),
    request_body = schema::PlaceOrder,
    responses(
        (status = 201, description = "The order was placed, now or at the first call with this key",
            body = schema::Order,
            headers(("Idempotent-Replayed" = bool, description = "true if this repeats an earlier answer"))),
        (status = 409, description = "Nothing was ordered: insufficient_stock, sku_unavailable, cart_changed or \
            total_changed", body = schema::Problem, content_type = "application/problem+json",
            headers(("Idempotent-Replayed" = bool, description = "true if this repeats an earlier answer"))),
    ),
)]
pub(crate) async fn place(
    State(app): State<Arc<App>>,
    buyer: Buyer,
    key: Key,
    Json(body): Json<OrderBody>,
) -> Result<Response, Problem> {
    let request = Arc::new(body.into_request(buyer, key)?);
    let Reply { outcome, replayed } = place_detached(&app, request).await?;
    match outcome {
        Outcome::Placed(order) => {
            let mut response = json(StatusCode::CREATED, &*order);
            if replayed {
                mark_replayed(&mut response);
            }
            Ok(response)
        }
        Outcome::Refused(refusal) => Err(Problem::from(refusal).replayed(replayed)),
        Outcome::Rejected(rejection) => Err(rejection.into()),
    }
}

/// Places an order whether or not the client stays to hear of it.
pub(crate) async fn place_detached(app: &Arc<App>, request: Arc<PlaceRequest>) -> Result<Reply, Problem> {
    // With its lines given, an order is in the engine's hands before the first await, and stays there: a task of
    // its own would add nothing. One from the cart has to read the cart's head first.
    if matches!(request.basket, Basket::Lines(_)) {
        return Ok(app.engine.place(request).await?);
    }
    let engine = app.engine.clone();
    app.detached(async move { Ok(engine.place(request).await?) }).await
}

pub(crate) fn mark_replayed(response: &mut Response) {
    response.headers_mut().insert("idempotent-replayed", HeaderValue::from_static("true"));
}

/// List the buyer's orders, newest first.
#[utoipa::path(
    get, path = "/v1/orders", tag = "orders", operation_id = "list_orders",
    params(schema::OrderPage),
    responses((status = 200, description = "One page of orders", body = schema::OrderList)),
)]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    buyer: Buyer,
    page: PageOf<OrderId>,
) -> Result<Response, Problem> {
    let orders = app.store().orders(buyer.shop, &buyer.user, page.after, page.fetch()).await?;
    app.known_shop(buyer.shop, orders.is_empty()).await?;
    Ok(ok(&page.page(orders, |order| order.id.to_string())))
}

/// Read one of the buyer's orders.
#[utoipa::path(
    get, path = "/v1/orders/{id}", tag = "orders", operation_id = "get_order",
    params(schema::OrderPath),
    responses((status = 200, description = "The order", body = schema::Order)),
)]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    buyer: Buyer,
    Id(id): Id<OrderId>,
) -> Result<Response, Problem> {
    let order = app.store().order(buyer.shop, &buyer.user, id).await?.ok_or_else(no_such_order)?;
    Ok(ok(&order))
}

/// Cancel an order that isn't shipped yet.
///
/// Its units go back to stock exactly once; a second call answers the same.
#[utoipa::path(
    post, path = "/v1/orders/{id}/cancel", tag = "orders", operation_id = "cancel_order",
    params(schema::OrderPath),
    responses(
        (status = 200, description = "The order, canceled now or before", body = schema::Order),
        (status = 409, description = "order_not_cancelable: shipped, completed or expired",
            body = schema::Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn cancel(
    State(app): State<Arc<App>>,
    buyer: Buyer,
    Id(id): Id<OrderId>,
) -> Result<Response, Problem> {
    let engine = app.engine.clone();
    let canceled = async move { Ok(engine.cancel(buyer.shop, &buyer.user, id).await?) };
    match app.detached(canceled).await? {
        CancelOutcome::Canceled(order) => Ok(ok(&order)),
        CancelOutcome::NotCancelable(status) => {
            let status = status.as_str();
            let detail =
                format!("The order is {status}: only an order that is unpaid or to_ship can be canceled.");
            Err(Problem::new(Code::OrderNotCancelable, detail))
        }
        CancelOutcome::NotFound => Err(no_such_order()),
    }
}

fn no_such_order() -> Problem {
    Problem::not_found("The buyer has no order with this id.")
}

#[cfg(test)]
mod tests {
    use lastunit::{IdempotencyKey, ShopId, UserId};

    use super::*;

    const ADDRESS: &str = r#""address": {"receiver": "Ada", "line1": "1 High Street", "city": "Leeds",
        "postal_code": "LS1 1AA", "country": "GB", "phone": "+44 113 496 0000"}"#;

    fn request(body: &str) -> Result<PlaceRequest, (&'static str, String)> {
        let buyer = Buyer { shop: ShopId::FIRST, user: UserId::new("ada").unwrap() };
        crate::body::parse::<OrderBody>(body.as_bytes())
            .and_then(|body| body.into_request(buyer, Key(IdempotencyKey::new("k").unwrap())))
            .map_err(|problem| (problem.code().as_str(), problem.detail().to_owned()))
    }

    #[test]
    fn lines_or_the_cart_to_one_address() {
        let lines =
            format!(r#"{{"lines": [{{"sku_id": 7, "count": 1}}], {ADDRESS}, "pay_method": "online"}}"#);
        assert!(matches!(request(&lines).unwrap().basket, Basket::Lines(_)));
        let cart =
            r#"{"address_id": "01890a5d-ac96-774b-bcce-b302099a8057", "pay_method": "cash_on_delivery"}"#;
        assert_eq!(request(cart).unwrap().basket, Basket::Cart);
    }

    #[test]
    fn everything_else_is_invalid_and_named() {
        let id = r#""address_id": "01890a5d-ac96-774b-bcce-b302099a8057""#;
        for (body, says) in [
            (format!(r#"{{"lines": [], {id}, "pay_method": "online"}}"#), "`lines`"),
            (format!(r#"{{"lines": [[7, 1]], {id}, "pay_method": "online"}}"#), "`lines[0]`"),
            (format!(r#"{{"lines": [{{"sku_id": 7, "count": 0}}], {id}, "pay_method": "online"}}"#), "SKU 7"),
            (
                format!(r#"{{"lines": [{{"sku_id": 0, "count": 1}}], {id}, "pay_method": "online"}}"#),
                "sku_id",
            ),
            (format!(r#"{{{id}, {ADDRESS}, "pay_method": "online"}}"#), "exactly one"),
            (r#"{"pay_method": "online"}"#.into(), "exactly one"),
            (format!(r#"{{{id}, "pay_method": "alipay"}}"#), "cash_on_delivery"),
            (format!(r#"{{{id}, "pay_method": "online", "expected_total": -1}}"#), "expected_total"),
            (format!(r#"{{{id}, "pay_method": "online", "freight": 0}}"#), "unknown field `freight`"),
            (format!(r#"{{{id}, "pay_method": "online", "currency": "EUR"}}"#), "unknown field `currency`"),
            (r#"{"address_id": "7", "pay_method": "online"}"#.into(), "`address_id`"),
            (r#"{"address": {"receiver": 1}, "pay_method": "online"}"#.into(), "`address.receiver`"),
        ] {
            let (code, detail) = request(&body).unwrap_err();
            assert_eq!(code, "invalid_request", "{body}: {detail}");
            assert!(detail.contains(says), "{body}: {detail}");
        }
        let many = vec![r#"{"sku_id":7,"count":1}"#; 1001].join(",");
        let body = format!(r#"{{"lines": [{many}], {id}, "pay_method": "online"}}"#);
        assert_eq!(request(&body).unwrap_err().0, "invalid_request");
    }
}
