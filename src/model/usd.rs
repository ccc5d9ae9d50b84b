//! Money without rounding: whole picodollars.

use std::fmt;
use std::ops::{Add, AddAssign};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Picodollars in a dollar.
const SCALE: u128 = 1_000_000_000_000;
/// Digits of dollars that leave an amount in one word.
const SHORT: usize = 6;
/// [`SCALE`] for those.
const SHORT_SCALE: u64 = 1_000_000_000_000;
/// Decimal places of [`SCALE`].
const PLACES: usize = 12;
/// The largest amount taken from outside, in dollars. A single chat, or the sum that a
/// witness states, is far below it; what lies above is a broken price table.
const LARGEST: f64 = 1e12;
/// Below this (1,125 dollars) a double times [`SCALE`] is off by less than half a picodollar.
const EXACT_PRODUCT: f64 = 1125.0;
/// Below this many picodollars an integer is exact as a double.
const EXACT_DOUBLE: u128 = 1 << 53;

/// An amount of US dollars, never negative, exact to 10^-12 dollars.
///
/// The cheapest model calls cost some 10^-8 dollars, so sums of any number of them are exact
/// and do not depend on their order: a million additions of $0.000001 are $1.
///
/// In two words, the higher first: a `u128` would be aligned to 16 bytes, and everything that
/// holds an amount with it. That was 24 bytes of each account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Usd {
    high: u64,
    low: u64,
}

/// Why a number is no amount of money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UsdError {
    /// Not a number, or infinite.
    #[error("not a finite number")]
    NotFinite,
    /// Below zero.
    #[error("negative")]
    Negative,
    /// More than 10^12 dollars.
    #[error("above 10^12 dollars")]
    TooLarge,
    /// Not decimal text.
    #[error("not a decimal number")]
    Text,
}

impl Usd {
    /// Nothing.
    pub const ZERO: Self = Self::of(0);

    #[expect(clippy::cast_possible_truncation, reason = "the other half is beside it")]
    const fn of(pico: u128) -> Self {
        Self { high: (pico >> 64) as u64, low: pico as u64 }
    }

    /// Takes a double as the runtime writes it, rounded to the nearest picodollar.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the range is checked: 0 to 1.125e15"
    )]
    pub fn from_f64(dollars: f64) -> Result<Self, UsdError> {
        if !dollars.is_finite() {
            return Err(UsdError::NotFinite);
        }
        if dollars < 0.0 {
            return Err(UsdError::Negative);
        }
        if dollars > LARGEST {
            return Err(UsdError::TooLarge);
        }
        if dollars < EXACT_PRODUCT {
            return Ok(Self::of((dollars * 1e12).round() as u128));
        }
        // The shortest decimal of the double is what its writer meant.
        format!("{dollars}").parse()
    }

    /// The nearest double, in dollars.
    #[expect(clippy::cast_precision_loss, reason = "exact below 2^53, decimal text above")]
    pub fn as_f64(self) -> f64 {
        let pico = self.picodollars();
        if pico < EXACT_DOUBLE {
            // Both operands are exact, and IEEE division rounds to nearest.
            return pico as f64 / 1e12;
        }
        self.to_string().parse().unwrap_or(f64::MAX)
    }

    /// The amount in picodollars, 10^-12 dollars.
    pub const fn picodollars(self) -> u128 {
        (self.high as u128) << 64 | self.low as u128
    }

    /// Whether it is nothing.
    pub fn is_zero(self) -> bool {
        self.high == 0 && self.low == 0
    }

    /// `self - other`, or zero where `other` is larger.
    #[must_use]
    pub fn saturating_sub(self, other: Self) -> Self {
        Self::of(self.picodollars().saturating_sub(other.picodollars()))
    }
}

impl Add for Usd {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self::of(self.picodollars().saturating_add(other.picodollars()))
    }
}

impl AddAssign for Usd {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

/// Plain decimal dollars without trailing zeros: `0.0000001`, `12.5`, `3`.
impl fmt::Display for Usd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.picodollars() / SCALE, self.picodollars() % SCALE);
        if rest == 0 {
            return write!(f, "{whole}");
        }
        let digits = format!("{rest:0PLACES$}");
        write!(f, "{whole}.{}", digits.trim_end_matches('0'))
    }
}

/// Reads what [`Usd`]'s `Display` writes; further decimals are rounded to the nearest.
impl FromStr for Usd {
    type Err = UsdError;

    fn from_str(text: &str) -> Result<Self, UsdError> {
        let (whole, rest) = text.split_once('.').unwrap_or((text, ""));
        let is_digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || !is_digits(whole) || !is_digits(rest) {
            return Err(UsdError::Text);
        }
        if whole.len() <= SHORT && rest.len() <= PLACES {
            // All usual amounts: in one word, a third of the time.
            let digits =
                |s: &str| s.bytes().fold(0_u64, |n, digit| n * 10 + u64::from(digit - b'0'));
            let places = u32::try_from(PLACES - rest.len()).unwrap_or(0);
            let pico = digits(whole) * SHORT_SCALE + digits(rest) * 10_u64.pow(places);
            return Ok(Self::of(pico.into()));
        }
        let whole: u128 = whole.parse().map_err(|_| UsdError::TooLarge)?;
        let mut pico = whole.checked_mul(SCALE).ok_or(UsdError::TooLarge)?;
        let mut worth = SCALE / 10;
        for digit in rest.bytes().take(PLACES) {
            pico = pico.saturating_add(u128::from(digit - b'0') * worth);
            worth /= 10;
        }
        if rest.as_bytes().get(PLACES).is_some_and(|digit| *digit >= b'5') {
            pico = pico.saturating_add(1);
        }
        Ok(Self::of(pico))
    }
}

impl Serialize for Usd {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Usd {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usd(text: &str) -> Usd {
        text.parse().unwrap()
    }

    #[test]
    fn a_million_millionths_are_one_dollar() {
        let mut sum = Usd::ZERO;
        for _ in 0..1_000_000 {
            sum += Usd::from_f64(0.000_001).unwrap();
        }
        assert_eq!(sum, usd("1"));
        assert_eq!(sum.to_string(), "1");
    }

    #[test]
    fn doubles_become_the_decimals_their_writer_meant() {
        for (double, text) in [
            (0.0, "0"),
            (1e-7, "0.0000001"),
            (6.720_000_000_000_001e-5, "0.0000672"),
            (0.773_666_450_000_000_1, "0.77366645"),
            (1_124.123_456_789_012, "1124.123456789012"),
            (123_456_789.123_456, "123456789.123456"),
            (1e12, "1000000000000"),
        ] {
            assert_eq!(Usd::from_f64(double).unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_money_is_refused() {
        assert_eq!(Usd::from_f64(f64::NAN), Err(UsdError::NotFinite));
        assert_eq!(Usd::from_f64(-0.01), Err(UsdError::Negative));
        assert_eq!(Usd::from_f64(1e308), Err(UsdError::TooLarge));
        assert_eq!("1.2e3".parse::<Usd>(), Err(UsdError::Text));
    }

    proptest::proptest! {
        #[test]
        fn text_round_trips(pico in 0_u128..1_000_000_000_000_000_000_000_000) {
            proptest::prop_assert_eq!(usd(&Usd::of(pico).to_string()), Usd::of(pico));
        }

        #[test]
        fn the_double_is_the_nearest_to_the_decimal(pico in 0_u128..100_000_000_000_000_000_000) {
            let exact: f64 = Usd::of(pico).to_string().parse().unwrap();
            proptest::prop_assert_eq!(Usd::of(pico).as_f64().to_bits(), exact.to_bits());
        }

        #[test]
        fn a_larger_amount_is_never_a_smaller_double(a: u64, b: u64) {
            let (low, high) = (a.min(b), a.max(b));
            proptest::prop_assert!(Usd::of(low.into()).as_f64() <= Usd::of(high.into()).as_f64());
        }
    }
}
