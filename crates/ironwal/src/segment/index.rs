//! The sparse index of a segment: at least every 4 KiB of frames, one place to start from.

use crate::format::header::HEADER_LEN;
use crate::format::seal::Point;

/// A point is taken for the first frame that begins this many bytes behind the last point.
const POINT_DISTANCE: u64 = 4096;

/// Decides which frames become points: the first that it sees, and then one every so often. Each
/// process that appends to a segment, and each recovery that reads it, begins with a new one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PointPicker {
    due: u64,
}

impl PointPicker {
    /// A picker for a segment from its first frame on.
    pub(crate) fn new() -> Self {
        Self { due: HEADER_LEN }
    }

    /// The point for the frame at `offset`, if one is due.
    pub(crate) fn pick(&mut self, index: u32, offset: u64) -> Option<Point> {
        if offset < self.due {
            return None;
        }
        self.due = offset + POINT_DISTANCE;
        Point::new(index, offset)
    }
}

/// The points of a segment. Those below `known_from` may not have been read yet.
#[derive(Debug)]
pub(crate) struct Index {
    earlier: Option<Vec<Point>>,
    known_from: u64,
    recent: Vec<Point>,
}

/// Where to begin looking for an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lookup {
    /// At this point, or at the first frame; with the next point, if there is one.
    At(Option<Point>, Option<Point>),
    /// The points up to this offset must be read first.
    Unread(u64),
}

impl Index {
    /// The index of a segment of which every frame is seen as it is written.
    pub(crate) fn empty() -> Self {
        Self { earlier: Some(Vec::new()), known_from: HEADER_LEN, recent: Vec::new() }
    }

    /// The index of a segment that holds frames up to `known_from` which nobody has read yet.
    pub(crate) fn unread(known_from: u64) -> Self {
        Self { earlier: None, known_from, recent: Vec::new() }
    }

    /// Adds points of new frames, in order.
    pub(crate) fn extend(&mut self, points: &[Point]) {
        self.recent.extend_from_slice(points);
    }

    /// Up to which offset the points have not been read.
    pub(crate) fn unread_to(&self) -> Option<u64> {
        self.earlier.is_none().then_some(self.known_from)
    }

    /// Hands in the points below `known_from`.
    pub(crate) fn fill(&mut self, points: Vec<Point>) {
        self.earlier.get_or_insert(points);
    }

    /// Where to begin for the entry with this index.
    pub(crate) fn lookup(&self, index: u32) -> Lookup {
        let recent = behind(&self.recent, index);
        if recent > 0 {
            return Lookup::At(Some(self.recent[recent - 1]), self.recent.get(recent).copied());
        }
        let Some(earlier) = &self.earlier else {
            return Lookup::Unread(self.known_from);
        };
        let position = behind(earlier, index);
        let next = earlier.get(position).or(self.recent.first()).copied();
        Lookup::At(position.checked_sub(1).map(|position| earlier[position]), next)
    }

    /// The points that are known.
    pub(crate) fn known(&self) -> impl Iterator<Item = Point> {
        self.earlier.iter().flatten().chain(&self.recent).copied()
    }

    /// All points, if they have all been read.
    pub(crate) fn points(&self) -> Result<Vec<Point>, u64> {
        match &self.earlier {
            Some(_) => Ok(self.known().collect()),
            None => Err(self.known_from),
        }
    }
}

/// How many of these points, which are in order, are at or before `index`. Points have nearly the same
/// distance if entries have nearly the same size, so it is looked for first where it would be then.
fn behind(points: &[Point], index: u32) -> usize {
    const NEAR: usize = 8;
    let before = |points: &[Point]| points.partition_point(|point| point.index <= index);
    let [first, .., last] = points else { return before(points) };
    let ids = u64::from(last.index.saturating_sub(first.index)).max(1);
    let distance = u64::from(index.saturating_sub(first.index));
    let distance = distance.saturating_mul(points.len() as u64 - 1) / ids;
    let guess = usize::try_from(distance).unwrap_or(usize::MAX).min(points.len() - 1);
    let near = guess.saturating_sub(NEAR)..(guess + NEAR).min(points.len());
    let found = near.start + before(&points[near.clone()]);
    // At a border of what was looked at, it may be beyond.
    if found > near.start && found < near.end { found } else { before(points) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(index: u32, offset: u64) -> Point {
        Point::new(index, offset).unwrap()
    }

    #[test]
    fn a_point_every_distance() {
        let mut picker = PointPicker::new();
        assert_eq!(picker.pick(0, 8192), Some(point(0, 8192)));
        assert_eq!(picker.pick(1, 8192 + 4088), None);
        assert_eq!(picker.pick(2, 8192 + 5000), Some(point(2, 8192 + 5000)));
        assert_eq!(picker.pick(3, 8192 + 9088), None);
    }

    #[test]
    fn lookup_finds_the_last_point_at_or_before() {
        let mut index = Index::empty();
        assert_eq!(index.lookup(0), Lookup::At(None, None));
        index.extend(&[point(0, 8192), point(10, 12_288)]);
        let (first, second) = (point(0, 8192), point(10, 12_288));
        assert_eq!(index.lookup(9), Lookup::At(Some(first), Some(second)));
        assert_eq!(index.lookup(10), Lookup::At(Some(second), None));
        assert_eq!(index.lookup(99), Lookup::At(Some(second), None));
    }

    #[test]
    fn a_point_is_found_wherever_it_is() {
        let even = |count: u32| (0..count).map(|nth| point(nth * 20, 8192 + 8 * u64::from(nth)));
        let skewed = |nth: u32| point(nth * nth, 8192 + 8 * u64::from(nth));
        for count in [0, 1, 2, 3, 17, 1000] {
            for points in [even(count).collect::<Vec<_>>(), (0..count).map(skewed).collect()] {
                let last = points.last().map_or(5, |point| point.index + 5);
                for index in (0..last).step_by(1 + last as usize / 3000) {
                    let expected = points.iter().filter(|point| point.index <= index).count();
                    assert_eq!(behind(&points, index), expected, "{index} of {count}");
                }
            }
        }
    }

    #[test]
    fn earlier_points_are_read_when_they_are_needed() {
        let mut index = Index::unread(20_000);
        let recent = point(50, 20_000);
        index.extend(&[recent]);
        assert_eq!(index.lookup(60), Lookup::At(Some(recent), None));
        assert_eq!(index.lookup(49), Lookup::Unread(20_000));
        assert_eq!(index.points(), Err(20_000));
        index.fill(vec![point(3, 8192)]);
        assert_eq!(index.lookup(49), Lookup::At(Some(point(3, 8192)), Some(recent)));
        assert_eq!(index.lookup(2), Lookup::At(None, Some(point(3, 8192))));
        assert_eq!(index.points(), Ok(vec![point(3, 8192), recent]));
    }
}
