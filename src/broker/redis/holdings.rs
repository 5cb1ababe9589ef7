//! [`Holdings`]: which deliveries are held, in a few bits each: there may be a million that wait for their time.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use bytes::Bytes;

/// A payload and its queue, where the server keeps no note of what is held (`ack_emulation` off).
pub(super) type Kept = (Bytes, Arc<str>);

/// A delivery that is not settled yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Held {
    /// Delivered by a connection that is gone.
    pub inherited: bool,
    /// Nobody will settle it.
    pub left: bool,
    /// Its settlement waits.
    pub settled: bool,
    /// What was taken.
    pub copy: Option<Kept>,
}

/// Sixty-four deliveries whose numbers follow each other: one bit of each word is one of them.
#[derive(Debug, Clone, Copy, Default)]
struct Page {
    held: u64,
    inherited: u64,
    left: u64,
    settled: u64,
}

/// Deliveries by number. Numbers run, so that what is held lies close together.
#[derive(Debug, Default)]
pub(super) struct Holdings {
    pages: BTreeMap<u64, Page>,
    copies: HashMap<u64, Kept>,
}

/// Which held deliveries of a page are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    /// Those that are not about to be settled.
    Open,
    /// Of these, those that somebody is still to settle.
    InUse,
    /// Of the open ones, those that were left by connections that are gone.
    Forsaken,
}

impl Page {
    fn mask(&self, which: Which) -> u64 {
        let open = self.held & !self.settled;
        match which {
            Which::Open => open,
            Which::InUse => open & !self.left,
            Which::Forsaken => open & self.left & self.inherited,
        }
    }

    fn insert(&mut self, bit: u64, held: &Held) {
        let set = |word: &mut u64, on: bool| if on { *word |= bit } else { *word &= !bit };
        set(&mut self.held, true);
        set(&mut self.inherited, held.inherited);
        set(&mut self.left, held.left);
        set(&mut self.settled, held.settled);
    }

    fn remove(&mut self, bit: u64) -> Held {
        let has = |word: u64| word & bit != 0;
        let held =
            Held { inherited: has(self.inherited), left: has(self.left), settled: has(self.settled), copy: None };
        self.held &= !bit;
        held
    }
}

impl Holdings {
    /// Notes a delivery.
    pub fn insert(&mut self, number: u64, mut held: Held) {
        if let Some(copy) = held.copy.take() {
            self.copies.insert(number, copy);
        }
        let (page, bit) = place(number);
        self.pages.entry(page).or_default().insert(bit, &held);
    }

    /// Forgets a delivery.
    pub fn remove(&mut self, number: u64) -> Option<Held> {
        let (index, bit) = place(number);
        let page = self.pages.get_mut(&index).filter(|page| page.held & bit != 0)?;
        let mut held = page.remove(bit);
        if page.held == 0 {
            self.pages.remove(&index);
        }
        held.copy = self.take_copy(number);
        Some(held)
    }

    /// Notes that a settlement waits; says whether the delivery was inherited. None if it is not held, or about to be settled.
    pub fn settle(&mut self, number: u64) -> Option<bool> {
        let (index, bit) = place(number);
        let page = self.pages.get_mut(&index).filter(|page| page.mask(Which::Open) & bit != 0)?;
        page.settled |= bit;
        Some(page.inherited & bit != 0)
    }

    /// Notes that nobody will settle a delivery; says whether it was inherited. None if it is not held.
    pub fn leave(&mut self, number: u64) -> Option<bool> {
        let (index, bit) = place(number);
        let page = self.pages.get_mut(&index).filter(|page| page.held & bit != 0)?;
        page.left |= bit;
        Some(page.inherited & bit != 0)
    }

    /// The first of those in use from this number on, in order, at most so many.
    pub fn in_use_from(&self, number: u64, limit: usize) -> Vec<u64> {
        let numbers = self.pages.range(place(number).0..).flat_map(|(index, page)| {
            let mask = page.mask(Which::InUse);
            (0..64).filter(move |bit| mask & (1 << bit) != 0).map(move |bit| (index << 6) + bit)
        });
        numbers.filter(|found| *found >= number).take(limit).collect()
    }

    /// How many there are.
    pub fn count(&self, which: Which) -> usize {
        self.pages.values().map(|page| page.mask(which).count_ones() as usize).sum()
    }

    /// Takes out the newest of them, newest first: so many, or up to 63 more.
    pub fn take_newest(&mut self, which: Which, limit: usize) -> Vec<(u64, Held)> {
        let mut taken = Vec::new();
        let mut empty = Vec::new();
        for (&index, page) in self.pages.iter_mut().rev() {
            if taken.len() >= limit {
                break;
            }
            let mask = page.mask(which);
            for bit in (0..64).rev().filter(|bit| mask & (1 << bit) != 0) {
                taken.push(((index << 6) + bit, page.remove(1 << bit)));
            }
            if page.held == 0 {
                empty.push(index);
            }
        }
        for index in empty {
            self.pages.remove(&index);
        }
        for (number, held) in &mut taken {
            held.copy = self.take_copy(*number);
        }
        taken
    }

    /// Takes over what a connection held that is gone.
    pub fn inherit(&mut self, lost: &mut Self) {
        for (index, theirs) in std::mem::take(&mut lost.pages) {
            let ours = self.pages.entry(index).or_default();
            // Bits of numbers that are not held mean nothing.
            let only = |word: u64| word & theirs.held;
            for (word, bits) in [
                (&mut ours.inherited, theirs.held),
                (&mut ours.left, only(theirs.left)),
                (&mut ours.settled, only(theirs.settled)),
            ] {
                *word = (*word & !theirs.held) | bits;
            }
            ours.held |= theirs.held;
        }
        self.copies.extend(lost.copies.drain());
    }

    fn take_copy(&mut self, number: u64) -> Option<Kept> {
        if self.copies.is_empty() { None } else { self.copies.remove(&number) }
    }
}

fn place(number: u64) -> (u64, u64) {
    (number >> 6, 1 << (number & 63))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(taken: Vec<(u64, Held)>) -> Vec<u64> {
        taken.into_iter().map(|(number, _)| number).collect()
    }

    #[test]
    fn what_is_noted_is_found_until_it_is_removed() {
        let mut holdings = Holdings::default();
        let copy = Some((Bytes::from_static(b"x"), Arc::from("q")));
        for number in [1, 63, 64, 1000] {
            holdings.insert(number, Held { copy: copy.clone(), ..Held::default() });
        }
        assert_eq!(holdings.in_use_from(0, 10), [1, 63, 64, 1000]);
        assert_eq!(holdings.in_use_from(2, 2), [63, 64]);
        assert_eq!(holdings.settle(63), Some(false));
        assert_eq!(holdings.settle(63), None);
        assert_eq!(holdings.leave(64), Some(false));
        assert_eq!((holdings.count(Which::Open), holdings.in_use_from(0, 10)), (3, vec![1, 1000]));
        assert_eq!(holdings.remove(63), Some(Held { settled: true, copy, ..Held::default() }));
        assert_eq!((holdings.remove(63), holdings.remove(2), holdings.leave(2)), (None, None, None));
        assert_eq!(numbers(holdings.take_newest(Which::Open, 1)), [1000]);
        assert_eq!(numbers(holdings.take_newest(Which::Open, 10)), [64, 1]);
        assert!(holdings.pages.is_empty() && holdings.copies.is_empty());
    }

    #[test]
    fn what_is_inherited_keeps_its_marks() {
        let (mut ours, mut theirs) = (Holdings::default(), Holdings::default());
        ours.insert(70, Held::default());
        for number in [65, 66, 67] {
            theirs.insert(number, Held::default());
        }
        theirs.leave(65);
        theirs.settle(66);
        theirs.remove(67);
        ours.inherit(&mut theirs);
        assert_eq!(theirs.count(Which::Open), 0);
        assert_eq!(ours.in_use_from(0, 10), [70]);
        assert_eq!(numbers(ours.take_newest(Which::Forsaken, usize::MAX)), [65]);
        assert_eq!(ours.remove(66), Some(Held { inherited: true, settled: true, ..Held::default() }));
        assert_eq!((ours.remove(67), ours.settle(70)), (None, Some(false)));
    }
}
