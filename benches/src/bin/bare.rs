//! A bare server that only signs: what a signature over HTTP costs with nothing checked and nothing recorded. The same
//! framework, the same JSON and the same crypto library as Aegis.

#![expect(clippy::unwrap_used, reason = "a measuring tool: what fails ends it")]

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RSA_PSS_SHA256};
use axum::extract::{Json, State};
use axum::{Router, routing::post};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

enum Key {
    Ed25519(Ed25519KeyPair),
    P256(EcdsaKeyPair),
    Rsa2048(KeyPair),
}

#[derive(Deserialize)]
struct SignRequest {
    message: String,
}

#[derive(Serialize)]
struct SignReply {
    signature: String,
}

#[tokio::main]
async fn main() {
    let random = SystemRandom::new();
    let key = match std::env::args().nth(1).unwrap().as_str() {
        "Ed25519" => Key::Ed25519(Ed25519KeyPair::generate().unwrap()),
        "ECDSA-P256" => {
            let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).unwrap();
            Key::P256(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.as_ref()).unwrap())
        }
        _ => Key::Rsa2048(KeyPair::generate(KeySize::Rsa2048).unwrap()),
    };
    let router = Router::new().route("/sign", post(sign)).with_state(Arc::new(key));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    #[expect(clippy::print_stdout, reason = "tells the load generator where to go")]
    {
        println!("listening on http://{}", listener.local_addr().unwrap());
    }
    axum::serve(listener, router).await.unwrap();
}

async fn sign(State(key): State<Arc<Key>>, Json(request): Json<SignRequest>) -> Json<SignReply> {
    let message = STANDARD.decode(request.message).unwrap();
    let random = SystemRandom::new();
    let signature = match key.as_ref() {
        Key::Ed25519(key) => key.sign(&message).as_ref().to_vec(),
        Key::P256(key) => key.sign(&random, &message).unwrap().as_ref().to_vec(),
        Key::Rsa2048(key) => {
            let mut signature = vec![0; key.public_modulus_len()];
            key.sign(&RSA_PSS_SHA256, &random, &message, &mut signature).unwrap();
            signature
        }
    };
    Json(SignReply { signature: STANDARD.encode(signature) })
}
