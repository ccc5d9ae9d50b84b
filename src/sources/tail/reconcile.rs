//! Which of the files that are there is which of those that were left. Decides, and looks at nothing.
//!
//! In this order:
//!
//! 1. A file is the one that was left under its inode if it begins as that one did and holds the
//!    same bytes before the place. Where both births are known and are two, the inode was used
//!    again: then it takes [`STRONG_BYTES`] to believe it. A file that begins the same but ends
//!    before the place was set back, as a crash of the machine does: it goes on at its end.
//! 2. Else, where a file is still there under the inode and born as it was, the file was *cut*
//!    (copytruncate). The rest is looked for in the copy: a sibling that nobody knows, made after
//!    the file that it is a copy of, and with the same head and trail. A copy that ends before the
//!    place was handed out as a whole before it was cut.
//! 3. A place whose inode is gone goes over to a file of the same family with the same content:
//!    where devices were renumbered by the same inode, where files were moved to another disk by
//!    [`STRONG_BYTES`].
//!
//! What then is left of the files is new, and what is left of the places has lost its file.

use std::collections::HashMap;

use super::discover::Found;
use super::place::{Content, FileId, Place, STRONG_BYTES};

/// What became of a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// Its file is there: which one.
    Stays(usize),
    /// Its file is there, but shorter than it was; go on at its end.
    SetBack(usize),
    /// It goes on in another file, which holds what its own held.
    Moves(usize),
    /// As [`Fate::Moves`], but everything in that file was handed out.
    Consumed(usize),
    /// Its file was cut, and no copy is there.
    Cut,
    /// Its file is gone.
    Lost,
}

/// A place, as far as it matters here.
#[derive(Debug, Clone, Copy)]
pub(super) struct Left<'a> {
    pub(super) key: u64,
    pub(super) place: &'a Place,
    /// It had a file when last looked for.
    pub(super) is_live: bool,
}

/// Says what became of each place. `content` compares a place with a file.
pub(super) fn reconcile(
    left: &[Left<'_>],
    found: &[Found],
    mut content: impl FnMut(usize, usize) -> Content,
) -> Vec<Fate> {
    let mut fates = vec![Fate::Lost; left.len()];
    let mut taken: Vec<Option<usize>> = vec![None; found.len()];
    let mut by_id: HashMap<FileId, Vec<usize>> = HashMap::new();
    for (at, left) in left.iter().enumerate() {
        by_id.entry(left.place.id).or_default().push(at);
    }
    for (file, of_file) in found.iter().enumerate() {
        let places = by_id.get(&of_file.id).map_or(&[][..], Vec::as_slice);
        let mut best: Option<((bool, u64, u64), usize, Fate)> = None;
        for &place in places {
            let (fate, verified) = same_inode(&left[place], of_file, file, content(place, file));
            fates[place] = fate;
            if matches!(fate, Fate::Stays(_) | Fate::SetBack(_)) {
                fates[place] = Fate::Lost;
                let rank = (left[place].is_live, verified, left[place].key);
                if best.is_none_or(|(other, ..)| rank > other) {
                    best = Some((rank, place, fate));
                }
            }
        }
        if let Some((_, place, fate)) = best {
            fates[place] = fate;
            taken[file] = Some(place);
        }
    }
    for place in 0..left.len() {
        if !matches!(fates[place], Fate::Cut | Fate::Lost) {
            continue;
        }
        let is_cut = fates[place] == Fate::Cut;
        let original = by_inode(found, left[place].place.id).filter(|_| is_cut);
        let mut candidates: Vec<usize> = (0..found.len())
            .filter(|&file| found[file].base == left[place].place.base)
            .filter(|&file| {
                // A file is free if it is known as a copy of this very place, or not known at all.
                let of_other = taken[file].map(|other| left[other].place);
                of_other.is_some_and(|other| other.twin == Some(left[place].key))
                    || left[place].place.head.bytes > 0 && of_other.is_none_or(Place::is_void)
            })
            .filter(|&file| original.is_none_or(|original| may_be_copy(&found[file], original)))
            .collect();
        candidates.sort_by(|one, two| found[*two].age.cmp(&found[*one].age));
        for file in candidates {
            let is_twin =
                taken[file].is_some_and(|other| left[other].place.twin == Some(left[place].key));
            let is_same_inode = found[file].id.ino == left[place].place.id.ino
                && !left[place].place.is_another(found[file].born);
            let trusted = is_cut || is_twin || is_same_inode;
            fates[place] = match content(place, file) {
                Content::Same { verified } if trusted || verified >= STRONG_BYTES => {
                    Fate::Moves(file)
                }
                Content::Short { .. } if is_cut || is_twin => Fate::Consumed(file),
                _ => continue,
            };
            if let Some(other) = taken[file].replace(place) {
                fates[other] = Fate::Lost;
            }
            break;
        }
    }
    fates
}

fn by_inode(found: &[Found], id: FileId) -> Option<&Found> {
    found.iter().find(|found| found.id == id)
}

/// A place against the file under its inode.
fn same_inode(left: &Left<'_>, found: &Found, file: usize, content: Content) -> (Fate, u64) {
    let is_another = left.place.is_another(found.born);
    match content {
        Content::Same { verified } if !is_another || verified >= STRONG_BYTES => {
            (Fate::Stays(file), verified)
        }
        Content::Short { verified } if !is_another && verified >= STRONG_BYTES => {
            (Fate::SetBack(file), verified)
        }
        Content::Unknown if !is_another => (Fate::Stays(file), 0),
        _ if is_another => (Fate::Lost, 0),
        _ => (Fate::Cut, 0),
    }
}

/// Whether a file can be a copy that was made of another to rotate it: an older name, but not made before.
/// File systems tell births by the tick, so the two may be equal.
pub(super) fn may_be_copy(copy: &Found, original: &Found) -> bool {
    copy.base == original.base
        && copy.age < original.age
        && copy.born.zip(original.born).is_none_or(|(copy, original)| copy >= original)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::tail::rotation::Age;
    use std::path::PathBuf;

    const SAME: Content = Content::Same { verified: STRONG_BYTES };
    const WEAK: Content = Content::Same { verified: STRONG_BYTES - 1 };
    const SHORT: Content = Content::Short { verified: STRONG_BYTES };

    fn place(ino: u64, born: Option<u64>) -> Place {
        let mut place = Place::new("x".to_owned(), FileId { dev: 1, ino }, born);
        place.head = super::super::place::Print::of(b"something");
        place.offset = 9;
        place
    }

    fn file(ino: u64, born: Option<u64>, age: Age) -> Found {
        Found {
            base: "x".to_owned(),
            age,
            path: PathBuf::new(),
            id: FileId { dev: 1, ino },
            born,
            size: 1,
            modified: None,
        }
    }

    /// What became of places, against a table of what compares how; all else differs.
    fn fates(places: &[Place], found: &[Found], table: &[((usize, usize), Content)]) -> Vec<Fate> {
        let keys = 1..;
        let left: Vec<_> =
            keys.zip(places).map(|(key, place)| Left { key, place, is_live: true }).collect();
        reconcile(&left, found, |place, file| {
            let row = table.iter().find(|row| row.0 == (place, file));
            row.map_or(Content::Differs, |row| row.1)
        })
    }

    const FIRST: Age = Age::Generation(1);
    const SECOND: Age = Age::Generation(2);

    #[test]
    fn a_renamed_file_stays_itself_whatever_its_name() {
        let found = [file(1, None, FIRST), file(2, None, Age::Current)];
        assert_eq!(fates(&[place(1, None)], &found, &[((0, 0), WEAK)]), [Fate::Stays(0)]);
    }

    #[test]
    fn an_inode_that_was_used_again_is_another_file() {
        let found = [file(1, Some(9), Age::Current)];
        let of = |content| fates(&[place(1, Some(5))], &found, &[((0, 0), content)]);
        assert_eq!(of(Content::Differs), [Fate::Lost]);
        assert_eq!(of(WEAK), [Fate::Lost]);
        assert_eq!(of(Content::Unknown), [Fate::Lost]);
        assert_eq!(of(SAME), [Fate::Stays(0)]);
    }

    #[test]
    fn a_cut_file_goes_on_in_its_copy() {
        let found = [
            file(1, Some(5), Age::Current),
            file(3, Some(9), SECOND),
            file(2, Some(8), FIRST),
            file(4, Some(2), Age::Generation(3)),
        ];
        let of = |table: &[_]| fates(&[place(1, Some(5))], &found, table);
        assert_eq!(of(&[((0, 1), WEAK)]), [Fate::Moves(1)]);
        assert_eq!(of(&[((0, 1), WEAK), ((0, 2), WEAK)]), [Fate::Moves(2)]);
        assert_eq!(of(&[((0, 1), SHORT)]), [Fate::Consumed(1)]);
        assert_eq!(of(&[((0, 3), WEAK)]), [Fate::Cut], "the copy is older than the original");
        assert_eq!(of(&[]), [Fate::Cut]);
    }

    #[test]
    fn a_file_that_lost_its_end_is_set_back() {
        let found = [file(1, None, Age::Current)];
        let weak = Content::Short { verified: STRONG_BYTES - 1 };
        assert_eq!(fates(&[place(1, None)], &found, &[((0, 0), SHORT)]), [Fate::SetBack(0)]);
        assert_eq!(fates(&[place(1, None)], &found, &[((0, 0), weak)]), [Fate::Cut]);
    }

    #[test]
    fn a_place_without_its_inode_is_known_by_content() {
        let mut renumbered = file(1, None, Age::Current);
        renumbered.id.dev = 2;
        let found = [renumbered, file(7, None, FIRST)];
        let of = |table: &[_]| fates(&[place(1, None)], &found, table);
        assert_eq!(of(&[((0, 0), WEAK)]), [Fate::Moves(0)]);
        assert_eq!(of(&[((0, 1), WEAK)]), [Fate::Lost]);
        assert_eq!(of(&[((0, 1), SAME)]), [Fate::Moves(1)]);
        assert_eq!(of(&[((0, 1), SHORT)]), [Fate::Lost]);
    }

    #[test]
    fn a_known_copy_takes_over_only_for_its_original() {
        let mut twin = place(2, None);
        twin.twin = Some(1);
        let found = [file(1, None, Age::Current), file(2, None, FIRST)];
        let table = [((0, 1), WEAK), ((1, 1), WEAK)];
        let places = [place(1, None), twin];
        assert_eq!(fates(&places, &found, &table), [Fate::Moves(1), Fate::Lost]);
        let places = [place(1, None), place(2, None)];
        assert_eq!(fates(&places, &found, &table), [Fate::Cut, Fate::Stays(1)]);
    }

    #[test]
    fn of_two_places_of_one_inode_the_one_with_more_to_show_for_it_stays() {
        let found = [file(1, None, Age::Current)];
        let table = [((0, 0), Content::Same { verified: 0 }), ((1, 0), WEAK)];
        let places = [place(1, None), place(1, None)];
        assert_eq!(fates(&places, &found, &table), [Fate::Lost, Fate::Stays(0)]);
    }
}
