//! The Lambda function `webhooks`.

fn main() -> std::process::ExitCode {
    aegis_functions::lambda::main(aegis_functions::lambda::webhooks::answer)
}
