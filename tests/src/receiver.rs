//! A receiver of webhooks on this machine that does with each post what it is told to, and keeps what it got.

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// What a receiver does with one post.
#[derive(Clone, Debug)]
pub enum Manner {
    /// With more bytes than anybody should read.
    Endless,
    /// Says nothing, until the receiver is released.
    Hold,
    /// With a status and further lines of the head.
    Status(u16, String),
    /// A success whose body never comes.
    Slow,
    /// What it says is no HTTP.
    Mumble,
    /// Closes the connection before it has read the post.
    Reset,
}

impl Manner {
    pub fn status(status: u16) -> Self {
        Self::Status(status, String::new())
    }
}

/// One post.
#[derive(Clone, Debug)]
pub struct Post {
    pub head: String,
    pub body: Vec<u8>,
}

impl Post {
    pub fn header(&self, name: &str) -> String {
        let line = self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim().to_string())
        });
        line.unwrap_or_default()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

#[derive(Clone)]
pub struct Receiver {
    pub port: u16,
    shared: Arc<(Mutex<State>, Condvar)>,
}

#[derive(Default)]
struct State {
    next: VecDeque<Manner>,
    always: Option<Manner>,
    posts: Vec<Post>,
    connections: usize,
    released: bool,
}

impl Receiver {
    /// Plain.
    pub fn start() -> Self {
        Self::listen(None)
    }

    pub fn secure(config: ServerConfig) -> Self {
        Self::listen(Some(Arc::new(config)))
    }

    fn listen(tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let receiver = Self { port, shared: Arc::default() };
        let accepting = receiver.clone();
        // Ends with the process.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (receiver, stream, tls) = (accepting.clone(), stream.unwrap(), tls.clone());
                receiver.state(|state| state.connections += 1);
                receiver.shared.1.notify_all();
                std::thread::spawn(move || match tls {
                    None => receiver.serve(stream),
                    Some(tls) => receiver.serve(StreamOwned::new(ServerConnection::new(tls).unwrap(), stream)),
                });
            }
        });
        receiver
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hook", self.port)
    }

    /// What it does with the next posts; those after them succeed.
    pub fn then(&self, manners: impl IntoIterator<Item = Manner>) {
        self.state(|state| state.next.extend(manners));
    }

    /// What it does with every post that it is told nothing else of.
    pub fn always(&self, manner: Option<Manner>) {
        self.state(|state| state.always = manner);
    }

    /// Lets those that are held go.
    pub fn release(&self) {
        self.state(|state| state.released = true);
        self.shared.1.notify_all();
    }

    pub fn posts(&self) -> Vec<Post> {
        self.state(|state| state.posts.clone())
    }

    pub fn connections(&self) -> usize {
        self.state(|state| state.connections)
    }

    /// Waits until somebody connected.
    #[track_caller]
    pub fn wait_for_connection(&self) {
        let (state, changed) = &*self.shared;
        let none = |state: &mut State| state.connections == 0;
        let (_state, wait) = changed.wait_timeout_while(state.lock().unwrap(), PATIENCE, none).unwrap();
        assert!(!wait.timed_out(), "nobody connected");
    }

    /// Waits until so many posts came.
    #[track_caller]
    pub fn wait_for(&self, count: usize) -> Vec<Post> {
        let (state, changed) = &*self.shared;
        let enough = |state: &mut State| state.posts.len() < count;
        let (state, wait) = changed.wait_timeout_while(state.lock().unwrap(), PATIENCE, enough).unwrap();
        assert!(!wait.timed_out(), "{} posts came, not {count}", state.posts.len());
        state.posts.clone()
    }

    fn state<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        let done = act(&mut self.shared.0.lock().unwrap());
        self.shared.1.notify_all();
        done
    }

    /// The other side may go away at any moment.
    fn serve(&self, mut stream: impl Read + Write + Carries) {
        let mut first = [0];
        if stream.read_exact(&mut first).is_err() {
            return;
        }
        let manner = self.state(|state| state.next.pop_front().or_else(|| state.always.clone()));
        if matches!(manner, Some(Manner::Reset)) {
            // With unread bytes the kernel resets the connection.
            return;
        }
        let Some(post) = read(first.to_vec(), &mut stream) else { return };
        self.state(|state| state.posts.push(post));
        let _ = match manner {
            None => stream.write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n"),
            Some(Manner::Status(status, more)) => {
                let head = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n{more}\r\n");
                stream.write_all(head.as_bytes())
            }
            Some(Manner::Mumble) => stream.write_all(b"220 mail.example.org ESMTP\r\n\r\n"),
            Some(Manner::Endless) => {
                let head = b"HTTP/1.1 200 OK\r\ncontent-length: 1099511627776\r\n\r\n";
                let mut written = stream.write_all(head);
                while written.is_ok() {
                    written = stream.write_all(&[b'x'; 64 * 1024]);
                }
                written
            }
            Some(Manner::Slow) => {
                let written = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nx");
                self.hold();
                written
            }
            Some(Manner::Hold | Manner::Reset) => {
                self.hold();
                Ok(())
            }
        };
        let _ = stream.flush();
        stream.finish();
    }

    fn hold(&self) {
        let (state, changed) = &*self.shared;
        let held = changed.wait_timeout_while(state.lock().unwrap(), PATIENCE, |state| !state.released);
        drop(held.unwrap());
    }
}

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn read(mut bytes: Vec<u8>, stream: &mut impl Read) -> Option<Post> {
    let mut chunk = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, _)) = text.split_once("\r\n\r\n") {
            let post = Post { head: head.to_string(), body: Vec::new() };
            let length: usize = post.header("content-length").parse().ok()?;
            let begins = head.len() + 4;
            if bytes.len() >= begins + length {
                return Some(Post { body: bytes.split_off(begins), ..post });
            }
        }
        match stream.read(&mut chunk) {
            Ok(0) | Err(_) => return None,
            Ok(count) => bytes.extend(chunk.iter().take(count)),
        }
    }
}

/// A stream that can say that nothing more comes.
trait Carries {
    fn finish(&mut self);
}

impl Carries for TcpStream {
    fn finish(&mut self) {
        let _ = self.shutdown(std::net::Shutdown::Write);
    }
}

impl Carries for StreamOwned<ServerConnection, TcpStream> {
    fn finish(&mut self) {
        self.conn.send_close_notify();
        let _ = self.flush();
    }
}
