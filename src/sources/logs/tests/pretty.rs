use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{NOW, fixture, names};
use crate::model::{About, Event, Level, What};
use crate::sources::logs::{Flaw, Line, Read, read};

fn of(text: &str) -> Read<'_> {
    read(text.as_bytes(), names(), NOW)
}

fn event_of(text: &str) -> Result<Event, Option<Flaw>> {
    match of(text) {
        Read::Line(Line { event: Some(event), flaw: None, .. }) => Ok(event),
        Read::Line(Line { event: None, flaw, .. }) => Err(flaw),
        other => panic!("{other:?}"),
    }
}

/// By columns: `HH:MM:SS.mmm`, `[`, level with `]`, emoji, logger.
fn by_columns(text: &str) -> Option<(&'static str, &str)> {
    let text = text.strip_suffix('\r').unwrap_or(text);
    let (_, rest) = text.split_at_checked(12).filter(|(time, _)| time.get(8..9) == Some("."))?;
    let level = Level::ALL.iter().map(|level| level.label()).find(|level| {
        let level = format!(" [{level:>5}");
        rest.starts_with(&level)
    })?;
    rest.split("] ").nth(1)?.split(' ').nth(1).map(|logger| (level, logger))
}

#[test]
fn recorded_lines_count_by_level_and_logger() {
    for (path, levels) in [
        ("logs/development_pretty/mozaiks.log", [23, 79, 8, 3, 1]),
        ("logs/production_pretty/mozaiks.log", [0, 79, 8, 3, 1]),
        ("logs/development_pretty/console.txt", [0, 32, 1, 0, 0]),
    ] {
        let bytes = fixture(path);
        let (mut counted, mut by_level) = (BTreeMap::<_, u64>::new(), [0; 5]);
        let mut expected = BTreeMap::<_, u64>::new();
        for bytes in bytes.split(|byte| *byte == b'\n') {
            match read(bytes, names(), NOW) {
                Read::Line(line) => {
                    by_level[line.level as usize] += 1;
                    assert_eq!(line.flaw, None);
                    *counted.entry((line.level.label(), line.logger.into_owned())).or_default() +=
                        1;
                }
                Read::Continuation => {}
                Read::Unreadable(flaw) => panic!("{flaw}"),
            }
            let plain = str::from_utf8(bytes).unwrap();
            let colours = ["\x1b[0m", "\x1b[38;5;39m", "\x1b[38;5;214m"];
            let plain =
                colours.iter().fold(plain.to_owned(), |text, colour| text.replace(colour, ""));
            if let Some((level, logger)) = by_columns(&plain) {
                *expected.entry((level, logger.to_owned())).or_default() += 1;
            }
        }
        assert_eq!(by_level, levels, "{path}");
        assert_eq!(counted, expected, "{path}");
    }
}

#[test]
fn recorded_starts_and_turns_are_events() {
    let bytes = fixture("logs/production_pretty/mozaiks.log");
    let (mut starts, mut turns, mut echoes) = (Vec::new(), Vec::new(), 0);
    for bytes in bytes.split(|byte| *byte == b'\n') {
        let Read::Line(line) = read(bytes, names(), NOW) else { continue };
        echoes += i32::from(line.echo);
        match line.event {
            Some(Event { what: What::Started, about, .. }) => starts.push(about),
            Some(Event { what: What::Turn { .. }, about, app_id, .. }) => {
                turns.push((about, app_id.unwrap()));
            }
            Some(other) => panic!("{other:?}"),
            None => {}
        }
    }
    let chat = |id: &str| About::Chat(id.to_owned());
    let (uuid, quote) = ("3f2b7a10-6f3e-4c7e-9a51-0c1d2e3f4a5b", "quote\"d \\back\\slash\\");
    let unicode = "юникод-чат-🦄-日本語";
    assert_eq!(starts.get(..3).unwrap(), [chat(uuid), chat(quote), chat(unicode)]);
    let expected =
        [(uuid, "acme"), (uuid, "acme"), (quote, "app \"X\"\\y"), (unicode, "büro-gmbh")];
    assert_eq!(turns, expected.map(|(id, app)| (chat(id), app.to_owned())));
    assert!(echoes >= 3, "{echoes}");
}

#[test]
fn the_files_of_tools_hold_no_lines_of_their_own() {
    for path in ["development_pretty", "production_pretty", "development_json"] {
        for bytes in fixture(&format!("logs/{path}/tools.log")).split(|byte| *byte == b'\n') {
            assert_eq!(read(bytes, names(), NOW), Read::Continuation);
        }
    }
}

#[test]
fn an_id_that_could_end_in_two_places_is_refused() {
    let turn = |ids: &str| {
        event_of(&format!(
            "01:47:55.987 [ INFO] 🧩 mozaiks.workflow - agent_turn | workflow_name=performance \
             chat_id={ids}  (logging_config.py:478 _log)"
        ))
        .map(|event| (event.about, event.app_id))
    };
    let fine =
        |id: &str, app: Option<&str>| Ok((About::Chat(id.to_owned()), app.map(str::to_owned)));
    assert_eq!(turn("a b | c app_id=x  y"), fine("a b | c", Some("x  y")));
    assert_eq!(turn("c"), fine("c", None));
    assert_eq!(turn("c app_id="), fine("c", None));
    assert_eq!(turn(" app_id=x"), Err(Some(Flaw::NoChat)));
    for ids in [
        "a app_id=x app_id=y",
        "a chat_id=b app_id=x",
        "a agent_name=b app_id=x",
        "a app_id=x transport_type=y",
        "a | workflow_name=b app_id=x",
    ] {
        assert_eq!(turn(ids), Err(Some(Flaw::Ambiguous)), "{ids}");
    }
    let start = "01:47:55.987 [ INFO] 🧩 mozaiks.workflow - workflow_start | \
                 workflow_name=performance chat_id=c";
    assert_eq!(event_of(start), Err(Some(Flaw::Ambiguous)), "the id goes on in the next line");
    let place = "  (logging_config.py:478 _log)";
    assert!(event_of(&format!("{start}{place}")).is_ok());
    let with_app = format!("{start} app_id=a{place}");
    assert_eq!(event_of(&with_app), Err(Some(Flaw::Ambiguous)), "a start names no app");
}

#[test]
fn ends_and_failures_are_events() {
    let line = |level: &str, message: &str| {
        event_of(&format!(
            "01:47:55.987 [{level}] 🧩 mozaiks.workflow - {message} | workflow_name=Desk \
             chat_id=c app_id=acme  (logging_config.py:478 _log)"
        ))
    };
    let event = |what| Event {
        at: NOW,
        about: About::Chat("c".to_owned()),
        app_id: Some("acme".to_owned()),
        workflow_name: Some("Desk".to_owned()),
        user_id: None,
        what,
    };
    assert_eq!(line(" INFO", " [DESK] Workflow completed"), Ok(event(What::Ended)));
    let failure = "Event loop failure: Error code: 400 - x | y";
    assert_eq!(line("ERROR", failure), Ok(event(What::Failed)));
    assert_eq!(line("DEBUG", "tool_call"), Err(None));
}

#[test]
fn colours_are_left_out() {
    let text = "01:47:55.365 [\x1b[38;5;39m INFO\x1b[0m] ℹ️ a.b - hello \x1b[1m";
    let Read::Line(line) = of(text) else { panic!("it is a line") };
    assert_eq!((line.level, &*line.logger), (Level::Info, "a.b"));
}

#[test]
fn what_is_no_line_is_a_continuation() {
    for text in [
        "INFO:     Started server process [21489]",
        "KeyError: 'missing'",
        "01:47:55.365 INFO a.b - hello",
        "01:47:55,365 [ INFO] x a.b - hello",
        "xx:47:55.365 [ INFO] x a.b - hello",
        "01:47:55.365 [ LOUD] x a.b - hello",
    ] {
        assert_eq!(of(text), Read::Continuation, "{text}");
    }
    assert_eq!(of("01:47:55.365 [ INFO] hello"), Read::Unreadable(Flaw::Shape));
}

proptest! {
    #[test]
    fn any_text_after_a_header_is_read(text in ".*") {
        of(&format!("01:47:55.365 [ERROR] {text}"));
        of(&format!("01:47:55.365 [ERROR] x mozaiks.workflow - Event loop failure{text}"));
    }

    /// An id is told whole or not at all.
    #[test]
    fn an_id_is_never_cut(id in "([a-z |=]|app_id=| app_id=| chat_id=|  \\(a:1 b\\)|_){1,12}") {
        let line = format!(
            "01:47:55.987 [ INFO] 🧩 mozaiks.workflow - agent_turn | workflow_name=performance \
             chat_id={id} app_id=acme  (logging_config.py:478 _log)"
        );
        if let Ok(event) = event_of(&line) {
            prop_assert_eq!(event.about, About::Chat(id));
        }
    }
}
