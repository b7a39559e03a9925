//! Key stores behind the port of `aegis_core::keystore`: a module and a feature each.
//!
//! What may be done with a key, and by whom, is decided before a key store is called.

#[cfg(feature = "aws-kms")]
pub mod aws_kms;
#[cfg(all(feature = "folder", unix))]
pub mod folder;
#[cfg(feature = "software")]
pub mod software;
