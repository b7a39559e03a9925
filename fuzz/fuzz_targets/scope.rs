//! A scope that was read says in text and in JSON what it is, and is read back as itself.
#![no_main]

use aegis_core::name::KeyRef;
use aegis_core::scope::Scope;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let scope = match text.parse::<Scope<KeyRef>>() {
        Ok(scope) => scope,
        Err(_) => match serde_json::from_str::<Scope<KeyRef>>(text) {
            Ok(scope) if scope.check().is_ok() => scope,
            _ => return,
        },
    };
    scope.check().expect("what was read is within bounds");
    let shown = scope.to_string();
    assert_eq!(shown.parse::<Scope<KeyRef>>().as_ref(), Ok(&scope), "{shown}");
    let json = serde_json::to_string(&scope).unwrap();
    assert_eq!(serde_json::from_str::<Scope<KeyRef>>(&json).unwrap(), scope, "{json}");
});
