//! The properties, by what they are about. Each is a function of a bench with a fresh store; its name says what
//! holds.

#![expect(missing_docs, reason = "a property's name says what it is")]

pub mod buyers;
pub mod canceling;
pub mod carts;
pub mod catalogue;
pub mod engine;
pub mod keys;
pub mod pricing;
pub mod selling;
pub mod shops;

use crate::{Bench, BoxFuture};

/// Something that holds on every database.
#[derive(Clone, Copy)]
pub struct Property {
    /// What it is about.
    pub group: &'static str,
    /// What holds.
    pub name: &'static str,
    /// How often it is run.
    pub under: Under,
    /// Panics if it doesn't hold.
    pub run: fn(&Bench) -> BoxFuture<'_, ()>,
}

/// How often a property is run on a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Under {
    /// Under each strategy that doesn't oversell: it is about placing orders.
    EverySafeStrategy,
    /// Once: it says itself what it runs under, or places no orders to speak of.
    Once,
}

macro_rules! list {
    ($under:expr, $($group:ident: [$($name:ident),* $(,)?]),* $(,)?) => {
        [$($(Property {
            group: stringify!($group),
            name: stringify!($name),
            under: $under,
            run: |bench| Box::pin($group::$name(bench)),
        }),*),*]
    };
}

/// Every property there is.
pub fn properties() -> Vec<Property> {
    let once = list! {
        Under::Once,
        catalogue: [
            a_product_is_kept_as_it_was_created,
            a_handle_or_code_that_is_taken_is_a_clash_and_changes_nothing,
            a_catalogue_is_paged_by_id,
            a_sku_is_patched_field_by_field,
            stock_changed_by_hand_stands_in_the_ledger,
            stock_cant_leave_its_range,
            stock_changed_by_many_at_once_loses_nothing,
            an_import_creates_then_updates_and_leaves_stock,
            an_import_that_clashes_changes_nothing,
        ],
        buyers: [
            a_cart_is_priced_as_of_now,
            a_cart_takes_no_more_than_its_lines,
            a_cart_line_of_an_unknown_sku_is_none,
            cart_lines_are_taken_out_one_or_all,
            addresses_are_kept_oldest_first_and_belong_to_their_buyer,
            a_buyer_saves_no_more_than_the_most_addresses,
        ],
        shops: [
            a_shop_that_isnt_open_is_named_as_such,
            settings_change_but_not_the_currency_once_there_are_skus,
            two_shops_dont_see_each_other,
            service_keys_are_added_listed_and_revoked,
            a_check_counts_what_there_is,
            a_closed_store_finishes_what_it_accepted_and_takes_no_more,
        ],
        selling: [
            naive_oversells_and_the_check_names_it,
            naive_has_to_be_allowed,
        ],
        engine: [
            a_batch_takes_all_that_wait_in_one_transaction,
            an_order_that_waited_too_long_is_turned_away,
            orders_of_several_shops_wait_in_one_queue,
        ],
    };
    let under_every_safe_strategy = list! {
        Under::EverySafeStrategy,
        selling: [
            sell_out_is_exact,
            sell_out_leaves_what_is_too_little,
            opposite_orders_of_many_skus_are_exact,
            orders_that_share_only_products_add_up,
            all_or_nothing,
            lines_of_one_sku_are_summed,
            selling_canceling_and_restocking_at_once_adds_up,
            a_sku_off_sale_or_unknown_is_unavailable,
            orders_are_listed_newest_first_by_page,
            an_order_is_its_buyers_alone,
        ],
        pricing: [
            a_total_past_the_limit_is_rejected_and_not_kept,
            freight_is_flat_until_it_is_free,
            another_total_than_was_seen_is_refused,
            expected_totals_hold_amid_price_changes,
            a_price_change_leaves_orders_alone,
            a_price_change_amid_orders_never_mixes_prices,
            an_address_of_another_buyer_isnt_found,
            an_order_keeps_its_address,
        ],
        keys: [
            a_replay_is_the_first_answer,
            a_replay_of_a_canceled_order_is_the_first_answer,
            a_replay_outlives_price_address_and_sku_changes,
            a_kept_refusal_is_replayed_even_after_restock,
            a_key_with_another_body_is_rejected,
            a_rejection_leaves_its_key_free,
            a_key_is_its_buyers_own,
            a_key_is_its_operations_own,
            parallel_calls_with_one_key_place_one_order,
            parallel_calls_with_one_key_and_other_bodies_place_one_order,
            refusals_are_forgotten_and_orders_never,
        ],
        carts: [
            ordered_lines_leave_the_cart_and_the_others_stay,
            parallel_orders_of_one_cart_place_one,
            a_cart_order_sent_again_finds_its_key_before_the_cart,
            an_empty_cart_is_refused_and_that_is_kept,
            given_lines_leave_the_cart_alone,
            a_cart_edited_before_it_is_ordered_is_ordered_as_it_is,
            a_cart_raised_while_it_is_ordered_loses_only_what_was_ordered,
            a_line_removed_while_it_is_ordered_is_ordered_or_gone,
            a_refused_order_leaves_the_cart_alone,
            a_cart_is_ordered_again_and_again,
        ],
        canceling: [
            a_canceled_order_is_restocked_once,
            canceling_anothers_order_is_not_found,
            units_of_a_canceled_order_are_sold_again,
            an_order_of_many_skus_is_canceled_whole,
            an_order_can_be_canceled_though_the_stock_is_full,
        ],
        engine: [
            a_full_queue_is_overloaded_and_a_drain_answers_all_accepted,
            a_drained_engine_takes_no_orders,
            a_drain_waits_for_every_accepted_order,
            a_dropped_call_is_placed_all_the_same,
            a_conflict_is_tried_again,
            conflicts_without_end_are_unavailable_and_the_key_stays_free,
            an_unknown_commit_is_found_by_its_key,
            an_unavailable_store_is_not_tried_again,
        ],
    };
    once.into_iter().chain(under_every_safe_strategy).collect()
}
