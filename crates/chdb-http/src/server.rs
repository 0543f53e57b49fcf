//! ClickHouse's HTTP interface: the asynchronous side of a request.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use axum::routing::{any, get};
use tokio::sync::Semaphore;

use super::account;
use super::body::{self, Packing};
use super::exception::Exception;
use super::execute::{self, Job, Shared};
use super::reply::{self, Encoding, ReplyOptions, SERVER_NAME};
use super::settings::RequestParameters;

/// Requests that run at a time; more wait.
pub(crate) const CONCURRENT: usize = 100;
/// How long a request waits for its turn.
const TURN_TIMEOUT: Duration = Duration::from_secs(10);
/// How large a form may be: a statement and its parameters.
const LARGEST_FORM: u64 = 64 << 20;

#[derive(Clone)]
struct Server {
    shared: Arc<Shared>,
    turns: Arc<Semaphore>,
}

/// The interface over a running engine.
pub(crate) fn router(shared: Arc<Shared>) -> Router {
    let server = Server { shared, turns: Arc::new(Semaphore::new(CONCURRENT)) };
    Router::new().route("/ping", get(ok)).route("/", any(query)).fallback(no_handle).with_state(server)
}

async fn ok() -> Response<Body> {
    let mut response = Response::new(Body::from("Ok.\n"));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=UTF-8"));
    headers.insert("X-ClickHouse-Server-Display-Name", HeaderValue::from_static(SERVER_NAME));
    response
}

async fn no_handle(request: Request) -> Response<Body> {
    let text = format!(
        "There is no handle {}\n\nUse / or /ping for health checks.\nSend queries from your program with POST method or \
         GET /?query=...\n",
        request.uri().path()
    );
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}

async fn query(State(server): State<Server>, request: Request) -> Response<Body> {
    let mut parameters = RequestParameters::from_url(request.uri().query());
    let query_id = match parameters.get("query_id") {
        Some(id) if !id.is_empty() => id.to_owned(),
        _ => uuid::Uuid::new_v4().to_string(),
    };
    // As a server: without a query, `GET /` says that somebody is there.
    if matches!(*request.method(), Method::GET | Method::HEAD) && parameters.get("query").is_none() {
        return ok().await;
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD | Method::POST | Method::PUT) {
        let mut response = Response::new(Body::from("Queries are sent with GET or POST.\n"));
        *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        return response;
    }
    match answer(server, request, &mut parameters, &query_id).await {
        Ok(response) => response,
        Err(exception) => reply::refusal(query_id, &exception),
    }
}

async fn answer(
    server: Server,
    request: Request,
    parameters: &mut RequestParameters,
    query_id: &str,
) -> Result<Response<Body>, Exception> {
    let (head, mut body) = request.into_parts();
    let account = account::authenticate(&server.shared.accounts, &head.headers, parameters)?.clone();
    let mut packing = Packing::of(&head.headers)?;
    if let Some(boundary) = boundary(&head.headers) {
        read_form(std::mem::take(&mut body), boundary, parameters).await?;
        packing = Packing::Plain;
    }
    let turn = tokio::time::timeout(TURN_TIMEOUT, Arc::clone(&server.turns).acquire_owned()).await;
    let Ok(Ok(turn)) = turn else {
        let what = format!("Too many simultaneous queries: {CONCURRENT} run, and none ended in time");
        return Err(Exception::new(Exception::TOO_MANY_SIMULTANEOUS_QUERIES, what));
    };

    let format_header = head.headers.get("X-ClickHouse-Format").and_then(|value| value.to_str().ok());
    let default_format = parameters.get("default_format").or(format_header).filter(|format| !format.is_empty());
    let encoding = match parameters.get("enable_http_compression") {
        Some("0" | "false") => Encoding::Identity,
        _ => Encoding::accepted(&head.headers),
    };
    let options = ReplyOptions {
        query_id: query_id.to_owned(),
        encoding,
        blocks: parameters.is_on("compress"),
        whole: parameters.is_on("wait_end_of_query"),
    };
    let job = Job {
        default_format: default_format.unwrap_or("TabSeparated").to_owned(),
        text: parameters.get("query").unwrap_or("").as_bytes().to_vec(),
        reads_only: matches!(head.method, Method::GET | Method::HEAD),
        packing,
        account,
        parameters: std::mem::take(parameters),
        shared: server.shared,
    };
    let (reply, mut answer) = reply::reply(options);
    let (pump, pieces) = body::split(body);
    tokio::task::spawn_blocking(move || {
        execute::run(job, pieces, reply);
        drop(turn);
    });
    // Both in this future: when the client goes away it is dropped, the body ends without its end, and an INSERT is
    // cancelled.
    let answered = tokio::select! {
        answered = &mut answer => answered,
        () = pump.run() => answer.await,
    };
    answered.map_err(|_| Exception::new(Exception::LOGICAL_ERROR, "the query ended without an answer"))
}

fn boundary(headers: &HeaderMap) -> Option<String> {
    multer::parse_boundary(headers.get(header::CONTENT_TYPE)?.to_str().ok()?).ok()
}

/// Adds the fields of a form to the parameters: the query and its values come so from the `clickhouse` crate.
async fn read_form(body: Body, boundary: String, parameters: &mut RequestParameters) -> Result<(), Exception> {
    let wrong = |error: multer::Error| {
        Exception::new(Exception::BAD_ARGUMENTS, format!("the form of the request cannot be read: {error}"))
    };
    let limits = multer::Constraints::new().size_limit(multer::SizeLimit::new().whole_stream(LARGEST_FORM));
    let mut form = multer::Multipart::with_constraints(body.into_data_stream(), boundary, limits);
    let mut query = parameters.get("query").map(str::to_owned).unwrap_or_default();
    while let Some(field) = form.next_field().await.map_err(wrong)? {
        let name = field.name().unwrap_or("").to_owned();
        if field.file_name().is_some() {
            let what = format!("external tables in a form (field {name:?}) are not supported by the local engine");
            return Err(Exception::new(Exception::NOT_IMPLEMENTED, what));
        }
        let value = field.text().await.map_err(wrong)?;
        if name == "query" {
            query.push_str(&value);
        } else {
            parameters.push(name, value);
        }
    }
    parameters.push("query".to_owned(), query);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_form_brings_the_query_and_its_values() {
        let form = "--XX\r\nContent-Disposition: form-data; name=\"query\"\r\n\r\nSELECT {a:String}\r\n\
                    --XX\r\nContent-Disposition: form-data; name=\"param_a\"\r\n\r\nx&y\r\nz\r\n--XX--\r\n";
        let mut parameters = RequestParameters::from_url(Some("database=h"));
        read_form(Body::from(form), "XX".to_owned(), &mut parameters).await.unwrap();
        assert_eq!(parameters.get("query"), Some("SELECT {a:String}"));
        assert_eq!(parameters.bound().0, [("a".to_owned(), "x&y\r\nz".to_owned())]);
        assert_eq!(parameters.get("database"), Some("h"));
    }

    #[tokio::test]
    async fn a_form_with_a_file_or_without_its_end_is_refused() {
        let file = "--XX\r\nContent-Disposition: form-data; name=\"t\"; filename=\"t\"\r\n\r\n1\r\n--XX--\r\n";
        let mut parameters = RequestParameters::default();
        let refused = read_form(Body::from(file), "XX".to_owned(), &mut parameters).await.unwrap_err();
        assert_eq!(refused.code, Exception::NOT_IMPLEMENTED);
        let cut = "--XX\r\nContent-Disposition: form-data; name=\"query\"\r\n\r\nSELECT 1";
        let refused = read_form(Body::from(cut), "XX".to_owned(), &mut parameters).await.unwrap_err();
        assert_eq!(refused.code, Exception::BAD_ARGUMENTS);
    }
}
