//! What holds on a deployment that is there already. `AEGIS_URL` says where its API is, `AEGIS_DEPLOYMENT` names the file
//! with what Terraform put out of it.

mod cli;
mod flagship;
mod gateway;
mod races;
