//! A set of numbers with one comparison for most that are not in it: open addressing, half empty.

use std::hash::{BuildHasher as _, RandomState};

/// A number that can be in a [`Table`].
pub(crate) trait Key: Copy + Eq {
    /// The number that marks a free place; it is kept beside the table.
    const FREE: Self;

    /// The number folded to 64 bits.
    fn fold(self) -> u64;
}

impl Key for u32 {
    const FREE: Self = 0;

    fn fold(self) -> u64 {
        u64::from(self)
    }
}

impl Key for u128 {
    const FREE: Self = 0;

    fn fold(self) -> u64 {
        (self >> 64) as u64 ^ (self as u64).rotate_left(29)
    }
}

/// The set.
#[derive(Debug)]
pub(crate) struct Table<K> {
    places: Vec<K>,
    /// Places are a power of two; a hash is shifted to one of them.
    shift: u32,
    /// Odd and not to be guessed, so that nobody can choose numbers that meet in one place.
    factor: u64,
    holds_free: bool,
    n_held: usize,
}

impl<K: Key> Table<K> {
    /// A set of `keys`.
    pub(crate) fn new(keys: &[K]) -> Self {
        let n_places = (2 * keys.len()).next_power_of_two().max(2);
        let mut table = Self {
            places: vec![K::FREE; n_places],
            shift: 64 - n_places.trailing_zeros(),
            factor: RandomState::new().hash_one(0_u8) | 1,
            holds_free: false,
            n_held: 0,
        };
        keys.iter().for_each(|key| table.insert(*key));
        table
    }

    /// How many numbers it holds.
    pub(crate) fn len(&self) -> usize {
        self.n_held
    }

    /// Whether `key` is in the set.
    pub(crate) fn contains(&self, key: K) -> bool {
        match key == K::FREE {
            true => self.holds_free,
            false => self.places[self.place(key)] == key,
        }
    }

    fn insert(&mut self, key: K) {
        if self.contains(key) {
            return;
        }
        self.n_held += 1;
        if key == K::FREE {
            self.holds_free = true;
            return;
        }
        let place = self.place(key);
        self.places[place] = key;
    }

    /// Where `key` is, or the free place where it would be.
    fn place(&self, key: K) -> usize {
        let last = self.places.len() - 1;
        let mut place = (key.fold().wrapping_mul(self.factor) >> self.shift) as usize;
        while self.places[place] != key && self.places[place] != K::FREE {
            place = (place + 1) & last;
        }
        place
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_what_was_put_in_and_nothing_else() {
        let keys: Vec<u32> = (0..1000).map(|n| n * 256).chain([7, 7]).collect();
        let table = Table::new(&keys);
        assert_eq!(table.len(), 1001);
        assert!(
            (0..1_000_000).all(|n| table.contains(n) == (n % 256 == 0 && n < 256_000 || n == 7))
        );
        assert!(!Table::<u128>::new(&[]).contains(0));
        assert!(Table::<u128>::new(&[0, 5 << 64]).contains(5 << 64));
    }
}
