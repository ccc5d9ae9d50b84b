//! What a dashboard is besides its queries: its head, its variables, its grid, its colours, its links.

use std::collections::BTreeSet;

use serde_json::Value;

use super::board::{Board, list};

/// Names of Grafana's palette, which suit both themes; shades are `dark-`, `semi-dark-`, `light-`
/// and `super-light-`.
const COLOURS: [&str; 8] =
    ["green", "yellow", "orange", "red", "blue", "purple", "text", "transparent"];

/// What is wrong with a dashboard as a whole.
pub(super) fn faults(board: &Board, all: &[Board]) -> Vec<String> {
    let mut faults = Vec::new();
    let mut tell = |fault: String| faults.push(format!("{}: {fault}", board.title()));
    head(board, &mut tell);
    variables(board, &mut tell);
    grid(board, &mut tell);
    walk(&board.json, &mut |key, value| {
        let colour = value.as_str().unwrap_or_default();
        if matches!(key, "color" | "fixedColor" | "iconColor" | "fill") && !colour.is_empty() {
            let shade = ["dark-", "semi-dark-", "light-", "super-light-"];
            let plain = shade.iter().find_map(|shade| colour.strip_prefix(shade)).unwrap_or(colour);
            if !COLOURS.contains(&plain) {
                tell(format!("{colour:?} does not suit both themes"));
            }
        }
        if key == "url" && !colour.is_empty() {
            link(colour, board, all, &mut tell);
        }
    });
    faults
}

fn head(board: &Board, tell: &mut dyn FnMut(String)) {
    let json = &board.json;
    let mut demand = |holds: bool, what: &str| {
        if !holds {
            tell(what.to_owned());
        }
    };
    demand(board.path.file_stem().is_some_and(|stem| stem == board.uid()), "uid is not its file");
    demand(json["id"].is_null() && json["__inputs"].is_null(), "it has an id or inputs");
    demand(json["editable"] == false, "it can be edited");
    demand(json["schemaVersion"].as_u64() >= Some(39), "its schema is old");
    demand(json["tags"].as_array().is_some_and(|t| t.iter().any(|t| t == "mozaiks")), "no tag");
    demand(json["description"].as_str().is_some_and(|d| d.ends_with('.')), "no description");
    demand(json["refresh"].is_string() && json["time"]["from"].is_string(), "no time range");
    let links = list(&json["links"]);
    let others = links.iter().any(|link| {
        link["type"] == "dashboards"
            && link["tags"] == serde_json::json!(["mozaiks"])
            && link["keepTime"] == true
            && link["includeVars"] == true
    });
    demand(others, "no links to the others");
    for annotation in ["Alerts", "Runtime restarts", "Exporter restarts"] {
        demand(board.annotations().any(|a| a["name"] == annotation), annotation);
    }
    demand(board.annotations().all(|a| a["datasource"]["uid"] == "${datasource}"), "datasource");
}

fn variables(board: &Board, tell: &mut dyn FnMut(String)) {
    let names: Vec<&str> =
        board.variables().iter().map(|v| v["name"].as_str().unwrap_or_default()).collect();
    if !names.starts_with(&["datasource", "job", "instance"]) {
        tell(format!("its variables begin with {names:?}"));
    }
    let queries = board.queries();
    for (variable, name) in board.variables().iter().zip(&names) {
        let mut demand = |holds: bool, what: &str| {
            if !holds {
                tell(format!("variable {name}: {what}"));
            }
        };
        demand(variable["label"].is_string() && variable["description"].is_string(), "no label");
        if *name == "datasource" {
            demand(variable["type"] == "datasource" && variable["query"] == "prometheus", "type");
            continue;
        }
        demand(variable["type"] == "query", "type");
        demand(variable["datasource"]["uid"] == "${datasource}", "datasource");
        demand(variable["multi"] == true && variable["includeAll"] == true, "no All");
        // On change of the time range: who was there yesterday can be chosen for yesterday.
        demand(variable["refresh"] == 2, "refresh");
        demand(variable["query"]["query"] == variable["definition"], "two queries");
        // A label that series may lack matches nothing by `.+`; those of the target are always there.
        let all = if matches!(*name, "job" | "instance") { ".+" } else { ".*" };
        demand(variable["allValue"] == all, "allValue");
        let word = format!("${name}");
        demand(queries.iter().any(|query| query.expr.contains(&word)), "nobody asks for it");
    }
    for query in &queries {
        for used in query.expr.split('$').skip(1) {
            let end = used.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            let (used, _) = used.split_at(end.unwrap_or(used.len()));
            if !used.starts_with("__") && !names.contains(&used) {
                tell(format!("{:?} asks for ${used}, which it has not", query.panel));
            }
        }
    }
}

/// Nothing overlaps, nothing sticks out, nothing is shown twice.
fn grid(board: &Board, tell: &mut dyn FnMut(String)) {
    let mut taken = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for panel in board.panels() {
        let title = &panel["title"];
        if !panel["id"].as_u64().is_some_and(|id| id > 0 && ids.insert(id)) {
            tell(format!("{title}: its id is {}", panel["id"]));
        }
        let at = |edge: &str| panel["gridPos"][edge].as_u64().unwrap_or(u64::MAX);
        let (x, y, w, h) = (at("x"), at("y"), at("w"), at("h"));
        if w == 0 || h == 0 || w > 24 || x > 24 - w || h > 40 || y > 1_000 {
            tell(format!("{title}: {x},{y} {w}x{h} is outside the grid"));
            continue;
        }
        let cells = (y..y + h).flat_map(|row| (x..x + w).map(move |column| (row, column)));
        let before = taken.len();
        taken.extend(cells);
        if (taken.len() - before) as u64 != w * h {
            tell(format!("{title} lies over another panel"));
        }
    }
    let rows: BTreeSet<u64> = taken.iter().map(|(row, _)| *row).collect();
    let holes = rows.iter().filter(|row| (0..24).any(|column| !taken.contains(&(**row, column))));
    if holes.count() > 0 || rows.last().is_none_or(|last| *last + 1 != rows.len() as u64) {
        tell("the grid has holes".to_owned());
    }
}

/// A link leads to a dashboard of ours and sets variables that it has.
fn link(url: &str, from: &Board, all: &[Board], tell: &mut dyn FnMut(String)) {
    let parts = url.strip_prefix("/d/").and_then(|url| url.split_once('?'));
    let target = parts.and_then(|(uid, query)| Some((all.iter().find(|b| b.uid() == uid)?, query)));
    let Some((target, query)) = target else {
        tell(format!("{url} leads nowhere"));
        return;
    };
    let has = |board: &Board, name: &str| board.variables().iter().any(|v| v["name"] == name);
    let mut sets = BTreeSet::new();
    for part in query.split('&') {
        if let Some(name) = part.strip_prefix("${").and_then(|p| p.strip_suffix(":queryparam}")) {
            if !has(from, name) {
                tell(format!("{url} takes {name} from a dashboard without it"));
            }
            sets.insert(name);
        } else if let Some((name, _)) = part.strip_prefix("var-").and_then(|p| p.split_once('=')) {
            sets.insert(name);
        } else if part != "${__url_time_range}" {
            tell(format!("{url} has a strange part {part}"));
        }
    }
    if !["datasource", "job", "instance"].iter().all(|name| sets.contains(name)) {
        tell(format!("{url} forgets what is looked at"));
    }
    for name in sets.iter().filter(|name| !has(target, name)) {
        tell(format!("{url} sets {name}, which {} has not", target.title()));
    }
    if !query.contains("${__url_time_range}") {
        tell(format!("{url} forgets the time range"));
    }
}

/// Looks at all values that have a name.
fn walk<'a>(value: &'a Value, look: &mut impl FnMut(&'a str, &'a Value)) {
    for inner in list(value) {
        walk(inner, look);
    }
    for (key, inner) in value.as_object().into_iter().flatten() {
        look(key, inner);
        walk(inner, look);
    }
}
