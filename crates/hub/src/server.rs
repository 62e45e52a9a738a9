//! HTTP: the one module that knows axum and tokio.

use std::io;
use std::net::TcpListener;

use axum::Router;
use axum::routing::get;
use tokio::sync::watch;

/// Threads of the runtime; they only move bytes.
const WORKERS: usize = 2;

pub(crate) fn serve(listener: TcpListener, mut stop: watch::Receiver<bool>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .thread_name("hub")
        .enable_all()
        .build()?;
    runtime.block_on(async {
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let heartbeat = || async { r#"{"message":"We require more vespene gas."}"# };
        let router = Router::new().route("/users/heartbeat", get(heartbeat));
        let stopped = async move {
            // An error means that nobody is left who could say stop: the hub goes on.
            if stop.wait_for(|it| *it).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        axum::serve(listener, router).with_graceful_shutdown(stopped).await
    })
}
