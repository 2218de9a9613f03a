//! The fuzz targets over their corpus, and over a bounded number of mutations of it: the part of fuzzing that needs no
//! special compiler and always takes the same time. `fuzz/src/lib.rs` says what has to hold.

#[path = "../../../fuzz/src/lib.rs"]
mod targets;

use std::{panic::catch_unwind, path::Path};

use rand::{RngExt, SeedableRng, rngs::StdRng};

const MUTATIONS: usize = 20_000;
/// As long as a mutation may become.
const MOST_BYTES: usize = 64 * 1024;

/// Bytes that have broken parsers before.
const TOKENS: &[&[u8]] = &[
    b"\"",
    b"'",
    b",",
    b":",
    b";",
    b"{",
    b"}",
    b"[",
    b"]",
    b"\\",
    b"\n",
    b"\r\n",
    b"\0",
    b"\x1b[31m",
    b"\x7f",
    b"\xff",
    b"\xc0\x80",
    b"\xed\xa0\x80",
    b"\xef\xbb\xbf",
    "\u{202e}".as_bytes(),
    "\u{85}".as_bytes(),
    "\u{2028}".as_bytes(),
    "\u{130}".as_bytes(),
    "\u{1f389}".as_bytes(),
    b"\\ud800",
    b"\\u0000",
    b"null",
    b"true",
    b"NaN",
    b"-Infinity",
    b"-0",
    b"-1",
    b"1e999",
    b"1.5",
    b"4294967296",
    b"9007199254740991",
    b"9007199254740992",
    b"9223372036854775807",
    b"9223372036854775808",
    b"99999999999999999999999999",
    b"Bearer ",
    b"lastunit-user:",
    b"Handle",
    b"sku",
    b"\"lines\":",
    b"\"count\":",
];

/// Every file of a target's corpus.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let files = std::fs::read_dir(&folder).expect("a folder").map(|file| file.expect("a file").path());
    let mut files: Vec<_> = files.collect();
    // The folder's own order isn't the same everywhere.
    files.sort();
    files.iter().map(|file| std::fs::read(file).expect("a file")).collect()
}

/// One to four small changes of a seed, or its beginning with the end of another.
fn mutated(seeds: &[Vec<u8>], chance: &mut StdRng) -> Vec<u8> {
    let mut input = seeds[chance.random_range(0..seeds.len())].clone();
    for _ in 0..chance.random_range(1..=4) {
        let at = chance.random_range(0..=input.len());
        let end = chance.random_range(at..=input.len().min(at + 64));
        match chance.random_range(0..8) {
            0 if at < input.len() => input[at] ^= 1 << chance.random_range(0..8),
            1 if at < input.len() => input[at] = chance.random(),
            2 => input.truncate(at),
            3 => drop(input.drain(at..end)),
            4 => {
                let piece = input[at..end].to_vec();
                input.splice(at..at, piece);
            }
            5 => {
                let other = &seeds[chance.random_range(0..seeds.len())];
                input.truncate(at);
                input.extend_from_slice(&other[chance.random_range(0..=other.len())..]);
            }
            _ => {
                let token = TOKENS[chance.random_range(0..TOKENS.len())];
                input.splice(at..if chance.random() { at } else { end }, token.iter().copied());
            }
        }
    }
    input.truncate(MOST_BYTES);
    input
}

fn holds(target: &str, run: fn(&[u8])) {
    let seeds = corpus(target);
    assert!(seeds.len() >= 10, "the corpus of {target} is there");
    let mut chance = StdRng::seed_from_u64(7);
    let mutations = (0..MUTATIONS).map(|_| mutated(&seeds, &mut chance));
    for input in seeds.iter().cloned().chain(mutations) {
        let held = catch_unwind(|| run(&input));
        assert!(held.is_ok(), "{target} doesn't hold for b\"{}\"", input.escape_ascii());
    }
}

#[test]
fn bodies_hold() {
    holds("bodies", targets::bodies);
}

#[test]
fn csv_imports_hold() {
    holds("csv_import", targets::csv_import);
}

#[test]
fn headers_hold() {
    holds("headers", targets::headers);
}

#[test]
fn the_corpus_reaches_both_answers_of_every_target() {
    let is_order = |body: &Vec<u8>| lastunit_server::fuzzing::order(body).is_ok();
    let gbp = lastunit::Currency::new("GBP").expect("a currency");
    let is_import = |file: &Vec<u8>| lastunit::import::read(file, gbp).is_ok();
    let is_call = |lines: &Vec<u8>| {
        let heard = lastunit_server::fuzzing::headers(lines);
        heard.service_key.is_ok() && heard.user.is_ok() && heard.key.is_ok_and(|key| key.is_some())
    };
    let good = [
        corpus("bodies").iter().filter(|body| is_order(body)).count(),
        corpus("csv_import").iter().filter(|file| is_import(file)).count(),
        corpus("headers").iter().filter(|lines| is_call(lines)).count(),
    ];
    let all = ["bodies", "csv_import", "headers"].map(|target| corpus(target).len());
    assert!(good.iter().zip(all).all(|(&good, all)| good >= 3 && good < all), "{good:?} of {all:?}");
}
