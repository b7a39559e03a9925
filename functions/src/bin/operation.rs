//! The Lambda function `operation`.

fn main() -> std::process::ExitCode {
    aegis_functions::lambda::main(aegis_functions::lambda::operation::answer)
}
