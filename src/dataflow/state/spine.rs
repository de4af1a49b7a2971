//! A sequence in branches of a few hundred, each shared until it is written: a clone costs a pointer for each branch and not
//! something for each element, and a change rewrites the branches that it touches.
//!
//! Does not know: what the elements are.

use std::ops::Range;
use std::sync::Arc;

/// A branch is cut when it has more elements than this.
const BRANCH_MAX: usize = 256;

#[derive(Debug, Clone)]
pub struct Spine<T> {
    /// None of them is empty.
    branches: Vec<Arc<Vec<T>>>,
    /// Elements before each branch.
    starts: Vec<usize>,
    len: usize,
}

impl<T> Default for Spine<T> {
    fn default() -> Self {
        Spine { branches: Vec::new(), starts: Vec::new(), len: 0 }
    }
}

impl<T: Clone> Spine<T> {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn get(&self, index: usize) -> Option<&T> {
        self.iter_from(index).next()
    }

    pub fn iter(&self) -> Iter<'_, T> {
        self.iter_from(0)
    }

    /// The elements from a place on.
    pub fn iter_from(&self, index: usize) -> Iter<'_, T> {
        let branch = self.branch_of(index);
        let rest = self.branches.get(branch + 1..).unwrap_or_default().iter();
        let within = self.branches.get(branch).and_then(|elements| elements.get(index - self.starts[branch]..));
        Iter { branch: within.unwrap_or_default().iter(), rest }
    }

    /// To be changed in place; branches that a clone holds are copied.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.branches.iter_mut().flat_map(|branch| Arc::make_mut(branch).iter_mut())
    }

    /// How many elements, from the first on, `is_before` holds for; it holds for none behind them.
    pub fn partition_point(&self, is_before: impl Fn(&T) -> bool) -> usize {
        let begins_before = |branch: &Arc<Vec<T>>| branch.first().is_some_and(&is_before);
        let Some(branch) = self.branches.partition_point(begins_before).checked_sub(1) else { return 0 };
        self.starts[branch] + self.branches[branch].partition_point(is_before)
    }

    /// Puts `new` in the place of some elements, and gives these back.
    pub fn splice(&mut self, range: Range<usize>, new: Vec<T>) -> Vec<T> {
        let touched = match self.branches.is_empty() {
            true => 0..0,
            false => self.branch_of(range.start)..self.branch_of(range.end) + 1,
        };
        let start = self.starts.get(touched.start).copied().unwrap_or(0);
        let mut elements: Vec<T> = Vec::new();
        for branch in self.branches.drain(touched.clone()) {
            match Arc::try_unwrap(branch) {
                Ok(own) => elements.extend(own),
                Err(shared) => elements.extend(shared.iter().cloned()),
            }
        }
        let removed: Vec<T> = elements.splice(range.start - start..range.end - start, new).collect();
        let size = elements.len().div_ceil(elements.len().div_ceil(BRANCH_MAX).max(1)).max(1);
        let mut elements = elements.into_iter();
        let branches = std::iter::from_fn(|| {
            let branch: Vec<T> = elements.by_ref().take(size).collect();
            (!branch.is_empty()).then(|| Arc::new(branch))
        });
        self.branches.splice(touched.start..touched.start, branches.collect::<Vec<_>>());
        self.recount();
        removed
    }

    /// The branch that holds a place; of the one behind the last element the last.
    fn branch_of(&self, index: usize) -> usize {
        self.starts.partition_point(|start| *start <= index).saturating_sub(1)
    }

    fn recount(&mut self) {
        self.starts.clear();
        self.len = 0;
        for branch in &self.branches {
            self.starts.push(self.len);
            self.len += branch.len();
        }
    }
}

/// Elements in order.
#[derive(Debug, Clone)]
pub struct Iter<'a, T> {
    branch: std::slice::Iter<'a, T>,
    rest: std::slice::Iter<'a, Arc<Vec<T>>>,
}

impl<'a, T> Iterator for Iter<'a, T> {
    type Item = &'a T;

    fn next(&mut self) -> Option<&'a T> {
        loop {
            if let Some(element) = self.branch.next() {
                return Some(element);
            }
            self.branch = self.rest.next()?.iter();
        }
    }
}

#[cfg(test)]
mod tests;
