//! A cart as it stands in Redis, and the scripts by which it is read and changed.

use std::{
    collections::{HashMap, HashSet},
    str::FromStr,
    sync::LazyLock,
    time::Instant,
};

use lastunit::{CartLineSetting, CartOrder, MAX_COUNT, MAX_LINES, SkuId};

use super::{
    connection::{Away, Link, Script},
    keys::Keys,
};

/// What [`RedisCarts`](crate::RedisCarts) asks of Redis. What is done to one cart is done as a whole; where it is
/// [`Away`] it may have been done, now or later.
#[async_trait::async_trait]
pub trait CartService: Send + Sync + 'static {
    /// Whether all carts are in one place, which is there or not. Elsewhere they are read one by one: a part that hangs
    /// must not hold up the carts of the others.
    fn is_one_place(&self) -> bool;

    /// Carts as they stand, in their order.
    async fn read(&self, carts: &[&Keys], deadline: Instant) -> Vec<Result<Kept, Away>>;

    /// Takes out of each cart what an order took, if it is the next; whether it was.
    async fn apply(&self, orders: &[(Keys, CartOrder)], deadline: Instant) -> Vec<Result<bool, Away>>;

    /// Begins the cart anew at this seq, with the lines that are there or without, unless it changed since it was
    /// read.
    async fn begin(
        &self,
        keys: &Keys,
        deadline: Instant,
        seen: &Kept,
        seq: u64,
        keep: bool,
    ) -> Result<(), Away>;

    /// Changes the cart, if it is at this seq.
    async fn edit(&self, keys: &Keys, deadline: Instant, seq: u64, edit: Edit) -> Result<Edited, Away>;

    /// Takes no more calls.
    async fn close(&self);
}

static SNAPSHOT: LazyLock<Script> = LazyLock::new(|| Script::of_read(include_str!("snapshot.lua")));
static APPLY: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("apply.lua")));
static SET_LINE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("set_line.lua")));
static REMOVE_LINES: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("remove_lines.lua")));
static BEGIN: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("begin.lua")));

type Bytes = Vec<u8>;
/// What the scripts answer: a word, the hash and the set.
type Answer = (Bytes, HashMap<Bytes, Bytes>, HashSet<Bytes>);

/// A cart's two keys. An existing shop may have written anything into them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    lines: HashMap<Bytes, Bytes>,
    selected: HashSet<Bytes>,
}

impl Contents {
    /// Of these lines: SKU, units and whether selected.
    pub fn of(lines: impl IntoIterator<Item = (SkuId, u32, bool)>) -> Self {
        let mut contents = Self { lines: HashMap::new(), selected: HashSet::new() };
        for (sku_id, count, selected) in lines {
            contents.lines.insert(sku_id.to_string().into(), count.to_string().into());
            if selected {
                contents.selected.insert(sku_id.to_string().into());
            }
        }
        contents
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.selected.is_empty()
    }

    /// SKU, units and whether selected, by SKU id. What can't be a line is left out.
    pub fn lines(&self) -> Vec<(SkuId, u32, bool)> {
        let mut lines: Vec<_> = self
            .lines
            .iter()
            .filter_map(|(field, count)| {
                let sku_id: SkuId = exactly(field)?;
                let count: u32 = exactly(count).filter(|count| (1..=MAX_COUNT).contains(count))?;
                Some((sku_id, count, self.selected.contains(field)))
            })
            .collect();
        lines.sort_unstable_by_key(|line| line.0);
        lines
    }
}

/// A number as Lastunit writes it. Of `7`, `07` and `+7` only the first is taken out when SKU 7 is ordered, so only
/// that one may be ordered.
fn exactly<T: FromStr>(bytes: &[u8]) -> Option<T> {
    if !bytes.iter().all(u8::is_ascii_digit) || (bytes.starts_with(b"0") && bytes.len() > 1) {
        return None;
    }
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

/// A cart as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// As it stands there; empty if it is missing.
    pub raw_seq: Vec<u8>,
    /// Its lines.
    pub contents: Contents,
}

impl Kept {
    /// How many orders are taken out of it, if that is known.
    pub fn applied_seq(&self) -> Option<u64> {
        exactly(&self.raw_seq).filter(|&seq| i64::try_from(seq).is_ok())
    }
}

/// A change that a buyer makes.
#[derive(Debug, Clone, Copy)]
pub enum Edit {
    /// Puts a line into the cart, or changes it.
    Set(SkuId, CartLineSetting),
    /// Takes a line out.
    Remove(SkuId),
    /// Takes all lines out.
    RemoveAll,
}

/// What became of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edited {
    /// The cart as it is now.
    Done(Contents),
    /// The cart isn't at this seq: it has to catch up first.
    Behind,
    /// It would have too many lines.
    Full,
}

/// One cart, for one call.
pub(super) struct OneCart<'a> {
    pub service: &'a dyn CartService,
    pub keys: Keys,
    /// Until when a command may be sent.
    pub deadline: Instant,
}

impl OneCart<'_> {
    pub async fn apply(&self, order: CartOrder) -> Result<bool, Away> {
        let orders = [(self.keys.clone(), order)];
        let applied = self.service.apply(&orders, self.deadline).await.pop();
        applied.unwrap_or_else(|| Err(Away("there was no answer".into())))
    }

    pub async fn begin(&self, seen: &Kept, seq: u64, keep: bool) -> Result<(), Away> {
        self.service.begin(&self.keys, self.deadline, seen, seq, keep).await
    }

    pub async fn edit(&self, seq: u64, edit: Edit) -> Result<Edited, Away> {
        self.service.edit(&self.keys, self.deadline, seq, edit).await
    }
}

#[async_trait::async_trait]
impl CartService for Link {
    fn is_one_place(&self) -> bool {
        !self.is_cluster()
    }

    async fn read(&self, carts: &[&Keys], deadline: Instant) -> Vec<Result<Kept, Away>> {
        let answers: Vec<Result<Answer, Away>> = self.run_all(&SNAPSHOT, carts, deadline, |_, _| {}).await;
        let kept = |(raw_seq, lines, selected)| Kept { raw_seq, contents: Contents { lines, selected } };
        answers.into_iter().map(|answer| answer.map(kept)).collect()
    }

    async fn apply(&self, orders: &[(Keys, CartOrder)], deadline: Instant) -> Vec<Result<bool, Away>> {
        let carts: Vec<&Keys> = orders.iter().map(|(keys, _)| keys).collect();
        self.run_all(&APPLY, &carts, deadline, |at, command| {
            let order = &orders[at].1;
            command.arg(order.seq - 1).arg(order.seq);
            for (sku_id, count) in &order.lines {
                command.arg(sku_id.get()).arg(count);
            }
        })
        .await
    }

    async fn begin(
        &self,
        keys: &Keys,
        deadline: Instant,
        seen: &Kept,
        seq: u64,
        keep: bool,
    ) -> Result<(), Away> {
        self.run(&BEGIN, keys, deadline, |command| {
            command.arg(&seen.raw_seq).arg(seq).arg(if keep { "keep" } else { "drop" });
        })
        .await
    }

    async fn edit(&self, keys: &Keys, deadline: Instant, seq: u64, edit: Edit) -> Result<Edited, Away> {
        let (script, sku_id) = match edit {
            Edit::Set(sku_id, _) => (&SET_LINE, Some(sku_id)),
            Edit::Remove(sku_id) => (&REMOVE_LINES, Some(sku_id)),
            Edit::RemoveAll => (&REMOVE_LINES, None),
        };
        let answer: Answer = self
            .run(script, keys, deadline, |command| {
                command.arg(seq).arg(sku_id.map(|id| id.to_string()).unwrap_or_default());
                if let Edit::Set(_, line) = edit {
                    command.arg(line.count).arg(u8::from(line.selected)).arg(MAX_LINES);
                }
            })
            .await?;
        let (outcome, lines, selected) = answer;
        match outcome.as_slice() {
            b"done" => Ok(Edited::Done(Contents { lines, selected })),
            b"behind" => Ok(Edited::Behind),
            b"full" => Ok(Edited::Full),
            other => Err(Away(format!("a script answered {:?}", String::from_utf8_lossy(other)))),
        }
    }

    async fn close(&self) {
        Link::close(self).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cant_be_a_line_is_left_out() {
        let lines = [
            ("7", "2"),
            ("3", "10000"),
            ("07", "1"),
            ("+7", "1"),
            ("-1", "1"),
            ("0", "1"),
            ("x", "1"),
            ("9", "0"),
            ("10", "-1"),
            ("11", "10001"),
            ("12", "1.5"),
            ("13", ""),
            ("99999999999999999999", "1"),
        ];
        let bytes = |text: &str| text.as_bytes().to_vec();
        let contents = Contents {
            lines: lines.iter().map(|(field, count)| (bytes(field), bytes(count))).collect(),
            selected: ["7", "9", "07", "5"].map(bytes).into(),
        };
        let read: Vec<_> =
            contents.lines().into_iter().map(|(id, count, selected)| (id.get(), count, selected)).collect();
        assert_eq!(read, [(3, 10000, false), (7, 2, true)]);
    }

    #[test]
    fn a_seq_that_isnt_one_is_unknown() {
        let seq = |text: &str| {
            let contents = Contents { lines: HashMap::new(), selected: HashSet::new() };
            Kept { raw_seq: text.as_bytes().to_vec(), contents }.applied_seq()
        };
        assert_eq!((seq("0"), seq("17")), (Some(0), Some(17)));
        for wrong in ["", "-1", "01", "x", "1.0", "9223372036854775808"] {
            assert_eq!(seq(wrong), None, "{wrong:?}");
        }
    }
}
