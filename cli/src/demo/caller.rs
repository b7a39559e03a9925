//! Requests from an address of their own: the loopback network is 127.0.0.0/8, and a client that binds its socket to one of
//! its addresses comes from there. Over one connection, one request after the other.

use crate::Failure;
use crate::api::Answer;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, USER_AGENT};
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::net::{IpAddr, SocketAddr};
use tokio::net::TcpSocket;
use tokio::runtime::Handle;
use zeroize::Zeroizing;

/// Somebody at an address, with a token or without.
pub(super) struct Caller {
    runtime: Handle,
    server: SocketAddr,
    source: IpAddr,
    program: &'static str,
    token: Option<Zeroizing<String>>,
    connection: Option<SendRequest<Full<Bytes>>>,
}

impl Caller {
    pub(super) fn new(runtime: &Handle, server: SocketAddr, source: IpAddr, program: &'static str) -> Self {
        Self { runtime: runtime.clone(), server, source, program, token: None, connection: None }
    }

    /// The same, as the holder of `token`.
    pub(super) fn with_token(self, token: &str) -> Self {
        Self { token: Some(Zeroizing::new(token.to_string())), ..self }
    }

    pub(super) fn source(&self) -> IpAddr {
        self.source
    }

    pub(super) fn get(&mut self, path: &str) -> Result<Answer, Failure> {
        self.send(Method::GET, path, "application/json", String::new())
    }

    pub(super) fn post(&mut self, path: &str, body: &Value) -> Result<Answer, Failure> {
        self.send(Method::POST, path, "application/json", body.to_string())
    }

    pub(super) fn post_form(&mut self, path: &str, form: &[(&str, &str)]) -> Result<Answer, Failure> {
        let body = serde_urlencoded::to_string(form).map_err(|error| Failure::because("no form", &error))?;
        self.send(Method::POST, path, "application/x-www-form-urlencoded", body)
    }

    fn send(&mut self, method: Method, path: &str, kind: &str, body: String) -> Result<Answer, Failure> {
        let mut request = Request::builder().method(method).uri(path).header(HOST, self.server.to_string());
        request = request.header(USER_AGENT, self.program).header(CONTENT_TYPE, kind);
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {}", token.as_str()));
        }
        let request = request.body(Full::from(body)).map_err(|error| Failure::because("no request", &error))?;
        let runtime = self.runtime.clone();
        runtime.block_on(async {
            let no_answer = |error: &hyper::Error| Failure::because("the server did not answer", error);
            let mut connection = match self.connection.take().filter(|open| !open.is_closed()) {
                Some(open) => open,
                None => self.connect().await?,
            };
            connection.ready().await.map_err(|error| no_answer(&error))?;
            let response = connection.send_request(request).await.map_err(|error| no_answer(&error))?;
            let status = response.status().as_u16();
            let body = response.into_body().collect().await.map_err(|error| no_answer(&error))?.to_bytes();
            self.connection = Some(connection);
            Ok(Answer::new(status, serde_json::from_slice(&body).unwrap_or(Value::Null), path))
        })
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, Failure> {
        let failed = |error: std::io::Error| Failure::because(&format!("cannot connect from {}", self.source), &error);
        let socket = TcpSocket::new_v4().map_err(failed)?;
        socket.bind(SocketAddr::new(self.source, 0)).map_err(failed)?;
        let stream = socket.connect(self.server).await.map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        let (sender, connection) =
            handshake(TokioIo::new(stream)).await.map_err(|error| Failure::because("cannot speak HTTP", &error))?;
        // Ends with the connection; whoever sends hears of its end.
        tokio::spawn(connection);
        Ok(sender)
    }
}
