//! The keys of one page: new ones are copied, those that were copied before are compared.

use super::compare::Compare;
use super::copy::{Copier, Item, Ready};
use super::counts::Kind;
use super::failure::ImportError;
use super::found::Address;
use super::source::Page;
use crate::model::token::NAME_LEN_MAX;

/// Keys that are copied together. As many may be in flight when an import is killed.
const TOGETHER: usize = 500;

/// Copies or compares the keys of a page.
pub(super) fn copy(copier: &mut Copier<'_>, node: &Address, page: Page) -> Result<(), ImportError> {
    (0..page.too_long).for_each(|_| copier.counts.add(Kind::NameLength));
    let mut items: Vec<Item> = page.keys.into_iter().filter_map(|key| item(copier, key)).collect();
    while !items.is_empty() {
        let rest = items.split_off(items.len().min(TOGETHER));
        some(copier, node, std::mem::replace(&mut items, rest))?;
    }
    Ok(())
}

/// The key as an item. `None` if it is dealt with.
fn item(copier: &mut Copier<'_>, key: Vec<u8>) -> Option<Item> {
    let strip = &copier.options.strip;
    let cut = if key.starts_with(strip) { strip.len() } else { 0 };
    let (id, check) = (copier.state.name(&key[cut..]), copier.state.key(&key));
    // What is counted once, however often SCAN repeats the key.
    let (kind, once) = match copier.state.record(&id) {
        Some(record) if record.key != check => (Kind::SameName, copier.state.name(&key)),
        Some(record) if record.is_seen => return None,
        None if copier.passed.contains(&id) => return None,
        None if key.len() == cut || key.len() - cut > NAME_LEN_MAX => (Kind::NameLength, id),
        _ => return Some(Item { key, cut, id, check }),
    };
    if copier.passed.insert(once) {
        copier.counts.add(kind);
    }
    None
}

fn some(copier: &mut Copier<'_>, node: &Address, items: Vec<Item>) -> Result<(), ImportError> {
    let keys: Vec<&[u8]> = items.iter().map(|item| item.key.as_slice()).collect();
    let found = copier.source.read(node, &keys, copier.target.limits.payload_max)?;
    let (mut new, mut known) = (Vec::new(), Vec::new());
    for (item, found) in items.into_iter().zip(found) {
        match copier.ready(item, found) {
            // The second key of this name, or the same key again, on this page.
            Ok(ready) => match copier.state.record(&ready.item.id) {
                Some(record) if record.key != ready.item.check => {
                    copier.pass(&ready.item, Kind::SameName);
                }
                Some(record) if record.is_seen => {}
                Some(record) => known.push((ready, record)),
                None => {
                    let Ready { item, digest, .. } = &ready;
                    copier.state.intend(&item.id, item.check, *digest);
                    new.push(ready);
                }
            },
            Err((item, kind)) => copier.pass(&item, kind),
        }
    }
    copier.put(node, new)?;
    Compare::new(copier).all(node, known)
}
