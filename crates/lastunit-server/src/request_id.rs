//! The name under which a request is found in the log: the client's, or one made here.

use axum::http::{HeaderMap, HeaderName, HeaderValue};

/// The header, both ways.
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// 1 to 64 printable ASCII characters.
pub(crate) struct RequestId(HeaderValue);

impl RequestId {
    /// The client's id if it can stand in a log, else a new one.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let given = headers.get(X_REQUEST_ID).filter(|value| {
            (1..=64).contains(&value.len()) && value.as_bytes().iter().all(|b| (0x20..=0x7e).contains(b))
        });
        given.map_or_else(Self::made, |value| Self(value.clone()))
    }

    /// A new id.
    pub(crate) fn made() -> Self {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0; 16];
        let mut rest: u64 = rand::random();
        for digit in &mut text {
            *digit = HEX[(rest & 15) as usize];
            rest >>= 4;
        }
        Self(HeaderValue::from_bytes(&text).expect("hex digits are printable"))
    }

    pub(crate) fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or("-")
    }

    pub(crate) fn into_header(self) -> HeaderValue {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(given: &str) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(X_REQUEST_ID, HeaderValue::from_bytes(given.as_bytes()).unwrap());
        RequestId::of(&headers).as_str().into()
    }

    #[test]
    fn a_printable_id_is_taken_and_any_other_replaced() {
        assert_eq!(of("trace 7"), "trace 7");
        for bad in ["", "ü", "a\tb", &"x".repeat(65)] {
            let made = of(bad);
            assert!(made != bad && made.len() == 16, "{bad:?}");
        }
        assert_ne!(RequestId::made().as_str(), RequestId::made().as_str());
    }
}
