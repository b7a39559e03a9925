//! The commands as people type them, against a real server. Each file in `transcripts/` is a shell session: lines with
//! `$` are run, the rest is what they print, `[3]` an exit code. Ids, times, tokens and ports have placeholders;
//! `<key-1>` is the same key wherever it stands, in commands too. `AEGIS_UPDATE_TRANSCRIPTS=1` writes the files anew.

#![cfg(unix)]

#[cfg(test)]
mod transcripts {
    use aegis_core::ambient::Timestamp;
    use aegis_core::deployment::{Deployment, RulesDocument};
    use aegis_core::repository::{self, Document, Loaded};
    use aegis_core::store::{Expect, Store};
    use aegis_embedded::store::SqliteStore;
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
    use std::collections::BTreeMap;
    use std::io::{BufRead, BufReader, Lines, Write};
    use std::os::unix::fs::OpenOptionsExt;
    use std::path::{Path, PathBuf};
    use std::process::{Child, ChildStdout, Command, Stdio};

    const AEGIS: &str = env!("CARGO_BIN_EXE_aegis");
    const ROOT: &str = "the passphrase of the root key";
    const ALICE: &str = "the passphrase of alice";

    #[test]
    fn session() {
        check("session");
    }

    #[test]
    fn contexts() {
        check("contexts");
    }

    #[test]
    fn keys() {
        check("keys");
    }

    #[test]
    fn keys_from_elsewhere() {
        check("keys-from-elsewhere");
    }

    #[test]
    fn risk() {
        check("risk");
    }

    #[test]
    fn signing() {
        check("signing");
    }

    #[test]
    fn encryption() {
        check("encryption");
    }

    #[test]
    fn agents() {
        check("agents");
    }

    #[test]
    fn exec() {
        check("exec");
    }

    #[test]
    fn mcp() {
        check("mcp");
    }

    #[test]
    fn humans() {
        check("humans");
    }

    #[test]
    fn recommendations() {
        check("recommendations");
    }

    #[test]
    fn webhooks() {
        check("webhooks");
    }

    #[test]
    fn audit() {
        check("audit");
    }

    #[test]
    fn rules() {
        check("rules");
    }

    #[test]
    fn approvals() {
        let dir = folder();
        drop(serve(&dir));
        ask_before_broad_scopes(&dir.path().join("data"));
        let server = serve(&dir);
        play("approvals", &dir, &server);
    }

    #[test]
    fn access() {
        check("access");
    }

    #[test]
    fn usage() {
        check("usage");
    }

    #[test]
    fn replay() {
        let dir = folder();
        for name in ["events.jsonl", "cloudtrail.json"] {
            let recorded = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded").join(name);
            std::fs::copy(recorded, dir.path().join(name)).unwrap();
        }
        play_alone("replay", &dir);
    }

    #[test]
    fn demo_step_up() {
        let dir = folder();
        play_alone("demo-step-up", &dir);
    }

    #[test]
    fn demo_mcp() {
        let dir = folder();
        play_alone("demo-mcp", &dir);
    }

    /// How many signatures are released before it is stopped depends on how fast the machine is; what must hold does not.
    #[test]
    fn demo_burst_stops_the_burst_and_leaves_the_sibling_alone() {
        let (printed, code) = run(&folder(), "", "aegis demo burst --json");
        assert_eq!(code, 0, "{printed}");
        let told: serde_json::Value = serde_json::from_str(&printed).unwrap();
        assert_eq!(told["held"], true, "{printed}");
        let (burst, sibling) = (&told["story"]["burst"], &told["story"]["sibling"]);
        assert_eq!((burst["attempts"].as_u64(), burst["released"].as_u64() <= Some(160)), (Some(240), true), "{burst}");
        assert!(burst["released"].as_u64() > Some(0), "a burst that releases nothing shows nothing: {burst}");
        assert!(burst["risk"]["score"].as_f64() > Some(0.5), "{burst}");
        let counts = ["before", "during", "after", "refused"].map(|when| sibling[when].as_u64());
        assert_eq!(counts, [Some(15), Some(3), Some(3), Some(0)], "{sibling}");
        assert_eq!(told["story"]["state"], "frozen", "{printed}");
    }

    #[test]
    fn follow_shows_what_happens_after_it_began_and_not_itself() {
        let (dir, server) = deployment();
        let mut seen = Seen::new(&server);
        run(
            &dir,
            &server.url,
            &seen.real("AEGIS_ENROLMENT_CODE=<code> aegis login --human alice@org --passphrase-file alice --enrol"),
        );
        let mut following = spawn(&dir, Some(&server.url), &["audit", "--follow"]);
        let mut lines = lines(&mut following).map(Result::unwrap);
        // Once it has printed a line, its first question is answered: what follows is news.
        lines.next().unwrap();
        let mut news = lines.filter(|line| !line.contains("human.login") && !line.contains("whoami"));
        for name in ["invoice-2026", "treasury"] {
            run(&dir, &server.url, &format!("aegis key create {name} --algorithm Ed25519"));
            let next = news.next().unwrap();
            let columns: Vec<&str> = next.split_whitespace().skip(1).take(3).collect();
            assert_eq!(columns, ["ok", "key.create", "alice@org"], "{next}");
        }
        following.kill().unwrap();
        following.wait().unwrap();
    }

    #[test]
    fn recommendations_follow_shows_each_that_is_raised_after_it_began_once() {
        let (dir, server) = deployment();
        let mut seen = Seen::new(&server);
        let mut aegis = |command: &str| run(&dir, &server.url, &seen.real(command)).0;
        aegis("AEGIS_ENROLMENT_CODE=<code> aegis login --human alice@org --passphrase-file alice --enrol");
        for key in ["invoices", "treasury"] {
            aegis(&format!("aegis key create {key} --algorithm Ed25519 --activate"));
        }
        let mut leaves_its_scope = |label: &str| {
            aegis(&format!("aegis agent issue --label {label} --purpose service --scopes key:invoices:sign"));
            let sign =
                format!("AEGIS_TOKEN=$(aegis agent token {label} --quiet) aegis sign treasury invoice.json --base64");
            let refused = aegis(&sign);
            assert!(refused.contains("scope_violation"), "{refused}");
            aegis(&format!("aegis agent get {label} --json | grep -o 'agt_[0-9a-f]*' | head -n 1")).trim().to_string()
        };
        leaves_its_scope("before");
        let mut following = spawn(&dir, Some(&server.url), &["recommendations", "follow"]);
        let mut lines = lines(&mut following).map(Result::unwrap);
        // Once its first question is on record, what follows is news.
        while !run(&dir, &server.url, "aegis audit --op recommendation.list").0.contains("alice@org") {}
        for label in ["one", "two"] {
            let agent = leaves_its_scope(label);
            let next = lines.next().unwrap();
            let columns: Vec<&str> = next.split("  ").skip(1).take(4).collect();
            assert_eq!(columns, ["high", "scope_violation", &agent, "freeze_agent, alert"], "{next}");
        }
        following.kill().unwrap();
        following.wait().unwrap();
    }

    #[test]
    fn quickstart_leads_to_a_signature_and_serves_until_it_is_told_to_stop() {
        let dir = folder();
        let mut child = spawn(
            &dir,
            None,
            &[
                "quickstart",
                "--data",
                "data",
                "--listen",
                "127.0.0.1:0",
                "--human",
                "alice@org",
                "--passphrase-file",
                "both",
            ],
        );
        let mut printed = Vec::new();
        let mut seen = Seen::default();
        for line in lines(&mut child) {
            let line = line.unwrap();
            if let Some(url) = line.strip_prefix("listening on ") {
                seen.known.insert("url".to_string(), url.to_string());
            }
            if let Some((_, code)) = line.split_once("AEGIS_ENROLMENT_CODE=") {
                let code = code.split(' ').next().unwrap_or_default();
                seen.known.insert("code".to_string(), code.to_string());
            }
            printed.push(line);
            if printed.last().unwrap().starts_with("Serving") {
                break;
            }
        }
        let stopped = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
        assert!(stopped.success());
        assert!(child.wait().unwrap().success());
        let printed = format!("{}\n", printed.iter().map(|line| seen.masked(line)).collect::<Vec<_>>().join("\n"));
        compare("quickstart", &printed);
    }

    /// Plays a transcript's commands, and compares what they print.
    fn check(name: &str) {
        let (dir, server) = deployment();
        play(name, &dir, &server);
    }

    fn play(name: &str, dir: &tempfile::TempDir, server: &Server) {
        play_with(name, dir, &server.url, Seen::new(server));
    }

    /// Commands that ask no server.
    fn play_alone(name: &str, dir: &tempfile::TempDir) {
        play_with(name, dir, "", Seen::default());
    }

    fn play_with(name: &str, dir: &tempfile::TempDir, url: &str, mut seen: Seen) {
        let wanted = std::fs::read_to_string(fixture(name)).unwrap();
        seen.known.insert("dir".to_string(), dir.path().to_str().unwrap().to_string());
        let mut played = String::new();
        for line in wanted.lines().filter(|line| line.starts_with(['$', '#'])) {
            let gap = if line.starts_with('#') && !played.is_empty() { "\n" } else { "" };
            played.push_str(&format!("{gap}{line}\n"));
            let Some(command) = line.strip_prefix("$ ") else { continue };
            let (printed, code) = run(dir, url, &seen.real(command));
            played.push_str(&seen.masked(&printed));
            if code != 0 {
                played.push_str(&format!("[{code}]\n"));
            }
        }
        compare(name, &played);
    }

    fn compare(name: &str, played: &str) {
        let path = fixture(name);
        if std::env::var_os("AEGIS_UPDATE_TRANSCRIPTS").is_some() {
            std::fs::write(&path, played).unwrap();
        }
        let wanted = std::fs::read_to_string(&path).unwrap();
        let at = wanted.lines().zip(played.lines()).position(|(wanted, played)| wanted != played);
        assert!(wanted == played, "{name} differs, first in line {:?}:\n{played}", at.map(|line| line + 1));
    }

    fn fixture(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts").join(format!("{name}.txt"))
    }

    /// A shell command's output, both streams in order, and its exit code.
    fn run(dir: &tempfile::TempDir, url: &str, command: &str) -> (String, i32) {
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(format!("exec 2>&1; {command}"));
        let output = prepare(&mut shell, dir, Some(url)).stdin(Stdio::null()).output().unwrap();
        (String::from_utf8(output.stdout).unwrap(), output.status.code().unwrap())
    }

    fn spawn(dir: &tempfile::TempDir, url: Option<&str>, arguments: &[&str]) -> Child {
        let mut command = Command::new(AEGIS);
        prepare(command.args(arguments), dir, url).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap()
    }

    /// In a folder of its own, with nothing of the tester's own sessions, and `aegis` in the path.
    fn prepare<'c>(command: &'c mut Command, dir: &tempfile::TempDir, url: Option<&str>) -> &'c mut Command {
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("AEGIS_")) {
            command.env_remove(name);
        }
        let bin = Path::new(AEGIS).parent().unwrap();
        let path = std::env::join_paths([bin, Path::new("/usr/bin"), Path::new("/bin")]).unwrap();
        command.current_dir(dir.path()).env("AEGIS_HOME", dir.path().join("home")).env("PATH", path);
        // No test writes to the keychain of whoever runs it.
        command.env("AEGIS_SESSIONS", "file");
        url.map(|url| command.env("AEGIS_URL", url));
        command
    }

    fn lines(child: &mut Child) -> Lines<BufReader<ChildStdout>> {
        BufReader::new(child.stdout.take().unwrap()).lines()
    }

    /// A folder with the files that transcripts use.
    fn folder() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let files = [("root", ROOT.to_string()), ("alice", ALICE.to_string()), ("both", format!("{ROOT}\n{ALICE}\n"))];
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        std::fs::write(dir.path().join("invoice.json"), "{\"total\":100}\n").unwrap();
        std::fs::create_dir(dir.path().join("stick")).unwrap();
        std::fs::write(dir.path().join("aegis.toml"), "[backends.stick]\nkind = \"folder\"\npath = \"stick\"\n")
            .unwrap();
        std::fs::write(dir.path().join("stick/.aegis-keys"), "").unwrap();
        private_key(&dir.path().join("legacy.pem"), "PRIVATE KEY");
        private_key(&dir.path().join("stick/payments.pem"), "PRIVATE KEY");
        private_key(&dir.path().join("old-form.pem"), "EC PRIVATE KEY");
        std::fs::write(dir.path().join("archive.key"), [7; 32]).unwrap();
        dir
    }

    /// A fresh key of P-256 in PKCS#8, as `openssl genpkey` writes it if `label` is that of PKCS#8.
    fn private_key(path: &Path, label: &str) {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap().to_pkcs8v1().unwrap();
        let pem = pem_rfc7468::encode_string(label, pem_rfc7468::LineEnding::LF, pair.as_ref()).unwrap();
        let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        file.unwrap().write_all(pem.as_bytes()).unwrap();
    }

    struct Server {
        child: Child,
        url: String,
        code: String,
    }

    impl Drop for Server {
        fn drop(&mut self) {
            self.child.kill().unwrap();
            self.child.wait().unwrap();
        }
    }

    fn deployment() -> (tempfile::TempDir, Server) {
        let dir = folder();
        let server = serve(&dir);
        (dir, server)
    }

    /// Response rules under which an agent whose scope names more than four keys or labels must ask a human.
    fn ask_before_broad_scopes(data: &Path) {
        let store = SqliteStore::open(data).unwrap();
        let rules = RulesDocument {
            version: 1,
            toml: "[thresholds]\nstandard = { step_up = 0.001, deny = 2.0 }\n".to_string(),
            created_at: Timestamp::UNIX_EPOCH,
            created_by: "alice@org".to_string(),
        };
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let found: Option<Loaded<Deployment>> =
                repository::load(&store, &repository::deployment_item()).await.unwrap();
            let mut found = found.unwrap();
            found.value.rules_version = rules.version;
            store.transact(vec![rules.put(Expect::Absent).unwrap(), found.replace().unwrap()]).await.unwrap();
        });
    }

    fn serve(dir: &tempfile::TempDir) -> Server {
        let arguments = ["--data", "data", "--listen", "127.0.0.1:0", "--passphrase-file", "root"];
        let arguments = [["serve", "--config", "aegis.toml"].as_slice(), &arguments].concat();
        let mut child = spawn(dir, None, &arguments);
        let mut said = lines(&mut child);
        let mut next = |before: &str| said.next().unwrap().unwrap().strip_prefix(before).unwrap().to_string();
        let (code, url) = (next("enrolment code: "), next("aegis listening on "));
        Server { child, url, code }
    }

    /// `approval-code-1` is no approval.
    fn is_numbered(name: &str, kind: &str) -> bool {
        let number = name.strip_prefix(kind).and_then(|rest| rest.strip_prefix('-'));
        number.is_some_and(|number| number.bytes().all(|b| b.is_ascii_digit()))
    }

    /// What differs from run to run, and the placeholder each stands behind.
    #[derive(Default)]
    struct Seen {
        known: BTreeMap<String, String>,
    }

    impl Seen {
        fn new(server: &Server) -> Self {
            let known = [("url", &server.url), ("code", &server.code)];
            Self { known: known.map(|(name, value)| (name.to_string(), value.clone())).into() }
        }

        /// A command as it can be run.
        fn real(&mut self, command: &str) -> String {
            let known = self.known.iter();
            known.fold(command.to_string(), |text, (name, value)| text.replace(&format!("<{name}>"), value))
        }

        /// An output as it can be compared.
        fn masked(&mut self, output: &str) -> String {
            let mut masked = String::new();
            let mut rest = output;
            while let Some(c) = rest.chars().next() {
                let begins = !masked.ends_with(|c: char| c.is_ascii_alphanumeric());
                let found = if begins { self.placeholder(rest) } else { None };
                match found {
                    Some((placeholder, length)) => {
                        masked.push_str(&format!("<{placeholder}>"));
                        rest = rest.split_at(length).1;
                    }
                    None => {
                        masked.push(c);
                        rest = rest.split_at(c.len_utf8()).1;
                    }
                }
            }
            masked
        }

        fn placeholder(&mut self, text: &str) -> Option<(String, usize)> {
            for (name, value) in &self.known {
                if text.starts_with(value.as_str()) {
                    return Some((name.clone(), value.len()));
                }
            }
            let run = |allowed: &dyn Fn(u8) -> bool| text.bytes().take_while(|b| allowed(*b)).count();
            let kinds = [
                ("acr_", "access-request"),
                ("key_", "key"),
                ("agt_", "agent"),
                ("apr_", "approval"),
                ("crd_", "credential"),
                ("rcm_", "recommendation"),
                ("rec_", "record"),
                ("req_", "request"),
                ("crd_", "credential"),
                ("dlv_", "delivery"),
                ("rec_", "record"),
                ("req_", "request"),
                ("whk_", "webhook"),
            ];
            for (prefix, kind) in kinds.into_iter().filter(|(prefix, _)| text.starts_with(prefix)) {
                let hex = |b: u8| b.is_ascii_hexdigit();
                let id = text.get(..prefix.len() + 32).unwrap_or_default();
                if !id.is_empty() && id.bytes().skip(prefix.len()).all(hex) {
                    let next = self.known.keys().filter(|name| is_numbered(name, kind)).count() + 1;
                    self.known.insert(format!("{kind}-{next}"), id.to_string());
                    return Some((format!("{kind}-{next}"), id.len()));
                }
            }
            let time = run(&|b| b.is_ascii_digit() || b"-:.TZ".contains(&b));
            if time >= 20 && text.as_bytes()[10] == b'T' {
                return Some(("time".to_string(), time));
            }
            let code = text.get(..9).filter(|code| {
                let letter = |b: u8| b.is_ascii_digit() || b.is_ascii_uppercase();
                code.bytes().enumerate().all(|(place, b)| if place == 4 { b == b'-' } else { letter(b) })
            });
            if let Some(code) = code.filter(|_| run(&|b| b.is_ascii_alphanumeric() || b == b'-') == 9) {
                let next = self.known.keys().filter(|name| name.starts_with("approval-code-")).count() + 1;
                self.known.insert(format!("approval-code-{next}"), code.to_string());
                return Some((format!("approval-code-{next}"), 9));
            }
            let token = run(&|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
            if text.starts_with("eyJ") && token >= 20 {
                return Some(("token".to_string(), token));
            }
            let base64 = run(&|b| b.is_ascii_alphanumeric() || b"+/".contains(&b));
            if base64 >= 20 {
                let padding = text.bytes().skip(base64).take_while(|b| *b == b'=').count();
                return Some(("base64".to_string(), base64 + padding));
            }
            let number = run(&|b| b.is_ascii_digit());
            // Microseconds a request took; or a moment in Unix seconds.
            let varies = text.split_at(number).1.starts_with(" us") || number == 10;
            (number > 0 && varies).then(|| ("number".to_string(), number))
        }
    }
}
