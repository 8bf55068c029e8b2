//! Where the choices of a step come from: chance, or the bytes of an input.

use std::ops::{Bound, RangeBounds};

use fastrand::Rng;

/// Chance, from a seed. Before it, bytes decide what is chosen among a number of things, so that a
/// fuzzer can change one choice and leave the others; what is drawn from everything (`..`) is the
/// content of entries and seeds of others, and remains chance.
#[derive(Debug, Clone)]
pub(crate) struct Choices {
    bytes: std::vec::IntoIter<u8>,
    rng: Rng,
}

impl Choices {
    pub(crate) fn from_seed(seed: u64) -> Self {
        Self::from_bytes(&[], seed)
    }

    /// Bytes, and chance behind them.
    pub(super) fn from_bytes(bytes: &[u8], seed: u64) -> Self {
        Self { bytes: Vec::from(bytes).into_iter(), rng: Rng::with_seed(seed) }
    }

    /// What the next bytes choose of so many things; `None`: there are none.
    fn chosen(&mut self, count: u64) -> Option<u64> {
        let len = match count {
            0..=0x100 => 1,
            0x101..=0x1_0000 => 2,
            _ => 8,
        };
        let mut number = [0; 8];
        let taken = self.bytes.by_ref().take(len);
        let taken = number.iter_mut().zip(taken).map(|(to, byte)| *to = byte).count();
        (taken > 0).then(|| u64::from_le_bytes(number) % count)
    }

    pub(crate) fn u64(&mut self, range: impl RangeBounds<u64>) -> u64 {
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(start) => start + 1,
            Bound::Unbounded => 0,
        };
        let last = match range.end_bound() {
            Bound::Included(last) => *last,
            Bound::Excluded(end) => end - 1,
            Bound::Unbounded => return self.rng.u64(start..),
        };
        let chosen = (last - start).checked_add(1).and_then(|count| self.chosen(count));
        chosen.map_or_else(|| self.rng.u64(start..=last), |nth| start + nth)
    }

    pub(crate) fn bool(&mut self) -> bool {
        self.chosen(2).map_or_else(|| self.rng.bool(), |nth| nth == 1)
    }

    pub(crate) fn f64(&mut self) -> f64 {
        self.chosen(256).map_or_else(|| self.rng.f64(), |nth| nth as f64 / 256.0)
    }

    pub(crate) fn shuffle<T>(&mut self, slice: &mut [T]) {
        self.rng.shuffle(slice);
    }

    #[cfg(feature = "sharded")]
    pub(crate) fn choice<'a, T>(&mut self, among: &'a [T]) -> Option<&'a T> {
        (!among.is_empty()).then(|| &among[self.usize(..among.len())])
    }

    pub(crate) fn choose_multiple<I: IntoIterator>(
        &mut self,
        source: I,
        count: usize,
    ) -> Vec<I::Item> {
        self.rng.choose_multiple(source, count)
    }
}

/// The same of smaller numbers.
macro_rules! smaller {
    ($($number:ident)*) => {
        impl Choices {
            $(pub(crate) fn $number(&mut self, range: impl RangeBounds<$number>) -> $number {
                if range.start_bound() == Bound::Unbounded && range.end_bound() == Bound::Unbounded {
                    return self.rng.$number(..);
                }
                if self.bytes.as_slice().is_empty() {
                    let bounds = (range.start_bound().cloned(), range.end_bound().cloned());
                    return self.rng.$number(bounds);
                }
                let end = match range.end_bound().cloned() {
                    Bound::Unbounded => Bound::Included($number::MAX),
                    end => end,
                };
                let start = range.start_bound().cloned();
                self.u64((start.map(|it| it as u64), end.map(|it| it as u64))) as $number
            })*
        }
    };
}

smaller!(u8 u32 usize);
