//! The one place where whatever went wrong becomes an answer: RFC 9457 problems with a stable code.
//!
//! A handler returns a [`Problem`]; `entry` renders it, when it knows the request's id, and logs it.

use std::{borrow::Cow, time::Duration};

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use lastunit::{Amount, PlaceError, Refusal, Rejection, ShortLine, SkuId, StoreError};
use serde::Serialize;

macro_rules! codes {
    ($($variant:ident $status:literal $code:literal $title:literal;)+) => {
        /// Every way in which a call can fail.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Code { $($variant),+ }

        impl Code {
            /// All of them, for the documentation and the tests.
            pub(crate) const ALL: &[Self] = &[$(Self::$variant),+];

            pub(crate) fn status(self) -> u16 {
                match self { $(Self::$variant => $status),+ }
            }

            pub(crate) fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code),+ }
            }

            fn title(self) -> &'static str {
                match self { $(Self::$variant => $title),+ }
            }

            fn uri(self) -> &'static str {
                match self { $(Self::$variant => concat!("https://lastunit.dev/problems/", $code)),+ }
            }
        }
    };
}

codes! {
    InsufficientStock 409 "insufficient_stock" "There is less in stock than asked for";
    SkuUnavailable 409 "sku_unavailable" "A SKU can't be ordered";
    CartChanged 409 "cart_changed" "The cart was ordered meanwhile";
    TotalChanged 409 "total_changed" "The total isn't the expected one";
    OrderNotCancelable 409 "order_not_cancelable" "The order can't be canceled any more";
    Conflict 409 "conflict" "The call clashes with what is there";
    EmptyCart 422 "empty_cart" "No line of the cart is selected";
    InvalidRequest 422 "invalid_request" "The request isn't valid";
    IdempotencyKeyReused 422 "idempotency_key_reused" "The Idempotency-Key was used for another request";
    IdempotencyKeyMissing 400 "idempotency_key_missing" "The Idempotency-Key is missing";
    MalformedRequest 400 "malformed_request" "The request can't be read";
    Unauthenticated 401 "unauthenticated" "A valid service key is needed";
    Forbidden 403 "forbidden" "This service key may not do that";
    NotFound 404 "not_found" "There is no such thing";
    MethodNotAllowed 405 "method_not_allowed" "There is no such method here";
    RequestTimeout 408 "request_timeout" "The body took too long to arrive";
    TooLarge 413 "too_large" "The body is too large";
    UnsupportedMediaType 415 "unsupported_media_type" "The body must be JSON";
    RateLimited 429 "rate_limited" "Too many calls in a short time";
    InternalError 500 "internal_error" "Something went wrong here";
    Overloaded 503 "overloaded" "Too much is waiting already";
    StoreUnavailable 503 "store_unavailable" "The store isn't available";
}

/// Figures that a client can act on.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(untagged)]
enum Members {
    #[default]
    None,
    Lines {
        lines: Vec<ShortLine>,
    },
    SkuIds {
        sku_ids: Vec<SkuId>,
    },
    TotalAmount {
        total_amount: Amount,
    },
}

/// What went wrong, and what the client can do about it. Boxed: a `Result` with it stays small.
#[derive(Debug, Clone)]
pub(crate) struct Problem(Box<Inner>);

#[derive(Debug, Clone)]
struct Inner {
    code: Code,
    detail: Cow<'static, str>,
    members: Members,
    replayed: bool,
    /// After how many seconds the same request may be sent again, where nothing but time has to change.
    retry_after_s: Option<u64>,
    /// For the log alone.
    cause: Option<String>,
    /// Set by the origin's endpoint: the problem is answered in its manner.
    origin_code: Option<u16>,
}

/// The body of a problem.
#[derive(Serialize)]
struct ProblemBody<'a> {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    code: &'static str,
    detail: &'a str,
    request_id: &'a str,
    #[serde(flatten)]
    members: &'a Members,
}

/// The origin's manner of saying no.
#[derive(Serialize)]
struct OriginBody<'a> {
    code: u16,
    errmsg: &'a str,
    order_id: Option<&'a str>,
}

impl Problem {
    pub(crate) fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        let (detail, members) = (detail.into(), Members::None);
        let retry_after_s = matches!(code, Code::Overloaded | Code::StoreUnavailable).then_some(1);
        let (replayed, cause, origin_code) = (false, None, None);
        Self(Box::new(Inner { code, detail, members, replayed, retry_after_s, cause, origin_code }))
    }

    pub(crate) fn invalid(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::InvalidRequest, detail)
    }

    pub(crate) fn malformed(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::MalformedRequest, detail)
    }

    /// The answer for what doesn't exist, and for what belongs to another buyer: nobody can tell them apart.
    pub(crate) fn not_found(what: &'static str) -> Self {
        Self::new(Code::NotFound, what)
    }

    /// A bug; `cause` goes to the log, and the client learns only the request's id.
    pub(crate) fn internal(cause: impl Into<String>) -> Self {
        let detail =
            "This is our mistake. Send the request again later; if it fails again, report the request_id.";
        Self::new(Code::InternalError, detail).because(cause)
    }

    pub(crate) fn overloaded() -> Self {
        let detail = "Wait as long as Retry-After says, then send the same request again, \
            with the same Idempotency-Key if it had one.";
        Self::new(Code::Overloaded, detail)
    }

    pub(crate) fn unavailable() -> Self {
        let detail = "What it needs didn't answer in time. Wait as long as Retry-After says, then send the same \
            request again, with the same Idempotency-Key if it had one.";
        Self::new(Code::StoreUnavailable, detail)
    }

    /// Too many calls of `whom`; the next one is welcome after `wait`.
    pub(crate) fn rate_limited(whom: &'static str, wait: Duration) -> Self {
        let detail = format!(
            "There were too many calls {whom} in a short time. Wait as long as Retry-After says, then send the \
             same request again, with the same Idempotency-Key if it had one."
        );
        let mut problem = Self::new(Code::RateLimited, detail);
        problem.0.retry_after_s = Some(wait.as_millis().div_ceil(1000).max(1) as u64);
        problem
    }

    /// Something for the log that the client must not see.
    pub(crate) fn because(mut self, cause: impl Into<String>) -> Self {
        self.0.cause = Some(cause.into());
        self
    }

    /// Marks an answer that the key had been given before.
    pub(crate) fn replayed(mut self, replayed: bool) -> Self {
        self.0.replayed = replayed;
        self
    }

    /// Answers this problem in the origin's manner, under this code.
    pub(crate) fn in_origins_manner(mut self, code: u16) -> Self {
        self.0.origin_code = Some(code);
        self
    }

    pub(crate) fn code(&self) -> Code {
        self.0.code
    }

    pub(crate) fn cause(&self) -> Option<&str> {
        self.0.cause.as_deref()
    }

    pub(crate) fn detail(&self) -> &str {
        &self.0.detail
    }

    /// The finished answer, but for the X-Request-Id that every answer gets.
    pub(crate) fn render(&self, request_id: &str) -> Response {
        let Inner { code, detail, members, replayed, retry_after_s, cause: _, origin_code } = &*self.0;
        let (status, media_type, body) = if let &Some(code) = origin_code {
            let body = serde_json::to_vec(&OriginBody { code, errmsg: detail, order_id: None });
            (200, "application/json", body)
        } else {
            let body = serde_json::to_vec(&ProblemBody {
                r#type: code.uri(),
                title: code.title(),
                status: code.status(),
                code: code.as_str(),
                detail,
                request_id,
                members,
            });
            (code.status(), "application/problem+json", body)
        };
        let mut response = Response::new(Body::from(body.expect("strings and integers are JSON")));
        *response.status_mut() = StatusCode::from_u16(status).expect("the table holds valid statuses");
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
        if let Some(seconds) = *retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if *code == Code::Unauthenticated && status == 401 {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if *replayed {
            headers.insert("idempotent-replayed", HeaderValue::from_static("true"));
        }
        response
    }
}

impl IntoResponse for Problem {
    /// Carries the problem outwards; nobody but `entry` sees this answer.
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response.extensions_mut().insert(self);
        response
    }
}

fn no_such_shop() -> Problem {
    Problem::not_found("There is no such shop: check the Lastunit-Shop header.")
}

/// A sentence, of what may begin small and end without a full stop.
fn sentence(text: &str) -> String {
    let mut chars = text.trim_end_matches('.').chars();
    let first = chars.next().into_iter().flat_map(char::to_uppercase);
    first.chain(chars).chain(['.']).collect()
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Conflict => Self::unavailable().because("conflicts at every try"),
            StoreError::Unavailable(cause) => Self::unavailable().because(cause),
            StoreError::CommitUnknown(cause) => {
                let detail = "The database went away while it was saving: look whether the change is there \
                    before you send it again.";
                Self::new(Code::StoreUnavailable, detail).because(cause)
            }
            StoreError::Clash(text) => Self::new(Code::Conflict, sentence(&text)),
            StoreError::NoSuchShop => no_such_shop(),
            StoreError::Unusable(cause) | StoreError::Internal(cause) => Self::internal(cause),
        }
    }
}

impl From<PlaceError> for Problem {
    fn from(error: PlaceError) -> Self {
        match error {
            PlaceError::Overloaded => Self::overloaded(),
            PlaceError::Unavailable => Self::unavailable(),
            PlaceError::NoSuchShop => no_such_shop(),
            PlaceError::Internal(cause) => Self::internal(cause),
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let (code, detail, members) = match refusal {
            Refusal::InsufficientStock { lines } => (
                Code::InsufficientStock,
                "Nothing was ordered. Lower the counts to what is available, and order under a new \
                 Idempotency-Key.",
                Members::Lines { lines },
            ),
            Refusal::SkuUnavailable { sku_ids } => (
                Code::SkuUnavailable,
                "Nothing was ordered. Take the SKUs in sku_ids out, and order under a new Idempotency-Key.",
                Members::SkuIds { sku_ids },
            ),
            Refusal::EmptyCart => (
                Code::EmptyCart,
                "Nothing was ordered. Select at least one line of the cart, and order under a new \
                 Idempotency-Key.",
                Members::None,
            ),
            Refusal::CartChanged => (
                Code::CartChanged,
                "Nothing was ordered by this call: another call ordered from this cart. Read the cart again \
                 before you order under a new Idempotency-Key.",
                Members::None,
            ),
            Refusal::TotalChanged { total_amount } => (
                Code::TotalChanged,
                "Nothing was ordered. Show the buyer the new total_amount, and order under a new \
                 Idempotency-Key.",
                Members::TotalAmount { total_amount },
            ),
        };
        let mut problem = Self::new(code, detail);
        problem.0.members = members;
        problem
    }
}

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        match rejection {
            Rejection::KeyReused => Self::new(
                Code::IdempotencyKeyReused,
                "This buyer used the Idempotency-Key for another request: choose a new key for a new order.",
            ),
            Rejection::AddressNotFound => Self::not_found(
                "The buyer has no address with this address_id: save it first, or give `address`.",
            ),
            Rejection::CartUnreachable | Rejection::CartBehind => Self::unavailable(),
            Rejection::TotalTooLarge => {
                Self::invalid("The total would exceed 9007199254740991 minor units: order less at once.")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_named_like_the_librarys() {
        for (i, code) in Code::ALL.iter().enumerate() {
            assert!(Code::ALL[..i].iter().all(|other| other.as_str() != code.as_str()));
            assert!(StatusCode::from_u16(code.status()).is_ok());
        }
        let sku_id = SkuId::new(7).unwrap();
        for refusal in [
            Refusal::InsufficientStock { lines: vec![ShortLine { sku_id, requested: 3, available: 1 }] },
            Refusal::SkuUnavailable { sku_ids: vec![sku_id] },
            Refusal::EmptyCart,
            Refusal::CartChanged,
            Refusal::TotalChanged { total_amount: Amount::ZERO },
        ] {
            let code = refusal.code();
            assert_eq!(Problem::from(refusal).code().as_str(), code);
        }
    }

    #[test]
    fn causes_stay_in_the_log() {
        for error in [
            StoreError::Internal("SELECT secret".into()),
            StoreError::Unusable("SELECT secret".into()),
            StoreError::Unavailable("SELECT secret".into()),
            StoreError::CommitUnknown("SELECT secret".into()),
        ] {
            let problem = Problem::from(error);
            assert_eq!(problem.cause(), Some("SELECT secret"));
            assert!(!problem.detail().contains("secret"));
        }
    }

    #[test]
    fn a_clash_is_told_in_a_sentence() {
        let problem = Problem::from(StoreError::Clash("the handle is taken".into()));
        assert_eq!((problem.code(), problem.detail()), (Code::Conflict, "The handle is taken."));
    }

    #[test]
    fn whoever_is_early_is_told_to_wait_whole_seconds() {
        for (wait_ms, told) in [(0, "1"), (1, "1"), (1000, "1"), (1001, "2"), (59_999, "60")] {
            let response = Problem::rate_limited("of a test", Duration::from_millis(wait_ms)).render("id");
            assert_eq!(response.status(), 429);
            assert_eq!(response.headers()[header::RETRY_AFTER], told);
        }
    }

    #[test]
    fn the_origins_manner_is_http_200() {
        let response = Problem::overloaded().in_origins_manner(5003).render("id");
        assert_eq!(response.status(), 200);
    }
}
