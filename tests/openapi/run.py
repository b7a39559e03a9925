"""Schemathesis against a fresh server: as a human with every role, as an agent, and at last the human who stops herself.

Usage: run.py EXAMPLES, with AEGIS_BIN in the environment. The last line counts operations, in the words of libtest.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "interop"))

from aegis_client import HUMAN, Aegis  # noqa: E402

# Who proposes what the other confirms.
SECOND = "bob@org"
SETTINGS = "unverified_per_minute = 10000000\nrequests_per_minute = 10000000\n"
# What its messages are, no OpenAPI document says: the suite `mcp` tests them.
JSON_RPC = "/mcp"
# An agent whose scope names some sixty keys or labels must ask a human, whatever the key; and there is something to undo.
RULES = """
[budget]
per_hour = 5

[thresholds]
standard = { step_up = 0.08, deny = 2.0 }

[[rule]]
name = "scope"
detectors = ["scope_violation", "scope_probe"]
actions = ["freeze_agent"]
inline = true
"""
CHECKS = ",".join([
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "positive_data_acceptance",
    "allow_header_conformance",
    "missing_required_header",
    "unsupported_method",
    "ignored_auth",
])


def main():
    examples = int(sys.argv[1])
    # Each agent that is stopped would be a warning.
    os.environ.setdefault("AEGIS_LOG", "error")
    with tempfile.TemporaryDirectory(prefix="aegis-stick-") as stick:
        os.environ["AEGIS_STICK"] = stick
        (pathlib.Path(stick) / ".aegis-keys").touch()
        server = Aegis(SETTINGS + f'[backends.stick]\nkind = "folder"\npath = "{stick}"\n')
        server.start()
        try:
            server.enrol_second(SECOND)
            server.restart_with_rules(RULES)
            runs = [
                run(server, "human", examples, []),
                run(server, "agent", max(1, examples // 5), []),
                run(server, "human", 1, ["--include-path", "/v1/humans/{human}/revoke"], AEGIS_LAST="1"),
            ]
            unreached = operations(server) - set.union(*(reached for _, _, reached in runs))
        finally:
            server.stop()
    if unreached:
        print("never answered with success, so no reply was compared:", *sorted(unreached), sep="\n  ")
    passed = sum(passed for passed, _, _ in runs)
    failed = sum(failed for _, failed, _ in runs) + len(unreached)
    print(f"test result: {'FAILED' if failed else 'ok'}. {passed} passed; {failed} failed; 0 ignored")
    sys.exit(bool(failed))


def operations(server):
    """All but the one that Schemathesis does not test, because it reads the document there, the one it shall not, and two
    that need not succeed here: one does at AWS KMS alone, where the suite `aws-kms` asks it; the other is for agents, to whom few
    calls are left, and the scenarios `envelopes` have its replies."""
    paths = server.call("GET", "/v1/openapi.json")["paths"]
    return {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods} - {
        "GET /v1/openapi.json",
        f"POST {JSON_RPC}",
        "GET /v1/keys/{key}/lockdown",
        "POST /v1/agent-ai/keys/{key}/open",
    }


def run(server, who, examples, more, **environment):
    """How many operations held, how many did not, and which of them ever succeeded."""
    print(f"\nas {'an' if who == 'agent' else 'a'} {who}, {examples} examples", flush=True)
    with tempfile.TemporaryDirectory(prefix="aegis-schemathesis-") as folder:
        report, succeeded = (pathlib.Path(folder) / name for name in ("report.json", "succeeded.json"))
        command = [str(pathlib.Path(sys.executable).parent / "schemathesis"), "run", f"{server.base}/v1/openapi.json"]
        command += ["--checks", CHECKS, "--max-examples", str(examples), "--seed", "1", "--generation-deterministic"]
        command += ["--continue-on-failure", "--warnings", "off", "--no-color"]
        command += [] if "--include-path" in more else ["--exclude-path", JSON_RPC]
        command += ["--report", "json", "--report-json-path", str(report), *more]
        settings = {
            **os.environ,
            "AEGIS_URL": server.base,
            "AEGIS_AS": who,
            "AEGIS_SECOND": SECOND,
            "AEGIS_SUCCEEDED": str(succeeded),
            "SCHEMATHESIS_HOOKS": "hooks",
            "PYTHONPATH": f"{HERE}:{HERE.parent / 'interop'}",
            "no_proxy": "127.0.0.1",
            **environment,
        }
        code = subprocess.run(command, cwd=folder, env=settings, stdin=subprocess.DEVNULL).returncode
        found, reached = json.loads(report.read_text()), set(json.loads(succeeded.read_text()))
    at_fault = {operation for failure in found["failures"] for operation in failure["operations"]}
    failed = max(len(at_fault), len(found["errors"]), int(code != 0))
    return max(0, found["operations"]["tested"] - failed), failed, reached


if __name__ == "__main__":
    main()
