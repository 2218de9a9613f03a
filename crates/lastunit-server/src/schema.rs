//! The types of the API as the OpenAPI document shows them. They are never built: the engine's own types are
//! what is read and written, and the tests below hold the two against each other.

#![expect(dead_code, reason = "only their schemas are used")]

use utoipa::{
    IntoParams, ToSchema,
    openapi::{Object, ObjectBuilder, schema::Type},
};

/// Text without control characters and bidirectional marks, and not blank where it must not be empty.
fn text(min: usize, max: usize) -> ObjectBuilder {
    const REFUSED: &str = r"\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069";
    let pattern = match min {
        0 => format!("^[^{REFUSED}]*$"),
        _ => format!(r"^[^{REFUSED}]*[^{REFUSED}\s][^{REFUSED}]*$"),
    };
    let text = ObjectBuilder::new().schema_type(Type::String).max_length(Some(max)).pattern(Some(pattern));
    if min > 0 { text.min_length(Some(min)) } else { text }
}

fn or_null(text: ObjectBuilder) -> Object {
    text.schema_type(utoipa::openapi::schema::SchemaType::Array(vec![Type::String, Type::Null])).build()
}

fn text_20() -> Object {
    text(1, 20).build()
}

fn text_100() -> Object {
    text(1, 100).build()
}

fn text_200() -> Object {
    text(1, 200).build()
}

fn text_255() -> Object {
    text(1, 255).build()
}

fn maybe_text_100() -> Object {
    or_null(text(0, 100))
}

fn maybe_text_200() -> Object {
    or_null(text(0, 200))
}

fn maybe_text_255() -> Object {
    or_null(text(1, 255))
}

/// Money in minor units (cents, fen) of the currency beside it; at most 2⁵³ − 1.
#[derive(ToSchema)]
#[schema(minimum = 0, maximum = 9007199254740991_i64)]
pub(crate) struct Amount(i64);

/// A small number, given when the object is created.
#[derive(ToSchema)]
#[schema(minimum = 1, maximum = 9223372036854775807_i64)]
pub(crate) struct NumberId(i64);

/// A UUID v7.
#[derive(ToSchema)]
#[schema(value_type = String, format = "uuid")]
pub(crate) struct Uuid(String);

/// An ISO 4217 code.
#[derive(ToSchema)]
#[schema(pattern = "^[A-Z]{3}$", example = "GBP")]
pub(crate) struct Currency(String);

/// How the buyer pays.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum PayMethod {
    /// To the carrier; the order ships at once.
    CashOnDelivery,
    /// Before it ships.
    Online,
}

/// Where an order stands.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum OrderStatus {
    Unpaid,
    ToShip,
    Shipped,
    Completed,
    Canceled,
    Expired,
}

macro_rules! address {
    ($(#[$doc:meta])* $name:ident { $($(#[$id_doc:meta])* $id:ident: $id_type:ty,)? }, $($extra:tt)*) => {
        $(#[$doc])*
        #[derive(ToSchema)]
        $($extra)*
        pub(crate) struct $name {
            $($(#[$id_doc])* $id: $id_type,)?
            #[schema(schema_with = text_100)]
            receiver: String,
            #[schema(schema_with = text_200)]
            line1: String,
            #[schema(schema_with = maybe_text_200, required = false)]
            line2: Option<String>,
            #[schema(schema_with = text_100)]
            city: String,
            #[schema(schema_with = maybe_text_100, required = false)]
            region: Option<String>,
            #[schema(schema_with = text_20)]
            postal_code: String,
            /// An ISO 3166-1 alpha-2 code that is officially assigned.
            #[schema(pattern = "^[A-Z]{2}$", example = "GB")]
            country: String,
            /// Digits, spaces and +()-./
            #[schema(min_length = 3, max_length = 32, pattern = r"^[0-9 +()./-]*[0-9+()./-][0-9 +()./-]*$")]
            phone: String,
        }
    };
}

address!(
    /// A postal address with a receiver.
    Address {},
    #[serde(deny_unknown_fields)]
);
address!(
    /// An address of the buyer's address book.
    SavedAddress {
        /// To be given as an order's address_id.
        id: Uuid,
    },
);

/// The sellable unit.
#[derive(ToSchema)]
pub(crate) struct Sku {
    id: NumberId,
    /// The shop's own code, unique in the shop.
    code: String,
    product_id: NumberId,
    /// The product's name.
    product: String,
    name: String,
    /// Price of one unit.
    price: Amount,
    currency: Currency,
    /// Units that can still be promised.
    #[schema(minimum = 0)]
    stock: i64,
    /// Units sold so far.
    sales: i64,
    /// Whether it can be ordered.
    on_sale: bool,
}

/// The sum of its SKUs.
#[derive(ToSchema)]
pub(crate) struct Product {
    id: NumberId,
    /// Its name in URLs and imports, unique in the shop.
    handle: String,
    name: String,
    /// Plain text or the shop's own HTML: escape it.
    description: String,
    /// Units sold of all its SKUs.
    sales: i64,
    skus: Vec<Sku>,
}

/// A product to be created.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewProduct {
    /// Unique in the shop; made from the name when absent, so that the name then needs a letter or digit.
    #[schema(schema_with = maybe_text_255, required = false)]
    handle: Option<String>,
    #[schema(schema_with = text_255)]
    name: String,
    #[schema(max_length = 100000, required = false)]
    description: String,
    #[schema(min_items = 1, max_items = 1000)]
    skus: Vec<NewSku>,
}

/// A SKU to be created.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewSku {
    /// Unique in the shop.
    #[schema(schema_with = text_255)]
    code: String,
    #[schema(schema_with = text_255)]
    name: String,
    price: Amount,
    /// Units there are at first.
    #[schema(minimum = 0, maximum = 1000000000, default = 0, required = false)]
    stock: i64,
    #[schema(default = true, required = false)]
    on_sale: bool,
}

/// Changes to a SKU; what is absent stays.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SkuPatch {
    price: Option<Amount>,
    #[schema(schema_with = maybe_text_255, required = false)]
    name: Option<String>,
    on_sale: Option<bool>,
}

/// A change of stock, for the ledger.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct StockChange {
    /// Units to add; negative only for `adjusted`, and never 0.
    #[schema(minimum = -1000000000, maximum = 1000000000)]
    delta: i64,
    kind: StockChangeKind,
    /// Why, in words.
    #[schema(schema_with = text_255)]
    reason: String,
}

/// How a shop changes stock by hand.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum StockChangeKind {
    /// Goods came in.
    Received,
    /// A count corrected it, up or down.
    Adjusted,
}

/// By which rules a shop charges.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ShopSettings {
    currency: Currency,
    /// What shipping costs.
    freight: Amount,
    /// The goods amount from which shipping is free; absent or null: never.
    free_from: Option<Amount>,
}

/// One SKU of a cart, priced as of now.
#[derive(ToSchema)]
pub(crate) struct CartLine {
    sku_id: NumberId,
    #[schema(minimum = 1, maximum = 10000)]
    count: u32,
    /// Whether it is ordered when the cart is.
    selected: bool,
    unit_price: Amount,
    /// count × unit_price
    amount: Amount,
    /// Units that could be ordered now.
    #[schema(minimum = 0)]
    available: i64,
}

/// What a buyer has gathered.
#[derive(ToSchema)]
pub(crate) struct Cart {
    /// By SKU id.
    lines: Vec<CartLine>,
    selected_count: u64,
    /// Without freight.
    selected_amount: Amount,
    currency: Currency,
}

/// What a cart line is set to.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CartLineSetting {
    #[schema(minimum = 1, maximum = 10000)]
    count: u32,
    #[schema(default = true, required = false)]
    selected: bool,
}

/// What is ordered. Give exactly one of address_id and address.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PlaceOrder {
    /// Lines of one SKU are summed, at most 100 SKUs. Without lines the selected lines of the cart are ordered.
    #[schema(min_items = 1, max_items = 1000)]
    lines: Option<Vec<PlaceOrderLine>>,
    /// One of the buyer's saved addresses.
    address_id: Option<Uuid>,
    address: Option<Address>,
    pay_method: PayMethod,
    /// The total that the buyer saw, freight included; another total is refused.
    expected_total: Option<Amount>,
}

/// One line of what is ordered.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PlaceOrderLine {
    sku_id: NumberId,
    #[schema(minimum = 1, maximum = 10000)]
    count: u32,
}

/// One SKU of an order, as it was sold.
#[derive(ToSchema)]
pub(crate) struct OrderLine {
    sku_id: NumberId,
    code: String,
    name: String,
    count: u32,
    unit_price: Amount,
    /// count × unit_price
    amount: Amount,
}

/// A placed order.
#[derive(ToSchema)]
pub(crate) struct Order {
    id: Uuid,
    status: OrderStatus,
    pay_method: PayMethod,
    /// By SKU id.
    lines: Vec<OrderLine>,
    total_count: u64,
    goods_amount: Amount,
    freight: Amount,
    /// goods_amount + freight
    total_amount: Amount,
    currency: Currency,
    /// As it was when the order was placed.
    address: Address,
    #[schema(format = "date-time")]
    created_at: String,
}

/// The body of POST /orders/commit/.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OriginCommit {
    address_id: Uuid,
    /// 1: cash on delivery, 2: online.
    #[schema(minimum = 1, maximum = 2)]
    pay_method: u8,
}

/// The answer of POST /orders/commit/.
#[derive(ToSchema)]
pub(crate) struct OriginReply {
    /// 0: the order is placed.
    code: u16,
    errmsg: String,
    /// Null unless the order is placed.
    #[schema(required = true)]
    order_id: Option<Uuid>,
}

/// A line that asked for more than there is.
#[derive(ToSchema)]
pub(crate) struct ShortLine {
    sku_id: NumberId,
    requested: u32,
    available: i64,
}

/// What went wrong (RFC 9457), and what to do about it.
#[derive(ToSchema)]
pub(crate) struct Problem {
    /// https://lastunit.dev/problems/ and the code.
    #[schema(format = "uri")]
    r#type: String,
    title: String,
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    #[schema(schema_with = code)]
    code: String,
    /// A sentence that says what to do.
    detail: String,
    /// As in X-Request-Id; quote it when you report the problem.
    request_id: String,
    /// With insufficient_stock: every line that falls short.
    #[schema(nullable = false)]
    lines: Option<Vec<ShortLine>>,
    /// With sku_unavailable: all such SKUs.
    #[schema(nullable = false)]
    sku_ids: Option<Vec<NumberId>>,
    /// With total_changed: what the total would be now.
    #[schema(nullable = false, value_type = Option<i64>, minimum = 0, maximum = 9007199254740991_i64)]
    total_amount: Option<i64>,
}

fn code() -> Object {
    let codes = crate::problem::Code::ALL.iter().map(|code| code.as_str());
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(codes)).build()
}

/// Says that all is well.
#[derive(ToSchema)]
pub(crate) struct Health {
    status: String,
}

macro_rules! lists {
    ($($name:ident of $item:ident;)+) => {$(
        /// One page.
        #[derive(ToSchema)]
        pub(crate) struct $name {
            items: Vec<$item>,
            /// Given as `cursor` it gives the next page; null on the last.
            #[schema(required = true)]
            next_cursor: Option<String>,
        }
    )+};
}

lists! {
    SkuList of Sku;
    ProductList of Product;
    AddressList of SavedAddress;
    OrderList of Order;
}

macro_rules! pages {
    ($($name:ident { $($code:tt)* })+) => {$(
        #[derive(IntoParams)]
        #[into_params(parameter_in = Query)]
        pub(crate) struct $name {
            /// The most items of the page.
            #[param(minimum = 1, maximum = 100, default = 20, required = false)]
            limit: u32,
            /// The next_cursor of the page before; absent: the first page.
            #[param(required = false, inline)]
            cursor: Cursor,
            $($code)*
        }
    )+};
}

/// The next_cursor of a page; an id, but nothing to rely on.
#[derive(ToSchema)]
#[schema(min_length = 1, max_length = 64)]
pub(crate) struct Cursor(String);

pages! {
    SkuPage {
        /// Finds the one SKU with this code; limit and cursor then mean nothing.
        #[param(required = false)]
        code: String,
    }
    ProductPage {}
    AddressPage {}
    OrderPage {}
}

macro_rules! paths {
    ($($name:ident { $id:ident: $type:ty })+) => {$(
        #[derive(IntoParams)]
        #[into_params(parameter_in = Path)]
        pub(crate) struct $name {
            $id: $type,
        }
    )+};
}

paths! {
    SkuPath { id: NumberId }
    CartLinePath { sku_id: NumberId }
    AddressPath { id: Uuid }
    OrderPath { id: Uuid }
}

#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(crate) struct IdempotencyKeyHeader {
    /// The client's name for this attempt: a new random value for every order, the same when a call is repeated.
    #[param(rename = "Idempotency-Key", min_length = 1, max_length = 255, pattern = "^[!-~]([ -~]*[!-~])?$")]
    key: String,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(crate) struct OptionalIdempotencyKeyHeader {
    /// The client's name for this attempt: a new random value for every order, the same when a call is repeated.
    #[param(
        rename = "Idempotency-Key",
        min_length = 1,
        max_length = 255,
        pattern = "^[!-~]([ -~]*[!-~])?$",
        required = false
    )]
    key: String,
}
