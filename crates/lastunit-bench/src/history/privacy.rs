//! Nobody sees what is another's, and no answer is one that its call can't have.

use super::{
    event::Call,
    verdict::{Case, Check},
};

const BEGIN: &str = "canary<";

/// What a buyer's addresses hold, so that it is known in whose answer it appears.
pub fn canary(buyer: &str) -> String {
    format!("{BEGIN}{buyer}>")
}

/// Whose canary a text begins with.
pub fn canary_owner(text: &str) -> Option<&str> {
    text.strip_prefix(BEGIN)?.split_once('>').map(|(owner, _)| owner)
}

/// The owners of all canaries in a text.
fn owners(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices(BEGIN).filter_map(|(at, _)| canary_owner(&text[at..]))
}

pub(super) fn nobody_sees_others(case: &Case, check: &mut Check) {
    let mut canaries = 0;
    for op in &case.history.ops {
        for owner in owners(&op.answer.body) {
            canaries += 1;
            if owner != op.buyer {
                check.violation(|| {
                    format!("call {} of {} ({:?}) was shown data of {owner}", op.id, op.buyer, op.call)
                });
            }
        }
    }
    for (buyer, orders) in &case.state.orders {
        for order in orders {
            let text = order.to_string();
            for owner in owners(&text) {
                canaries += 1;
                if owner != buyer {
                    check.violation(|| format!("at the end {buyer} is shown an order of {owner}: {text}"));
                }
            }
        }
    }
    check.examined = format!("{canaries} canaries in {} answers", case.history.ops.len());
}

/// The problems that the API documents for what is called here, which is always well-formed and allowed. 500 is none:
/// whatever is broken outside of Lastunit, it answers 503, and the client may send the call again.
pub(super) fn documented(case: &Case, check: &mut Check) {
    let mut answered = 0;
    for op in &case.history.ops {
        let Some(status) = op.answer.status else { continue };
        answered += 1;
        let expected = match (&op.call, status) {
            (Call::Place { .. }, 201) => true,
            (Call::Place { lines: Some(_), .. }, 409) => {
                op.answer.code().as_deref() == Some("insufficient_stock")
            }
            (Call::Place { lines: None, .. }, 409) => {
                matches!(op.answer.code().as_deref(), Some("insufficient_stock" | "cart_changed"))
            }
            (Call::Place { lines: None, .. }, 422) => op.answer.code().as_deref() == Some("empty_cart"),
            (Call::Place { .. }, 200) => false,
            (_, 200) => true,
            (_, 503) => matches!(op.answer.code().as_deref(), Some("overloaded" | "store_unavailable")),
            _ => false,
        };
        if !expected {
            check.violation(|| {
                format!(
                    "call {} of {} ({:?}) was answered {status} {}",
                    op.id, op.buyer, op.call, op.answer.body
                )
            });
        }
    }
    check.examined = format!("{answered} answers to {} calls", case.history.ops.len());
}
