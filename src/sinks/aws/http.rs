//! The HTTP client of the AWS SDKs: our transport under it, answers in bounds, and none passed on
//! that is not AWS's.

use std::sync::LazyLock;
use std::time::Duration;

use aws_smithy_http_client::Builder;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
    SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

use crate::sinks::genuine::{Expected, Strange};
use crate::sinks::transport::{Lines, NoAnswer, Routes, Sending, address, connector};

/// Most of an answer that is read: the longest one, of a PutRecords with 500 records that were all
/// refused at length, stays far below.
const MAX_ANSWER: usize = 4 << 20;

/// Shared by all targets, so that they share connections and the parsed root certificates.
static CLIENTS: LazyLock<Routes<SharedHttpClient>> = LazyLock::new(|| {
    Routes::new(|proxy| {
        let proxy = proxy.cloned();
        Builder::new().build_with_connector_fn(move |settings, _| {
            let none = || HttpConnectorSettings::builder().build();
            connector(proxy.as_ref(), None, settings.cloned().unwrap_or_else(none))
        })
    })
});

/// A client that sends its requests so.
pub(super) fn client(sending: Sending) -> SharedHttpClient {
    SharedHttpClient::new(Client { sending })
}

#[derive(Debug)]
struct Client {
    sending: Sending,
}

impl HttpClient for Client {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let shared =
            || Lines::Shared(CLIENTS.map(|client| client.http_connector(settings, components)));
        let lines = self.sending.lines.clone().unwrap_or_else(shared);
        SharedHttpConnector::new(Connection { lines, limit: self.sending.timeout })
    }
}

#[derive(Debug)]
struct Connection {
    lines: Lines,
    limit: Duration,
}

impl HttpConnector for Connection {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let expected = Expected::of(&request);
        let address = request.uri().parse().map_or_else(|_| String::new(), |uri| address(&uri));
        let exchange = self.lines.send(request, self.limit, read);
        HttpConnectorFuture::new(async move {
            let read = exchange.await.map_err(NoAnswer::into_connector_error)?;
            let checked = read.and_then(|answer| expected.check(answer));
            checked.map_err(|strange| ConnectorError::other(strange.from(address).into(), None))
        })
    }
}

/// Reads an answer to its end, so that the time limit covers it and its bytes can be looked at.
async fn read(answer: HttpResponse) -> Result<Result<HttpResponse, Strange>, ConnectorError> {
    let mut answer = answer;
    let body = answer.take_body();
    let bytes = match Limited::new(body, MAX_ANSWER).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => {
            let status = answer.status().as_u16();
            return Ok(Err(Strange::new(status, "more than 4 MiB")));
        }
        Err(error) => return Err(ConnectorError::io(error)),
    };
    *answer.body_mut() = SdkBody::from(bytes);
    Ok(Ok(answer))
}
