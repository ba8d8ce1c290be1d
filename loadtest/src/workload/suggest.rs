//! Which known name was meant by an unknown one.

/// The known name nearest to what was written, where it is near enough to be meant.
pub(super) fn nearest<'a>(
    written: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let written = written.to_lowercase().replace('_', "-");
    known
        .into_iter()
        .map(|name| (distance(&written, &name.replace('_', "-")), name))
        .filter(|&(distance, name)| distance * 5 <= name.len() * 2)
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, name)| name)
}

/// The least number of letters to insert, remove, replace or swap with their neighbour.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before = vec![0; b.len() + 1];
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replaced = above[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replaced.min(above[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_finds_its_name() {
        let known = ["connections", "depth", "threads", "warm_up"];
        assert_eq!(nearest("conections", known), Some("connections"));
        assert_eq!(nearest("detph", known), Some("depth"));
        assert_eq!(nearest("warm-up", known), Some("warm_up"));
        assert_eq!(nearest("Threads", known), Some("threads"));
        assert_eq!(nearest("colour", known), None);
    }

    #[test]
    fn distances() {
        for (a, b, expected) in
            [("", "", 0), ("", "abc", 3), ("abc", "acb", 1), ("kitten", "sitting", 3)]
        {
            assert_eq!(distance(a, b), expected, "{a} {b}");
            assert_eq!(distance(b, a), expected, "{b} {a}");
        }
    }
}
