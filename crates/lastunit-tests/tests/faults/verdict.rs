//! What became of the orders, in the database and by what buyers were told.

use std::{collections::BTreeSet, fmt};

use lastunit::{ShopId, SkuId, Store};
use lastunit_tests::buyer;

use crate::buyers::{Told, buyers_of};

/// More than any buyer has.
const ALL: usize = 1_000_000;

/// Of all orders, how many are as they must not be.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Acknowledged.
    pub orders: usize,
    /// Acknowledged, and not there.
    pub lost: usize,
    /// There, and not the order that its key was told of.
    pub duplicated: usize,
    /// Units sold beyond those there were.
    pub oversold: i64,
    /// Buyers who were told that nothing is left, while there was.
    pub falsely_sold_out: usize,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { orders, lost, duplicated, oversold, falsely_sold_out } = self;
        write!(
            f,
            "{orders} orders acknowledged: {lost} lost, {duplicated} duplicated, {oversold} oversold, \
             {falsely_sold_out} falsely sold out"
        )
    }
}

impl Verdict {
    /// Judges a shop whose SKUs had so many units each, and whose buyers know what became of every key. All invariants
    /// have to hold.
    pub async fn of(store: &dyn Store, told: &Told, skus: &[i64], units: i64) -> Self {
        let report = store.check().await.expect("a check");
        let broken: Vec<String> = report.violations.iter().map(ToString::to_string).collect();
        assert!(broken.is_empty(), "broken invariants:\n{}", broken.join("\n"));

        let mut verdict = Self { orders: told.placed.len(), ..Self::default() };
        let mut there = 0;
        for (name, told) in buyers_of(told) {
            let kept = store.orders(ShopId::FIRST, &buyer(name), None, ALL).await.expect("the orders");
            let kept: BTreeSet<String> = kept.iter().map(|order| order.id.to_string()).collect();
            let told: BTreeSet<String> = told.into_iter().map(str::to_owned).collect();
            verdict.lost += told.difference(&kept).count();
            verdict.duplicated += kept.difference(&told).count();
            there += kept.len() as i64;
        }
        for id in skus {
            let sku = SkuId::new(*id).expect("an id");
            let sku = store.sku(ShopId::FIRST, sku).await.expect("a read").expect("the SKU");
            verdict.oversold += (there - units).max(0);
            assert_eq!(sku.stock + there, units, "units that are left and that were ordered of SKU {id}");
            if sku.stock > 0 {
                verdict.falsely_sold_out += told.sold_out;
            }
        }
        verdict
    }

    /// Asserts that nothing is as it must not be, and says so of this fault.
    pub fn assert_exact(&self, fault: &str, recovery: &str) {
        println!("{fault}: {self}; {recovery}");
        assert_eq!(*self, Self { orders: self.orders, ..Self::default() }, "{fault}");
    }
}
