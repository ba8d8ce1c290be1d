//! Kinds of damage, and all positions for each.

use crate::support::Rng;

use super::logs::{Files, Written};

/// Damage that a disk, a copy or a person may do to the files of a log.
#[derive(Clone, Debug)]
pub enum Hit {
    /// One bit is flipped.
    Flip { file: String, bit: usize },
    /// The file ends here.
    Cut { file: String, len: usize },
    /// Bytes after the end.
    Trail { file: String, bytes: usize },
    /// A block of zeros.
    Zero { file: String, block: usize },
    /// A block is also written over the next one.
    Double { file: String, block: usize },
    /// Two blocks are swapped.
    Swap { one: (String, usize), other: (String, usize) },
    /// The file is missing.
    Remove { file: String },
    /// The names of two files are swapped.
    SwapNames { one: String, other: String },
    /// The file has its content after an earlier frame.
    PutBack { file: String, state: usize },
}

pub const BLOCK_LEN: usize = 512;

impl Hit {
    /// The files after it.
    pub fn apply(&self, written: &Written) -> Files {
        let mut files = written.files.clone();
        match self {
            Self::Flip { file, bit } => bytes(&mut files, file)[bit / 8] ^= 1 << (bit % 8),
            Self::Cut { file, len } => bytes(&mut files, file).truncate(*len),
            Self::Trail { file, bytes: count } => {
                let bytes = bytes(&mut files, file);
                bytes.resize(bytes.len() + count, 0xA5);
            }
            Self::Zero { file, block } => self::block(&mut files, file, *block).fill(0),
            Self::Double { file, block } => {
                let copy = self::block(&mut files, file, *block).to_vec();
                self::block(&mut files, file, block + 1).copy_from_slice(&copy);
            }
            Self::Swap { one, other } => {
                let first = self::block(&mut files, &one.0, one.1).to_vec();
                let second = self::block(&mut files, &other.0, other.1).to_vec();
                self::block(&mut files, &one.0, one.1).copy_from_slice(&second);
                self::block(&mut files, &other.0, other.1).copy_from_slice(&first);
            }
            Self::Remove { file } => drop(files.remove(file)),
            Self::SwapNames { one, other } => {
                let first = files.remove(one).expect("named by the hit");
                let second = files.insert(other.clone(), first).expect("named by the hit");
                files.insert(one.clone(), second);
            }
            Self::PutBack { file, state } => {
                let older = written.states[*state].files.as_ref().expect("kept");
                files.insert(file.clone(), older[file].clone());
            }
        }
        files
    }

    /// A random hit. Whole files are hit rarely, because most of these hits are refused.
    pub fn random(written: &Written, rng: &mut Rng) -> Self {
        let names: Vec<&String> = written.files.keys().collect();
        let mut name = || names[rng.below(names.len())].clone();
        let (file, other) = (name(), name());
        let (len, other_len) = (written.files[&file].len(), written.files[&other].len());
        let (blocks, other_blocks) = (len / BLOCK_LEN, other_len / BLOCK_LEN);
        match rng.below(40) {
            0 => Self::Remove { file },
            1 if file != other => Self::SwapNames { one: file, other },
            2 | 3 => Self::Cut { len: rng.below(len), file },
            4 => Self::Trail { file, bytes: 1 + rng.below(9_000) },
            5..=12 => Self::Zero { block: rng.below(blocks), file },
            13..=20 => Self::Double { block: rng.below(blocks - 1), file },
            21..=26 => {
                let one = (file, rng.below(blocks));
                Self::Swap { one, other: (other, rng.below(other_blocks)) }
            }
            // A wrong truncation is most likely in the latest bytes.
            27..=30 => {
                let frames = &written.frames[written.frames.len().saturating_sub(8)..];
                let place = &frames[rng.below(frames.len())];
                let bit = (place.at + rng.below(place.len)) * 8 + rng.below(8);
                Self::Flip { file: place.file.clone(), bit }
            }
            _ => Self::Flip { bit: rng.below(len * 8), file },
        }
    }
}

fn bytes<'a>(files: &'a mut Files, name: &str) -> &'a mut Vec<u8> {
    files.get_mut(name).expect("a hit names files that are there")
}

fn block<'a>(files: &'a mut Files, name: &str, block: usize) -> &'a mut [u8] {
    &mut bytes(files, name)[block * BLOCK_LEN..(block + 1) * BLOCK_LEN]
}

/// Every bit of every file.
pub fn flips(written: &Written) -> impl Iterator<Item = Hit> {
    written.files.iter().flat_map(|(file, bytes)| {
        (0..bytes.len() * 8).map(|bit| Hit::Flip { file: file.clone(), bit })
    })
}

/// Every length of every file, and some that are longer.
pub fn lengths(written: &Written) -> impl Iterator<Item = Hit> {
    written.files.iter().flat_map(|(file, bytes)| {
        let cuts = (0..bytes.len()).map(|len| Hit::Cut { file: file.clone(), len });
        let trails = [1, 8, 511, 512, 4_096, 8_192];
        cuts.chain(trails.map(|bytes| Hit::Trail { file: file.clone(), bytes }))
    })
}

/// Every block zeroed, doubled, and swapped with every other that differs.
pub fn blocks(written: &Written) -> Vec<Hit> {
    let places: Vec<(&String, usize)> = written
        .files
        .iter()
        .flat_map(|(file, bytes)| (0..bytes.len() / BLOCK_LEN).map(move |block| (file, block)))
        .collect();
    let bytes = |(file, block): (&String, usize)| {
        &written.files[file][block * BLOCK_LEN..(block + 1) * BLOCK_LEN]
    };
    let mut hits = Vec::new();
    for (index, &(file, block)) in places.iter().enumerate() {
        hits.push(Hit::Zero { file: file.clone(), block });
        if places.get(index + 1).is_some_and(|next| next.0 == file) {
            hits.push(Hit::Double { file: file.clone(), block });
        }
        for &other in
            places[index + 1..].iter().filter(|other| bytes(**other) != bytes((file, block)))
        {
            let other = (other.0.clone(), other.1);
            hits.push(Hit::Swap { one: (file.clone(), block), other });
        }
    }
    hits
}

/// Every file removed, renamed, and put back as it was after every earlier frame.
pub fn whole_files(written: &Written) -> Vec<Hit> {
    let mut hits = Vec::new();
    for (index, file) in written.files.keys().enumerate() {
        hits.push(Hit::Remove { file: file.clone() });
        for other in written.files.keys().skip(index + 1) {
            hits.push(Hit::SwapNames { one: file.clone(), other: other.clone() });
        }
        for (state, then) in written.states.iter().enumerate() {
            let older = then.files.as_ref().and_then(|files| files.get(file));
            if older.is_some_and(|older| *older != written.files[file]) {
                hits.push(Hit::PutBack { file: file.clone(), state });
            }
        }
    }
    hits
}
