//! Cases about connecting, publishing and ending.

use std::time::Duration;

use evbus_sdk::__private::WRONG_COUNT;

use super::{Conformance, Report, ensure};
use crate::{Instance, Outcome, TestEvent};

impl Conformance {
    pub(super) async fn run_delivery(&self, report: &mut Report) {
        let t = self.within;
        report
            .add_timed("connects and closes", t, self.connects())
            .await;
        report
            .add_timed("accepts a batch", t, self.accepts_a_batch())
            .await;
        report
            .add_timed(
                "answers for each event of a batch and for no other",
                t,
                self.answers_for_each(),
            )
            .await;
        report
            .add_timed("takes an event without tags", t, self.takes_no_tags())
            .await;
        report
            .add_timed("takes bodies that are not JSON", t, self.takes_any_body())
            .await;
        report
            .add_timed(
                "answers a batch larger than its limits",
                t,
                self.large_batch(),
            )
            .await;
        report
            .add_timed(
                "answers a very large event and goes on",
                t,
                self.large_event(),
            )
            .await;
        report
            .add_timed(
                "answers what is in flight before it closes",
                t,
                self.close_in_flight(),
            )
            .await;
        report
            .add_timed(
                "answers a publish after the close",
                t,
                self.publish_closed(),
            )
            .await;
        report
            .add_timed("keeps two instances apart", t, self.two_instances())
            .await;
        report
            .add_timed(
                "can be dropped with batches in flight",
                t,
                self.dropped_in_flight(),
            )
            .await;
        report
            .add_timed("gives back every batch and host", t, self.gives_back())
            .await;
    }

    async fn connects(&self) -> Result<(), String> {
        let instance = self.connect(&self.config).await?;
        closed(&instance).await
    }

    async fn accepts_a_batch(&self) -> Result<(), String> {
        let instance = self.connect(&self.config).await?;
        self.all_accepted(&instance, self.events.clone()).await?;
        closed(&instance).await
    }

    /// A list of outcomes that does not fit its batch loses nothing, but delays events forever.
    async fn answers_for_each(&self) -> Result<(), String> {
        let instance = self.connect(&self.config).await?;
        for count in [1, 2, 7] {
            let events = vec![self.ordinary_event(); count];
            let answer = instance.publish(events).answer().await;
            ensure!(
                answer.beyond == 0,
                "outcomes beyond the end of a batch of {count} events: {}",
                answer.beyond
            );
            let short = |outcome: &&Outcome| outcome.reason().contains(WRONG_COUNT);
            if let Some(outcome) = answer.outcomes.iter().find(short) {
                return Err(outcome.reason().to_owned());
            }
            let seen = instance.seen();
            let line = seen
                .log
                .iter()
                .find(|line| line.message.contains(WRONG_COUNT));
            if let Some(line) = line {
                return Err(line.message.clone());
            }
        }
        closed(&instance).await
    }

    async fn takes_no_tags(&self) -> Result<(), String> {
        let instance = self.connect(&self.config).await?;
        let body = serde_json::json!({"tags": {}, "message": null, "run_name": ""});
        let event = TestEvent::json(self.profile(), body);
        self.all_accepted(&instance, vec![event]).await?;
        closed(&instance).await
    }

    /// Empty, text and binary bodies each get an answer, not the batch as a whole.
    async fn takes_any_body(&self) -> Result<(), String> {
        let instance = self.connect(&self.config).await?;
        let profile = self.profile();
        let events = vec![
            TestEvent::text(profile, ""),
            TestEvent::text(profile, "two\nlines, \u{1f680} and a \0"),
            TestEvent::bytes(profile, "application/msgpack", [0x81, 0xff, 0x00, 0xc1]),
            self.ordinary_event(),
        ];
        let outcomes = instance.publish_all(events, self.within).await;
        ensure!(
            outcomes.iter().all(Outcome::is_final),
            "undecided after all: {outcomes:?}"
        );
        ensure!(
            outcomes[3] == Outcome::Accepted,
            "an ordinary event beside them is not accepted: {:?}",
            outcomes[3]
        );
        closed(&instance).await
    }

    async fn large_batch(&self) -> Result<(), String> {
        let instance = self.connect(&self.config).await?;
        // A plugin that accepts millions at once is not tested for one more.
        let count = instance.limits().max_batch_events.min(20_000) as usize + 1;
        let events = vec![self.ordinary_event(); count];
        let outcomes = instance.publish(events).await;
        ensure!(
            !outcomes.contains(&Outcome::Dropped),
            "the batch was dropped without an answer"
        );
        self.all_accepted(&instance, vec![self.ordinary_event()])
            .await?;
        closed(&instance).await
    }

    async fn large_event(&self) -> Result<(), String> {
        let instance = self.connect(&self.config).await?;
        let body = format!("\"{}\"", "x".repeat(self.large_event_bytes));
        let event = TestEvent::bytes(self.profile(), "application/json", body);
        let outcomes = instance.publish(vec![event]).await;
        ensure!(
            outcomes != [Outcome::Dropped],
            "the event was dropped without an answer"
        );
        self.all_accepted(&instance, vec![self.ordinary_event()])
            .await?;
        closed(&instance).await
    }

    async fn close_in_flight(&self) -> Result<(), String> {
        let instance = self.connect(&self.config).await?;
        let published: Vec<_> = (0..in_flight(&instance))
            .map(|_| instance.publish(self.events.clone()))
            .collect();
        closed(&instance).await?;
        for batch in published {
            let outcomes = batch.await;
            ensure!(
                !outcomes.contains(&Outcome::Dropped),
                "a batch that was in flight was dropped without an answer"
            );
        }
        Ok(())
    }

    async fn publish_closed(&self) -> Result<(), String> {
        let instance = self.connect(&self.config).await?;
        closed(&instance).await?;
        let outcomes = instance.publish(vec![self.ordinary_event()]).await;
        ensure!(
            outcomes != [Outcome::Accepted],
            "a closed instance claims to have delivered an event"
        );
        Ok(())
    }

    async fn two_instances(&self) -> Result<(), String> {
        let second_config = self.second_config.as_ref().unwrap_or(&self.config);
        let first = self.connect(&self.config).await?;
        let second = self.connect(second_config).await?;
        self.all_accepted(&second, self.events.clone()).await?;
        closed(&first).await?;
        drop(first);
        self.all_accepted(&second, self.events.clone()).await?;
        closed(&second).await
    }

    async fn dropped_in_flight(&self) -> Result<(), String> {
        let instance = self.connect(&self.config).await?;
        let published: Vec<_> = (0..in_flight(&instance))
            .map(|_| instance.publish(self.events.clone()))
            .collect();
        drop(instance);
        for batch in published {
            // Any outcome is accepted, even a dropped completion, but not an endless wait.
            drop(batch.await);
        }
        let instance = self.connect(&self.config).await?;
        self.all_accepted(&instance, vec![self.ordinary_event()])
            .await?;
        closed(&instance).await
    }

    /// Runs last, when all instances have been dropped.
    async fn gives_back(&self) -> Result<(), String> {
        // Threads need a moment to end; this must not use up the time of the case.
        let within = self.within.min(Duration::from_secs(10));
        self.harness.all_given_back(within).await
    }

    async fn all_accepted(
        &self,
        instance: &Instance,
        events: Vec<TestEvent>,
    ) -> Result<(), String> {
        let outcomes = instance.publish_all(events, self.within).await;
        match outcomes
            .iter()
            .find(|outcome| **outcome != Outcome::Accepted)
        {
            Some(outcome) => Err(format!("an event was not accepted: {outcome:?}")),
            None => Ok(()),
        }
    }

    fn ordinary_event(&self) -> TestEvent {
        let body =
            serde_json::json!({"tags": {"ref": "conformance"}, "message": 1, "run_name": "r"});
        TestEvent::json(self.profile(), body)
    }

    /// The suite's own events use the same profile as the ordinary ones.
    fn profile(&self) -> &str {
        self.events.first().map_or("default", TestEvent::profile)
    }
}

fn in_flight(instance: &Instance) -> u32 {
    instance.limits().max_in_flight.clamp(1, 64)
}

async fn closed(instance: &Instance) -> Result<(), String> {
    ensure!(instance.close().await, "the close was not answered");
    Ok(())
}
