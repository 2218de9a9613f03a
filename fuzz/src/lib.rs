//! What must hold whatever a client or a file says. Each function takes any bytes, and panics if it doesn't hold.
//!
//! `cargo +nightly fuzz run bodies` (or `csv_import`, `headers`) searches for such bytes, and CI runs the same functions
//! over the corpus and a bounded number of its mutations (`crates/lastunit-tests/tests/fuzz_corpus.rs`).

use lastunit::{Basket, Currency, MAX_COUNT, MAX_LINES, ShipTo, import, is_clean};
use lastunit_server::fuzzing;

/// A body larger than that isn't read by the server.
const MOST_BODY: usize = 64 * 1024;

/// The body of a request: an order is within its limits, and whatever is refused is told in one clean sentence.
pub fn bodies(body: &[u8]) {
    if body.len() > MOST_BODY {
        return;
    }
    match fuzzing::order(body) {
        Ok(order) => {
            if let Basket::Lines(demand) = &order.basket {
                let lines = demand.lines();
                assert!((1..=MAX_LINES).contains(&lines.len()));
                assert!(lines.iter().all(|line| (1..=MAX_COUNT).contains(&line.count)));
                assert!(lines.is_sorted_by(|one, next| one.sku_id < next.sku_id), "a SKU once, in order");
            }
            if let ShipTo::Given(address) = &order.ship_to {
                assert_eq!(address.validate(), Ok(()));
            }
            assert!(order.expected_total.is_none_or(|total| total.get() >= 0));
            assert_eq!(fuzzing::order(body).as_ref(), Ok(&order), "the same body is the same order");
        }
        Err(refused) => assert_told(&refused, &["invalid_request", "malformed_request"]),
    }
    for refused in fuzzing::other_bodies(body) {
        assert_told(&refused, &["invalid_request", "malformed_request"]);
    }
}

/// A file of products: they are valid and no code is there twice, or every problem says where it is.
pub fn csv_import(file: &[u8]) {
    for currency in ["GBP", "JPY"] {
        let currency = Currency::new(currency).expect("a currency");
        match import::read(file, currency) {
            Ok(import) => {
                assert!(!import.products.is_empty());
                let mut codes: Vec<&str> = Vec::new();
                for product in &import.products {
                    assert_eq!(product.validate(), Ok(()));
                    codes.extend(product.skus.iter().map(|sku| sku.code.as_str()));
                }
                codes.sort_unstable();
                assert!(codes.is_sorted_by(|one, next| one < next), "a code once: {codes:?}");
                assert!(import.notes.iter().all(|note| is_clean(note, false)));
            }
            Err(problems) => {
                assert!(!problems.is_empty());
                for problem in problems {
                    let told = problem.to_string();
                    assert!(is_clean(&told, false), "{told:?}");
                    assert_places(&told, file);
                }
            }
        }
    }
}

/// A problem of a file begins with its line, and with its column where it is one cell's; or it names the product.
fn assert_places(told: &str, file: &[u8]) {
    let Some(rest) = told.strip_prefix("line ") else {
        return assert!(told.starts_with("product \""), "{told:?}");
    };
    let (line, rest) = rest.split_once(", ").expect("what is wrong");
    let line: usize = line.parse().expect("a number");
    let breaks = file.iter().filter(|byte| matches!(byte, b'\n' | b'\r')).count();
    assert!((1..=breaks + 1).contains(&line), "{told:?} of {breaks} line breaks");
    if let Some(column) = rest.strip_prefix("column ") {
        let number = column.split(' ').next().expect("a number");
        assert!(number.parse::<usize>().is_ok_and(|number| number >= 1), "{told:?}");
    }
}

/// The headers that say who calls, for whom and which attempt it is: what is taken has its form, and what is refused
/// is told in one clean sentence.
pub fn headers(lines: &[u8]) {
    let heard = fuzzing::headers(lines);
    match &heard.service_key {
        Ok(key) => assert_eq!(key.trim_ascii(), key),
        Err(refused) => assert_told(refused, &["unauthenticated"]),
    }
    match &heard.shop {
        Ok(shop) => assert!(shop.get() >= 1),
        Err(refused) => assert_told(refused, &["invalid_request"]),
    }
    match &heard.user {
        Ok(user) => assert!(is_printable(user.as_str(), 64)),
        Err(refused) => assert_told(refused, &["invalid_request"]),
    }
    match &heard.key {
        Ok(key) => assert!(key.as_ref().is_none_or(|key| is_printable(key.as_str(), 255))),
        Err(refused) => assert_told(refused, &["malformed_request"]),
    }
    assert!(is_printable(&heard.request_id, 64));
}

fn is_printable(text: &str, most: usize) -> bool {
    (1..=most).contains(&text.len()) && text.bytes().all(|byte| (0x20..=0x7e).contains(&byte))
}

fn assert_told((code, detail): &fuzzing::Refused, codes: &[&str]) {
    assert!(codes.contains(code), "{code}: {detail}");
    assert!((10..1_000).contains(&detail.chars().count()), "{code}: {detail}");
    assert!(is_clean(detail, false) && detail.ends_with('.'), "{code}: {detail:?}");
}
