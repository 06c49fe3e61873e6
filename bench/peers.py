"""The peers, measured beside batchway when asked: nginx, and LiteLLM's proxy in an environment of its own."""

import shutil
import subprocess
import sys
from contextlib import AbstractContextManager
from pathlib import Path

from bench.bodies import MODEL
from bench.load import Address
from bench.processes import Running, free_port, process
from bench.subjects import ROOT, Place

LITELLM = ROOT / ".bench" / "litellm"
"""The virtual environment of LiteLLM's proxy."""

_BIN = str(LITELLM / "bin")

_NGINX = """
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  client_body_temp_path {folder}/nginx-body;
  proxy_temp_path {folder}/nginx-proxy;
  fastcgi_temp_path {folder}/nginx-fastcgi;
  uwsgi_temp_path {folder}/nginx-uwsgi;
  scgi_temp_path {folder}/nginx-scgi;
  keepalive_timeout 75s;
  keepalive_requests 100000000;
  upstream provider {{
    server {host};
    keepalive 128;
    keepalive_requests 100000000;
  }}
  server {{
    listen 127.0.0.1:{port};
    location /v1/ {{
      proxy_pass http://provider;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Authorization "Bearer sk-upstream";
    }}
  }}
}}
"""

_LITELLM = """
model_list:
  - model_name: {model}
    litellm_params:
      model: openai/{model}
      api_base: {url}
      api_key: sk-upstream
general_settings:
  master_key: {key}
"""


class Skipped(Exception):
    """A peer cannot be measured here; the message says why and what would help."""


def nginx(place: Place) -> AbstractContextManager[Running]:
    """nginx as a reverse proxy with one worker."""
    port = free_port()
    configuration = place.folder / "nginx.conf"
    host = place.url.removeprefix("http://").removesuffix("/v1")
    configuration.write_text(_NGINX.format(folder=place.folder, host=host, port=port))
    return process(
        "nginx",
        [_nginx_binary(), "-p", place.folder, "-c", configuration],
        address=Address(port=port, bearer="unused"),
        core=place.subject_core,
        folder=place.folder,
        environment={},
    )


def litellm(place: Place) -> AbstractContextManager[Running]:
    """LiteLLM's proxy with one worker, one model and a key, told to look nowhere else for prices."""
    _install_litellm()
    port, key = free_port(), "sk-bench"
    configuration = place.folder / "litellm.yaml"
    configuration.write_text(_LITELLM.format(model=MODEL, url=place.url, key=key))
    command = [f"{_BIN}/litellm", "--config", str(configuration), "--port", str(port), "--host", "127.0.0.1"]
    return process(
        "litellm",
        [*command, "--num_workers", "1", "--keepalive_timeout", "75"],
        address=Address(port=port, bearer=key),
        core=place.subject_core,
        folder=place.folder,
        environment={
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "LITELLM_LOG": "ERROR",
            "LITELLM_MODE": "PRODUCTION",
        },
    )


def nginx_version() -> str:
    """What the binary says of itself."""
    return subprocess.run([_nginx_binary(), "-v"], capture_output=True, text=True, check=True).stderr.strip()


def litellm_version() -> str:
    """The version that is installed; installs it first where it is not."""
    _install_litellm()
    asking = "from importlib.metadata import version; print('LiteLLM', version('litellm'))"
    command = [f"{_BIN}/python", "-c", asking]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _nginx_binary() -> str:
    found = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if found is None:
        raise Skipped("nginx is not installed (Debian and Ubuntu: apt-get install nginx-light)")
    return found


def _install_litellm() -> None:
    """Once. pip takes the newest version whose dependencies can all be had."""
    if Path(_BIN, "litellm").exists():
        return
    subprocess.run([sys.executable, "-m", "venv", LITELLM], check=True)
    pip = [f"{_BIN}/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    installed = subprocess.run([*pip, "litellm[proxy]"], capture_output=True, text=True, check=False)
    if installed.returncode != 0:
        said = installed.stderr.strip().splitlines() or [f"pip ended with {installed.returncode}"]
        raise Skipped(f"litellm[proxy] could not be installed: {said[-1]}")
