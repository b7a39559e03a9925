//! The Lambda function `authorizer`.

fn main() -> std::process::ExitCode {
    aegis_functions::lambda::main(aegis_functions::lambda::authorizer::answer)
}
