//! The endpoint of the shop that Lastunit replaces: the cart becomes an order. It keeps the origin's manners:
//! HTTP 200 whatever comes of it, and a `code`.
//!
//! | code | meaning | as a problem |
//! |---|---|---|
//! | 0 | placed | |
//! | 4001 | the request is wrong | `invalid_request`, `malformed_request`, `too_large`, … |
//! | 4002 | no valid service key | `unauthenticated` |
//! | 4003 | no such address, or no such shop | `not_found` |
//! | 4004 | no line of the cart is selected | `empty_cart` |
//! | 4005 | insufficient stock | `insufficient_stock` |
//! | 4006 | a SKU can't be ordered | `sku_unavailable` |
//! | 4007 | another call ordered this cart | `cart_changed` |
//! | 4008 | the Idempotency-Key was used for another request | `idempotency_key_reused` |
//! | 5000 | a bug | `internal_error` |
//! | 5003 | busy, or too many calls: send the same request again | `overloaded`, `store_unavailable`, `rate_limited` |

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    response::Response,
};
use lastunit::{
    AddressId, Basket, IdempotencyKey, Operation, OrderId, Outcome, PayMethod, PlaceRequest, Reply, ShipTo,
};
use serde::{Deserialize, Serialize};

use crate::{
    app::App,
    body::{ok, read_json},
    identity::{Buyer, idempotency_key},
    orders::{mark_replayed, place_detached},
    problem::{Code, Problem},
    schema,
};

/// The body of POST /orders/commit/; `schema::OriginCommit` documents it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CommitBody {
    address_id: AddressId,
    pay_method: u8,
}

/// The answer to a placed order; `schema::OriginReply` documents it.
#[derive(Serialize)]
struct Committed {
    code: u16,
    errmsg: &'static str,
    order_id: OrderId,
}

/// Order the selected lines of the cart, in the origin's manner.
///
/// Always HTTP 200, with a `code`: 0 placed; 4001 the request is wrong; 4002 no valid service key; 4003 no such
/// address or shop; 4004 nothing is selected; 4005 insufficient stock; 4006 a SKU can't be ordered; 4007 another
/// call ordered this cart; 4008 the Idempotency-Key was used for another request; 5000 a bug; 5003 busy or
/// too many calls, send the same request again as soon as Retry-After says. Without an Idempotency-Key a repeated call isn't recognised, but a cart can't be ordered
/// twice all the same.
#[utoipa::path(
    post, path = "/orders/commit/", tag = "origin", operation_id = "origin_commit",
    params(schema::OptionalIdempotencyKeyHeader),
    request_body = schema::OriginCommit,
    responses((status = 200, description = "What came of it", body = schema::OriginReply,
        headers(("Idempotent-Replayed" = bool, description = "true if this repeats an earlier answer")))),
)]
pub(crate) async fn commit(State(app): State<Arc<App>>, request: Request) -> Result<Response, Problem> {
    try_commit(app, request).await.map_err(|problem| {
        let code = origin_code(problem.code());
        problem.in_origins_manner(code)
    })
}

async fn try_commit(app: Arc<App>, request: Request) -> Result<Response, Problem> {
    let Buyer { shop, user } = Buyer::of(request.method(), request.headers(), &app)?;
    let key = match idempotency_key(request.headers())? {
        Some(key) => key,
        None => random_key(&app)?,
    };
    let CommitBody { address_id, pay_method } =
        read_json(request, app.config.max_body_bytes, app.config.body_timeout).await?;
    let pay_method = match pay_method {
        1 => PayMethod::CashOnDelivery,
        2 => PayMethod::Online,
        _ => return Err(Problem::invalid("`pay_method` must be 1 (cash on delivery) or 2 (online).")),
    };
    let request = PlaceRequest {
        shop,
        user,
        operation: Operation::OriginCommit,
        key,
        basket: Basket::Cart,
        ship_to: ShipTo::Saved(address_id),
        pay_method,
        expected_total: None,
    };
    let Reply { outcome, replayed } = place_detached(&app, request.into()).await?;
    match outcome {
        Outcome::Placed(order) => {
            let mut response = ok(&Committed { code: 0, errmsg: "The order is placed.", order_id: order.id });
            if replayed {
                mark_replayed(&mut response);
            }
            Ok(response)
        }
        Outcome::Refused(refusal) => Err(Problem::from(refusal).replayed(replayed)),
        Outcome::Rejected(rejection) => Err(rejection.into()),
    }
}

fn random_key(app: &App) -> Result<IdempotencyKey, Problem> {
    let source = app.engine.source();
    IdempotencyKey::new(source.uuid(source.now()).to_string())
        .map_err(|error| Problem::internal(error.to_string()))
}

fn origin_code(code: Code) -> u16 {
    match code {
        Code::InsufficientStock => 4005,
        Code::SkuUnavailable => 4006,
        Code::CartChanged => 4007,
        Code::EmptyCart => 4004,
        Code::IdempotencyKeyReused => 4008,
        Code::Unauthenticated | Code::Forbidden => 4002,
        Code::NotFound => 4003,
        Code::InvalidRequest
        | Code::MalformedRequest
        | Code::IdempotencyKeyMissing
        | Code::MethodNotAllowed
        | Code::RequestTimeout
        | Code::TooLarge
        | Code::UnsupportedMediaType
        | Code::TotalChanged
        | Code::OrderNotCancelable
        | Code::Conflict => 4001,
        Code::InternalError => 5000,
        Code::RateLimited | Code::Overloaded | Code::StoreUnavailable => 5003,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_two_fields_of_the_origin_are_taken() {
        let parse = |body: &str| crate::body::parse::<CommitBody>(body.as_bytes());
        let id = r#""address_id": "01890a5d-ac96-774b-bcce-b302099a8057""#;
        assert!(parse(&format!(r#"{{{id}, "pay_method": 2}}"#)).is_ok());
        for bad in [r#""pay_method": "2""#, r#""pay_method": 1, "user": "x""#, r#""pay_method": 1e0"#, ""] {
            assert!(parse(&format!(r#"{{{id}, {bad}}}"#)).is_err(), "{bad}");
        }
    }

    #[test]
    fn no_problem_is_answered_as_placed() {
        assert!(Code::ALL.iter().all(|&code| origin_code(code) >= 4000));
        assert_eq!(origin_code(Code::InsufficientStock), 4005);
    }
}
