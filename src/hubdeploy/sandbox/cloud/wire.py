"""Between HTTP and Python values, for every AWS protocol, by AWS's own service models.

moto brings parsers and serializers for the server's side; botocore has the client's. Together they
turn a request into parameters as boto3's caller gave them and back.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any
from urllib.parse import quote, urlencode
from xml.sax.saxutils import escape

from botocore.parsers import create_parser
from botocore.serialize import create_serializer
from moto.core.parse import PROTOCOL_PARSERS
from moto.core.request import Request, determine_request_protocol
from moto.core.routing import get_service_router
from moto.core.serialize import get_serializer_class
from moto.core.utils import get_service_model

from hubdeploy.sandbox.cloud.fault import AwsFault

Environ = dict[str, Any]
App = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]
Answer = tuple[int, list[tuple[str, str]], bytes]
"""HTTP status, headers, body."""

_CREDENTIAL = re.compile(r"Credential=([^/]+)/\d+/([^/]+)/([^/]+)/aws4_request")
_CLIENT_OF_SIGNING_NAME = {
    "elasticfilesystem": "efs",
    "monitoring": "cloudwatch",
    "tagging": "resourcegroupstaggingapi",
    "servicequotas": "service-quotas",
    "email": "ses",
}
_SIGNING_NAME_OF_CLIENT = {client: name for name, client in _CLIENT_OF_SIGNING_NAME.items()}


def signed_for(environ: Environ) -> tuple[str, str, str] | None:
    """(access key, region, boto3 client name) of a signed request."""
    match = _CREDENTIAL.search(environ.get("HTTP_AUTHORIZATION", ""))
    if match is None:
        return None
    key, region, name = match.groups()
    return key, region, _CLIENT_OF_SIGNING_NAME.get(name, name)


def buffer_body(environ: Environ) -> None:
    """Read the body once, so that it can be read again by moto."""
    stream = environ["wsgi.input"]
    if environ.get("HTTP_TRANSFER_ENCODING", "").lower() == "chunked":
        body = stream.read()
        environ["CONTENT_LENGTH"] = str(len(body))
        del environ["HTTP_TRANSFER_ENCODING"]
    else:
        length = int(environ.get("CONTENT_LENGTH") or 0)
        body = stream.read(length) if length else b""
    environ["wsgi.input"] = io.BytesIO(body)


def parse_request(environ: Environ, *, service: str) -> tuple[Any, dict[str, Any]]:
    """The operation's model and its parameters; the body can be read again afterwards."""
    request = Request(environ)
    body = request.get_data(parse_form_data=False, cache=True)
    environ["wsgi.input"] = io.BytesIO(body)
    request = Request(environ)
    model, uri = get_service_router(service).match(request)
    protocol = determine_request_protocol(model.service_model, request.content_type)
    values = request.values
    payload = body if model.has_streaming_input or not request.form else b""
    params = PROTOCOL_PARSERS[protocol](model).parse(
        {
            "method": request.method,
            "values": values,
            "headers": request.headers,
            "body": payload,
            "url_path": request.path,
            "url_params": uri,
        }
    )
    environ["wsgi.input"] = io.BytesIO(body)
    return model, params


def answer_of(model: Any, result: dict[str, Any], *, content_type: str | None) -> Answer:
    """Serialize what a taken-over operation returned."""
    protocol = determine_request_protocol(model.service_model, content_type)
    serializer = get_serializer_class(model.service_model.service_name, protocol)
    done = serializer(operation_model=model).serialize(result)
    body = done["body"]
    data = body.encode() if isinstance(body, str) else body
    headers = [(name, str(value)) for name, value in done["headers"].items()]
    return done["status_code"], [*headers, ("Content-Length", str(len(data)))], data


def result_of(model: Any, answer: Answer) -> dict[str, Any]:
    """Parse an answer as boto3 would."""
    status, headers, body = answer
    response = {
        "headers": {name.lower(): value for name, value in headers},
        "status_code": status,
        "body": io.BytesIO(body) if model.has_streaming_output else body,
        "context": {"operation_name": model.name},
    }
    parser = create_parser(model.service_model.resolved_protocol)
    parsed: dict[str, Any] = parser.parse(response, model.output_shape)
    return parsed


def fault_answer(fault: AwsFault, *, service: str, protocol: str) -> Answer:
    """An error in the service's own format."""
    code, text = escape(fault.code), escape(fault.message)
    if protocol == "ec2" or service == "ec2":
        body = (
            f"<Response><Errors><Error><Code>{code}</Code><Message>{text}</Message></Error></Errors>"
            "<RequestID>rehearsal</RequestID></Response>"
        )
    elif service == "s3":
        body = (
            f"<Error><Code>{code}</Code><Message>{text}</Message><RequestId>r</RequestId></Error>"
        )
    elif protocol in ("query", "rest-xml"):
        body = (
            f"<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{text}</Message>"
            "</Error><RequestId>rehearsal</RequestId></ErrorResponse>"
        )
    else:
        body = json.dumps(
            {"__type": fault.code, "message": fault.message, "Message": fault.message}
        )
    data = body.encode()
    kind = "text/xml" if body.startswith("<") else "application/x-amz-json-1.1"
    headers = [
        ("Content-Type", kind),
        ("Content-Length", str(len(data))),
        ("x-amzn-RequestId", "rehearsal"),
        ("x-amzn-ErrorType", fault.code),
    ]
    return fault.status, headers, data


def protocol_of(service: str) -> str:
    """The protocol that botocore speaks with a service, of those that the service offers."""
    return str(get_service_model(service).resolved_protocol)


@cache
def _serializer(protocol: str) -> Any:
    return create_serializer(protocol, include_validation=True)


def make_environ(
    service: str, operation: str, params: dict[str, Any], *, region: str, access_key: str
) -> tuple[Any, Environ]:
    """A request as boto3 would send it, for calls from inside the process."""
    model = get_service_model(service).operation_model(operation)
    protocol = model.service_model.resolved_protocol
    made = _serializer(protocol).serialize_to_request(params, model)
    body = made["body"]
    if isinstance(body, dict):
        body = urlencode(body, doseq=True, quote_via=quote)
    data = body.encode() if isinstance(body, str) else (body or b"")
    query = made.get("query_string") or {}
    name = _SIGNING_NAME_OF_CLIENT.get(service, service)
    environ: Environ = {
        "REQUEST_METHOD": made["method"],
        "PATH_INFO": made["url_path"].partition("?")[0],
        "QUERY_STRING": query if isinstance(query, str) else urlencode(query, doseq=True),
        "CONTENT_LENGTH": str(len(data)),
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "80",
        "HTTP_HOST": "127.0.0.1",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.url_scheme": "http",
        "wsgi.version": (1, 0),
        "wsgi.input": io.BytesIO(data),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "HTTP_AUTHORIZATION": (
            f"AWS4-HMAC-SHA256 Credential={access_key}/20260101/{region}/{name}/aws4_request, "
            "SignedHeaders=host, Signature=0"
        ),
    }
    if "?" in made["url_path"]:
        extra = made["url_path"].partition("?")[2]
        environ["QUERY_STRING"] = "&".join(filter(None, (extra, environ["QUERY_STRING"])))
    environ["RAW_URI"] = environ["REQUEST_URI"] = environ["PATH_INFO"] + (
        f"?{environ['QUERY_STRING']}" if environ["QUERY_STRING"] else ""
    )
    for header, value in made["headers"].items():
        key = header.upper().replace("-", "_")
        environ["CONTENT_TYPE" if key == "CONTENT_TYPE" else f"HTTP_{key}"] = str(value)
    if protocol in ("query", "ec2"):
        environ["CONTENT_TYPE"] = "application/x-www-form-urlencoded; charset=utf-8"
    return model, environ


def run_app(app: App, environ: Environ) -> Answer:
    """Call a WSGI application and collect its answer."""
    started: list[Any] = []

    def start_response(status: str, headers: list[tuple[str, str]], _info: object = None) -> None:
        started[:] = [int(status.split(" ", 1)[0]), list(headers)]

    chunks = app(environ, start_response)
    try:
        body = b"".join(chunks)
    finally:
        close = getattr(chunks, "close", None)
        if close is not None:
            close()
    return started[0], started[1], body
