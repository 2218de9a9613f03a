//! Who calls, and for whom: a service key, a shop, a buyer.

use std::sync::Arc;

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderName, HeaderValue, Method, header, request::Parts},
};
use lastunit::{IdempotencyKey, Role, ShopId, UserId};

use crate::{
    app::App,
    problem::{Code, Problem},
};

const LASTUNIT_USER: HeaderName = HeaderName::from_static("lastunit-user");
const LASTUNIT_SHOP: HeaderName = HeaderName::from_static("lastunit-shop");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// A system with a valid service key, and the shop it calls for.
pub(crate) struct Caller {
    pub(crate) shop: ShopId,
    role: Role,
}

/// A caller that acts for a buyer.
pub(crate) struct Buyer {
    pub(crate) shop: ShopId,
    pub(crate) user: UserId,
}

/// A caller that may change products, stock and settings.
pub(crate) struct Admin {
    pub(crate) shop: ShopId,
}

impl Caller {
    fn of(headers: &HeaderMap, app: &App) -> Result<Self, Problem> {
        let key = bearer(headers)?;
        let role = app.keys.role(key).ok_or_else(|| {
            Problem::new(Code::Unauthenticated, "The service key is unknown or was revoked: use a valid one.")
        })?;
        app.rates.count_call(key, &app.metrics)?;
        Ok(Self { shop: shop(headers)?, role })
    }
}

impl Buyer {
    /// Before the body is read: what is refused here costs least.
    pub(crate) fn of(method: &Method, headers: &HeaderMap, app: &App) -> Result<Self, Problem> {
        let Caller { shop, .. } = Caller::of(headers, app)?;
        let user = user(headers)?;
        if !method.is_safe() {
            app.rates.count_change(shop, &user, &app.metrics)?;
        }
        Ok(Self { shop, user })
    }
}

impl FromRequestParts<Arc<App>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        Self::of(&parts.headers, app)
    }
}

impl FromRequestParts<Arc<App>> for Buyer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        Self::of(&parts.method, &parts.headers, app)
    }
}

impl FromRequestParts<Arc<App>> for Admin {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let Caller { shop, role } = Caller::of(&parts.headers, app)?;
        match role {
            Role::Admin => Ok(Self { shop }),
            Role::Shop => {
                Err(Problem::new(Code::Forbidden, "This call needs a service key with the role admin."))
            }
        }
    }
}

/// The Idempotency-Key of a call that needs one.
pub(crate) struct Key(pub(crate) IdempotencyKey);

impl FromRequestParts<Arc<App>> for Key {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<App>) -> Result<Self, Problem> {
        idempotency_key(&parts.headers)?.map(Self).ok_or_else(|| {
            Problem::new(
                Code::IdempotencyKeyMissing,
                "Send an Idempotency-Key header: a new random value for every order, and the same one again \
                 when you repeat a call.",
            )
        })
    }
}

/// The Idempotency-Key of a call, if there is one.
pub(crate) fn idempotency_key(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, Problem> {
    let wrong =
        || Problem::malformed("Send one Idempotency-Key header of 1 to 255 printable ASCII characters.");
    let Some(value) = single(headers, &IDEMPOTENCY_KEY).map_err(|Twice| wrong())? else { return Ok(None) };
    let text = value.to_str().map_err(|_| wrong())?;
    IdempotencyKey::new(text).map(Some).map_err(|_| wrong())
}

pub(crate) fn bearer(headers: &HeaderMap) -> Result<&[u8], Problem> {
    let wrong = || {
        Problem::new(
            Code::Unauthenticated,
            "Send one Authorization header of the form: Bearer <service key>.",
        )
    };
    let value = single(headers, &header::AUTHORIZATION).map_err(|Twice| wrong())?.ok_or_else(wrong)?;
    let (scheme, key) = value.as_bytes().split_at_checked(7).ok_or_else(wrong)?;
    if scheme.eq_ignore_ascii_case(b"bearer ") { Ok(key.trim_ascii()) } else { Err(wrong()) }
}

pub(crate) fn shop(headers: &HeaderMap) -> Result<ShopId, Problem> {
    let wrong = || Problem::invalid("Send one Lastunit-Shop header with the shop's id, or none for shop 1.");
    let Some(value) = single(headers, &LASTUNIT_SHOP).map_err(|Twice| wrong())? else {
        return Ok(ShopId::FIRST);
    };
    value.to_str().ok().and_then(|text| text.parse().ok()).ok_or_else(wrong)
}

pub(crate) fn user(headers: &HeaderMap) -> Result<UserId, Problem> {
    let wrong = || {
        Problem::invalid(
            "Send one Lastunit-User header that names the buyer: 1 to 64 printable ASCII characters.",
        )
    };
    let value = single(headers, &LASTUNIT_USER).map_err(|Twice| wrong())?.ok_or_else(wrong)?;
    let text = value.to_str().map_err(|_| wrong())?;
    UserId::new(text).map_err(|_| wrong())
}

struct Twice;

/// The value of a header that says who calls or what for. Two of them are refused: a proxy in front might have
/// looked at the other one.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a HeaderValue>, Twice> {
    let mut values = headers.get_all(name).iter();
    let value = values.next();
    if values.next().is_some() { Err(Twice) } else { Ok(value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        headers
    }

    fn code<T>(result: Result<T, Problem>) -> Option<&'static str> {
        result.err().map(|problem| problem.code().as_str())
    }

    #[test]
    fn a_bearer_is_read_and_anything_else_is_unauthenticated() {
        let ok = headers(&[(header::AUTHORIZATION, "bearer secret")]);
        assert_eq!(bearer(&ok).unwrap(), b"secret");
        for bad in [&["Basic eA=="][..], &["Bearer"], &[], &["Bearer a", "Bearer a"]] {
            let pairs: Vec<_> = bad.iter().map(|value| (header::AUTHORIZATION, *value)).collect();
            assert_eq!(code(bearer(&headers(&pairs))), Some("unauthenticated"), "{bad:?}");
        }
    }

    #[test]
    fn shop_and_user_are_checked() {
        assert_eq!(shop(&headers(&[])).unwrap(), ShopId::FIRST);
        assert_eq!(shop(&headers(&[(LASTUNIT_SHOP, "7")])).unwrap().get(), 7);
        for bad in [&["0"][..], &["x"], &["1", "1"], &[""]] {
            let pairs: Vec<_> = bad.iter().map(|value| (LASTUNIT_SHOP, *value)).collect();
            assert_eq!(code(shop(&headers(&pairs))), Some("invalid_request"), "{bad:?}");
        }
        for bad in [&[][..], &[""], &["ü"], &["a", "b"], &["a\tb"]] {
            let pairs: Vec<_> = bad.iter().map(|value| (LASTUNIT_USER, *value)).collect();
            assert_eq!(code(user(&headers(&pairs))), Some("invalid_request"), "{bad:?}");
        }
        assert_eq!(user(&headers(&[(LASTUNIT_USER, "ada")])).unwrap().as_str(), "ada");
    }

    #[test]
    fn a_key_may_be_missing_but_not_malformed() {
        assert_eq!(idempotency_key(&headers(&[])).unwrap(), None);
        let long = "k".repeat(256);
        for bad in [&[""][..], &["ü"], &["a", "a"], &["a\tb"], &[&long]] {
            let pairs: Vec<_> = bad.iter().map(|value| (IDEMPOTENCY_KEY, *value)).collect();
            assert_eq!(code(idempotency_key(&headers(&pairs))), Some("malformed_request"), "{bad:?}");
        }
    }
}
