//! Files that are renamed, made and deleted.

use std::fs;
use std::os::unix::fs::symlink;

use super::folder::Folder;

#[test]
fn the_backlog_is_read_oldest_first_and_is_prior() {
    let mut folder = Folder::new();
    folder.append("x.log.10", "a\n");
    folder.append("x.log.2", "b\n");
    folder.append("x.log.1", "c\n");
    folder.append("x.log", "d\nhal");
    folder.append("x.log.3.gz", "no\n");
    assert_eq!(folder.read(), ["<a", "<b", "<c", "<d"]);
    folder.append("x.log", "f\ne\n");
    assert_eq!(folder.read(), ["half", "e"]);
    folder.kill();
    folder.append("x.log", "f\n");
    assert_eq!(folder.read(), ["f"]);
}

#[test]
fn the_border_of_the_backlog_survives_a_restart() {
    let mut folder = Folder::new();
    folder.chunk_bytes = Some(4);
    folder.append("x.log", "a\nb\nc\nd\n");
    folder.look();
    let chunk = folder.take().unwrap();
    folder.keep(&chunk);
    folder.kill();
    folder.append("x.log", "e\n");
    assert_eq!(folder.read(), ["<c", "<d", "e"]);
}

#[test]
fn the_backlog_can_be_skipped() {
    let mut folder = Folder::new().skipping();
    folder.append("x.log.1", "a\nb");
    folder.append("x.log", "c\nhal");
    assert_eq!(folder.read_after_a_while(), [""; 0]);
    folder.append("x.log", "f\nd\n");
    assert_eq!(folder.read(), ["half", "d"]);
}

#[test]
fn a_first_start_that_finds_nothing_is_one_all_the_same() {
    let mut folder = Folder::new().skipping();
    assert_eq!(folder.read(), [""; 0]);
    assert_eq!(folder.kept.len(), 1);
    folder.kill();
    folder.append("x.log.1", "a\n");
    folder.append("x.log", "b\n");
    assert_eq!(folder.read(), ["a", "b"]);
}

#[test]
fn nothing_is_handed_out_twice_and_nothing_without_end() {
    let mut folder = Folder::new();
    folder.append("x.log", "a\n");
    assert_eq!(folder.read(), ["<a"]);
    folder.look();
    assert_eq!(folder.take(), None);
}

#[test]
fn rotation_while_reading_loses_nothing() {
    let mut folder = Folder::new();
    folder.read();
    folder.append("x.log", "a\n");
    assert_eq!(folder.read(), ["a"]);
    folder.append("x.log", "b\n");
    folder.rotate(3);
    folder.append("x.log", "c\n");
    assert_eq!(folder.read(), ["b", "c"]);
    // Also between looking and reading.
    folder.append("x.log", "d\n");
    folder.look();
    folder.rotate(3);
    folder.append("x.log", "e\n");
    assert_eq!(folder.read(), ["d", "e"]);
    assert_eq!(folder.follower().counters.rotations, 2);
}

#[test]
fn several_rotations_while_down_lose_nothing() {
    let mut folder = Folder::new();
    folder.append("x.log", "a\n");
    assert_eq!(folder.read(), ["<a"]);
    folder.kill();
    folder.append("x.log", "b\n");
    folder.rotate(9);
    folder.append("x.log", "c\n");
    folder.rotate(9);
    folder.append("x.log", "d\n");
    folder.rotate(9);
    folder.append("x.log", "e\n");
    assert_eq!(folder.read(), ["b", "c", "d", "e"]);
}

#[test]
fn dates_at_the_end_are_siblings() {
    let mut folder = Folder::new();
    folder.append("x.log", "a\n");
    folder.read();
    folder.append("x.log", "b\n");
    folder.rename("x.log", "x.log-20260117");
    folder.append("x.log", "c\n");
    folder.rename("x.log", "x.log-20260118");
    folder.append("x.log", "d\n");
    assert_eq!(folder.read(), ["b", "c", "d"]);
}

#[test]
fn a_writer_may_go_on_in_the_renamed_file() {
    let mut folder = Folder::new();
    folder.append("x.log", "a\n");
    folder.read();
    folder.rename("x.log", "x.log.1");
    assert_eq!(folder.read(), [""; 0]);
    folder.append("x.log.1", "b\n");
    assert_eq!(folder.read(), ["b"]);
    folder.append("x.log.1", "c\n");
    folder.append("x.log", "d\n");
    assert_eq!(folder.read(), ["c", "d"]);
}

#[test]
fn a_half_line_of_a_rotated_file_is_handed_out_after_a_while_and_before_younger_ones() {
    let mut folder = Folder::new();
    folder.read();
    folder.append("x.log", "a\nhalf");
    assert_eq!(folder.read_after_a_while(), ["a"], "it may be completed");
    folder.rotate(3);
    folder.append("x.log", "b\n");
    // Its last five seconds were quiet.
    assert_eq!(folder.read(), ["half", "b"]);
    folder.append("x.log", "other half");
    folder.rotate(3);
    folder.append("x.log", "c\n");
    assert_eq!(folder.read(), [""; 0]);
    assert!(folder.follower().wake_at().is_some());
    folder.wait(5);
    assert_eq!(folder.read(), ["other half", "c"]);
    folder.kill();
    assert_eq!(folder.read_after_a_while(), [""; 0]);
}

#[test]
fn an_inode_that_is_used_again_is_a_new_file() {
    for is_blind in [false, true] {
        let mut folder = Folder::new();
        folder.is_blind_to_births = is_blind;
        folder.read();
        for round in 0..20 {
            folder.append("x.log", format!("line {round}\n"));
            assert_eq!(folder.read(), [format!("line {round}")]);
            if round % 3 == 0 {
                folder.kill();
            }
            folder.remove("x.log");
        }
    }
}

#[test]
fn a_file_that_is_deleted_unread_is_read_to_its_end() {
    let mut folder = Folder::new();
    folder.read();
    folder.append("x.log", "a\n");
    folder.look();
    folder.append("x.log", "b\nhalf");
    folder.remove("x.log");
    assert_eq!(folder.read_after_a_while(), ["a", "b", "half"]);
}

#[test]
fn places_of_deleted_files_are_dropped_in_time() {
    let mut folder = Folder::new();
    folder.append("x.log.1", "a\n");
    folder.append("x.log", "b\n");
    folder.read();
    assert_eq!(folder.kept.len(), 3);
    folder.remove("x.log.1");
    folder.read();
    folder.wait(601);
    folder.read();
    assert_eq!(folder.kept.len(), 2);
    // An empty folder may be a disk that is not mounted.
    folder.remove("x.log");
    folder.read();
    folder.wait(601);
    folder.read();
    assert_eq!(folder.kept.len(), 2);
}

#[test]
fn a_folder_that_is_away_for_a_while_is_known_again() {
    let mut folder = Folder::new();
    folder.follow(&["logs/"]);
    assert_eq!(folder.read(), [""; 0]);
    fs::create_dir(folder.path("logs")).unwrap();
    folder.append("logs/x.log", "a\n");
    assert_eq!(folder.read(), ["a"]);
    folder.rename("logs", "away");
    assert_eq!(folder.read(), [""; 0]);
    folder.wait(3600);
    folder.kill();
    assert_eq!(folder.read(), [""; 0]);
    folder.rename("away", "logs");
    folder.append("logs/x.log", "b\n");
    assert_eq!(folder.read(), ["b"]);
}

#[test]
fn globs_find_files_that_appear_later() {
    let mut folder = Folder::new();
    folder.follow(&["*/x*.log"]);
    assert_eq!(folder.read(), [""; 0]);
    fs::create_dir(folder.path("one")).unwrap();
    folder.append("one/x1.log", "a\n");
    folder.append("one/y.log", "no\n");
    assert_eq!(folder.read(), ["a"]);
    fs::create_dir(folder.path("two")).unwrap();
    folder.append("two/x2.log.1", "b\n");
    assert_eq!(folder.read(), ["b"]);
}

#[test]
fn a_link_is_followed_to_where_it_leads() {
    let mut folder = Folder::new();
    folder.follow(&["current.log"]);
    folder.append("x.log", "a\n");
    symlink(folder.path("x.log"), folder.path("current.log")).unwrap();
    assert_eq!(folder.read(), ["<a"]);
    folder.append("x.log", "b\n");
    folder.append("y.log", "c\n");
    folder.remove("current.log");
    symlink(folder.path("y.log"), folder.path("current.log")).unwrap();
    let mut lines = folder.read();
    lines.sort();
    assert_eq!(lines, ["b", "c"]);
    folder.kill();
    assert_eq!(folder.read(), [""; 0]);
}

#[test]
fn a_file_that_two_patterns_match_is_read_once() {
    let mut folder = Folder::new();
    folder.follow(&["x.log", "", "*.log"]);
    folder.append("x.log", "a\n");
    fs::hard_link(folder.path("x.log"), folder.path("y.log")).unwrap();
    assert_eq!(folder.read(), ["<a"]);
}

#[test]
fn excluded_files_are_not_read() {
    let mut folder = Folder::new();
    folder.follow(&[""]);
    folder.options.exclude = vec![folder.path("x.log")];
    folder.append("x.log", "a\n");
    folder.append("x.log.1", "a\n");
    folder.append("y.log", "b\n");
    assert_eq!(folder.read(), ["<b"]);
}

#[test]
fn a_file_that_cannot_be_read_is_read_when_it_can() {
    let mut folder = Folder::new();
    folder.append("x.log.1", "a\n");
    folder.append("x.log", "b\n");
    folder.append("x.log.1.denied", "");
    assert_eq!(folder.read(), ["<b"]);
    assert_eq!(folder.follower().problems().len(), 1);
    assert!(folder.follower().is_caught_up());
    folder.kill();
    folder.append("x.log.1", "c\n");
    assert_eq!(folder.read(), [""; 0]);
    folder.remove("x.log.1.denied");
    assert_eq!(folder.read(), ["<a", "c"]);
    assert_eq!(folder.follower().problems(), []);
}

#[test]
fn devices_that_were_renumbered_and_files_that_were_moved_are_known_again() {
    let long = "a line that carries its time and is longer than 64 bytes, as lines of logs are\n";
    let mut folder = Folder::new();
    folder.append("x.log.1", "a\n");
    folder.append("x.log", long);
    assert_eq!(folder.read().len(), 2);
    folder.kill();
    for place in folder.kept.values_mut() {
        *place = place.replace("\"dev\":", "\"dev\":1");
    }
    folder.append("x.log", "b\n");
    assert_eq!(folder.read(), ["b"]);
    folder.kill();
    folder.copy("x.log", "moved");
    folder.remove("x.log");
    folder.rename("moved", "x.log");
    folder.append("x.log", "c\n");
    assert_eq!(folder.read(), ["c"]);
}

#[test]
fn a_place_that_cannot_be_understood_is_dropped() {
    let mut folder = Folder::new();
    folder.kept.insert("begun".to_owned(), "{}".to_owned());
    folder.kept.insert("7".to_owned(), "nonsense".to_owned());
    folder.append("x.log", "a\n");
    assert_eq!(folder.read(), ["a"]);
    assert!(!folder.kept.contains_key("7"));
}

#[test]
fn what_is_behind_is_known() {
    let mut folder = Folder::new();
    folder.append("x.log", "a\nb\n");
    folder.look();
    assert_eq!(folder.follower().bytes_behind(), 4);
    assert!(!folder.follower().is_caught_up());
    assert_eq!(folder.read(), ["<a", "<b"]);
    assert_eq!(folder.follower().bytes_behind(), 0);
    assert_eq!(folder.follower().files(), 1);
    assert!(folder.follower().is_caught_up());
    folder.append("x.log", "half");
    folder.read();
    assert_eq!(folder.follower().bytes_behind(), 4);
    assert!(folder.follower().is_caught_up());
}

#[test]
fn many_files_are_followed_without_holding_them_all_open() {
    let open_files = || fs::read_dir("/proc/self/fd").unwrap().count();
    let mut folder = Folder::new();
    folder.follow(&["*.log"]);
    for number in 0..600 {
        folder.append(&format!("{number}.log"), format!("{number}\n"));
    }
    let before = open_files();
    assert_eq!(folder.read().len(), 600);
    // Other tests open files meanwhile.
    assert!(open_files() < before + 400, "{} open, {before} before", open_files());
    folder.kill();
    folder.append("599.log", "more\n");
    folder.append("300.log", "more\n");
    assert_eq!(folder.read(), ["more", "more"]);
    folder.append("599.log", "and more\n");
    assert_eq!(folder.read(), ["and more"]);
}
