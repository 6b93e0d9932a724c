//! Chance from a seed, and nothing else.

/// A stream of numbers (splitmix64).
#[derive(Debug, Clone)]
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to below `n`.
    pub(crate) fn below(&mut self, n: u16) -> u16 {
        u16::try_from(self.next() % u64::from(n.max(1))).unwrap_or(0)
    }

    pub(crate) fn small(&mut self, n: u8) -> u8 {
        u8::try_from(self.below(u16::from(n))).unwrap_or(0)
    }

    pub(crate) fn one_in(&mut self, n: u16) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        let place = self.below(u16::try_from(choices.len()).unwrap_or(1));
        choices[usize::from(place)]
    }
}
