//! A stream of bytes, redacted as it comes.

use std::io::{self, Read, Write};

use super::scan::{self, State};

/// The longest line that is looked at as a whole, in bytes. Twice that is all the memory it takes.
pub const WINDOW_BYTES: usize = 1024 * 1024;
/// What is kept of either end of a secret that fills the memory.
const KEPT: usize = 4096;

/// Copies `input` to `output` without secrets, until its end.
///
/// Everything that came in is written as soon as its line has ended: whenever reading has to wait,
/// nothing but an unfinished line is held back. Bytes that are no UTF-8 pass as they are. A line
/// of more than [`WINDOW_BYTES`] goes out in parts: each ends before the first place that cannot
/// be decided without the next 8 KiB, so that no secret is cut in two.
pub fn filter(mut input: impl Read, mut output: impl Write) -> io::Result<()> {
    let mut window = vec![0; WINDOW_BYTES];
    let mut filled = 0;
    let mut state = State::default();
    loop {
        let read = match input.read(window.get_mut(filled..).unwrap_or_default()) {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let new = window.get(filled..filled + read).unwrap_or_default();
        let line_end = new.iter().rposition(|byte| *byte == b'\n').map(|end| filled + end + 1);
        filled += read;
        let held = window.get(..filled).unwrap_or_default();
        let done = match line_end {
            _ if read == 0 => pass(held, &mut state, &mut output)?,
            Some(end) => pass(held.get(..end).unwrap_or_default(), &mut state, &mut output)?,
            None if filled == window.len() => {
                let part = scan::scan_part(held, &mut state);
                let untouched = held.get(..part.consumed).unwrap_or_default();
                output.write_all(part.text.as_deref().unwrap_or(untouched))?;
                part.consumed
            }
            None => continue,
        };
        output.flush()?;
        if read == 0 {
            return Ok(());
        }
        window.copy_within(done..filled, 0);
        filled -= done;
        if filled == window.len() {
            // One secret fills the memory: its ends are all that matters.
            filled = shorten(&mut window);
        }
    }
}

/// Writes whole lines.
fn pass(lines: &[u8], state: &mut State, output: &mut impl Write) -> io::Result<usize> {
    let scanned = scan::scan(lines, state);
    output.write_all(scanned.text.as_deref().unwrap_or(lines))?;
    Ok(lines.len())
}

/// Takes out the middle of a window, between two characters that are neither quotes nor escapes.
fn shorten(window: &mut [u8]) -> usize {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric();
    let head = window.iter().take(KEPT).rposition(is_plain).map_or(KEPT, |at| at + 1);
    let start = window.len() - KEPT;
    let skipped = window.iter().skip(start).position(is_plain).unwrap_or(0);
    window.copy_within(start + skipped.., head);
    head + KEPT - skipped
}
