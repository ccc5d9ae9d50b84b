//! Lines of all kinds.

use super::folder::Folder;
use crate::sources::tail::Line;

#[test]
fn long_lines_are_whole_up_to_the_limit_and_measured_beyond_it() {
    let mut folder = Folder::new();
    folder.options.max_line_bytes = 1 << 20;
    folder.read();
    let long = "l".repeat(1 << 20);
    folder.append("x.log", format!("a\n{long}\nb\n{long}+\nc\n"));
    let lines = folder.read();
    assert_eq!(lines.len(), 5);
    assert_eq!(lines[1], long);
    assert_eq!([&lines[0], &lines[2], &lines[3], &lines[4]], ["a", "b", "[1048577]", "c"]);
    assert_eq!(folder.follower().counters.too_long, 1);
    assert_eq!(folder.follower().counters.lines, 4);
}

#[test]
fn a_line_that_is_too_long_is_told_once_also_over_a_restart() {
    let mut folder = Folder::new();
    folder.options.max_line_bytes = 10;
    folder.chunk_bytes = Some(16);
    folder.read();
    folder.append("x.log", "a\n");
    folder.append("x.log", "l".repeat(100));
    assert_eq!(folder.read(), ["a"]);
    folder.kill();
    folder.append("x.log", "l".repeat(100));
    assert_eq!(folder.read(), [""; 0]);
    folder.append("x.log", "\nb\n");
    assert_eq!(folder.read(), ["[200]", "b"]);
    folder.kill();
    assert_eq!(folder.read(), [""; 0]);
}

#[test]
fn bytes_pass_as_they_are() {
    let mut folder = Folder::new();
    folder.read();
    folder.append("x.log", b"a\0b\n\xff\xfe\r\n\xe2\x80\xa8 \xc2\x85\x0b\x0c\n\n");
    folder.look();
    let chunk = folder.take().unwrap();
    let lines: Vec<_> = chunk.lines().collect();
    let expected: [&[u8]; 4] = [b"a\0b", b"\xff\xfe", b"\xe2\x80\xa8 \xc2\x85\x0b\x0c", b""];
    assert_eq!(lines, expected.map(Line::Whole));
    assert!(chunk.path.ends_with("x.log"));
}

#[test]
fn half_lines_wait_for_the_other_half() {
    let mut folder = Folder::new();
    folder.read();
    for part in ["a", "b", "c\r"] {
        folder.append("x.log", part);
        assert_eq!(folder.read_after_a_while(), [""; 0]);
        folder.kill();
    }
    folder.append("x.log", "\nd");
    assert_eq!(folder.read(), ["abc"]);
}

#[test]
fn families_take_turns() {
    let mut folder = Folder::new();
    folder.chunk_bytes = Some(4);
    folder.follow(&["x.log", "y.log"]);
    folder.read();
    folder.append("x.log", "a\nb\nc\nd\n");
    folder.append("y.log", "1\n2\n3\n4\n");
    assert_eq!(folder.read(), ["a", "b", "1", "2", "c", "d", "3", "4"]);
}
