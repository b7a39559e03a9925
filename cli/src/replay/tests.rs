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
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(events().as_bytes()).unwrap();
    let packed = replay(Format::Events, &packed.finish().unwrap()).unwrap();
    assert_eq!(packed, replay(Format::Events, events().as_bytes()).unwrap());
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
        ("nonsense\nnonsense".to_string(), "none of 2 lines can be replayed: "),
    ];
    for (input, want) in table {
        let told = replay(Format::Events, format!("{input}\n").as_bytes()).unwrap_err();
        assert!(told.contains(want), "{told}");
    }
    assert!(replay(Format::Events, b"\x1f\x8bnot gzip").unwrap_err().contains("line 1"));
    assert!(replay(Format::Cloudtrail, b"{}").unwrap_err().contains("is no log file of CloudTrail"));
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

#[test]
fn cloudtrail_is_judged_in_the_order_of_time() {
    let call = |time: &str| json!({ "eventTime": time, "eventSource": "kms.amazonaws.com", "eventName": "Decrypt" });
    let log = json!({ "Records": [call("2026-11-01T10:00:00Z"), call("2026-11-01T09:00:00Z")] });
    let (verdicts, _) = replay(Format::Cloudtrail, log.to_string().as_bytes()).unwrap();
    assert_eq!(verdicts.len(), 2);
}
