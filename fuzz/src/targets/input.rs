//! Inputs as programs, and sources that are as slow as they may be.

use std::convert::Infallible;

use crate::format::scan::Source;

/// The program; reads as zeros behind its end.
pub(super) struct Input<'a>(pub(super) &'a [u8]);

impl<'a> Input<'a> {
    pub(super) fn bytes(&mut self, len: usize) -> &'a [u8] {
        let (bytes, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        bytes
    }

    pub(super) fn u8(&mut self) -> u8 {
        self.bytes(1).first().copied().unwrap_or_default()
    }

    pub(super) fn u16(&mut self) -> u16 {
        u16::from_le_bytes([self.u8(), self.u8()])
    }

    pub(super) fn u32(&mut self) -> u32 {
        u32::from(self.u16()) | u32::from(self.u16()) << 16
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Hands out what is asked for and not a byte more.
pub(super) struct Sparing<'a>(pub(super) &'a [u8]);

impl Source for Sparing<'_> {
    type Error = Infallible;

    fn window(&mut self, offset: u64, want: usize) -> Result<&[u8], Infallible> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(self.0.len());
        Ok(&self.0[start..][..want.min(self.0.len() - start)])
    }
}
