//! Bodies: read whole within a time and a size, and parsed into typed structs; the errors say which field is
//! wrong and what it must be.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::{FromRequest, Request},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Body as _;
use lastunit::is_clean;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{DeserializeOwned, MapAccess, Visitor, value::MapAccessDeserializer},
};

use crate::{
    app::App,
    problem::{Code, Problem},
};

/// A JSON object and nothing else. What serde derives for a struct would also take an array of its fields.
#[derive(Debug)]
pub(crate) struct Object<T>(pub(crate) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct OnlyMaps<T>(std::marker::PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for OnlyMaps<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }

        from.deserialize_map(OnlyMaps(std::marker::PhantomData))
    }
}

/// The body of a buyer's call.
pub(crate) struct Json<T>(pub(crate) T);

/// The body of an admin's call, which may be larger.
pub(crate) struct AdminJson<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<Arc<App>> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Problem> {
        read_json(request, app.config.max_body_bytes, app.config.body_timeout).await.map(Self)
    }
}

impl<T: DeserializeOwned> FromRequest<Arc<App>> for AdminJson<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Problem> {
        read_json(request, app.config.max_admin_body_bytes, app.config.body_timeout).await.map(Self)
    }
}

/// Reads and parses a body. Nothing else of the request is kept meanwhile: what a call takes with it should stay small.
pub(crate) fn read_json<T: DeserializeOwned>(
    request: Request,
    limit: usize,
    timeout: Duration,
) -> impl Future<Output = Result<T, Problem>> + Send {
    let is_json = is_json(request.headers().get(header::CONTENT_TYPE));
    let waits_for_leave = request.headers().contains_key(header::EXPECT);
    let mut body = request.into_body();
    async move {
        if !is_json {
            return Err(Problem::new(Code::UnsupportedMediaType, "Send the body as application/json."));
        }
        let too_large = || Problem::new(Code::TooLarge, format!("Send a body of at most {limit} bytes."));
        if body.size_hint().lower() > limit as u64 {
            if !waits_for_leave {
                discard(&mut body).await;
            }
            return Err(too_large());
        }
        let whole = tokio::time::timeout(timeout, read(&mut body, limit)).await.map_err(|_| {
            let seconds = timeout.as_secs_f32();
            Problem::new(Code::RequestTimeout, format!("Send the whole body within {seconds} seconds."))
        })?;
        match whole {
            Ok(whole) => parse(&whole),
            Err(Unread::TooLarge) => {
                discard(&mut body).await;
                Err(too_large())
            }
            Err(Unread::Broken) => Err(Problem::malformed(
                "The body ended early or isn't framed as HTTP/1.1 asks: send it again.",
            )),
        }
    }
}

/// `application/json`, with any parameters; a call without a Content-Type is taken at its word.
fn is_json(content_type: Option<&HeaderValue>) -> bool {
    let Some(value) = content_type else { return true };
    let essence = value.as_bytes().split(|&b| b == b';').next().unwrap_or_default();
    essence.trim_ascii().eq_ignore_ascii_case(b"application/json")
}

enum Unread {
    TooLarge,
    Broken,
}

async fn read(body: &mut Body, limit: usize) -> Result<Bytes, Unread> {
    let mut first = Bytes::new();
    let mut joined = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Unread::Broken)?.into_data() else { continue };
        if first.len() + joined.len() + data.len() > limit {
            return Err(Unread::TooLarge);
        }
        if first.is_empty() && joined.is_empty() {
            // Nearly every body comes in one piece, which needs no copy.
            first = data;
        } else {
            joined.extend_from_slice(&std::mem::take(&mut first));
            joined.extend_from_slice(&data);
        }
    }
    Ok(if joined.is_empty() { first } else { joined.freeze() })
}

/// Throws away what a client still sends, up to a point: many read the answer only when all is sent, and would
/// see a reset connection instead.
async fn discard(body: &mut Body) {
    const MOST: usize = 16 * 1024 * 1024;
    let mut seen = 0;
    let discarded = async {
        while let Some(Ok(frame)) = body.frame().await {
            seen += frame.data_ref().map_or(0, Bytes::len);
            if seen > MOST {
                break;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(1), discarded).await.ok();
}

/// Parses a body that must be one JSON object.
pub(crate) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    match serde_json::from_slice::<Object<T>>(body) {
        Ok(Object(value)) => Ok(value),
        Err(error) => Err(explain::<T>(body, &error)),
    }
}

/// Parses once more, for the path to the field that is wrong.
fn explain<T: DeserializeOwned>(body: &[u8], error: &serde_json::Error) -> Problem {
    if body.trim_ascii().is_empty() {
        return Problem::malformed("Send a JSON object as the body.");
    }
    let mut json = serde_json::Deserializer::from_slice(body);
    let path = match serde_path_to_error::deserialize::<_, Object<T>>(&mut json) {
        Err(error) => error.path().to_string(),
        Ok(_) => ".".into(),
    };
    let at = if path == "." || path == "?" { "The body".into() } else { format!("`{}`", clip(&path, 100)) };
    let (line, column) = (error.line(), error.column());
    let text = error.to_string();
    let text = text.strip_suffix(&format!(" at line {line} column {column}")).unwrap_or(&text);
    if error.is_data() {
        return Problem::invalid(format!("{at}: {}.", plain(text)));
    }
    if text.starts_with("number out of range") || at_no_number(body, line, column) {
        return Problem::invalid(format!("{at}: this is no number that JSON knows; give a whole number."));
    }
    Problem::malformed(format!("The body isn't valid JSON, at line {line}, column {column}."))
}

/// Whether the parser stopped in a bare NaN or Infinity: its writer meant a number, and JSON has none of these.
fn at_no_number(body: &[u8], line: usize, column: usize) -> bool {
    let Some(text) = body.split(|&b| b == b'\n').nth(line.saturating_sub(1)) else { return false };
    let letter = |b: &u8| b.is_ascii_alphanumeric() || *b == b'-' || *b == b'+';
    let stopped = column.saturating_sub(1).min(text.len());
    let begin = text[..stopped].iter().rposition(|b| !letter(b)).map_or(0, |at| at + 1);
    let end = text[begin..].iter().position(|b| !letter(b)).map_or(text.len(), |at| begin + at);
    let word = text[begin..end].trim_ascii_start();
    let word = word.strip_prefix(b"-").or(word.strip_prefix(b"+")).unwrap_or(word);
    [&b"nan"[..], b"infinity", b"inf"].iter().any(|no_number| word.eq_ignore_ascii_case(no_number))
}

/// What serde says, in the words of JSON: its own names of types mean nothing to a client, and are left out.
fn plain(text: &str) -> String {
    for known in ["unknown field", "missing field", "duplicate field", "unknown variant"] {
        if text.starts_with(known) {
            return clip(&text.replace("unknown variant", "unknown value"), 300);
        }
    }
    let wrong_type = text.starts_with("invalid type: ") || text.starts_with("invalid value: ");
    if let Some((got, expected)) = text.rsplit_once(", expected ").filter(|_| wrong_type) {
        let got = got.split_once(": ").map_or(got, |(_, got)| got);
        let got = match got {
            "sequence" => "an array",
            "map" => "an object",
            got => got,
        };
        let expected = match expected {
            "u32" | "u64" | "i64" | "usize" => "a whole number within its range",
            "a boolean" => "true or false",
            "a sequence" => "an array",
            "a string" | "an object" => expected,
            _ => "another value",
        };
        return format!("got {}, expected {expected}", clip(got, 100));
    }
    // The library's own types say what they must be.
    if text.contains(" must be ") { clip(text, 300) } else { "this isn't a valid value".into() }
}

/// At most `most` characters, without any that would change how the text looks.
fn clip(text: &str, most: usize) -> String {
    let clean = |c: char| is_clean(c.encode_utf8(&mut [0; 4]), false);
    let mut clipped: String =
        text.chars().take(most).map(|c| if clean(c) { c } else { '\u{fffd}' }).collect();
    if text.chars().nth(most).is_some() {
        clipped.push('…');
    }
    clipped
}

/// An answer with a JSON body.
pub(crate) fn json<T: Serialize>(status: StatusCode, body: &T) -> Response {
    match serde_json::to_vec(body) {
        Ok(body) => {
            let mut response = Response::new(Body::from(body));
            *response.status_mut() = status;
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            response
        }
        Err(error) => Problem::internal(format!("an answer can't be written: {error}")).into_response(),
    }
}

/// An answer 200 with a JSON body.
pub(crate) fn ok<T: Serialize>(body: &T) -> Response {
    json(StatusCode::OK, body)
}

#[cfg(test)]
mod tests {
    use lastunit::{CartLineSetting, StockChange};

    use super::*;

    fn refused(body: &[u8]) -> (&'static str, String) {
        let problem = parse::<CartLineSetting>(body).unwrap_err();
        (problem.code().as_str(), problem.detail().to_owned())
    }

    #[test]
    fn data_errors_name_the_field_and_no_rust_type() {
        for (body, says) in [
            (r#"{"count": -1}"#, "`count`"),
            (r#"{"count": "1"}"#, "`count`"),
            (r#"{"count": 1.5}"#, "`count`"),
            (r#"{"count": 1e9}"#, "`count`"),
            (r#"{"count": 1e999}"#, "`count`"),
            (r#"{"count": 9223372036854775808}"#, "`count`"),
            (r#"{"count": 99999999999999999999999999}"#, "`count`"),
            (r#"{"count": NaN}"#, "`count`"),
            (r#"{"count": -Infinity}"#, "`count`"),
            (r#"{"count":Infinity, "selected": true}"#, "`count`"),
            ("{\"count\":\n NaN}", "`count`"),
            (r#"{"count": null}"#, "`count`"),
            (r#"{"count": 1, "price": 1}"#, "unknown field `price`"),
            (r#"{"count": 1, "count": 2}"#, "duplicate field `count`"),
            (r#"{"selected": true}"#, "missing field `count`"),
            (r#"[1, true]"#, "expected an object"),
            (r#""x""#, "expected an object"),
            ("null", "expected an object"),
        ] {
            let (code, detail) = refused(body.as_bytes());
            assert_eq!(code, "invalid_request", "{body}: {detail}");
            assert!(detail.contains(says), "{body}: {detail}");
            assert!(!["u32", "struct", "CartLine"].iter().any(|rust| detail.contains(rust)), "{detail}");
        }
    }

    #[test]
    fn what_isnt_json_is_malformed() {
        let deep = "[".repeat(10_000);
        for body in [
            "",
            " ",
            "{",
            r#"{"count": 1} x"#,
            r#"{"count": nul}"#,
            r#"{"count": Nan0}"#,
            "{'count': 1}",
            &deep,
        ] {
            let (code, detail) = refused(body.as_bytes());
            assert!(code == "malformed_request" || body.starts_with('['), "{body:.20}: {code} {detail}");
        }
        assert_eq!(refused(b"{\"count\": 1, \"\xff\": 1}").0, "malformed_request");
        assert_eq!(refused(b"\xef\xbb\xbf{\"count\": 1}").0, "malformed_request");
    }

    #[test]
    fn values_of_enums_are_named() {
        let problem = parse::<StockChange>(br#"{"delta": 1, "kind": "stolen", "reason": "x"}"#).unwrap_err();
        assert!(problem.detail().contains("`received`"), "{}", problem.detail());
    }

    #[test]
    fn a_huge_field_name_is_clipped() {
        let body = format!(r#"{{"{}": 1}}"#, "x".repeat(50_000));
        assert!(refused(body.as_bytes()).1.len() < 500);
    }

    #[test]
    fn a_field_name_that_would_change_how_the_text_looks_is_shown_without_that() {
        for mark in ["\\u001b[31m", "\\n", "\u{202e}", "\\u202e", "\u{2066}", "\u{85}"] {
            let (code, detail) = refused(format!(r#"{{"a{mark}b": 1}}"#).as_bytes());
            assert_eq!(code, "invalid_request");
            assert!(is_clean(&detail, false) && detail.contains("`a\u{fffd}"), "{mark}: {detail:?}");
        }
    }

    #[test]
    fn only_json_is_taken() {
        let is = |text: &'static str| is_json(Some(&HeaderValue::from_static(text)));
        assert!(is_json(None) && is("application/json") && is("Application/JSON; charset=utf-8"));
        assert!(!is("text/plain") && !is("application/x-www-form-urlencoded") && !is(""));
    }

    struct Pieces(Vec<&'static str>);

    impl hyper::body::Body for Pieces {
        type Data = Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, Self::Error>>> {
            std::task::Poll::Ready(self.0.pop().map(|text| Ok(hyper::body::Frame::data(text.into()))))
        }
    }

    #[tokio::test]
    async fn a_body_in_pieces_is_joined_and_limited() {
        let pieces = || Body::new(Pieces(vec!["1}", ":", "", "{\"a\""]));
        assert_eq!(read(&mut pieces(), 7).await.ok().unwrap(), "{\"a\":1}");
        assert!(matches!(read(&mut pieces(), 6).await, Err(Unread::TooLarge)));
    }
}
