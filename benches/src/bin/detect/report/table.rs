//! A report as tables, which are Markdown.

use super::{AT_THE_BAR, Of, OfJudge, Report};

impl Report {
    pub(crate) fn print(&self) {
        println!("Seeds {:?}. Events and seconds until caught: median, 90th percentile.", self.seeds);
        println!("Released: requests that succeeded before the first alert, and before the first automatic response:");
        println!("median, 90th percentile, most.");
        println!("A false alarm is an actor on a day, outside any attack on it. Intervals are of 95 %.\n");
        for (number, judge) in self.judges.iter().enumerate() {
            judge.print();
            // What the others' false alarms come from, and where else they could stand, nobody asks.
            if number == 0 {
                judge.print_causes();
                judge.print_curve();
            }
        }
        let names: Vec<_> = self.judges.iter().map(|judge| judge.name).collect();
        println!("## Attacks with an event above the threshold that lets 5 false alarms in 1000 agent-days pass\n");
        println!("| | {} |\n|---|{}", names.join(" | "), "---|".repeat(names.len()));
        for (number, scenario) in self.judges[0].scenarios.iter().enumerate() {
            let found = self.judges.iter().map(|judge| percent(judge.scenarios[number].curve[AT_THE_BAR]));
            println!("| {} | {} |", scenario.scenario, found.collect::<Vec<_>>().join(" | "));
        }
        println!("\n## The bar\n");
        println!("| | bar | {} | of the engine: 95 % interval, bar |", names.join(" | "));
        println!("|---|---|{}---|", "---|".repeat(names.len()));
        for (number, row) in self.judges[0].bar.iter().enumerate() {
            let reached: Vec<_> = self.judges.iter().map(|judge| figure(judge.bar[number].reached)).collect();
            let interval =
                row.interval.map_or(String::new(), |(low, high)| format!("{} to {}, ", figure(low), figure(high)));
            let met = if row.meets(row.bar) { "met" } else { "MISSED" };
            println!("| {} | {} | {} | {interval}{met} |", row.what, figure(row.bar), reached.join(" | "));
        }
    }
}

impl OfJudge {
    fn print(&self) {
        println!("## {}\n\n{:.2} us an event\n", self.name, self.microseconds_per_event);
        self.print_scenarios();
        self.print_false_alarms();
    }

    fn print_scenarios(&self) {
        println!(
            "| | attacks | alert | in 3 | events | seconds | auto | in 3 | events | seconds | released, alert | auto | AUC |"
        );
        println!("|---|---|---|---|---|---|---|---|---|---|---|---|---|");
        for scenario in &self.scenarios {
            let of = |of: &Of| {
                format!(
                    "{} | {} | {} | {}",
                    percent(of.caught),
                    percent(of.within_3),
                    pair(&of.events),
                    pair(&of.seconds)
                )
            };
            let [alert, automatic] = scenario.released;
            println!(
                "| {} | {} | {} | {} | {} | {} | {:.4} |",
                scenario.scenario,
                scenario.attacks,
                of(&scenario.alert),
                of(&scenario.automatic),
                of_three(alert),
                of_three(automatic),
                scenario.auc,
            );
        }
    }

    fn print_false_alarms(&self) {
        println!(
            "\nFalse alarms, in (actor, day) outside attacks:\n\n| | days | alert | automatic |\n|---|---|---|---|"
        );
        for of in &self.false_alarms {
            println!("| {} | {} | {} | {} |", of.actors, of.days, of.alert, of.automatic);
        }
        println!();
    }

    fn print_causes(&self) {
        for (title, causes) in [("detector that fired first", &self.causes), ("what was going on", &self.circumstances)]
        {
            println!("| false alarms by {title} | alert | automatic |\n|---|---|---|");
            for cause in causes {
                println!("| {} | {} | {} |", cause.what, cause.alert, cause.automatic);
            }
            println!();
        }
    }

    fn print_curve(&self) {
        println!(
            "\nOperating curve of the risk: attacks with an event above the threshold that lets so many false alarms"
        );
        println!("in 1000 agent-days pass\n");
        println!("| | {} |", self.curve_at.map(|rate| rate.to_string()).join(" | "));
        println!("|---|---|---|---|---|---|---|---|");
        for scenario in &self.scenarios {
            println!("| {} | {} |", scenario.scenario, scenario.curve.map(percent).join(" | "));
        }
        println!();
    }
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

fn pair(values: &[Option<f64>; 2]) -> String {
    match values {
        [Some(median), Some(most)] => format!("{median:.0}, {most:.0}"),
        _ => String::new(),
    }
}

fn of_three([median, high, most]: [f64; 3]) -> String {
    format!("{median:.0}, {high:.0}, {most:.0}")
}

fn figure(value: f64) -> String {
    if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.3}") }
}
