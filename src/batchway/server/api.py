"""The surfaces that are not hot, on FastAPI: look-ups, management, models, and the description of it all at /docs.

The hot routes are plain ASGI (`server.openai`), and so are those that relay (`server.relay`); here they only have their
place in the description.
"""

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException

from batchway import __version__
from batchway.assemble import Gateway
from batchway.core import errors
from batchway.core.types import Fault
from batchway.server import manage, native, results
from batchway.server.access import Access
from batchway.server.description import amend, paths
from batchway.server.exchange import fault_headers
from batchway.server.visits import Visits
from batchway.wire.native import error_body

DOCS_POLICY = "default-src 'self'; script-src {0}; style-src {0}; img-src 'self' data:".format("'self' 'unsafe-inline'")
"""Swagger UI's page starts itself by an inline script; everything it loads is our own."""


def build(gateway: Gateway, access: Access, visits: Visits) -> FastAPI:
    """The FastAPI application."""
    app = FastAPIOffline(
        title="batchway", version=__version__, redoc_url=None, description="Every LLM request by its cheapest way."
    )
    native.add(app, gateway, access)
    results.add(app, gateway, access, visits)
    manage.add(app, gateway, access)
    _add_models(app, gateway, access)
    _add_faults(app)
    _describe_hot_routes(app)
    return app


def _add_models(app: FastAPI, gateway: Gateway, access: Access) -> None:
    @app.get("/v1/models", tags=["openai"], response_class=Response)
    async def list_models(request: Request) -> Response:
        """Every configured provider's models; those of another than the default one as `provider/model`."""
        identity = access.identify(request.headers)
        content, silent = await gateway.models.list_all(identity.authorization)
        headers = {"x-batchway-why": silent.encode("ascii", "replace").decode()[:500]} if silent else {}
        return Response(content, media_type="application/json", headers=headers)

    @app.get("/v1/models/{model:path}", tags=["openai"], response_class=Response)
    async def retrieve_model(model: str, request: Request) -> Response:
        """One model as its provider describes it."""
        identity = access.identify(request.headers)
        provider, name = gateway.intake.resolve(model)
        incoming = await gateway.models.look_up(provider, name, identity.authorization)
        return Response(incoming.body, media_type="application/json")


def _add_faults(app: FastAPI) -> None:
    @app.exception_handler(errors.Refusal)
    async def refused(_: Request, error: Exception) -> Response:
        assert isinstance(error, errors.Refusal)
        return _render(error.fault)

    @app.exception_handler(RequestValidationError)
    async def not_valid(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        field = str(first["loc"][-1])
        return _render(errors.BadRequest(f"{field}: {first['msg']}.", param=field).fault)

    @app.exception_handler(HTTPException)
    async def not_served(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        here = f"{request.method} {request.url.path}"
        if error.status_code == 405:
            response = _render(errors.MethodNotAllowed(f"{here}: the route does not take this method.").fault)
            response.headers.update(error.headers or {})
            return response
        return _render(errors.NotFound(f"{here}: there is no such route; /docs lists them.").fault)

    @app.exception_handler(500)
    async def broken(_: Request, __: Exception) -> Response:
        return _render(errors.Internal("A defect of batchway; its log has the details.").fault)


def _render(fault: Fault) -> Response:
    headers = {name.decode(): value.decode() for name, value in fault_headers(fault, None)}
    return Response(error_body(fault, None), status_code=fault.status, headers=headers)


def _describe_hot_routes(app: FastAPI) -> None:
    describe: Callable[[], dict[str, Any]] = app.openapi

    def described() -> dict[str, Any]:
        schema = describe()
        schema["paths"] = {**paths(), **schema["paths"]}
        amend(schema)
        return schema

    app.openapi = described  # type: ignore[method-assign]
