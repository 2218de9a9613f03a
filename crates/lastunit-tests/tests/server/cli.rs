//! The command line around the server: import, keys, check, and options from the environment.

use lastunit::{Product, ShopId, Store};
use lastunit_store::SqliteStore;
use lastunit_tests::server::{Client, Database, GUARD, order_of};
use serde_json::json;
use tokio::time::timeout;

const SHOPIFY: &str = "Handle,Title,Body (HTML),Vendor,Type,Tags,Published,Option1 Name,Option1 Value,Option2 Name,\
    Option2 Value,Variant SKU,Variant Grams,Variant Inventory Qty,Variant Inventory Policy,Variant Price,Image Src,\
    Status\n\
    linen-shirt,Linen shirt,\"<p>Cool in summer.</p>\n<ul>\n<li>\"\"Pure\"\" linen, washed</li>\n</ul>\",Harbour,Shirts,\
    \"summer, linen\",true,Size,Small,Colour,Sea green,,200,5,deny,50,https://x.test/a.jpg,active\n\
    linen-shirt,,,,,,,,Large,,Sea green,,220,3,deny,55,,\n\
    linen-shirt,,,,,,,,,,,,,,,,https://x.test/b.jpg,\n\
    oak-tray,Oak tray,Round.,Harbour,,,true,Title,Default Title,,,,900,2,deny,120,,active\n\
    old-map,Old map,,Harbour,,,true,Title,Default Title,,,MAP,10,1,deny,7.50,,draft\n";

/// What the store holds.
async fn products(database: &Database) -> Vec<Product> {
    let store = SqliteStore::open_existing(database.path("shop.db")).expect("the store");
    let products = store.products(ShopId::FIRST, None, 100).await.expect("the products");
    store.close().await;
    products
}

async fn import(database: &Database, csv: impl AsRef<[u8]>) -> lastunit_tests::server::Ran {
    std::fs::write(database.path("products.csv"), csv).expect("a file");
    database.run(&["import", "products.csv"]).await
}

#[tokio::test]
async fn a_shopify_export_is_imported_and_sold() {
    let database = Database::default();
    let said = import(&database, SHOPIFY).await.ok();
    assert!(said.contains("created 3 products and 4 SKUs; updated 0 products and 0 SKUs"), "{said}");
    let first = products(&database).await;
    assert_eq!(first[0].description, "<p>Cool in summer.</p>\n<ul>\n<li>\"Pure\" linen, washed</li>\n</ul>");
    let skus: Vec<_> = first
        .iter()
        .flat_map(|product| &product.skus)
        .map(|sku| (&*sku.code, &*sku.name, sku.price.get(), sku.stock, sku.on_sale))
        .collect();
    let expected = [
        ("linen-shirt-small-sea-green", "Linen shirt / Small / Sea green", 5000, 5, true),
        ("linen-shirt-large-sea-green", "Linen shirt / Large / Sea green", 5500, 3, true),
        ("oak-tray", "Oak tray", 12000, 2, true),
        ("MAP", "Old map", 750, 1, false),
    ];
    assert_eq!(skus, expected);

    let said = import(&database, SHOPIFY).await.ok();
    assert!(said.contains("created 0 products and 0 SKUs; updated 3 products and 4 SKUs"), "{said}");
    assert_eq!(products(&database).await, first, "the second import changes nothing");

    let server = database.serve(&[]).await;
    assert!(
        server.greeting.contains("as it was"),
        "a shop that was imported gets no demo: {}",
        server.greeting
    );
    let ada = server.buyer("ada");
    let found = ada.get("/v1/skus?code=oak-tray").await.is(200)["items"][0].clone();
    let tray = found["id"].as_i64().expect("an id");
    let order = ada.place(&order_of(&[(tray, 2)]), "k").await.is(201);
    assert_eq!(order["total_amount"], 24000);
    ada.place(&order_of(&[(tray, 1)]), "k2").await.problem(409, "insufficient_stock");
    let map = first[2].skus[0].id.get();
    ada.place(&order_of(&[(map, 1)]), "k3").await.problem(409, "sku_unavailable");
    server.terminate();
    assert_eq!(server.ended().await.0.code(), Some(0));

    // What was sold since stays sold; prices and names follow the file.
    let said = import(&database, SHOPIFY.replace(",120,", ",130,")).await.ok();
    assert!(said.contains("left the stock of 1 SKU as it is"), "{said}");
    let again = products(&database).await;
    assert_eq!((again[1].skus[0].stock, again[1].skus[0].sales, again[1].skus[0].price.get()), (0, 2, 13000));
    database.assert_holds().await;
}

#[tokio::test]
async fn a_bad_file_names_line_and_column_and_imports_nothing() {
    let database = Database::default();
    import(&database, SHOPIFY).await.ok();
    let before = products(&database).await;
    for (bad, says) in [
        (SHOPIFY.replace(",55,", ",fifty-five,"), "line 6, column 16 (Variant Price): \"fifty-five\""),
        (SHOPIFY.replace(",55,", ",55.555,"), "line 6, column 16 (Variant Price): \"55.555\""),
        (SHOPIFY.replace(",55,", ",-55,"), "line 6, column 16 (Variant Price): \"-55\""),
        (SHOPIFY.replace("900,2,", "900,2.5,"), "line 8, column 14 (Variant Inventory Qty): \"2.5\""),
        (SHOPIFY.replace("900,2,", "900,-2,"), "line 8, column 14 (Variant Inventory Qty): \"-2\""),
        (SHOPIFY.replace("\noak-tray,", "\n,"), "line 8, column 1 (Handle)"),
        (SHOPIFY.replace(",MAP,", ",oak-tray,"), "line 9, column 12 (Variant SKU)"),
        (SHOPIFY.replace("Old map", "Old\u{202e}map"), "bidirectional"),
        (format!("{SHOPIFY}cap,Cap\n"), "line 10"),
        (SHOPIFY.replace("Variant Price", "Price"), "no column \"Variant Price\""),
        ("a,b\n1,2\n".into(), "line 1"),
        (String::new(), "line 1"),
    ] {
        let refused = import(&database, &bad).await;
        assert_eq!(refused.code, Some(2), "{refused:?}");
        assert!(
            refused.err.contains(says) && refused.err.contains("nothing was imported"),
            "{says}: {refused:?}"
        );
        assert_eq!(products(&database).await, before, "{says}");
    }
    let binary = [SHOPIFY.as_bytes(), b"cap,\xff\xfe,,,,,,,,,,,,,,,,\n"].concat();
    let refused = import(&database, binary).await;
    assert!(refused.err.contains("line 10") && refused.err.contains("UTF-8"), "{refused:?}");
    let missing = database.run(&["import", "nowhere.csv"]).await;
    assert_eq!(missing.code, Some(2));
    assert!(missing.err.contains("nowhere.csv"), "{missing:?}");
    assert_eq!(products(&database).await, before);
}

#[tokio::test]
async fn a_bad_file_opens_no_shop() {
    let database = Database::default();
    let refused = import(&database, SHOPIFY.replace(",120,", ",much,")).await;
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert_eq!(products(&database).await, []);
    let check = database.assert_holds().await;
    assert!(check.contains("0 orders, 0 SKUs"), "{check}");
}

/// Asks again and again until the answer to this key has this status.
async fn until(server: &Client, key: &str, status: u16) {
    let client = server.clone().keyed(key);
    let asked = async { while client.get("/v1/skus").await.status != status {} };
    timeout(GUARD, asked).await.expect("a running server notices");
}

#[tokio::test]
async fn keys_are_added_listed_and_revoked_while_the_server_runs() {
    let database = Database::default();
    let server = database.serve(&[]).await;
    let shop = database.run(&["keys", "add", "till"]).await.ok().trim().to_owned();
    let admin = database.run(&["keys", "add", "back office", "--role", "admin"]).await.ok().trim().to_owned();
    let client = Client::new(server.address);
    until(&client, &shop, 200).await;
    until(&client, &admin, 200).await;
    client.clone().keyed(&shop).get("/v1/admin/settings").await.problem(403, "forbidden");
    client.clone().keyed(&admin).get("/v1/admin/settings").await.is(200);

    let listed = database.run(&["keys", "list"]).await.ok();
    let lines: Vec<&str> = listed.lines().collect();
    assert_eq!(lines.len(), 3, "{listed}");
    assert!(lines.iter().any(|line| line.starts_with("shop ") && line.contains("till")), "{listed}");
    assert!(lines.iter().any(|line| line.starts_with("admin ") && line.contains("back office")), "{listed}");
    assert!(!listed.contains(&shop) && !listed.contains(&admin), "a key is shown once");

    assert_eq!(database.run(&["keys", "revoke", "till"]).await.ok().trim(), "1 revoked");
    until(&client, &shop, 401).await;
    until(&client, &admin, 200).await;
    let again = database.run(&["keys", "revoke", "till"]).await;
    assert_eq!(again.code, Some(2));
    assert!(again.err.contains("there is no key of the label \"till\""), "{again:?}");
    assert!(!database.run(&["keys", "list"]).await.ok().contains("till"));
    for wrong in
        [&["keys", "add", ""][..], &["keys", "add", "a\u{1b}b"], &["keys", "add", "x", "--role", "root"]]
    {
        assert_eq!(database.run(wrong).await.code, Some(2), "{wrong:?}");
    }
}

#[tokio::test]
async fn a_first_start_prints_a_key_and_a_call_that_works() {
    let database = Database::default();
    let server = database.serve_with(&[], &[]).await;
    let key = server
        .greeting
        .lines()
        .find_map(|line| line.strip_prefix("service key  "))
        .expect("a key")
        .to_owned();
    assert!(server.greeting.contains("demo catalogue"), "{}", server.greeting);
    let client = Client::new(server.address).keyed(&key).buyer("ada");
    let skus = client.get("/v1/skus").await.is(200);
    assert_eq!(skus["items"][0]["id"], json!(1));
    client.place(&order_of(&[(1, 1)]), "try").await.is(201);
    client.get("/v1/admin/settings").await.is(200);
    assert!(!server.log().contains(&key));
    server.terminate();
    server.ended().await;

    // The second start keeps the key, and doesn't print it again.
    let server = database.serve_with(&[], &[]).await;
    assert!(
        !server.greeting.contains(&key) && !server.greeting.contains("service key"),
        "{}",
        server.greeting
    );
    Client::new(server.address).keyed(&key).get("/v1/skus").await.is(200);
    assert_eq!(database.run(&["keys", "list"]).await.ok().lines().count(), 1);
}

#[tokio::test]
async fn options_are_taken_from_the_environment_and_wrong_ones_are_named() {
    let database = Database::default();
    let environment = [
        ("LASTUNIT_SERVICE_KEY", Database::KEY),
        ("LASTUNIT_STRATEGY", "queue"),
        ("LASTUNIT_MAX_WAITING", "1"),
    ];
    let server = database.serve_with(&[], &environment).await;
    assert!(server.greeting.contains("strategy     queue"), "{}", server.greeting);
    server.buyer("ada").place(&order_of(&[(1, 1)]), "k").await.is(201);
    drop(server);
    for (args, says) in [
        (&["serve", "--listen", "nowhere"][..], "--listen"),
        (&["serve", "--max-waiting", "0"], "--max-waiting"),
        (&["serve", "--listen", "127.0.0.1:0", "--service-key", "short"], "32 to 255"),
        (&["serve", "--listen", "127.0.0.1:0", "--store", "redis://x"], "sqlite:"),
        (&["serve", "--listen", "127.0.0.1:0", "--store", "sqlite:/nowhere/shop.db"], "/nowhere/shop.db"),
        (&["serve", "--listen", "127.0.0.1:0", "--log", "[["], "--log"),
        (&["check", "--store", "sqlite:other.db"], "there is no file"),
    ] {
        let refused = database.run(args).await;
        assert_eq!((refused.code, refused.out.as_str()), (Some(2), ""), "{refused:?}");
        assert!(refused.err.contains(says), "{says}: {refused:?}");
        assert!(!refused.err.contains("panicked"), "{refused:?}");
    }
    assert!(!database.path("other.db").exists());
}
