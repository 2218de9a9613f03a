//! Orders, and what comes of an attempt to place one.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    address::Address,
    demand::Demand,
    ids::{AddressId, IdempotencyKey, OrderId, ShopId, SkuId, UserId},
    money::{Amount, Currency},
    timestamp::Timestamp,
};

macro_rules! named_values {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum $name { $($(#[$vdoc])* #[serde(rename = $text)] $variant),+ }

        impl $name {
            /// As it stands in the API and in the database.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            /// The reverse of [`Self::as_str`].
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

named_values!(
    /// How the buyer pays.
    PayMethod {
        /// To the carrier; the order ships at once.
        CashOnDelivery = "cash_on_delivery",
        /// Before it ships.
        Online = "online",
    }
);

named_values!(
    /// Where an order stands.
    OrderStatus {
        /// Waits for its online payment.
        Unpaid = "unpaid",
        /// Waits to be shipped.
        ToShip = "to_ship",
        /// On its way.
        Shipped = "shipped",
        /// Received.
        Completed = "completed",
        /// Canceled; its units are back in stock.
        Canceled = "canceled",
        /// Canceled because it wasn't paid in time.
        Expired = "expired",
    }
);

impl PayMethod {
    /// The status of an order that was just placed.
    pub fn first_status(self) -> OrderStatus {
        match self {
            Self::CashOnDelivery => OrderStatus::ToShip,
            Self::Online => OrderStatus::Unpaid,
        }
    }
}

/// One SKU of an order, as it was sold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OrderLine {
    /// Which SKU.
    pub sku_id: SkuId,
    /// Its code when it was ordered.
    pub code: Arc<str>,
    /// Its name when it was ordered.
    pub name: Arc<str>,
    /// Units.
    pub count: u32,
    /// The price of one unit when it was ordered.
    pub unit_price: Amount,
    /// count × unit_price.
    pub amount: Amount,
}

/// A placed order: total_amount = Σ(count × unit_price) + freight.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Order {
    /// UUID v7.
    pub id: OrderId,
    /// Where it stands.
    pub status: OrderStatus,
    /// How it is paid.
    pub pay_method: PayMethod,
    /// In ascending SKU id.
    pub lines: Vec<OrderLine>,
    /// Units of all lines.
    pub total_count: u64,
    /// Sum of the lines' amounts.
    pub goods_amount: Amount,
    /// What shipping costs.
    pub freight: Amount,
    /// goods_amount + freight.
    pub total_amount: Amount,
    /// Of all its amounts.
    pub currency: Currency,
    /// Snapshot of where it goes.
    pub address: Address,
    /// When it was placed.
    pub created_at: Timestamp,
}

/// What the order asks for, and from where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Basket {
    /// Lines given with the call; the cart is left alone.
    Lines(Demand),
    /// The selected lines of the buyer's cart; they leave it when the order is placed.
    Cart,
}

/// Where the order goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ShipTo {
    /// A saved address of this buyer.
    Saved(AddressId),
    /// One given with the call.
    Given(Address),
}

/// One attempt at placing an order, as a caller gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaceRequest {
    /// The shop.
    pub shop: ShopId,
    /// The buyer.
    pub user: UserId,
    /// Which call this is; with the user it is the key's scope.
    pub operation: Operation,
    /// The client's name for this attempt.
    pub key: IdempotencyKey,
    /// What is ordered.
    pub basket: Basket,
    /// Where it goes.
    pub ship_to: ShipTo,
    /// How it is paid.
    pub pay_method: PayMethod,
    /// The total that the buyer saw, freight included; another total is refused.
    pub expected_total: Option<Amount>,
}

named_values!(
    /// A call that takes an Idempotency-Key: part of the key's scope, and of its fingerprint.
    Operation {
        /// POST /v1/orders, and the library's own.
        PlaceOrder = "place_order",
        /// The origin's POST /orders/commit/.
        OriginCommit = "origin_commit",
    }
);

/// SHA-256 of what a request asks for: the same key with another fingerprint is a mistake of the client's.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(pub [u8; 32]);

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..4].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl PlaceRequest {
    /// An order of these lines in shop 1, to an address given with it.
    pub fn of_lines(
        user: UserId,
        key: IdempotencyKey,
        lines: Demand,
        address: Address,
        pay_method: PayMethod,
    ) -> Self {
        Self {
            shop: ShopId::FIRST,
            user,
            operation: Operation::PlaceOrder,
            key,
            basket: Basket::Lines(lines),
            ship_to: ShipTo::Given(address),
            pay_method,
            expected_total: None,
        }
    }

    /// The fingerprint over version, operation and the validated request in canonical form: lines summed and
    /// sorted, texts behind their length. What the server reads itself, such as the cart, is not part of it.
    pub fn fingerprint(&self) -> Fingerprint {
        let mut hash = Sha256::new();
        let mut text = |text: &str| {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text.as_bytes());
        };
        text("v1");
        text(self.operation.as_str());
        text(self.pay_method.as_str());
        match &self.ship_to {
            ShipTo::Saved(id) => {
                text("saved");
                text(&id.to_string());
            }
            ShipTo::Given(address) => {
                let Address { receiver, line1, line2, city, region, postal_code, country, phone } = address;
                text("given");
                for field in [receiver, line1, city, postal_code, country, phone] {
                    text(field);
                }
                for field in [line2, region] {
                    text(if field.is_some() { "some" } else { "none" });
                    text(field.as_deref().unwrap_or(""));
                }
            }
        }
        let expected = self.expected_total.map_or(-1, Amount::get);
        hash.update(expected.to_le_bytes());
        match &self.basket {
            Basket::Cart => hash.update(b"cart"),
            Basket::Lines(demand) => {
                for line in demand.lines() {
                    hash.update(line.sku_id.get().to_le_bytes());
                    hash.update(line.count.to_le_bytes());
                }
            }
        }
        Fingerprint(hash.finalize().into())
    }
}

/// A [`PlaceRequest`] with all that deciding it may need and must not make itself: id, time, fingerprint, and
/// the cart as it was when the request came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaceOrder {
    /// What was asked.
    pub request: Arc<PlaceRequest>,
    /// Of the request.
    pub fingerprint: Fingerprint,
    /// The id the order will have.
    pub order_id: OrderId,
    /// When it is placed.
    pub placed_at: Timestamp,
    /// For [`Basket::Cart`]: the cart as it was when the request came in.
    pub cart: CartSnapshot,
}

/// A cart as a request found it. The order is placed only if no other was placed from the cart since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CartSnapshot {
    /// It is kept with the orders: its lines are read in the order's transaction.
    InStore {
        /// How many orders had been placed from it.
        seq: u64,
    },
    /// It is kept elsewhere, and its lines were read there.
    Elsewhere {
        /// How many orders had been placed from it.
        seq: u64,
        /// The selected lines: SKU and units.
        selected: Vec<(SkuId, u32)>,
        /// Whether it was read as [`CartReading::CaughtUp`]. If not, an order whose cart has another seq in the store is
        /// [`Rejection::CartBehind`].
        caught_up: bool,
    },
    /// It is kept elsewhere, and can't be read now. An order that is known by its key is answered all the same.
    Unreachable,
}

/// How a cart is read that is about to be ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CartReading {
    /// As it stands, without asking whether all orders that were placed from it are taken out of it. Nearly always they
    /// are; otherwise the order comes back as [`Rejection::CartBehind`].
    AsItStands,
    /// With all of them taken out.
    CaughtUp,
}

impl CartSnapshot {
    /// Of a cart that no order needs.
    pub const NOT_NEEDED: Self = Self::InStore { seq: 0 };

    /// How many orders had been placed from it, if it could be read.
    pub fn seq(&self) -> Option<u64> {
        match self {
            Self::InStore { seq } | Self::Elsewhere { seq, .. } => Some(*seq),
            Self::Unreachable => None,
        }
    }
}

/// A line that asked for more than there is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShortLine {
    /// Which SKU.
    pub sku_id: SkuId,
    /// Units asked for.
    pub requested: u32,
    /// Units there are.
    pub available: i64,
}

/// A business "no": decided, and final for its Idempotency-Key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "code", rename_all = "snake_case")]
pub enum Refusal {
    /// At least one SKU has fewer units than asked for; the whole order is refused.
    InsufficientStock {
        /// Every line that falls short.
        lines: Vec<ShortLine>,
    },
    /// Unknown, or not on sale.
    SkuUnavailable {
        /// All such SKUs of the order.
        sku_ids: Vec<SkuId>,
    },
    /// No line of the cart is selected.
    EmptyCart,
    /// Another order was placed from this cart since the request came in.
    CartChanged,
    /// The total isn't the one that the buyer saw.
    TotalChanged {
        /// What it would be now.
        total_amount: Amount,
    },
}

impl Refusal {
    /// The stable code of the API.
    pub fn code(&self) -> &'static str {
        match self {
            Self::InsufficientStock { .. } => "insufficient_stock",
            Self::SkuUnavailable { .. } => "sku_unavailable",
            Self::EmptyCart => "empty_cart",
            Self::CartChanged => "cart_changed",
            Self::TotalChanged { .. } => "total_changed",
        }
    }
}

/// A request that can't be decided as it stands; nothing of it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejection {
    /// The key was used for another request.
    KeyReused,
    /// This buyer has no such address.
    AddressNotFound,
    /// The total would exceed [`Amount::MAX`].
    TotalTooLarge,
    /// The buyer's cart can't be read now.
    CartUnreachable,
    /// The cart was read [as it stands](CartReading::AsItStands), and there are orders that aren't taken out of it.
    CartBehind,
}

/// What came of one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The order, as it was when it was placed.
    Placed(Arc<Order>),
    /// Decided against; kept under the key.
    Refused(Refusal),
    /// Not decided; nothing is kept.
    Rejected(Rejection),
}

/// The answer to one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// What came of it.
    pub outcome: Outcome,
    /// Whether the key had been decided before, and this repeats that answer.
    pub replayed: bool,
}

/// What a buyer's call to cancel came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CancelOutcome {
    /// Canceled, now or before.
    Canceled(Box<Order>),
    /// Too late: shipped, completed or expired.
    NotCancelable(OrderStatus),
    /// This buyer has no such order.
    NotFound,
}
