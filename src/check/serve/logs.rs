//! Logs: do the paths match files, can these be read, and are they what they should be?

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::SystemTime;

use super::{Row, now, size, span};
use crate::config::{Config, RuntimeConfig};
use crate::model::NameRule;
use crate::sources::ag2;
use crate::sources::logs::{self, Read};
use crate::sources::tail::{Present, survey};

/// So much of a log's end says what it is.
const END: u64 = 256 << 10;
/// Prompts stand in AG2's log in full.
const END_OF_AG2: u64 = 4 << 20;
const UNREADABLE: &str = "let the user who serves read it: by its group, or setfacl -m u:USER:r";

/// What there is to say of all logs.
pub(super) fn rows(config: &Config) -> Vec<Row> {
    let mut rows = Vec::new();
    for runtime in &config.runtimes {
        for pattern in &runtime.logs {
            let options = config.following.logs(std::slice::from_ref(pattern), &config.own_logs);
            let (found, problems) = survey(&options);
            let thing = format!("runtime {} log", runtime.name);
            for problem in problems {
                let what = format!("{}: {}", problem.path.display(), problem.error);
                rows.push(Row::fail(&*thing, what, UNREADABLE));
            }
            rows.push(log(thing, &pattern.to_string(), &found, config.names));
        }
        rows.extend(of_ag2(runtime, config));
    }
    rows
}

/// The runtime's log, by the files that one pattern matches.
fn log(thing: String, pattern: &str, found: &[Present], names: NameRule) -> Row {
    let Some(newest) = found.iter().max_by_key(|file| file.modified) else {
        let what = format!("{pattern} matches no file");
        return Row::warn(thing, what, "correct --logs.path; serve waits for files to come");
    };
    let shut = found.iter().find_map(|file| Some((file, File::open(&file.path).err()?)));
    if let Some((file, error)) = shut {
        return unreadable(thing, &file.path, &error);
    }
    let lines = match newest.last_lines(END) {
        Ok(lines) => lines,
        Err(error) => return unreadable(thing, &newest.path, &error),
    };
    let bytes = size(found.iter().map(|file| file.bytes).sum());
    let what = format!("{pattern}: {} files, {bytes}, last written {}", found.len(), age(newest));
    if lines.is_empty() {
        return Row::ok(thing, format!("{what}, no line yet"));
    }
    let of_log =
        lines.iter().filter(|line| matches!(logs::read(line, names, now()), Read::Line(_)));
    let (json, pretty): (Vec<_>, Vec<_>) = of_log.partition(|line| line.first() == Some(&b'{'));
    let form = match (json.is_empty(), pretty.is_empty()) {
        (true, true) => {
            let remedy = "name the runtime's log with --logs.path; this is another's";
            return Row::warn(thing, format!("{what}, no line is one of a runtime's log"), remedy);
        }
        (false, true) => "JSON",
        (true, false) => "the pretty form",
        (false, false) => "JSON and the pretty form",
    };
    Row::ok(thing, format!("{what}, {form}"))
}

/// AG2's logs. Where several names are tried, one of them is enough.
fn of_ag2(runtime: &RuntimeConfig, config: &Config) -> Vec<Row> {
    let thing = format!("runtime {} AG2 log", runtime.name);
    let (there, missing): (Vec<_>, Vec<_>) = runtime.ag2.iter().partition(|path| path.exists());
    let mut rows: Vec<_> =
        there.iter().map(|path| one_of_ag2(thing.clone(), path, config)).collect();
    if there.is_empty() && !missing.is_empty() {
        let paths: Vec<_> = missing.iter().map(|path| path.display().to_string()).collect();
        let what = format!("there is no {}", paths.join(", and no "));
        let remedy = "without it, calls by model and tool are known by the runtime's log alone \
                      (--ag2.path)";
        rows.push(Row::warn(thing, what, remedy));
    }
    rows
}

fn one_of_ag2(thing: String, path: &Path, config: &Config) -> Row {
    let shown = path.display();
    if ag2::is_database(path) {
        let step = ag2::Sqlite::open(path, config.names, None)
            .and_then(|mut database| database.step(1, now()));
        return match step {
            Ok(_) => Row::ok(thing, format!("{shown} is a database that can be read")),
            Err(error) => Row::fail(thing, format!("{shown}: {error}"), UNREADABLE),
        };
    }
    let (found, _) = survey(&config.following.ag2(path));
    let Some(newest) = found.iter().max_by_key(|file| file.modified) else {
        let what = format!("{shown} is no file");
        return Row::warn(thing, what, "name AG2's log with --ag2.path");
    };
    let lines = match newest.last_lines(END_OF_AG2) {
        Ok(lines) => lines,
        Err(error) => return unreadable(thing, &newest.path, &error),
    };
    let mut log = ag2::Lines::new(config.names, Some("of the end"));
    let events = lines.iter().filter(|line| log.read(line, now()).event.is_some()).count();
    let what = format!("{shown}: {}, last written {}", size(newest.bytes), age(newest));
    if events == 0 && !lines.is_empty() {
        let remedy = "see whether it is AG2's log (--ag2.path)";
        return Row::warn(thing, format!("{what}, no call of a model at its end"), remedy);
    }
    Row::ok(thing, format!("{what}, {events} calls at its end"))
}

fn unreadable(thing: String, path: &Path, error: &io::Error) -> Row {
    Row::fail(thing, format!("{} cannot be read: {error}", path.display()), UNREADABLE)
}

fn age(file: &Present) -> String {
    let age = file.modified.and_then(|then| SystemTime::now().duration_since(then).ok());
    age.map_or("just now".to_owned(), |age| format!("{} ago", span(age)))
}
