//! What a family is: one definition, from which the exposition, the reference and the checks come.

use super::exposition::{Exposition, Samples, Type};
use super::view::View;

/// A family whose series have `N` labels; the compiler counts them.
pub struct Family<const N: usize> {
    name: &'static str,
    help: &'static str,
    kind: Type,
    labels: [&'static str; N],
    compat: bool,
    by_runtime: bool,
    collect: fn(&View<'_>, &mut Samples<'_, N>),
}

impl<const N: usize> Family<N> {
    /// A family. `name` is the whole name, with `_total` for counters.
    pub const fn new(
        kind: Type,
        name: &'static str,
        help: &'static str,
        labels: [&'static str; N],
        collect: fn(&View<'_>, &mut Samples<'_, N>),
    ) -> Self {
        Self { name, help, kind, labels, compat: false, by_runtime: false, collect }
    }

    /// A second name of another family; can be switched off.
    #[must_use]
    pub const fn compat(mut self) -> Self {
        self.compat = true;
        self
    }

    /// Its series also carry `runtime` where more than one is configured.
    #[must_use]
    pub const fn by_runtime(mut self) -> Self {
        self.by_runtime = true;
        self
    }
}

/// A family of any number of labels.
pub trait Definition: Sync {
    /// The whole name.
    fn name(&self) -> &'static str;
    /// The `HELP` text.
    fn help(&self) -> &'static str;
    /// The type.
    fn kind(&self) -> Type;
    /// Names of the labels, in their order; without `runtime` where that comes and goes.
    fn labels(&self) -> &[&'static str];
    /// Whether it is a second name of another family.
    fn is_compat(&self) -> bool;
    /// Whether `runtime` is added where more than one is configured.
    fn is_by_runtime(&self) -> bool;
    /// Writes all its samples; nothing where it has none.
    fn write(&self, view: &View<'_>, out: &mut Exposition);
}

impl<const N: usize> Definition for Family<N> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn help(&self) -> &'static str {
        self.help
    }

    fn kind(&self) -> Type {
        self.kind
    }

    fn labels(&self) -> &[&'static str] {
        &self.labels
    }

    fn is_compat(&self) -> bool {
        self.compat
    }

    fn is_by_runtime(&self) -> bool {
        self.by_runtime
    }

    fn write(&self, view: &View<'_>, out: &mut Exposition) {
        let start = out.open(self.name, self.help, self.kind);
        (self.collect)(view, &mut Samples::new(out, self.name, self.labels));
        out.close(start);
    }
}
