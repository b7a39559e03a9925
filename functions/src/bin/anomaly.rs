//! The Lambda function `anomaly`.

fn main() -> std::process::ExitCode {
    aegis_functions::lambda::main(aegis_functions::lambda::anomaly::answer)
}
