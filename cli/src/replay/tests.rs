use super::*;
use flate2::Compression;
use flate2::write::GzEncoder;

/// Ten days of an agent at work, then keys of others.
fn events() -> String {
    let mut lines = String::new();
    let mut add = |ts: u32, key: &str, outcome: &str| {
        let line = json!({
            "ts": ts, "actor": "agent-1", "kind": "agent", "parent": "alice@org", "source_ip": "10.0.0.7",
            "op": "sign", "resource": key, "user_agent": "sdk/1.0", "outcome": outcome, "unheard_of": [1],
        });
        lines.push_str(&format!("{line}\n"));
    };
    for n in 0..480 {
        add(1_767_225_600 + n * 1_800, "invoices", "ok");
    }
    for n in 0..3 {
        add(1_767_225_600 + 480 * 1_800 + n, &format!("treasury-{n}"), "denied");
    }
    lines
}

fn replay(format: Format, input: &[u8]) -> Result<(Vec<String>, Vec<Value>), String> {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    std::fs::write(path("in"), input).unwrap();
    let arguments = Arguments {
        files: vec![path("in")],
        format,
        verdicts: Some(path("verdicts")),
        recommendations: Some(path("recommendations")),
        rules: None,
    };
    run(&arguments, true).map_err(|failure| failure.to_string())?;
    let read = |name: &str| std::fs::read_to_string(path(name)).unwrap();
    let verdicts = read("verdicts").lines().map(String::from).collect();
    Ok((verdicts, read("recommendations").lines().map(|line| serde_json::from_str(line).unwrap()).collect()))
}

#[test]
fn each_event_has_one_verdict_of_three_fields_and_the_same_file_the_same_ones() {
    let events = events();
    let (verdicts, recommendations) = replay(Format::Events, events.as_bytes()).unwrap();
    assert_eq!(verdicts.len(), events.lines().count());
    for verdict in &verdicts {
        let fields: Vec<&str> = verdict.split(',').collect();
        assert_eq!(fields.len(), 3, "{verdict}");
        assert!((0.0..=1.0).contains(&fields[0].parse::<f64>().unwrap()), "{verdict}");
    }
    let grade = |n: usize| verdicts[n].split(',').nth(1).unwrap().to_string();
    assert_eq!((grade(479), grade(481), grade(482)), ("0".into(), "2".into(), "2".into()));
    assert!(recommendations.iter().any(|one| one["detector"] == "scope_violation" && one["replayed"]["grade"] == 2));
    assert_eq!(replay(Format::Events, events.as_bytes()).unwrap().0, verdicts);
}

#[test]
fn a_compressed_file_is_read_as_what_it_holds() {
    let unpacked = replay(Format::Events, &packed(&events())).unwrap();
    assert_eq!(unpacked, replay(Format::Events, events().as_bytes()).unwrap());
}

#[test]
fn where_no_line_can_be_read_the_first_is_named() {
    let good = events().lines().next().unwrap().to_string();
    let table = [
        ("{\"ts\":1}".to_string(), "line 1 is not an event: missing field `actor`"),
        (String::new(), "line 1 is not an event: EOF while parsing a value"),
        ("nonsense".to_string(), "line 1 is not an event: expected ident"),
        (good.replace("1767225600", "-5"), "line 1: ts is no time in Unix seconds"),
        (good.replace("1767225600", "1e300"), "line 1: ts is no time in Unix seconds"),
        ("x".repeat((1 << 20) + 1), "line 1 is longer than 1 MiB"),
        ("nonsense\nnonsense".to_string(), "none of 2 can be replayed: "),
    ];
    for (input, want) in table {
        let told = replay(Format::Events, format!("{input}\n").as_bytes()).unwrap_err();
        assert!(told.contains(want), "{told}");
    }
    assert!(replay(Format::Events, b"\x1f\x8bnot gzip").unwrap_err().contains("line 1"));
    assert_eq!(replay(Format::Events, b"").unwrap().0, Vec::<String>::new());
}

#[test]
fn a_line_that_is_no_event_has_a_verdict_of_its_own_and_changes_no_other() {
    let events = events();
    let (verdicts, recommendations) = replay(Format::Events, events.as_bytes()).unwrap();
    let long = "x".repeat((3 << 20) + 5);
    for (place, bad) in [(0, "nonsense"), (100, ""), (481, "{\"ts\":1}"), (483, &long)] {
        let mut lines: Vec<&str> = events.lines().collect();
        lines.insert(place, bad);
        let (mut with, told) = replay(Format::Events, lines.join("\n").as_bytes()).unwrap();
        assert_eq!(with.remove(place), "0.0000,0,invalid");
        assert_eq!(with, verdicts);
        assert_eq!(told.len(), recommendations.len());
    }
}

#[test]
fn recommendations_are_documents_of_the_api_and_name_the_line_and_what_the_rules_order() {
    let events = format!("nonsense\n{}", events());
    let (_, recommendations) = replay(Format::Events, events.as_bytes()).unwrap();
    for told in &recommendations {
        serde_json::from_value::<aegis_core::recommendation::AgentRecommendation>(told.clone()).unwrap();
    }
    let refused = recommendations.iter().find(|told| told["detector"] == "scope_violation").unwrap();
    assert_eq!(refused["evidence"]["line"], 483);
    assert_eq!(refused["sponsor"], "alice@org");
    let replayed = &refused["replayed"];
    assert_eq!((&replayed["actor"], &replayed["resource"]), (&json!("agent-1"), &json!("treasury-1")));
    assert_eq!(replayed["rule"], "scope-interactive");
    assert_eq!(replayed["would"], json!(["revoke_agent", "alert"]));
}

#[test]
fn records_of_no_key_have_a_line_of_their_own() {
    let record = include_str!("../../../events/samples/audit-record.json");
    let record: Value = serde_json::from_str(record).unwrap();
    let mut login = record.clone();
    login["operation"] = json!("human.login");
    login.as_object_mut().unwrap().retain(|name, _| name != "key" && name != "key_requested");
    let (verdicts, _) = replay(Format::Aegis, format!("{record}\n{login}\n").as_bytes()).unwrap();
    assert_eq!(verdicts.len(), 2);
    assert_eq!(verdicts[1], "0.0000,0,no use of a key");
}

fn call(time: &str) -> Value {
    json!({ "eventTime": time, "eventSource": "kms.amazonaws.com", "eventName": "Decrypt" })
}

/// A trail of as many calls, a second apart.
fn trail(calls: i64) -> Value {
    let time = |n| aegis_core::ambient::Timestamp::from_second(1_793_527_200 + n).unwrap().to_string();
    json!({ "Records": (0..calls).map(|n| call(&time(n))).collect::<Vec<_>>() })
}

fn packed(text: &str) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(text.as_bytes()).unwrap();
    packed.finish().unwrap()
}

#[test]
fn cloudtrail_is_judged_in_the_order_of_time() {
    let mut late = call("2026-11-01T10:00:00Z");
    late["userIdentity"] = json!({ "type": "IAMUser", "userName": "late" });
    let log = json!({ "Records": [late, call("2026-11-01T09:00:00Z")] });
    let mut taken = Vec::new();
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("in"), log.to_string()).unwrap();
    let mut input = Input::new(Format::Cloudtrail);
    let mut take = |entry| {
        let Entry::Event(event, _) = entry else { panic!("no event") };
        taken.push(event.actor);
        Ok(())
    };
    input.read(&dir.path().join("in"), &ProgressBar::hidden(), &mut take).unwrap();
    input.finish(&mut take).unwrap();
    assert_eq!(taken, ["unknown", "late"]);
}

#[test]
fn a_compressed_trail_is_read_as_what_it_holds() {
    let text = trail(2_000).to_string();
    let (verdicts, _) = replay(Format::Cloudtrail, &packed(&text)).unwrap();
    assert_eq!(verdicts.len(), 2_000);
    assert_eq!(verdicts, replay(Format::Cloudtrail, text.as_bytes()).unwrap().0);
    // A file may be made of several compressed ones.
    let (front, back) = text.split_at(70_000);
    let of_two = [packed(front), packed(back)].concat();
    assert_eq!(replay(Format::Cloudtrail, &of_two).unwrap().0, verdicts);
}

#[test]
fn a_record_that_is_none_is_counted_and_told_of_and_the_rest_is_judged() {
    let (verdicts, _) = replay(Format::Cloudtrail, trail(20).to_string().as_bytes()).unwrap();
    let mut log = trail(20);
    let records = log["Records"].as_array_mut().unwrap();
    records.insert(7, json!({ "eventTime": "2026-11-01T10:00:00Z" }));
    records.insert(12, json!({ "eventTime": "yesterday", "eventName": "Decrypt" }));
    let (mut with, _) = replay(Format::Cloudtrail, &packed(&log.to_string())).unwrap();
    assert_eq!(with.drain(..2).collect::<Vec<_>>(), ["0.0000,0,invalid"; 2]);
    assert_eq!(with, verdicts);
    // Where there is nothing else, nothing was replayed.
    let told = replay(Format::Cloudtrail, br#"{"Records":[{"eventName":"Decrypt"}]}"#).unwrap_err();
    assert!(told.ends_with("in, record 1 is not one of CloudTrail: missing field `eventTime`"), "{told}");
}

#[test]
fn of_a_trail_that_is_broken_the_file_is_named_and_the_last_record() {
    let text = trail(2_000).to_string();
    let whole = packed(&text);
    let mut wrong_sum = whole.clone();
    let sum = wrong_sum.len() - 8;
    wrong_sum[sum] ^= 1;
    let table: [(&[u8], &str); 6] = [
        (&whole[..whole.len() / 2], "in: broken after record "),
        (&whole[..30], "in: "),
        (&wrong_sum, "in: broken after record 2000: "),
        (&text.as_bytes()[..100_000], "in: broken after record "),
        (b"nonsense", "in: no log file of CloudTrail: expected ident"),
        (b"{}", "in: no log file of CloudTrail: missing field `Records`"),
    ];
    for (input, want) in table {
        let told = replay(Format::Cloudtrail, input).unwrap_err();
        assert!(told.starts_with("cannot read ") && told.contains(want), "{told}");
    }
    let told = replay(Format::Cloudtrail, &whole[..whole.len() / 2]).unwrap_err();
    let (_, after) = told.split_once("after record ").unwrap();
    let after: u32 = after.split(':').next().unwrap().parse().unwrap();
    assert!((1..2_000).contains(&after), "{told}");
}
