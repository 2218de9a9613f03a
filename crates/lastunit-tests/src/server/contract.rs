//! Holds every answer against the OpenAPI document: its status, its content type, and its body's shape.

use std::sync::OnceLock;

use serde_json::Value;

use super::client::{Answer, Call};

fn document() -> &'static Value {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    DOCUMENT.get_or_init(|| serde_json::from_str(&lastunit_server::openapi_json()).expect("JSON"))
}

/// Every operation of the document: `GET /v1/skus`.
pub fn operations() -> Vec<String> {
    let paths = document()["paths"].as_object().expect("paths");
    let of = |(path, item): (&String, &Value)| {
        let methods = item.as_object().expect("an item").keys();
        methods.map(|method| format!("{} {path}", method.to_uppercase())).collect::<Vec<_>>()
    };
    paths.iter().flat_map(of).collect()
}

/// The documented operation that a call is of, if there is one.
fn operation(call: &Call) -> Option<&'static Value> {
    let path = call.path.split('?').next().unwrap_or_default();
    let given: Vec<&str> = path.split('/').collect();
    let is = |template: &str| {
        let wanted: Vec<&str> = template.split('/').collect();
        wanted.len() == given.len()
            && wanted.iter().zip(&given).all(|(wanted, given)| wanted.starts_with('{') || wanted == given)
    };
    let paths = document()["paths"].as_object().expect("paths");
    let (_, item) = paths.iter().find(|(template, _)| is(template))?;
    item.get(call.method.as_str().to_lowercase())
}

pub(super) fn assert_documented(call: &Call, answer: &Answer) {
    let what = format!("{} {} → {} {}", call.method, call.path, answer.status, answer.text());
    assert!(answer.header("x-request-id").is_some(), "no X-Request-Id: {what}");
    if matches!(answer.status, 429 | 503) {
        assert!(answer.header("retry-after").is_some(), "no Retry-After: {what}");
    }
    let Some(operation) = operation(call) else {
        // Whatever is said of no known call is a problem.
        assert!(matches!(answer.status, 404 | 405), "{what}");
        return conforms(&answer.json(), &document()["components"]["schemas"]["Problem"], &what);
    };
    let response = &operation["responses"][answer.status.to_string()];
    assert!(response.is_object(), "the status isn't documented: {what}");
    let Some(content) = response["content"].as_object() else {
        return assert!(answer.body.is_empty(), "a body that isn't documented: {what}");
    };
    let media_type = answer.header("content-type").unwrap_or_default();
    let media = content.get(media_type).unwrap_or_else(|| panic!("{media_type} isn't documented: {what}"));
    if media_type.ends_with("json") {
        conforms(&answer.json(), &media["schema"], &what);
    }
}

/// Asserts that a value has the shape of a schema. Stricter than JSON Schema: an object has no properties but
/// those that are documented.
fn conforms(value: &Value, schema: &Value, what: &str) {
    if let Some(reference) = schema["$ref"].as_str() {
        let target = document().pointer(reference.trim_start_matches('#'));
        return conforms(value, target.expect("a reference that leads somewhere"), what);
    }
    for (keyword, rule) in schema.as_object().expect("a schema") {
        let number = || value.as_i64().unwrap_or_default();
        let fits =
            match keyword.as_str() {
                "type" => is_of(value, rule),
                "enum" => rule.as_array().is_some_and(|values| values.contains(value)),
                "minimum" => !value.is_number() || number() >= rule.as_i64().unwrap_or(i64::MAX),
                "maximum" => !value.is_number() || number() <= rule.as_i64().unwrap_or(i64::MIN),
                "oneOf" => {
                    let null = rule.as_array().is_some_and(|all| all.iter().any(|one| one["type"] == "null"));
                    let other = rule.as_array().and_then(|all| all.iter().find(|one| one["type"] != "null"));
                    if !(null && value.is_null()) {
                        conforms(value, other.expect("a schema or null"), what);
                    }
                    true
                }
                "items" => {
                    value.as_array().into_iter().flatten().for_each(|item| conforms(item, rule, what));
                    true
                }
                "required" => rule.as_array().into_iter().flatten().all(|name| {
                    let name = name.as_str().unwrap_or_default();
                    value.get(name).is_some()
                }),
                "properties" => value.as_object().into_iter().flatten().all(|(name, member)| {
                    rule.get(name).inspect(|rule| conforms(member, rule, what)).is_some()
                }),
                "format" => has_format(value, rule),
                // What requests must keep; the server's own tests hold them against its types.
                "description"
                | "example"
                | "default"
                | "pattern"
                | "minLength"
                | "maxLength"
                | "minItems"
                | "maxItems"
                | "additionalProperties" => true,
                other => panic!("the schema's {other} is news to this test"),
            };
        assert!(fits, "{value} isn't as documented ({keyword}: {rule}) in {what}");
    }
}

fn is_of(value: &Value, kind: &Value) -> bool {
    match kind.as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("boolean") => value.is_boolean(),
        Some("null") => value.is_null(),
        _ => kind.as_array().is_some_and(|kinds| kinds.iter().any(|kind| is_of(value, kind))),
    }
}

fn has_format(value: &Value, format: &Value) -> bool {
    let text = value.as_str().unwrap_or_default();
    match format.as_str() {
        Some("uuid") => text.len() == 36 && uuid::Uuid::parse_str(text).is_ok(),
        Some("date-time") => text.len() >= 20 && text.as_bytes()[10] == b'T' && text.ends_with('Z'),
        Some("uri") => text.starts_with("https://"),
        _ => value.is_number(),
    }
}
