//! What every request passes: its id, its time, its place in the metrics and the log, and the rendering of
//! problems. One plain function around the router instead of layers: it costs no allocation of its own.

use std::{
    convert::Infallible,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Instant,
};

use axum::{Router, body::Body, http::Method, response::Response};
use hyper::{Request, body::Incoming, header, service::Service as _};
use hyper_util::service::TowerToHyperService;

use crate::{
    app::App,
    problem::{Code, Problem},
    request_id::{RequestId, X_REQUEST_ID},
    routes,
};

/// The way in; cheap to clone.
#[derive(Clone)]
pub(crate) struct Entry {
    app: Arc<App>,
    router: TowerToHyperService<Router>,
}

impl Entry {
    pub(crate) fn new(app: Arc<App>) -> Self {
        let router = TowerToHyperService::new(routes::router(app.clone()));
        Self { app, router }
    }

    pub(crate) async fn answer(self, request: Request<Incoming>) -> Result<Response, Infallible> {
        let begun = Instant::now();
        let _counted = self.app.metrics.request_begins();
        let id = RequestId::of(request.headers());
        let method = known(request.method());
        let route = routes::template(request.uri().path());

        let mut response = self.guarded(request).await;
        let problem = match response.extensions_mut().remove::<Problem>() {
            None if response.status().as_u16() == 405 => Some(not_allowed()),
            problem => problem,
        };
        if let Some(problem) = problem {
            log(&problem, method, route, id.as_str());
            let allow = response.headers_mut().remove(header::ALLOW);
            response = problem.render(id.as_str());
            if let Some(allow) = allow {
                response.headers_mut().insert(header::ALLOW, allow);
            }
        }
        let status = response.status();
        let took = begun.elapsed();
        tracing::debug!(method, route, status = status.as_u16(), ?took, request_id = id.as_str());
        self.app.metrics.answered(method, route, class(status.as_u16()), took);
        response.headers_mut().insert(X_REQUEST_ID, id.into_header());
        Ok(response)
    }

    /// The router's answer. A panic in a handler is answered 500 too, and the connection lives on.
    async fn guarded(&self, request: Request<Incoming>) -> Response {
        let mut answer = pin!(self.router.call(request));
        std::future::poll_fn(|context| {
            // What a panicking handler leaves half-done is dropped with it; it shares only locks and atomics.
            match catch_unwind(AssertUnwindSafe(|| answer.as_mut().poll(context))) {
                Ok(Poll::Pending) => Poll::Pending,
                Ok(Poll::Ready(Ok(response))) => Poll::Ready(response),
                Err(_) => {
                    let mut response = Response::new(Body::empty());
                    response.extensions_mut().insert(Problem::internal("a handler panicked"));
                    Poll::Ready(response)
                }
            }
        })
        .await
    }
}

fn not_allowed() -> Problem {
    Problem::new(Code::MethodNotAllowed, "Use one of the methods in the Allow header: see /openapi.json.")
}

fn log(problem: &Problem, method: &'static str, route: &'static str, request_id: &str) {
    let code = problem.code().as_str();
    let cause = problem.cause().unwrap_or_default();
    match problem.code() {
        Code::InternalError => tracing::error!(code, cause, method, route, request_id, "a request failed"),
        Code::StoreUnavailable => tracing::warn!(code, cause, method, route, request_id, "a request failed"),
        // Not a line for each: to write them would slow the server down just when it has too much to do. The
        // metrics count them.
        _ => tracing::debug!(code, cause, method, route, request_id, "a request was refused"),
    }
}

/// A method as a metric's label: a client can't make up labels.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

fn class(status: u16) -> &'static str {
    match status / 100 {
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        5 => "5xx",
        _ => "other",
    }
}
