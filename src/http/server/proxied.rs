//! A connection from a trusted proxy: the header with the client's address comes first.

use std::net::SocketAddr;
use std::rc::Rc;

use tokio::net::TcpStream;

use crate::http::conn::context::{Slot, Worker};
use crate::http::conn::phase::Phase;
use crate::http::server::connection::Connection;
use crate::http::server::tls;

/// Serves the client of the proxy at `proxy`. The time limit of the header is that of
/// [`TrustedProxies`](crate::net::proxy_header::TrustedProxies).
pub(in crate::http) async fn serve(
    mut socket: TcpStream,
    proxy: SocketAddr,
    worker: Rc<Worker>,
    slot: Slot,
) {
    let state = slot.state();
    state.enter(Phase::Tls, worker.now());
    let reading = worker.config.proxies.client(&mut socket, proxy);
    let Some(Some(client)) = tls::until_verdict(&state, reading).await else { return };
    state.client.is_at(client);
    match &worker.config.tls {
        Some(config) => {
            let config = config.data();
            tls::serve(socket, config, worker, slot).await;
        }
        None => {
            state.enter(Phase::Idle, worker.now());
            Connection::new(socket, worker, slot).await;
        }
    }
}
