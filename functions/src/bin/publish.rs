//! The Lambda function `publish`.

fn main() -> std::process::ExitCode {
    aegis_functions::lambda::main(aegis_functions::lambda::publish::answer)
}
