//! `lastunit-compare`, which `bench/compare` runs, on Lastunit alone: its peers need package registries.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use lastunit_tests::servers::{Postgres, Redis};
use serde_json::Value;

/// The binary of the profile that this test was built with, beside `lastunit`, which it starts.
fn binary() -> PathBuf {
    let test = std::env::current_exe().expect("this test's own path");
    let profile = test.parent().and_then(Path::parent).expect("target/PROFILE/deps/test");
    let name = match profile.file_name().and_then(|name| name.to_str()) {
        None | Some("debug") => "dev",
        Some(name) => name,
    };
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "-p", "lastunit-cli", "--bins", "--profile", name])
        .arg("--target-dir")
        .arg(profile.parent().expect("target"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status();
    assert!(built.expect("cargo").success(), "the binaries can't be built");
    profile.join("lastunit-compare")
}

#[test]
fn what_the_buyers_were_told_is_what_the_books_say() {
    let (postgres, redis) = (Postgres::start(&[]), Redis::start(&[]));
    let folder = tempfile::tempdir().expect("a folder");
    let ran = Command::new(binary())
        .args([
            "--postgres",
            &postgres.url(),
            "--redis",
            &redis.url(),
            "--results",
            ".",
            "--only",
            "carts in Redis",
        ])
        .args(["--buyers", "8", "--seconds", "0.5", "--rounds", "1", "--missing", "vendure=no network"])
        .current_dir(folder.path())
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{said}");

    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).expect(name);
    let report: Value = serde_json::from_str(&read("compare.json")).expect("JSON");
    let rows = report["rows"].as_array().expect("rows");
    let workloads: Vec<&Value> = rows.iter().map(|row| &row["workload"]).collect();
    assert_eq!(rows.len(), 4, "{workloads:?}");
    for row in rows {
        let run = &row["runs"][0];
        let (placed, books) = (run["placed"].as_i64().expect("a number"), &run["books"]);
        let lines = if row["workload"] == "spread" { 3 } else { 1 };
        assert!(placed > 0, "{row}");
        assert_eq!(books["sold"].as_i64(), Some(placed * lines), "{row}");
        assert_eq!((&books["oversold"], &books["lost"], &run["failed"]), (&0.into(), &0.into(), &0.into()));
    }
    // By the buyers of the others, and by a crowd.
    for sold_out in &rows[2..] {
        let run = &sold_out["runs"][0];
        assert_eq!((&run["placed"], &run["refused"]), (&1000.into(), &4000.into()), "{sold_out}");
    }
    assert!(read("compare.md").contains("vendure couldn't be installed"), "{}", read("compare.md"));
    assert!(read("compare.svg").starts_with("<svg"));
}
