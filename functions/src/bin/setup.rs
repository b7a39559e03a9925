//! The Lambda function `setup`.

fn main() -> std::process::ExitCode {
    aegis_functions::lambda::main(aegis_functions::lambda::setup::answer)
}
