//! The Lambda function `mcp`.

fn main() -> std::process::ExitCode {
    aegis_functions::lambda::main(aegis_functions::lambda::mcp::answer)
}
