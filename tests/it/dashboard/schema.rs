//! The dashboards against the types that Grafana generates from its schema. Those types, of the
//! package `@grafana/schema`, are all of the schema that is published: there is no JSON schema. So
//! each dashboard becomes a constant of TypeScript, and the compiler says what does not fit.

use std::path::Path;
use std::process::Command;

use super::board::{Board, root};
use crate::support::tools::{missing, tools};

/// As strict as it gets, about our files and not about the packages.
const FLAGS: &[&str] = &[
    "--noEmit",
    "--strict",
    "--skipLibCheck",
    "--target",
    "es2022",
    "--module",
    "esnext",
    "--moduleResolution",
    "bundler",
];

#[test]
fn dashboards_are_of_grafanas_own_types() {
    let packages = tools().join("grafana");
    // Beside the packages, so that the compiler finds them.
    let folder = tempfile::tempdir_in(&packages).unwrap_or_else(|error| {
        panic!("{}", missing("TypeScript", &error));
    });
    let types = root("tests/tools/dashboard.ts");
    std::fs::copy(types, folder.path().join("dashboard.ts")).unwrap();
    let files: Vec<String> = Board::load_all().iter().map(|b| write(b, folder.path())).collect();
    let output = Command::new("node")
        .arg(packages.join("node_modules/typescript/bin/tsc"))
        .args(FLAGS)
        .args(&files)
        .current_dir(folder.path())
        .output()
        .unwrap_or_else(|error| panic!("{}", missing("node", &error)));
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

/// Lines keep their numbers, less one.
fn write(board: &Board, folder: &Path) -> String {
    let file = format!("{}.ts", board.uid());
    let text = format!(
        "import type {{ Board }} from './dashboard';\nexport const board: Board = {};\n",
        board.text.trim_end()
    );
    std::fs::write(folder.join(&file), text).unwrap();
    file
}
