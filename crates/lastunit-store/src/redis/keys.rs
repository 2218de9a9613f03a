//! The names of a cart's keys.

use lastunit::{ShopId, UserId};

/// A cart's three keys: the origin's two, and how many orders are taken out of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Keys {
    /// A hash: SKU id → units.
    pub lines: String,
    /// A set of the SKU ids that are ordered when the cart is.
    pub selected: String,
    /// A number.
    pub applied_seq: String,
}

impl Keys {
    /// No two buyers, of one shop or of two, share a key: shop 1's begin with the kind of key, the others' with
    /// `shop:`, and a buyer's name always stands at the end.
    pub fn of(shop: ShopId, user: &UserId, hash_tags: bool) -> Self {
        let shop = if shop == ShopId::FIRST { String::new() } else { format!("shop:{shop}:") };
        let escaped;
        let user = if hash_tags {
            // Escaped, since the tag ends at the first closing brace, and an empty one is none.
            let user = user.as_str().replace('%', "%25").replace('{', "%7B").replace('}', "%7D");
            escaped = format!("{{{user}}}");
            &escaped
        } else {
            user.as_str()
        };
        let name = |kind: &str| [&shop, kind, user].concat();
        Self { lines: name("carts_"), selected: name("selected_"), applied_seq: name("applied_seq_") }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn keys(shop: i64, user: &str, hash_tags: bool) -> [String; 3] {
        let shop = ShopId::new(shop).expect("positive");
        let user = UserId::new(user).expect("a valid user");
        let Keys { lines, selected, applied_seq } = Keys::of(shop, &user, hash_tags);
        [lines, selected, applied_seq]
    }

    #[test]
    fn a_cart_has_the_origins_keys() {
        assert_eq!(keys(1, "7", false), ["carts_7", "selected_7", "applied_seq_7"]);
        assert_eq!(keys(1, "7", true), ["carts_{7}", "selected_{7}", "applied_seq_{7}"]);
        assert_eq!(keys(2, "7", false), ["shop:2:carts_7", "shop:2:selected_7", "shop:2:applied_seq_7"]);
        assert_eq!(keys(1, "a}{b%7D", true)[0], "carts_{a%7D%7Bb%257D}");
    }

    #[test]
    fn no_two_buyers_share_a_key() {
        let names = ["7", "_7", "{7}", "7}", "%7B7%7D", "}", "{}", "%", "%25", "shop:2:carts_7", "carts_7"];
        for hash_tags in [false, true] {
            let carts = [1, 2, 22].into_iter().flat_map(|shop| names.map(|user| (shop, user)));
            let all: Vec<String> = carts.flat_map(|(shop, user)| keys(shop, user, hash_tags)).collect();
            assert_eq!(all.iter().collect::<HashSet<_>>().len(), 3 * 3 * names.len(), "{all:?}");
        }
    }

    #[test]
    fn a_buyers_keys_have_one_hash_tag() {
        // What Redis hashes: from the first opening brace to the first closing one behind it, unless it is nothing.
        let tag = |key: &str| {
            let (_, behind) = key.split_once('{')?;
            let (tag, _) = behind.split_once('}')?;
            (!tag.is_empty()).then(|| tag.to_owned())
        };
        for user in ["7", "}", "{", "{}", "}{", "%7D", "a{b}c"] {
            let tags = keys(1, user, true).map(|key| tag(&key).unwrap_or_else(|| panic!("no tag in {key}")));
            assert!(tags.iter().all(|tag| *tag == tags[0]), "{tags:?}");
        }
    }
}
