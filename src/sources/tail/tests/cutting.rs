//! Files that are copied and cut, or just cut.

use super::folder::{Folder, texts};

/// With and without birth times.
fn folders() -> [Folder; 2] {
    let mut blind = Folder::new();
    blind.is_blind_to_births = true;
    [Folder::new(), blind]
}

#[test]
fn what_is_unread_in_the_copy_is_read_and_nothing_else_of_it() {
    for mut folder in folders() {
        folder.append("x.log", "a\n");
        assert_eq!(folder.read(), ["<a"]);
        folder.append("x.log", "b\n");
        folder.copy_and_cut(3);
        folder.append("x.log", "c\n");
        assert_eq!(folder.read(), ["b", "c"]);
        assert_eq!(folder.follower().counters.truncations, 1);
        folder.kill();
        assert_eq!(folder.read_after_a_while(), [""; 0]);
    }
}

#[test]
fn several_copies_while_down_lose_and_repeat_nothing() {
    for mut folder in folders() {
        folder.append("x.log", "a\n");
        folder.read();
        folder.kill();
        folder.append("x.log", "b\n");
        folder.copy_and_cut(5);
        folder.append("x.log", "c\n");
        folder.copy_and_cut(5);
        folder.append("x.log", "d and some more, so that it is longer than before\n");
        assert_eq!(folder.read(), ["b", "c", "d and some more, so that it is longer than before"]);
    }
}

#[test]
fn a_copy_that_is_being_written_is_not_read() {
    for mut folder in folders() {
        folder.append("x.log", "a\nb\nc\n");
        assert_eq!(folder.read(), ["<a", "<b", "<c"]);
        folder.append("x.log", "d\n");
        folder.append("x.log.1", "");
        assert_eq!(folder.read(), ["d"]);
        folder.append("x.log.1", "a\nb");
        assert_eq!(folder.read_after_a_while(), [""; 0]);
        folder.kill();
        folder.append("x.log", "e\n");
        folder.append("x.log.1", "\nc\nd\ne\n");
        folder.cut("x.log");
        assert_eq!(folder.read(), ["e"]);
        folder.append("x.log", "f\n");
        assert_eq!(folder.read_after_a_while(), ["f"]);
    }
}

#[test]
fn a_copy_that_is_never_followed_by_a_cut_is_not_read() {
    for mut folder in folders() {
        folder.append("x.log", "a\nb\n");
        folder.read();
        folder.copy("x.log", "x.log.1");
        folder.append("x.log", "c\n");
        assert_eq!(folder.read_after_a_while(), ["c"]);
        folder.rename("x.log.1", "x.log.2");
        folder.rotate(5);
        folder.append("x.log", "d\n");
        assert_eq!(folder.read_after_a_while(), ["d"]);
        folder.kill();
        assert_eq!(folder.read_after_a_while(), [""; 0]);
    }
}

#[test]
fn a_copy_at_the_very_first_start_is_not_read() {
    for mut folder in folders() {
        folder.append("x.log", "a\nb\n");
        folder.append("x.log.1", "a\n");
        assert_eq!(folder.read_after_a_while(), ["<a", "<b"]);
    }
}

#[test]
fn a_sibling_that_only_begins_the_same_is_read() {
    for mut folder in folders() {
        folder.read();
        folder.append("x.log.1", "same\nother\n");
        folder.append("x.log", "same\n");
        assert_eq!(folder.read(), ["same", "other", "same"]);
    }
}

#[test]
fn what_was_read_after_the_copy_was_made_is_not_repeated() {
    for mut folder in folders() {
        folder.append("x.log", "a\n");
        folder.read();
        folder.copy("x.log", "x.log.1");
        folder.append("x.log", "b\n");
        assert_eq!(folder.read(), ["b"]);
        folder.cut("x.log");
        folder.append("x.log", "c\n");
        assert_eq!(folder.read_after_a_while(), ["c"]);
        assert_eq!(folder.follower().counters.truncations, 1);
    }
}

#[test]
fn a_file_that_is_cut_without_a_copy_is_read_from_its_start() {
    for mut folder in folders() {
        folder.append("x.log", "a\nb\n");
        folder.read();
        folder.cut("x.log");
        assert_eq!(folder.read(), [""; 0]);
        folder.append("x.log", "c\n");
        assert_eq!(folder.read(), ["c"]);
        folder.cut("x.log");
        folder.append("x.log", "d and more than before\n");
        assert_eq!(folder.read(), ["d and more than before"], "grown past the place");
        folder.kill();
        folder.cut("x.log");
        folder.append("x.log", "e\n");
        assert_eq!(folder.read(), ["e"]);
    }
}

#[test]
fn a_cut_between_looking_and_reading_is_seen() {
    for mut folder in folders() {
        folder.read();
        folder.append("x.log", "a\nb\n");
        folder.read();
        folder.append("x.log", "c\n");
        folder.look();
        folder.copy_and_cut(3);
        folder.append("x.log", "longer than it was before\n");
        assert_eq!(folder.take(), None);
        assert_eq!(folder.read(), ["c", "longer than it was before"]);
    }
}

#[test]
fn a_prior_line_stays_prior_in_the_copy() {
    for mut folder in folders() {
        folder.append("x.log", "a\nb\n");
        folder.look();
        folder.append("x.log", "c\n");
        folder.copy_and_cut(3);
        folder.append("x.log", "d\n");
        assert_eq!(folder.read(), ["<a", "<b", "c", "d"]);
    }
}

#[test]
fn a_crash_of_the_machine_that_takes_the_end_away_repeats_nothing() {
    let mut folder = Folder::new();
    let lines = "a line like all the others\n".repeat(500);
    folder.append("x.log", &lines);
    assert_eq!(folder.read().len(), 500);
    folder.kill();
    let file = std::fs::OpenOptions::new().write(true).open(folder.path("x.log")).unwrap();
    file.set_len(lines.len() as u64 - 60).unwrap();
    assert_eq!(folder.read(), [""; 0]);
    folder.append("x.log", "\nmore\n");
    assert_eq!(folder.read(), ["", "more"]);
}

#[test]
fn an_empty_file_that_is_copied_and_cut_is_nothing_special() {
    for mut folder in folders() {
        folder.append("x.log", "");
        folder.read();
        folder.copy_and_cut(3);
        assert_eq!(folder.read(), [""; 0]);
        folder.append("x.log", "a\n");
        folder.copy_and_cut(3);
        assert_eq!(folder.read(), ["a"], "it was never seen with something in it");
        folder.append("x.log", "b\n");
        assert_eq!(folder.read_after_a_while(), ["b"]);
    }
}

#[test]
fn a_copy_in_the_place_and_with_the_inode_of_one_that_was_not_held_is_another() {
    for mut folder in folders() {
        folder.read();
        folder.append("x.log", "a line\n");
        folder.copy("x.log", "x.log.1");
        folder.look();
        folder.cut("x.log");
        folder.look();
        folder.append("x.log", "b\nc\n");
        folder.copy_and_cut(1);
        let early: Vec<_> = folder.take().iter().flat_map(texts).collect();
        let late = folder.read();
        let lines: Vec<_> = early.into_iter().chain(late).filter(|line| line != "a line").collect();
        assert_eq!(lines, ["b", "c"]);
    }
}
