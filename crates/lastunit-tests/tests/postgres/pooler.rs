//! Behind a pooler that gives each transaction another connection.

use lastunit::*;
use lastunit_store::RemoteConfig;
use lastunit_tests::servers::{PgBouncer, Postgres};

use crate::{count, open};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_are_placed_through_a_pooler_of_transactions() {
    let server = Postgres::shared();
    let pooler = PgBouncer::start(server, 4);
    let config = RemoteConfig { prepared: false, ..RemoteConfig::default() };
    for strategy in Strategy::SAFE {
        let database = server.create_database();
        let bench = open(&pooler.url_of(&database), config.clone(), strategy).await;
        let sku = bench.sku(500, 100).await;
        let mut asks = Vec::new();
        for at in 0..16 {
            let user = format!("buyer-{at}");
            bench.put(&user, sku, 2, true).await;
            asks.extend([bench.ask(&user), bench.ask(&user).line(sku, 1), bench.ask(&user).line(sku, 1)]);
        }
        let replies = bench.place_at_once(asks.clone()).await;
        assert!(replies.iter().all(|reply| !reply.replayed && matches!(reply.outcome, Outcome::Placed(_))));
        assert!(bench.place_at_once(asks).await.iter().all(|reply| reply.replayed));
        bench.assert_counters(sku, 100 - 64, 64).await;
        bench.assert_holds().await;
        assert!(count(server, &database, "TRUE") <= 4, "the pooler was passed by");
    }
}
