//! What a suite found.

use std::fmt;
use std::future::Future;
use std::time::Duration;

/// One case that was run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// What holds when it passes.
    pub name: &'static str,
    /// Why it does not, in one sentence.
    pub result: Result<(), String>,
}

/// The results of a suite, in the order in which the cases ran.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    plugin: String,
    /// The cases.
    pub cases: Vec<Case>,
}

impl Report {
    pub(crate) fn new(plugin: &str) -> Self {
        Self {
            plugin: plugin.to_owned(),
            cases: Vec::new(),
        }
    }

    pub(crate) fn add(&mut self, name: &'static str, result: Result<(), String>) {
        self.cases.push(Case { name, result });
    }

    pub(crate) async fn add_timed(
        &mut self,
        name: &'static str,
        within: Duration,
        case: impl Future<Output = Result<(), String>>,
    ) {
        let result = tokio::time::timeout(within, case).await;
        self.add(
            name,
            result.unwrap_or_else(|_| Err(format!("not done after {within:?}"))),
        );
    }

    /// The cases that failed.
    pub fn failures(&self) -> impl Iterator<Item = &Case> {
        self.cases.iter().filter(|case| case.result.is_err())
    }

    /// Panics with a table of all cases unless every case passed.
    pub fn assert_passes(&self) {
        assert!(self.failures().next().is_none(), "{self}");
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let failed = self.failures().count();
        writeln!(
            f,
            "{}: {failed} of {} cases failed",
            self.plugin,
            self.cases.len()
        )?;
        for case in &self.cases {
            match &case.result {
                Ok(()) => writeln!(f, "  pass  {}", case.name)?,
                Err(why) => writeln!(f, "  FAIL  {}\n        {why}", case.name)?,
            }
        }
        Ok(())
    }
}
