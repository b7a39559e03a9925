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

fn replay(format: Format, input: &[u8]) -> Result<(Vec<String>, Vec<serde_json::Value>), String> {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    std::fs::write(path("in"), input).unwrap();
    let arguments = Arguments {
        files: vec![path("in")],
        format,
        verdicts: Some(path("verdicts")),
        recommendations: Some(path("recommendations")),
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
    assert!(recommendations.iter().any(|one| one["detector"] == "scope_violation" && one["grade"] == 2));
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
fn what_cannot_be_read_is_named_by_its_line() {
    let good = events().lines().next().unwrap().to_string();
    let table = [
        (format!("{good}\n{{\"ts\":1}}\n"), "line 2 is not an event: missing field `actor`"),
        (format!("{good}\n\n{good}\n"), "line 2 is not an event: EOF while parsing a value"),
        (format!("{good}\nnonsense\n"), "line 2 is not an event: expected ident"),
        (good.replace("1767225600", "-5"), "line 1: ts is no time in Unix seconds"),
        (good.replace("1767225600", "1e300"), "line 1: ts is no time in Unix seconds"),
    ];
    for (input, want) in table {
        let told = replay(Format::Events, input.as_bytes()).unwrap_err();
        assert!(told.contains(want), "{told}");
    }
    assert!(replay(Format::Events, b"\x1f\x8bnot gzip").unwrap_err().contains("line 1"));
    assert!(replay(Format::Cloudtrail, b"{}").unwrap_err().contains("is no log file of CloudTrail"));
}

#[test]
fn records_of_no_key_have_a_line_of_their_own() {
    let record = include_str!("../../../events/samples/audit-record.json");
    let record: serde_json::Value = serde_json::from_str(record).unwrap();
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
