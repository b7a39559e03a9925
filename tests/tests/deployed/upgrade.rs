//! The functions of a deployment are replaced while agents use it.

use aegis_tests::account::{call, output};
use aegis_tests::message;
use aegis_tests::site::{EVERYTHING, site, wait_for};
use serde_json::json;
use std::path::PathBuf;

/// Somebody applies another version meanwhile, and writes a file once that is done.
#[test]
fn requests_go_on_while_functions_are_replaced() {
    let site = site();
    let uma = site.log_in("uma@org", &EVERYTHING);
    let name = site.name("upgraded");
    site.key(&uma, &name, "Ed25519");
    let (agent, token) = site.agent(&uma, &format!("key:{name}:sign"), "service");
    let sign = format!("/v1/keys/{name}/sign");
    let outputs = PathBuf::from(std::env::var_os("AEGIS_DEPLOYMENT").unwrap());
    let (is_there, done) = (outputs.with_file_name("upgrading"), outputs.with_file_name("upgraded"));
    std::fs::write(is_there, "").unwrap();
    let function = output("function_names")["op-key-sign"].clone();
    let code =
        || call("lambda", "get_function_configuration", &json!({ "FunctionName": function }))["CodeSha256"].clone();
    let (before, mut signed, mut cut_off) = (code(), 0, 0);
    while !done.exists() {
        let answer = site.post(&token, &sign, message(b"meanwhile"));
        match answer.status {
            200 => signed += 1,
            // AWS lets a call come to its end; the emulator ends the function that it replaces.
            500.. => cut_off += 1,
            _ => panic!("{answer:?}"),
        }
    }
    site.post(&token, &sign, message(b"afterwards")).ok();
    println!("{signed} signatures while functions were replaced, {cut_off} cut off");
    assert!(signed > 0 && cut_off <= 2, "of the authorizer, and of what signs");
    assert_ne!(code(), before, "nothing was replaced");
    let report = format!("/v1/audit?op=key.sign&outcome=ok&limit=200&agent={agent}");
    wait_for("the last record", || {
        let found = site.get(&uma, &report).ok();
        let items = found.get("items")?.as_array()?.len();
        (items > signed.min(199)).then_some(())
    });
}
