//! How often each peer may ask: a bucket of tokens for each address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// Peers that are told apart. Beyond that the one that was seen longest ago is forgotten.
const MAX_PEERS: usize = 4096;

/// A token comes each `interval`, and at most `burst` of them wait to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rate {
    pub(super) interval: Duration,
    pub(super) burst: u32,
}

/// The buckets, by peer: when each will be full again. Whoever asks empties it by one interval.
#[derive(Debug, Default)]
pub(super) struct Buckets {
    full_at: HashMap<IpAddr, Instant>,
}

impl Buckets {
    /// Takes a token out of a peer's bucket, or says how long it is until there is one.
    pub(super) fn take(&mut self, rate: Rate, peer: IpAddr, now: Instant) -> Result<(), Duration> {
        let peer = network(peer);
        if self.full_at.len() >= MAX_PEERS && !self.full_at.contains_key(&peer) {
            self.make_room(now);
        }
        let full_at = self.full_at.entry(peer).or_insert(now);
        let after = (*full_at).max(now) + rate.interval;
        let allowed = now + rate.interval.saturating_mul(rate.burst);
        if after > allowed {
            return Err(after - allowed);
        }
        *full_at = after;
        Ok(())
    }

    /// Forgets those whose bucket is full, who are as good as unknown, or else the quietest one.
    fn make_room(&mut self, now: Instant) {
        self.full_at.retain(|_, full_at| *full_at > now);
        if self.full_at.len() >= MAX_PEERS {
            let quietest = self.full_at.iter().min_by_key(|(_, full_at)| **full_at);
            if let Some(peer) = quietest.map(|(peer, _)| *peer) {
                self.full_at.remove(&peer);
            }
        }
    }
}

/// Whom an address stands for: of IPv6, everybody gets a network of 64 bits.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const RATE: Rate = Rate { interval: SECOND, burst: 3 };

    fn peer(number: u32) -> IpAddr {
        Ipv4Addr::from_bits(number).into()
    }

    #[test]
    fn a_burst_then_one_each_interval() {
        let (mut buckets, start) = (Buckets::default(), Instant::now());
        let mut take = |at| buckets.take(RATE, peer(1), start + at);
        assert_eq!([0, 0, 0].map(|_| take(Duration::ZERO)), [Ok(()); 3]);
        assert_eq!(take(Duration::ZERO), Err(SECOND));
        assert_eq!(take(SECOND / 4), Err(SECOND * 3 / 4));
        assert_eq!(take(SECOND), Ok(()));
        assert_eq!(take(SECOND), Err(SECOND));
        // However long nobody asks, no more than the burst is there.
        assert_eq!([0, 0, 0].map(|_| take(100 * SECOND)), [Ok(()); 3]);
        assert_eq!(take(100 * SECOND), Err(SECOND));
    }

    #[test]
    fn peers_do_not_take_from_each_other_but_a_network_is_one() {
        let (mut buckets, now) = (Buckets::default(), Instant::now());
        let one = Rate { burst: 1, ..RATE };
        let mut take = |address: &str| buckets.take(one, address.parse().unwrap(), now).is_ok();
        assert!(take("192.0.2.1") && take("192.0.2.2"));
        assert!(!take("::ffff:192.0.2.1"), "the same address in other words");
        assert!(take("2001:db8::1") && !take("2001:db8::2") && take("2001:db8:0:1::1"));
    }

    #[test]
    fn the_table_has_a_bound() {
        let (mut buckets, now) = (Buckets::default(), Instant::now());
        for number in 0..2 * u32::try_from(MAX_PEERS).unwrap() {
            buckets.take(RATE, peer(number), now).unwrap();
        }
        assert!(buckets.full_at.len() <= MAX_PEERS);
        buckets.take(RATE, peer(u32::MAX), now + 60 * SECOND).unwrap();
        assert_eq!(buckets.full_at.len(), 1, "full buckets are forgotten");
    }
}
