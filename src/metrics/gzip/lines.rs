//! Compresses lines of samples by what is known of them.
//!
//! Lines of one family differ in the values of their labels and in their numbers. Whoever wrote
//! them knows where the same words stood before, so nothing has to be searched for: each part of
//! a line is a repeat of a part of an earlier line, or stands for itself. This takes a tenth of
//! what zlib-rs needs at its fastest, and the result is smaller.

use super::Piece;
use super::bits::{Bits, Run};
use super::code::{CODE, MIN_REPEAT, REACH};

/// Part of a line: a label's name with what surrounds it, and its value.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::metrics) struct Part {
    /// Where the value begins, from the start of the labels.
    pub(in crate::metrics) value: u32,
    /// Where it ends.
    pub(in crate::metrics) end: u32,
    /// The line that last had the same value.
    pub(in crate::metrics) seen: Option<u16>,
    /// The value, written already, where no line had it before.
    run: Run,
}

/// Where the parts of a line are in a text.
#[derive(Debug, Clone, Copy)]
pub(in crate::metrics) struct Places {
    /// Where it begins.
    pub(in crate::metrics) start: u32,
    /// Where its labels begin.
    pub(in crate::metrics) labels: u32,
    /// Where its number begins.
    pub(in crate::metrics) number: u32,
    /// Where the line feed behind it ends.
    pub(in crate::metrics) end: u32,
}

/// One line.
#[derive(Debug, Clone, Copy)]
pub(in crate::metrics) struct Line {
    /// Which set of labels it has.
    pub(in crate::metrics) row: u16,
    /// Where it is.
    pub(in crate::metrics) places: Places,
}

/// Sets of labels that several families share, each in lines of their own.
#[derive(Debug, Default)]
pub(in crate::metrics) struct Lines<const N: usize> {
    values: Bits,
    rows: Vec<[Part; N]>,
    /// Where the labels stand in the lines that were written, by row.
    at: Vec<u32>,
    out: Bits,
}

/// There is no line of that row.
const ABSENT: u32 = u32::MAX;

/// A repeat that may go on.
#[derive(Debug, Clone, Copy)]
struct Repeat {
    from: usize,
    to: usize,
    length: usize,
}

impl<const N: usize> Lines<N> {
    /// Forgets all rows, and keeps the room.
    pub(in crate::metrics) fn clear(&mut self) {
        self.values.clear();
        self.rows.clear();
    }

    /// Takes in the labels of one more row: their text, and where its parts are.
    pub(in crate::metrics) fn push(&mut self, labels: &[u8], mut parts: [Part; N]) {
        for part in parts.iter_mut().filter(|part| part.seen.is_none()) {
            let value = labels.get(part.value as usize..part.end as usize).unwrap_or_default();
            let start = self.values.align();
            CODE.literals(&mut self.values, value);
            part.run = self.values.run_since(start);
        }
        self.rows.push(parts);
    }

    /// Compresses the lines of one family. Lines follow each other without a gap, and rows rise.
    pub(in crate::metrics) fn compress(&mut self, text: &[u8], lines: &[Line]) -> Piece {
        let mut out = std::mem::take(&mut self.out);
        out.clear();
        CODE.begin(&mut out);
        self.at.clear();
        self.at.resize(self.rows.len(), ABSENT);
        let mut writer = Writer { text, out: &mut out, repeat: None };
        let mut before: Option<&Line> = None;
        for line in lines {
            match before {
                None => writer.literals(line.places.start as usize, line.places.end as usize),
                Some(before) => self.line(&mut writer, before, line),
            }
            self.at[usize::from(line.row)] = line.places.labels;
            before = Some(line);
        }
        writer.settle();
        CODE.end(&mut out);
        let piece = Piece::new(text, bytes::Bytes::copy_from_slice(out.bytes()));
        self.out = out;
        piece
    }

    fn line(&self, writer: &mut Writer<'_>, before: &Line, line: &Line) {
        let (last_parts, parts) = (self.parts(before), self.parts(line));
        let start = line.places.start as usize;
        let labels = line.places.labels as usize;
        // The family's name and all up to the first value.
        let first = labels + parts.first().map_or(0, |part| part.value as usize);
        let last = before.places.start as usize;
        if writer.text[last..].starts_with(&writer.text[start..first]) {
            writer.repeat(last, start, first - start);
        } else {
            writer.literals(start, first);
        }
        let mut place = first;
        for (index, (part, last)) in parts.iter().zip(last_parts).enumerate() {
            let (value, end) = (labels + part.value as usize, labels + part.end as usize);
            // The label's name in front of the value stands in every line.
            let name = value - place;
            let row = part.seen.map(usize::from).filter(|row| self.at[*row] != ABSENT);
            if let Some(row) = row {
                let seen = (self.at[row] + self.rows[row][index].value) as usize;
                writer.repeat(seen - name, place, end - place);
            } else {
                let last = (before.places.labels + last.value) as usize;
                writer.repeat_on(last - name, place, name);
                match part.seen {
                    None => writer.run(&self.values, part.run),
                    Some(_) => writer.literals(value, end),
                }
            }
            place = end;
        }
        let last = last_parts.last().map_or(0, |part| part.end) + before.places.labels;
        Self::tail(writer, (last as usize, before), (place, line));
    }

    /// What follows the labels, and the number: all of it may be the same as in the line before.
    fn tail(writer: &mut Writer<'_>, (from, before): (usize, &Line), (to, line): (usize, &Line)) {
        let (end, number) = (line.places.end as usize, line.places.number as usize);
        if writer.text[from..before.places.end as usize] == writer.text[to..end] {
            writer.repeat(from, to, end - to);
        } else if writer.repeat.is_some() {
            writer.repeat_on(from, to, number - to);
            writer.literals(number, end);
        } else {
            writer.literals(to, end);
        }
    }

    fn parts(&self, line: &Line) -> &[Part; N] {
        &self.rows[usize::from(line.row)]
    }
}

/// Writes parts of a text in their order.
struct Writer<'a> {
    text: &'a [u8],
    out: &'a mut Bits,
    repeat: Option<Repeat>,
}

impl Writer<'_> {
    /// What stands at `to` stands at `from` as well. One repeat that goes on where the last one
    /// ended is the same.
    fn repeat(&mut self, from: usize, to: usize, length: usize) {
        if length == 0 {
            return;
        }
        match &mut self.repeat {
            Some(repeat) if repeat.from + repeat.length == from => repeat.length += length,
            _ => {
                self.settle();
                self.repeat = Some(Repeat { from, to, length });
            }
        }
    }

    /// As [`Writer::repeat`], where the same stands behind the source of the last repeat, too.
    fn repeat_on(&mut self, from: usize, to: usize, length: usize) {
        let from = self.repeat.map_or(from, |repeat| repeat.from + repeat.length);
        self.repeat(from, to, length);
    }

    fn run(&mut self, values: &Bits, run: Run) {
        self.settle();
        self.out.put_run(values, run);
    }

    fn literals(&mut self, start: usize, end: usize) {
        self.settle();
        CODE.literals(self.out, &self.text[start..end]);
    }

    /// Writes the repeat that nothing goes on.
    fn settle(&mut self) {
        let Some(Repeat { from, to, length }) = self.repeat.take() else { return };
        let distance = to - from;
        if length < MIN_REPEAT || distance > REACH {
            CODE.literals(self.out, &self.text[to..to + length]);
        } else {
            CODE.repeat(self.out, length, distance);
        }
    }
}
