//! Core dumps: none of this process. Its memory holds keys, passphrases and tokens, and a dump is a file that outlives it.

use crate::Failure;

/// From its return on nothing that ends this process, or a child of it, leaves its memory on a disk.
///
/// On Linux the user's other programs cannot read its memory either: only root may trace it.
pub(crate) fn forbid() -> Result<(), Failure> {
    forbid_own()?;
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, setrlimit};
        let none = Rlimit { current: Some(0), maximum: Some(0) };
        setrlimit(Resource::Core, none).map_err(|error| Failure::because(WHAT, &error))?;
    }
    Ok(())
}

/// The same, but a child may dump what it holds: the limit is inherited, and the flag is not. On Linux only.
pub(crate) fn forbid_own() -> Result<(), Failure> {
    // The limit alone does not count where the system pipes dumps to a program (core(5)).
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};
        set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(|error| Failure::because(WHAT, &error))?;
    }
    Ok(())
}

#[cfg(unix)]
const WHAT: &str = "cannot turn core dumps off";

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use rustix::process::{DumpableBehavior, Resource, dumpable_behavior, getrlimit};

    /// In one test: both are the process's.
    #[test]
    fn neither_flag_nor_limit_lets_a_core_dump_happen() {
        let before = getrlimit(Resource::Core);
        forbid_own().unwrap();
        assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
        assert_eq!(getrlimit(Resource::Core), before, "a child keeps its limit");
        forbid().unwrap();
        let limit = getrlimit(Resource::Core);
        assert_eq!((limit.current, limit.maximum), (Some(0), Some(0)));
    }
}
