//! The Lambda function `scheduled`.

fn main() -> std::process::ExitCode {
    aegis_functions::lambda::main(aegis_functions::lambda::scheduled::answer)
}
