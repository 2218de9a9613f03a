//! What a fuzzer reaches without a socket: how bodies and headers are read. Not for any other use.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use lastunit::{
    Address, CartLineSetting, IdempotencyKey, PlaceRequest, ShopId, ShopSettings, SkuPatch, StockChange,
    UserId,
};

use crate::{
    admin::ProductBody,
    body::parse,
    identity::{Buyer, Key, bearer, idempotency_key, shop, user},
    orders::OrderBody,
    origin::CommitBody,
    problem::Problem,
    request_id::RequestId,
};

/// A problem's code and detail.
pub type Refused = (&'static str, String);

fn refused(problem: Problem) -> Refused {
    (problem.code().as_str(), problem.detail().to_owned())
}

/// What a body of POST /v1/orders asks for, of some buyer under some key.
pub fn order(body: &[u8]) -> Result<PlaceRequest, Refused> {
    let user = UserId::new("ada").expect("printable");
    let key = IdempotencyKey::new("key").expect("printable");
    parse::<OrderBody>(body)
        .and_then(|order| order.into_request(Buyer { shop: ShopId::FIRST, user }, Key(key)))
        .map_err(refused)
}

/// Reads one body as that of every other call; why it isn't.
pub fn other_bodies(body: &[u8]) -> impl Iterator<Item = Refused> {
    fn reads<T: serde::de::DeserializeOwned>(body: &[u8]) -> Option<Refused> {
        parse::<T>(body).err().map(refused)
    }
    let all = [
        reads::<CartLineSetting>(body),
        reads::<Address>(body),
        reads::<CommitBody>(body),
        reads::<ProductBody>(body),
        reads::<SkuPatch>(body),
        reads::<StockChange>(body),
        reads::<ShopSettings>(body),
    ];
    all.into_iter().flatten()
}

/// What the headers of a request say.
pub struct Heard {
    /// The service key.
    pub service_key: Result<Vec<u8>, Refused>,
    /// The shop.
    pub shop: Result<ShopId, Refused>,
    /// The buyer.
    pub user: Result<UserId, Refused>,
    /// The Idempotency-Key, if there is one.
    pub key: Result<Option<IdempotencyKey>, Refused>,
    /// The X-Request-Id that is answered.
    pub request_id: String,
}

/// Reads lines of the form `name: value`. Those that can't stand in a request are passed over: they never reach the
/// server's own code.
pub fn headers(lines: &[u8]) -> Heard {
    let mut headers = HeaderMap::new();
    for line in lines.split(|&byte| byte == b'\n') {
        let Some(colon) = line.iter().position(|&byte| byte == b':') else { continue };
        let name = HeaderName::from_bytes(&line[..colon]);
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    Heard {
        service_key: bearer(&headers).map(<[u8]>::to_vec).map_err(refused),
        shop: shop(&headers).map_err(refused),
        user: user(&headers).map_err(refused),
        key: idempotency_key(&headers).map_err(refused),
        request_id: RequestId::of(&headers).as_str().to_owned(),
    }
}
