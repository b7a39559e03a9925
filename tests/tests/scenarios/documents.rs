//! What README and docs say is what the program does.

use aegis_tests::process::aegis;
use std::path::{Path, PathBuf};
use std::process::Command;

/// With `AEGIS_BLESS` set, README is written instead.
#[test]
fn the_demo_says_what_readme_shows() {
    let output = Command::new(aegis()).arg("demo").output().unwrap();
    assert!(output.status.success());
    let said = String::from_utf8(output.stdout).unwrap().replace(aegis().to_str().unwrap(), "aegis");
    let said: Vec<String> = said.lines().map(without_measures).collect();
    let said = said.join("\n") + "\n";
    let path = root().join("README.md");
    let readme = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = readme.split_once("<!-- transcript: aegis demo -->\n```text\n").unwrap();
    let (shown, after) = rest.split_once("```\n").unwrap();
    if std::env::var_os("AEGIS_BLESS").is_some() {
        let text = format!("{before}<!-- transcript: aegis demo -->\n```text\n{said}```\n{after}");
        std::fs::write(&path, text).unwrap();
    } else {
        assert_eq!(shown, said, "bless README.md");
    }
}

/// With `AEGIS_BLESS` set, the page is written instead.
#[test]
fn the_tools_of_mcp_are_what_its_page_says() {
    let path = root().join("docs/MCP.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (begin, end) = ("<!-- generated: mcp tools -->\n", "<!-- end -->\n");
    let (before, rest) = page.split_once(begin).unwrap();
    let (shown, after) = rest.split_once(end).unwrap();
    let reference = aegis_functions::mcp::reference();
    if std::env::var_os("AEGIS_BLESS").is_some() {
        std::fs::write(&path, format!("{before}{begin}{reference}{end}{after}")).unwrap();
    } else {
        assert_eq!(shown, reference, "bless docs/MCP.md");
    }
}

#[test]
fn every_error_code_is_explained() {
    let usage = std::fs::read_to_string(root().join("docs/USAGE.md")).unwrap();
    for (code, status) in aegis_functions::PROBLEMS {
        let row = usage.lines().find(|line| line.starts_with('|') && line.contains(&format!("`{code}`")));
        assert!(row.is_some_and(|row| row.contains(&status.to_string())), "{code} {status}");
    }
}

#[test]
fn the_tests_that_the_architecture_names_exist() {
    let page = std::fs::read_to_string(root().join("docs/ARCHITECTURE.md")).unwrap();
    let sources: Vec<(String, String)> = std::fs::read_dir(root().join("tests/tests/scenarios"))
        .unwrap()
        .map(|file| file.unwrap().path())
        .filter(|path| path.is_file())
        .map(|path| (path.file_stem().unwrap().to_string_lossy().into_owned(), std::fs::read_to_string(path).unwrap()))
        .collect();
    let mut named = 0;
    for (module, source) in &sources {
        for test in page.split('`').filter_map(|text| text.strip_prefix(&format!("{module}::"))) {
            let is_test = test.starts_with(|c: char| c.is_ascii_lowercase());
            assert!(!is_test || source.contains(&format!("fn {test}(")), "{module}::{test}");
            named += 1;
        }
    }
    assert!(named >= 8);
}

/// Numbers that differ from run to run, as `#`.
fn without_measures(line: &str) -> String {
    for unit in [" ms", " signatures a second"] {
        if let Some((before, after)) = line.split_once(unit) {
            let number = before.len() - before.bytes().rev().take_while(|b| b.is_ascii_digit() || *b == b'.').count();
            let (kept, number) = before.split_at(number);
            let kept = if kept.trim().is_empty() && !line.contains("as the agent") { "    " } else { kept };
            if !number.is_empty() {
                return format!("{kept}#{unit}{after}");
            }
        }
    }
    line.to_string()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}
