use std::collections::BTreeSet;

use lastunit::{
    Address, AddressId, Amount, Cart, CartLine, CartLineSetting, Currency, NewProduct, NewSku, Order,
    OrderId, OrderLine, OrderStatus, PayMethod, Product, ProductId, ShopSettings, ShortLine, Sku, SkuId,
    SkuPatch, StockChange, Timestamp,
};
use serde::Serialize;
use serde_json::{Value, json};

use super::*;
use crate::{addresses::SavedAddress, orders::OrderBody, origin::CommitBody, problem};

fn document() -> Value {
    serde_json::from_str(&openapi_json()).unwrap()
}

#[test]
fn the_committed_document_is_the_generated_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        std::fs::write(path, openapi_json()).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        committed == openapi_json(),
        "openapi.json is out of date: run UPDATE_OPENAPI=1 cargo test -p lastunit-server openapi"
    );
}

#[test]
fn every_reference_leads_somewhere() {
    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(members) => {
                found.extend(members.get("$ref").and_then(Value::as_str).map(str::to_owned));
                members.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }
    let document = document();
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(!found.is_empty());
    for reference in found {
        assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
    }
}

/// The names of a schema's properties; of all, and of the required ones.
fn properties(name: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let document = document();
    let schema = &document["components"]["schemas"][name];
    let all = schema["properties"].as_object().unwrap_or_else(|| panic!("{name}: {schema}"));
    let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    (all.keys().cloned().collect(), required.map(str::to_owned).collect())
}

fn written(name: &str, value: impl Serialize) {
    let value = serde_json::to_value(value).unwrap();
    let members: BTreeSet<String> = value.as_object().unwrap().keys().cloned().collect();
    let (all, required) = properties(name);
    assert!(members.is_subset(&all) && required.is_subset(&members), "{name}: {all:?} but {members:?}");
    assert_eq!(members, all, "{name}: write a sample with every property");
}

fn address() -> Address {
    Address {
        receiver: "Ada".into(),
        line1: "1 High Street".into(),
        line2: Some("Flat 2".into()),
        city: "Leeds".into(),
        region: Some("Yorkshire".into()),
        postal_code: "LS1 1AA".into(),
        country: "GB".into(),
        phone: "+44 113 496 0000".into(),
    }
}

#[test]
fn what_is_written_is_as_documented() {
    let sku_id = SkuId::new(7).unwrap();
    let currency = Currency::new("GBP").unwrap();
    let amount = Amount::ZERO;
    let sku = Sku {
        id: sku_id,
        code: "HOT-1".into(),
        product_id: ProductId::new(3).unwrap(),
        product: "Hot".into(),
        name: "Hot one".into(),
        price: amount,
        currency,
        stock: 1,
        sales: 0,
        on_sale: true,
    };
    let line = OrderLine {
        sku_id,
        code: "HOT-1".into(),
        name: "Hot one".into(),
        count: 1,
        unit_price: amount,
        amount,
    };
    let cart_line = CartLine { sku_id, count: 1, selected: true, unit_price: amount, amount, available: 1 };
    written("Sku", &sku);
    written("OrderLine", &line);
    written("CartLine", &cart_line);
    written("Cart", Cart::new(vec![cart_line], currency));
    written("ShortLine", ShortLine { sku_id, requested: 1, available: 0 });
    written("ShopSettings", ShopSettings { currency, freight: amount, free_from: None });
    written("Address", address());
    written("SavedAddress", SavedAddress { id: AddressId(uuid::Uuid::nil()), address: address() });
    written("Product", {
        let id = ProductId::new(3).unwrap();
        let (handle, name) = ("hot".into(), "Hot".into());
        Product { id, handle, name, description: String::new(), sales: 0, skus: vec![sku] }
    });
    written("Order", {
        let (status, pay_method) = (OrderStatus::Unpaid, PayMethod::Online);
        Order {
            id: OrderId(uuid::Uuid::nil()),
            status,
            pay_method,
            lines: vec![line],
            total_count: 1,
            goods_amount: amount,
            freight: amount,
            total_amount: amount,
            currency,
            address: address(),
            created_at: Timestamp::from_unix_ms(0),
        }
    });
}

/// That a type takes all documented properties together, needs those that are required, and refuses others.
fn read<T: serde::de::DeserializeOwned>(name: &str, full: &Value) {
    let takes = |value: &Value| crate::body::parse::<T>(value.to_string().as_bytes()).is_ok();
    let (all, required) = properties(name);
    let given: BTreeSet<String> = full.as_object().unwrap().keys().cloned().collect();
    assert_eq!(given, all, "{name}: give a sample with every property");
    assert!(takes(full), "{name}");
    for property in &all {
        let mut without = full.clone();
        without.as_object_mut().unwrap().remove(property);
        assert_eq!(takes(&without), !required.contains(property), "{name} without {property}");
    }
    let mut more = full.clone();
    more["price_of_freedom"] = json!(1);
    assert!(!takes(&more), "{name} with an unknown property");
    assert_eq!(document()["components"]["schemas"][name]["additionalProperties"], false, "{name}");
}

#[test]
fn what_is_read_is_as_documented() {
    let sku = json!({"code": "A", "name": "a", "price": 1, "stock": 1, "on_sale": true});
    let product = json!({"handle": "a", "name": "A", "description": "", "skus": [sku]});
    let id = "01890a5d-ac96-774b-bcce-b302099a8057";
    read::<NewSku>("NewSku", &sku);
    read::<NewProduct>("NewProduct", &product);
    read::<crate::admin::ProductBody>("NewProduct", &product);
    read::<SkuPatch>("SkuPatch", &json!({"price": 1, "name": "a", "on_sale": true}));
    read::<StockChange>("StockChange", &json!({"delta": 1, "kind": "received", "reason": "r"}));
    read::<ShopSettings>("ShopSettings", &json!({"currency": "GBP", "freight": 1, "free_from": 1}));
    read::<CartLineSetting>("CartLineSetting", &json!({"count": 1, "selected": true}));
    read::<Address>("Address", &serde_json::to_value(address()).unwrap());
    read::<CommitBody>("OriginCommit", &json!({"address_id": id, "pay_method": 1}));
    read::<OrderBody>(
        "PlaceOrder",
        &json!({"lines": [{"sku_id": 7, "count": 1}], "address_id": id, "address": address(),
            "pay_method": "online", "expected_total": 1}),
    );
}

#[test]
fn problems_are_as_documented() {
    let (all, required) = properties("Problem");
    for name in ["type", "title", "status", "code", "detail", "request_id"] {
        assert!(required.contains(name), "{name}");
    }
    for name in ["lines", "sku_ids", "total_amount"] {
        assert!(all.contains(name) && !required.contains(name), "{name}");
    }
    let codes = &document()["components"]["schemas"]["Problem"]["properties"]["code"]["enum"];
    assert_eq!(codes.as_array().unwrap().len(), problem::Code::ALL.len());
}

#[test]
fn every_call_says_who_may_make_it() {
    for (path, item) in document()["paths"].as_object().unwrap() {
        let open = ["/health/live", "/health/ready", "/metrics", "/openapi.json"].contains(&path.as_str());
        for (method, operation) in item.as_object().unwrap() {
            let keyed = operation["security"][0].get("service_key").is_some();
            assert_ne!(keyed, open, "{method} {path}");
        }
    }
}
