"""Simulated providers as a real HTTP server: deterministic answers, honest usage, a billing ledger, fault switches."""

from batchway.sandbox.app import app
from batchway.sandbox.serving import run, serve
from batchway.sandbox.state import Sandbox, count_roughly

__all__ = ["Sandbox", "app", "count_roughly", "run", "serve"]
