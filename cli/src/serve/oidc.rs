//! How an identity provider's keys are fetched: tested here, where there is a server to speak TLS.

use aegis_core::ambient::Timestamp;
use aegis_core::error::Error;
use aegis_core::login::ProviderKeys;
use aegis_functions::oidc::{FetchedKeys, Issuer, Source, Unusable};
use jsonwebtoken::jwk::Jwk;
use std::sync::{Arc, Mutex};

mod tests;
