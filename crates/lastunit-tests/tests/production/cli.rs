//! The command line on a database server.

use lastunit_tests::{
    server::{Client, Database, Ran, order_of},
    servers::{MariaDb, Postgres},
};

use crate::setup::Kind;

const PASSWORD: &str = "s3cr3t-0f-4-t3st";

const PRODUCTS: &str = "product,sku,name,price,stock\n\
    Linen shirt,SHIRT-S,\"Linen shirt, small\",50,5\n\
    Linen shirt,SHIRT-L,\"Linen shirt, large\",55.50,3\n\
    Oak tray,TRAY,Oak tray,120,2\n";

on_both!(
    a_schema_is_brought_up_to_date_before_anything_else,
    a_catalogue_is_imported_and_checked,
    keys_are_added_listed_and_revoked,
    a_password_is_in_no_output,
);

/// An empty database, by the address of a user who needs a password.
fn with_password(kind: Kind) -> String {
    match kind {
        Kind::Postgres => {
            let (server, name) = (Postgres::shared(), Postgres::shared().create_database());
            server.client(&format!("CREATE ROLE shop_{name} LOGIN PASSWORD '{PASSWORD}'"));
            server.client(&format!("ALTER DATABASE {name} OWNER TO shop_{name}"));
            format!("postgres://shop_{name}:{PASSWORD}@127.0.0.1:{}/{name}", server.port())
        }
        Kind::MariaDb => {
            let (server, name) = (MariaDb::shared(), MariaDb::shared().create_database());
            server.client(&format!("CREATE USER shop_{name}@'127.0.0.1' IDENTIFIED BY '{PASSWORD}'"));
            server.client(&format!("GRANT ALL ON {name}.* TO shop_{name}@'127.0.0.1'"));
            format!("mysql://shop_{name}:{PASSWORD}@127.0.0.1:{}/{name}", server.port())
        }
    }
}

/// The output of a command that has to fail, without a password in it.
fn refused(ran: Ran) -> String {
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(!ran.err.contains("panicked"), "{ran:?}");
    assert!(!ran.out.contains(PASSWORD) && !ran.err.contains(PASSWORD), "{ran:?}");
    ran.out + &ran.err
}

async fn a_schema_is_brought_up_to_date_before_anything_else(kind: Kind) {
    let database = Database::at(with_password(kind), "store");
    let said = refused(database.run(&["check"]).await);
    assert!(said.contains("`lastunit migrate`"), "{said}");
    let said = refused(database.try_to_serve(&["--no-migrate"], &[]).await.err().expect("no server"));
    assert!(said.contains("`lastunit migrate`"), "{said}");

    for _ in 0..2 {
        let ran = database.run(&["migrate"]).await;
        assert!(!ran.err.contains(PASSWORD), "{ran:?}");
        let said = ran.ok();
        assert!(said.contains("up to date") && !said.contains(PASSWORD), "{said}");
    }
    let check = database.assert_holds().await;
    assert!(check.contains("0 orders, 0 SKUs") && !check.contains(PASSWORD), "{check}");
    let server = database.serve(&["--no-migrate"]).await;
    server.buyer("ada").place(&order_of(&[(1, 1)]), "k").await.is(201);
    assert!(!server.greeting.contains(PASSWORD) && !server.log().contains(PASSWORD));
}

async fn a_catalogue_is_imported_and_checked(kind: Kind) {
    let database = Database::at(kind.database(), "store");
    std::fs::write(database.path("products.csv"), PRODUCTS).expect("a file");
    let said = database.run(&["import", "products.csv"]).await.ok();
    assert!(said.contains("created 2 products and 3 SKUs; updated 0 products and 0 SKUs"), "{said}");
    let said = database.run(&["import", "products.csv"]).await.ok();
    assert!(said.contains("created 0 products and 0 SKUs; updated 2 products and 3 SKUs"), "{said}");
    let check = database.assert_holds().await;
    assert!(check.contains("0 orders, 3 SKUs, 10 units in stock, 0 sold"), "{check}");

    let server = database.serve(&[]).await;
    assert!(server.greeting.contains("as it was"), "{}", server.greeting);
    let ada = server.buyer("ada");
    let tray = ada.get("/v1/skus?code=TRAY").await.is(200)["items"][0]["id"].as_i64().expect("an id");
    assert_eq!(ada.place(&order_of(&[(tray, 2)]), "k").await.is(201)["total_amount"], 24000);
    ada.place(&order_of(&[(tray, 1)]), "k2").await.problem(409, "insufficient_stock");
    std::fs::write(database.path("products.csv"), PRODUCTS.replace("120", "much")).expect("a file");
    let said = refused(database.run(&["import", "products.csv"]).await);
    assert!(said.contains("line 4, column 4 (price)"), "{said}");
    let check = database.assert_holds().await;
    assert!(check.contains("1 orders, 3 SKUs, 8 units in stock, 2 sold"), "{check}");
}

async fn keys_are_added_listed_and_revoked(kind: Kind) {
    let database = Database::at(kind.database(), "store");
    database.run(&["migrate"]).await.ok();
    let shop = database.run(&["keys", "add", "till"]).await.ok();
    let admin = database.run(&["keys", "add", "back office", "--role", "admin"]).await.ok();
    let listed = database.run(&["keys", "list"]).await.ok();
    assert_eq!(listed.lines().count(), 2, "{listed}");
    assert!(listed.contains("till") && listed.contains("back office"), "{listed}");
    assert!(!listed.contains(shop.trim()) && !listed.contains(admin.trim()), "a key is shown once");
    let server = database.serve_with(&[], &[]).await;
    let client = Client::new(server.address);
    client.clone().keyed(shop.trim()).get("/v1/skus").await.is(200);
    client.clone().keyed(shop.trim()).get("/v1/admin/settings").await.problem(403, "forbidden");
    client.clone().keyed(admin.trim()).get("/v1/admin/settings").await.is(200);
    drop(server);
    assert_eq!(database.run(&["keys", "revoke", "till"]).await.ok().trim(), "1 revoked");
    let again = refused(database.run(&["keys", "revoke", "till"]).await);
    assert!(again.contains("there is no key of the label \"till\""), "{again}");
    assert!(!database.run(&["keys", "list"]).await.ok().contains("till"));
}

async fn a_password_is_in_no_output(kind: Kind) {
    let right = with_password(kind);
    let (begin, name) = right.rsplit_once('/').expect("scheme://user:password@host:port/database");
    let (user, port) = begin.rsplit_once(':').expect("a port");
    for (url, what) in [
        (format!("{user}:1/{name}"), "nobody listens there"),
        (format!("{begin}/nowhere"), "no such database"),
        (right.replacen("shop_", "nobody_", 1), "no such user"),
        (format!("{user}:port/{name}"), "no address"),
        (format!("{right}?max_connections=0"), "a wrong parameter"),
        (format!("{right}?no_such_parameter=1"), "an unknown parameter"),
        (right.replacen("://", ":/", 1), "no scheme"),
        (format!("{user}:1/{name}?password={PASSWORD}"), "another password, at the end"),
        (format!("{user}:1/{name}").replacen(PASSWORD, &format!("a/b?{PASSWORD}"), 1), "a password in plain"),
    ] {
        let database = Database::at(&url, "store");
        refused(database.run(&["check"]).await);
        refused(database.try_to_serve(&[], &[]).await.err().expect(what));
    }
    let database = Database::at(&right, format!("redis://:{PASSWORD}@127.0.0.1:{port}/x"));
    let help = database.run(&["serve", "--help"]).await.ok();
    assert!(!help.contains(PASSWORD), "{help}");
    refused(database.try_to_serve(&[], &[]).await.err().expect("no such carts"));
}
