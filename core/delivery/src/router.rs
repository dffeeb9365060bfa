//! From a profile name to the destinations whose patterns match it.

mod answers;
mod asking;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use asking::Asking;

use evbus_plugin::{CompileError, Plugin};

/// How long a match plugin may take for one name. After that, the event is refused as undecided.
pub(crate) const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// How long an undecided name is not asked about again. A matcher that runs into its limit costs as much as thousands
/// of other answers.
const UNDECIDED_FOR: Duration = Duration::from_secs(1);

/// Answers which of a set of patterns match a name.
///
/// The match plugin is asked once per distinct name, on threads of its own that may hang; after that, a
/// bounded cache answers. Undecided names are asked again a second later. May be used from any number of
/// threads.
pub struct Router {
    /// `None` if there are no patterns.
    asking: Option<Asking>,
    patterns: usize,
}

/// Where events of one profile name go. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Route {
    /// The positions of all patterns that match, ascending, each once.
    pub matches: Arc<[u32]>,
    /// Patterns for which the match plugin did not decide whether they match.
    pub undecided: Option<Arc<Undecided>>,
}

/// Patterns that could not be decided for a name. An event of that name must not count as delivered
/// everywhere.
#[derive(Debug, Clone)]
pub struct Undecided {
    /// The positions of the patterns.
    pub positions: Vec<u32>,
    /// The match plugin's reason, shortened and on one line.
    pub reason: String,
    asked: Instant,
}

impl Route {
    fn nowhere() -> Self {
        Self {
            matches: Arc::new([]),
            undecided: None,
        }
    }

    /// Whether it is certain that no pattern matches.
    pub(crate) fn is_nowhere(&self) -> bool {
        self.matches.is_empty() && self.undecided.is_none()
    }

    fn is_current(&self) -> bool {
        (self.undecided.as_ref()).is_none_or(|undecided| undecided.asked.elapsed() < UNDECIDED_FOR)
    }
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Router")
            .field("patterns", &self.patterns)
            .finish_non_exhaustive()
    }
}

impl Router {
    /// Compiles the patterns, all at once. Blocks for at most ten seconds.
    ///
    /// # Errors
    ///
    /// The position and the fault of every pattern that cannot be used, or why the plugin cannot.
    pub fn compile(plugin: &Plugin, patterns: &[&str]) -> Result<Self, CompileError> {
        let set = plugin.compile(patterns)?;
        let asking = Asking::start(plugin.id(), set, patterns.len());
        Ok(Self {
            asking: Some(asking.map_err(CompileError::Plugin)?),
            patterns: patterns.len(),
        })
    }

    /// A router without patterns.
    pub fn empty() -> Self {
        Self {
            asking: None,
            patterns: 0,
        }
    }

    /// Where events fired under `profile` go. Blocks for at most a second if the name is new.
    pub fn route(&self, profile: &str) -> Route {
        match &self.asking {
            None => Route::nowhere(),
            Some(asking) => asking.answer(profile),
        }
    }

    /// As [`route`](Self::route), without blocking.
    pub async fn find(&self, profile: &str) -> Route {
        match &self.asking {
            None => Route::nowhere(),
            Some(asking) => asking.answer_later(profile).await,
        }
    }

    /// Where events fired under `profile` go, if the match plugin was asked before.
    pub fn known(&self, profile: &str) -> Option<Route> {
        match &self.asking {
            None => Some(Route::nowhere()),
            Some(asking) => asking.known(profile),
        }
    }

    #[cfg(test)]
    fn threads(&self) -> usize {
        self.asking.as_ref().map_or(0, Asking::threads)
    }

    #[cfg(test)]
    fn waiting(&self) -> usize {
        self.asking.as_ref().map_or(0, Asking::waiting)
    }

    /// Asks about those of these names that are new, all at once: a thread that has one name handed over
    /// after the other does little else. Waits for `ANSWER_WITHIN` at most.
    pub async fn prepare<'n>(&self, profiles: impl Iterator<Item = &'n str>) {
        if let Some(asking) = &self.asking {
            asking.prepare(profiles).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use evbus_sdk::{Matcher, Matches, PatternFault, matcher_plugin};

    use super::*;

    /// A matcher that behaves as the name tells it.
    struct Odd;

    impl Matcher for Odd {
        const NAMES: &'static [&'static str] = &["odd"];

        fn compile(_: &[&str]) -> Result<Self, Vec<PatternFault>> {
            Ok(Self)
        }

        fn matches(&self, name: &str, matches: &mut Matches<'_>) {
            match name {
                "repeats" => [2, 0, 2, 0].into_iter().for_each(|at| matches.push(at)),
                "faults" => {
                    matches.push(0);
                    matches.push(1);
                    matches.fault(1, "too\nmuch work");
                }
                "panics" => {
                    matches.push(0);
                    panic!("it cannot");
                }
                "slow" => std::thread::sleep(ANSWER_WITHIN * 2),
                "brief" => std::thread::sleep(Duration::from_millis(15)),
                name if name.starts_with("hangs") => loop {
                    std::thread::park();
                },
                _ => {}
            }
        }
    }

    fn router() -> Router {
        let plugin = Plugin::linked(matcher_plugin::<Odd>("odd", "1.0.0", ""));
        Router::compile(&plugin, &["a", "b", "c"]).expect("it takes everything")
    }

    #[test]
    fn a_position_that_is_named_twice_counts_once() {
        assert_eq!(*router().route("repeats").matches, [0, 2]);
    }

    #[test]
    fn what_cannot_be_decided_is_no_match_and_not_nowhere_and_asked_again() {
        let router = router();
        let route = router.route("faults");
        assert_eq!(*route.matches, [0]);
        let undecided = route.undecided.clone().expect("one pattern is undecided");
        assert_eq!(undecided.positions, [1]);
        assert_eq!(undecided.reason, "too much work");
        assert!(!route.is_nowhere());
        let again = router.route("faults").undecided.expect("it still is");
        assert!(Arc::ptr_eq(&undecided, &again), "it is not asked at once");
        let mut old = route;
        old.undecided = Some(Arc::new(Undecided {
            asked: undecided
                .asked
                .checked_sub(UNDECIDED_FOR)
                .expect("a second ago"),
            ..(*undecided).clone()
        }));
        router
            .asking
            .as_ref()
            .expect("it has patterns")
            .keep("faults", old);
        let later = router.route("faults").undecided.expect("it still is");
        assert!(later.asked > undecided.asked, "it is asked again");
    }

    #[test]
    fn a_panic_leaves_every_pattern_undecided() {
        let route = router().route("panics");
        assert!(route.matches.is_empty());
        let undecided = route.undecided.expect("all are undecided");
        assert_eq!(undecided.positions, [0, 1, 2]);
    }

    #[test]
    fn a_name_that_matches_nothing_goes_nowhere() {
        assert!(router().route("other").is_nowhere());
    }

    #[test]
    fn a_name_that_the_plugin_hangs_for_is_undecided_and_holds_up_no_other() {
        let router = router();
        let began = Instant::now();
        let route = router.route("hangs");
        let reason = route.undecided.expect("nothing is known").reason.clone();
        assert_eq!(reason, "match plugin odd did not answer within 1 s");
        assert!(began.elapsed() >= ANSWER_WITHIN);
        assert!(router.route("other").is_nowhere());
        let again = Instant::now();
        assert!(router.route("hangs").undecided.is_some());
        assert!(
            again.elapsed() < ANSWER_WITHIN / 2,
            "it is not waited for twice"
        );
    }

    /// A router whose plugin hangs on as many names as are allowed.
    fn stuck_router() -> Arc<Router> {
        let router = Arc::new(router());
        let hanging: Vec<_> = (0..4)
            .map(|number| {
                let router = Arc::clone(&router);
                std::thread::spawn(move || router.route(&format!("hangs {number}")))
            })
            .collect();
        for route in hanging {
            assert!(route.join().expect("no panic").undecided.is_some());
        }
        let until = Instant::now() + Duration::from_mins(1);
        let is_stuck = |reason: &str| {
            reason
                == "match plugin odd hangs on 4 other profiles and is not asked again until it answers"
        };
        while !is_stuck(&router.route("other").undecided.expect("nobody asks").reason) {
            assert!(Instant::now() < until, "it is still asked");
        }
        router
    }

    #[test]
    fn a_plugin_that_hangs_for_many_names_is_not_asked_about_more() {
        let router = stuck_router();
        let began = Instant::now();
        for number in 0..1000 {
            assert!(router.route(&format!("more {number}")).undecided.is_some());
        }
        assert!(began.elapsed() < ANSWER_WITHIN, "nobody waits");
        assert_eq!((router.waiting(), router.threads()), (0, 4));
    }

    #[test]
    fn an_answer_that_comes_late_is_kept_for_whoever_tries_again() {
        let router = router();
        assert!(router.route("slow").undecided.is_some());
        let until = Instant::now() + Duration::from_mins(1);
        while !router.route("slow").is_nowhere() {
            assert!(Instant::now() < until, "the answer never comes");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_burst_of_new_names_is_answered_by_one_thread() {
        let router = Arc::new(router());
        let asking: Vec<_> = (0..500)
            .map(|number| {
                let router = Arc::clone(&router);
                tokio::spawn(async move { router.find(&format!("burst {number}")).await })
            })
            .collect();
        for route in asking {
            assert!(route.await.expect("no panic").is_nowhere());
        }
        assert!(router.threads() <= 4, "{} threads", router.threads());
    }

    #[test]
    fn a_name_behind_those_that_hang_is_answered_all_the_same() {
        let router = Arc::new(router());
        let ask = |name: &'static str| {
            let router = Arc::clone(&router);
            std::thread::spawn(move || router.route(name))
        };
        // The hanging call begins when the next ones are already waiting.
        let brief = ask("brief");
        std::thread::sleep(Duration::from_millis(2));
        let hanging = [ask("hangs 1"), ask("hangs 2")];
        std::thread::sleep(Duration::from_millis(1));
        let behind: Vec<_> = ["x", "y", "z"].map(ask).into_iter().collect();
        for route in behind {
            assert!(route.join().expect("no panic").is_nowhere());
        }
        assert!(brief.join().expect("no panic").is_nowhere());
        for route in hanging {
            assert!(route.join().expect("no panic").undecided.is_some());
        }
        assert!(router.threads() <= 4, "{} threads", router.threads());
    }

    #[tokio::test]
    async fn many_new_names_are_asked_about_at_once() {
        let router = router();
        let names: Vec<String> = (0..2000).map(|number| format!("name {number}")).collect();
        router.prepare(names.iter().map(String::as_str)).await;
        let known = names.iter().filter(|name| router.known(name).is_some());
        assert_eq!(known.count(), 1024, "as many as may be asked about at once");
        assert!(router.find(&names[1999]).await.is_nowhere());
    }
}
