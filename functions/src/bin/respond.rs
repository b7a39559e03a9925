//! The Lambda function `respond`.

fn main() -> std::process::ExitCode {
    aegis_functions::lambda::main(aegis_functions::lambda::respond::answer)
}
