//! Which SKUs buyers want: one of them, all alike, or few of them much more often than the others.

use std::{fmt, str::FromStr};

use anyhow::{Result, ensure};
use rand::{Rng, RngExt, seq::index};
use rand_distr::{Distribution, Zipf};

/// How the wishes of buyers are spread over the SKUs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Popularity {
    /// Everybody wants the first one; further lines of an order are of any other.
    Hot,
    /// All of them alike.
    Uniform,
    /// The k-th one k^s times as rarely as the first; the exponent s is 1 where it isn't said.
    Zipf(f64),
}

impl fmt::Display for Popularity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hot => f.write_str("hot"),
            Self::Uniform => f.write_str("uniform"),
            Self::Zipf(1.0) => f.write_str("zipf"),
            Self::Zipf(exponent) => write!(f, "zipf:{exponent}"),
        }
    }
}

impl FromStr for Popularity {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "hot" => Ok(Self::Hot),
            "uniform" => Ok(Self::Uniform),
            "zipf" => Ok(Self::Zipf(1.0)),
            _ => (text.strip_prefix("zipf:").and_then(|exponent| exponent.parse().ok()))
                .filter(|exponent| (0.1..=2.0).contains(exponent))
                .map(Self::Zipf)
                .ok_or_else(|| {
                    format!("{text:?} is no popularity: hot, uniform, zipf or zipf:0.1 to zipf:2")
                }),
        }
    }
}

/// How often a SKU is drawn anew because the order has it already; then it gets the most popular ones that it lacks.
const MOST_DRAWS: usize = 1000;

/// Draws the SKUs of orders.
#[derive(Debug, Clone, Copy)]
pub struct Picks {
    skus: usize,
    lines: usize,
    popularity: Popularity,
    zipf: Option<Zipf<f64>>,
}

impl Picks {
    /// Of so many SKUs as many different ones as an order has lines: at least one, and no more than there are.
    pub fn new(popularity: Popularity, skus: usize, lines: usize) -> Result<Self> {
        ensure!(lines >= 1, "an order has at least one line");
        ensure!(lines <= skus, "an order of {lines} lines needs as many SKUs, and there are {skus}");
        let zipf = match popularity {
            Popularity::Zipf(exponent) => Some(Zipf::new(skus as f64, exponent)?),
            Popularity::Hot | Popularity::Uniform => None,
        };
        Ok(Self { skus, lines, popularity, zipf })
    }

    /// The SKUs of one order, each once: places in the list of all, the most popular at 0.
    pub fn draw(&self, random: &mut impl Rng) -> Vec<usize> {
        match (self.popularity, &self.zipf) {
            (Popularity::Hot, _) => {
                let others = index::sample(random, self.skus - 1, self.lines - 1);
                std::iter::once(0).chain(others.iter().map(|other| other + 1)).collect()
            }
            (Popularity::Zipf(_), Some(zipf)) => self.different(|| zipf.sample(random) as usize - 1),
            // The common case without the sampler's lists.
            _ if self.lines == 1 => vec![random.random_range(0..self.skus)],
            _ => index::sample(random, self.skus, self.lines).into_vec(),
        }
    }

    fn different(&self, mut draw: impl FnMut() -> usize) -> Vec<usize> {
        let mut picked: Vec<usize> = Vec::with_capacity(self.lines);
        let mut draws = 0;
        while picked.len() < self.lines {
            draws += 1;
            let sku = if draws <= MOST_DRAWS { draw() } else { draws - MOST_DRAWS - 1 };
            if !picked.contains(&sku) {
                picked.push(sku);
            }
        }
        picked
    }
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    const ORDERS: usize = 100_000;

    /// How often each of ten SKUs is in so many orders.
    fn drawn(popularity: Popularity, lines: usize) -> [usize; 10] {
        let picks = Picks::new(popularity, 10, lines).unwrap();
        let mut random = StdRng::seed_from_u64(7);
        let mut counts = [0; 10];
        for _ in 0..ORDERS {
            let order = picks.draw(&mut random);
            assert_eq!(order.len(), lines);
            for (at, &sku) in order.iter().enumerate() {
                assert!(!order[..at].contains(&sku), "{order:?}");
                counts[sku] += 1;
            }
        }
        counts
    }

    fn assert_share(count: usize, expected: f64) {
        let share = count as f64 / ORDERS as f64;
        assert!((share - expected).abs() < 0.01, "{share} of the orders instead of {expected}");
    }

    #[test]
    fn hot_is_one_sku_in_every_order() {
        assert_eq!(drawn(Popularity::Hot, 1), [ORDERS, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        let counts = drawn(Popularity::Hot, 4);
        assert_eq!(counts[0], ORDERS);
        counts[1..].iter().for_each(|&count| assert_share(count, 3.0 / 9.0));
    }

    #[test]
    fn uniform_is_all_alike() {
        drawn(Popularity::Uniform, 1).iter().for_each(|&count| assert_share(count, 0.1));
        drawn(Popularity::Uniform, 3).iter().for_each(|&count| assert_share(count, 0.3));
        assert_eq!(drawn(Popularity::Uniform, 10), [ORDERS; 10]);
    }

    #[test]
    fn zipf_is_by_rank() {
        for exponent in [0.5, 1.0, 2.0] {
            let weight = |sku: usize| ((sku + 1) as f64).powf(-exponent);
            let all: f64 = (0..10).map(weight).sum();
            for (sku, &count) in drawn(Popularity::Zipf(exponent), 1).iter().enumerate() {
                assert_share(count, weight(sku) / all);
            }
        }
        let counts = drawn(Popularity::Zipf(1.0), 3);
        assert!(counts.is_sorted_by(|one, next| one > next), "{counts:?}");
    }

    #[test]
    fn an_order_of_every_sku_ends() {
        let picks = Picks::new(Popularity::Zipf(2.0), 20, 20).unwrap();
        let mut order = picks.draw(&mut StdRng::seed_from_u64(7));
        order.sort_unstable();
        assert_eq!(order, (0..20).collect::<Vec<_>>());
        let never = Picks::new(Popularity::Zipf(2.0), 3, 3).unwrap();
        assert_eq!(never.different(|| 2), [2, 0, 1], "what is never drawn is filled in");
        assert!(Picks::new(Popularity::Uniform, 2, 3).is_err());
        assert!(Picks::new(Popularity::Uniform, 2, 0).is_err());
    }

    #[test]
    fn its_name_is_read_back() {
        for text in ["hot", "uniform", "zipf", "zipf:0.8"] {
            assert_eq!(text.parse::<Popularity>().unwrap().to_string(), text);
        }
        for wrong in ["", "cold", "zipf:", "zipf:0", "zipf:3", "zipf:x"] {
            assert!(wrong.parse::<Popularity>().is_err(), "{wrong}");
        }
    }
}
