//! Numbers under names, kept as JSON: `render.10000.floor.ns_per_series`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What a part has measured.
#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub(crate) struct Results(pub(crate) BTreeMap<String, f64>);

impl Results {
    /// Notes a number and says it.
    pub(crate) fn put(&mut self, name: impl Into<String>, value: f64) {
        let name = name.into();
        println!("{name} = {}", short(value));
        self.0.insert(name, value);
    }

    pub(crate) fn get(&self, name: &str) -> Option<f64> {
        self.0.get(name).copied()
    }

    /// Leaves them where the report finds them.
    pub(crate) fn save(&self, part: &str) {
        fs::create_dir_all(folder()).unwrap();
        let text = serde_json::to_string_pretty(self).unwrap();
        fs::write(folder().join(format!("{part}.json")), text + "\n").unwrap();
    }

    /// All that lies there.
    pub(crate) fn gathered() -> Self {
        let mut all = Self::default();
        let files = fs::read_dir(folder()).into_iter().flatten().flatten().map(|file| file.path());
        for file in files.filter(|file| file.extension().is_some_and(|end| end == "json")) {
            all.0.extend(Self::load(&file).0);
        }
        all
    }

    /// Those of one file.
    pub(crate) fn load(file: &Path) -> Self {
        serde_json::from_slice(&fs::read(file).unwrap()).unwrap()
    }
}

/// Where this binary lies: `target/release`.
pub(crate) fn build_folder() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    own.ancestors().nth(2).unwrap().to_owned()
}

/// Beside the profiles' folders.
fn folder() -> PathBuf {
    build_folder().parent().unwrap().join("performance")
}

/// The root of the repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The middle one.
pub(crate) fn median(values: &[f64]) -> f64 {
    at(values, 0.5)
}

/// The value below which that share of them lies.
#[expect(clippy::cast_sign_loss, reason = "a share is not negative")]
pub(crate) fn at(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = (sorted.len() as f64 * share) as usize;
    sorted.get(place.min(sorted.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}

/// For people: three significant digits.
pub(crate) fn short(value: f64) -> String {
    if !value.is_finite() {
        return "–".to_owned();
    }
    if value.abs() >= 99.95 {
        let digits = format!("{value:.0}");
        let mut out = String::new();
        for (index, digit) in digits.chars().enumerate() {
            let left = digits.len() - index;
            if index > 0 && left.is_multiple_of(3) && !out.ends_with('-') {
                out.push(',');
            }
            out.push(digit);
        }
        return out;
    }
    let decimals = match value.abs() {
        0.0 => 0,
        x if x >= 9.995 => 1,
        x if x >= 0.9995 => 2,
        x if x >= 0.0995 => 3,
        _ => 4,
    };
    let text = format!("{value:.decimals$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}
